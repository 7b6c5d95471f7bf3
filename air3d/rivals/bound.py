"""What no method can beat: estimates that err as little as the noise of the pixels lets them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from air3d.estimate import SceneEstimate
from air3d.inference.estimating import scene_estimates, sure_of
from air3d.inference.moves import Moves
from air3d.inference.settling import central_slopes_at
from air3d.inference.spread import precision_of_moves
from air3d.models.decoders import SceneDecoder
from air3d.scene import Scenes


@torch.no_grad()
def efficient_scenes(decoder: SceneDecoder, scenes: Scenes, generator: torch.Generator) -> Scenes:
    """Draw what an efficient estimator says of scenes that it is told all discrete things of.

    Its errors are normal, with the least covariance that an unbiased one can have (the Cramér-Rao
    bound): the inverse of the Fisher information J^T J / noise_std^2, where J are the derivatives
    of the image by all that the scene file leaves open. A move of 1 (see ``Moves``) is one
    standard deviation beforehand, which holds what no pixel shows.

    Args:
        decoder: renders, and says how strong the noise is.
        scenes: the truth.
        generator: of the errors.
    """
    moves = Moves(decoder, scenes)
    precision = precision_of_moves(decoder, central_slopes_at(decoder, scenes))
    root = torch.linalg.cholesky(precision)
    errors = torch.randn(len(scenes), moves.size, 1, dtype=root.dtype, generator=generator)
    drawn = torch.linalg.solve_triangular(root.mT, errors, upper=True)[..., 0]
    return moves.at(drawn.to(scenes.position))


def efficient_estimates(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes, *, batch: int, seed: int
) -> Iterator[SceneEstimate]:
    """Yield the estimates of an efficient estimator (see :func:`efficient_scenes`).

    Args:
        decoder: renders, and says how strong the noise is.
        images: [n, 3, H, W], to which the estimates are compared.
        scenes: their truth.
        batch: images at a time.
        seed: of the errors.
    """
    generator = torch.Generator().manual_seed(seed)
    for row in torch.arange(len(scenes)).split(batch):
        said = efficient_scenes(decoder, scenes[row], generator)
        shown = decoder.image(said)
        yield from scene_estimates(decoder, images[row], said, sure_of(said), shown)
