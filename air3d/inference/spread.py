"""How far objects may be from where they are found: covariances on the plane they stand on."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import Camera, project, unproject_to_plane
from air3d.inference.explanations import Explanations
from air3d.inference.moves import Moves
from air3d.inference.settling import lesser_slopes_at
from air3d.models.decoders import SceneDecoder
from air3d.scene import Scenes, View, ViewPrior

STEP = 1e-3
"""Of the view's numbers, for their derivatives: radians, metres."""

ROUGHNESS = 1.6
"""By how much fits scatter more, in variance, than the curvature says: faces that come before
others make log p(x | z) rough. Measured on 95 objects of easy tables, refined by 40 steps."""


@torch.no_grad()
def spread_of_guide(
    prior: ViewPrior, explained: Explanations, view_std: Float[Tensor, "batch unknown"]
) -> Float[Tensor, "batch object 2 2"]:
    """Return covariances of (x, y), square metres, as the guide believes them.

    To first order, and both from where the object is in the image and from where the camera is:
    what is seen at a pixel moves on the plane with the camera.

    Args:
        prior: p(camera, light), for what of it is open.
        explained: the objects, with covariances in the image.
        view_std: standard deviations of what is open of the view.
    """
    scenes = explained.scenes
    camera, position = scenes.camera, scenes.position
    pixels, height = project(camera, position).pixels, position[..., 2]

    def moved(eye: Camera, there: Tensor) -> Float[Tensor, "batch object 2"]:
        return (unproject_to_plane(eye, there, height) - position)[..., :2]

    axes = torch.eye(2, device=pixels.device)
    by_pixel = torch.stack([moved(camera, pixels + axis) for axis in axes], dim=-1)
    covariance = by_pixel @ explained.pixel_covariance @ by_pixel.mT
    coordinates = prior.coordinates(View(camera, scenes.light))
    for index, unknown in enumerate(prior.unknowns):
        if unknown.name.startswith("camera"):
            beside = coordinates.clone()
            beside[:, index] += STEP
            slope = moved(prior.view(beside).camera, pixels) / STEP
            slope = slope * view_std[:, None, index, None]
            covariance = covariance + slope[..., :, None] * slope[..., None, :]
    return covariance


@torch.no_grad()
def spread_at_peak(decoder: SceneDecoder, scenes: Scenes) -> Float[Tensor, "batch object 2 2"]:
    """Return covariances of (x, y), square metres, at a peak of log p(x | z).

    Laplace's approximation of p(z | x), by the curvature that least squares have: what the noise of
    the pixels leaves open when everything that a scene file leaves open may give way, times
    ``ROUGHNESS``. A move of 1 (see ``Moves``) is one standard deviation beforehand, which holds
    what no pixel shows.
    """
    moves = Moves(decoder, scenes)
    precision = precision_of_moves(decoder, lesser_slopes_at(decoder, scenes))
    covariance = torch.linalg.inv(precision).to(scenes.position)
    split = moves.num_objects * moves.per_object
    of_objects = covariance[:, :split, :split].unflatten(2, (-1, moves.per_object))
    each = of_objects.unflatten(1, (-1, moves.per_object)).diagonal(dim1=1, dim2=3)
    return ROUGHNESS * moves.unit**2 * each[:, :2, :2].movedim(-1, 1)


def precision_of_moves(
    decoder: SceneDecoder, slopes: Float[Tensor, "batch value coordinate"]
) -> Float[Tensor, "batch coordinate coordinate"]:
    """Return what the noise leaves known of moves, of which slopes are an image's derivatives.

    It is the Fisher information and, for what no pixel shows, the 1 of a prior as wide as a move.
    It comes in double precision: some entries are 1e8, beside which that 1 would be lost.
    """
    slopes = slopes.double()
    return slopes.mT @ slopes / decoder.noise_std**2 + torch.eye(slopes.shape[2]).to(slopes)
