"""Merge the fragments of each pixel into one colour and alpha, or into one depth.

Softness has PyTorch3D's meanings: a face covers a pixel with probability sigmoid(-dists / sigma),
and alpha is 1 - the product of what the faces leave uncovered.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from air3d.render.checks import check_colour, check_kind
from air3d.render.fragments import Fragments
from air3d.render.hits import HitPixels
from air3d.scene.spec import RenderSpec

# PyTorch3D's: the background's weight is at least this.
EPSILON = 1e-10


def softmax_alpha_blend(
    colours: Float[Tensor, "image height width fragment 3"],
    fragments: Fragments,
    *,
    softness: RenderSpec,
    background: Float[Tensor, "3"],
) -> Float[Tensor, "image height width 4"]:
    """Lay the faces' mean colour over the background: the blend to train with.

    The mean is weighted by coverage and nearness, prob exp(z_inv / gamma) with z_inv from 1 at
    ``softness.near`` to 0 at ``softness.far``, and the image is mean * alpha + background *
    (1 - alpha). So colour carries the silhouette's gradient, where that of
    :func:`softmax_rgb_blend` carries almost none. It is what :func:`air3d.render.render` shows,
    but for the faces beyond a pixel's last fragment.

    Gradients reach colours, background, and the fragments' depths and distances.

    Raises:
        ValueError: colours, fragments and background do not fit together.
    """
    check_colour("softmax_alpha_blend", background, "colours", colours)
    hits = _hits(colours, fragments)
    dists, zbuf = hits.take(fragments.dists), hits.take(fragments.zbuf)
    # Depths from the nearest one on, as differences keep their digits.
    nearness = (zbuf[:, :1] - zbuf) / (softness.far - softness.near)
    log_weight = logsigmoid(-dists / softness.sigma) + nearness / softness.gamma
    log_weight = torch.where(hits.exists, log_weight, -torch.inf)
    # A softmax by hand, as torch's is slow over so few.
    weight = torch.exp(log_weight - log_weight.detach().amax(dim=-1, keepdim=True))
    mean = _weighted_sum(weight, hits.take(colours)) / weight.sum(dim=-1, keepdim=True)
    alpha = _alpha(dists, hits.exists, softness.sigma)
    return _rgba(hits, torch.lerp(background, mean, alpha), alpha, background)


def softmax_rgb_blend(
    colours: Float[Tensor, "image height width fragment 3"],
    fragments: Fragments,
    *,
    softness: RenderSpec,
    background: Float[Tensor, "3"],
) -> Float[Tensor, "image height width 4"]:
    """Average the faces and the background as PyTorch3D does.

    The faces' weights are those of :func:`softmax_alpha_blend`.
    The background counts as one more face behind ``softness.far``, whose weight is at least
    1e-10 of the nearest face's: objects look inflated by the blur, and only alpha tells of it.
    PyTorch3D's own near and far are 1 and 100.

    Gradients and errors as for :func:`softmax_alpha_blend`.

    Source: PyTorch3D's softmax_rgb_blend, after Liu et al., Soft Rasterizer (ICCV 2019).
    """
    check_colour("softmax_rgb_blend", background, "colours", colours)
    hits = _hits(colours, fragments)
    dists = hits.take(fragments.dists)
    prob = torch.where(hits.exists, torch.sigmoid(-dists / softness.sigma), 0.0)
    depth = torch.where(hits.exists, hits.take(fragments.zbuf), softness.far)
    z_inv = (softness.far - depth) / (softness.far - softness.near)
    nearest = z_inv[:, :1].clamp(min=EPSILON)  # the first fragment is the nearest
    weight = prob * torch.exp((z_inv - nearest) / softness.gamma)
    behind = torch.exp((EPSILON - nearest) / softness.gamma).clamp(min=EPSILON)
    rgb = _weighted_sum(weight, hits.take(colours)) + behind * background
    rgb = rgb / (weight.sum(dim=-1, keepdim=True) + behind)
    return _rgba(hits, rgb, _alpha(dists, hits.exists, softness.sigma), background)


def sigmoid_alpha_blend(
    colours: Float[Tensor, "image height width fragment 3"], fragments: Fragments, *, sigma: float
) -> Float[Tensor, "image height width 4"]:
    """Return the nearest fragment's colour, as it is, beside the :func:`coverage` as alpha.

    Gradients reach colours and the fragments' distances.

    Raises:
        ValueError: colours and fragments do not fit together.
    """
    _check_colours(colours, fragments)
    return torch.cat([colours[..., 0, :], coverage(fragments, sigma=sigma)], dim=-1)


def hard_rgb_blend(
    colours: Float[Tensor, "image height width fragment 3"],
    fragments: Fragments,
    *,
    background: Float[Tensor, "3"],
) -> Float[Tensor, "image height width 4"]:
    """Return the nearest fragment's colour and alpha 1; the background and 0 where there is none.

    Gradients reach colours and background.

    Raises:
        ValueError: colours, fragments and background do not fit together.
    """
    check_colour("hard_rgb_blend", background, "colours", colours)
    _check_colours(colours, fragments)
    hit = fragments.pix_to_face[..., :1] >= 0
    rgb = torch.where(hit, colours[..., 0, :], background)
    return torch.cat([rgb, hit.to(rgb)], dim=-1)


def coverage(fragments: Fragments, *, sigma: float) -> Float[Tensor, "image height width 1"]:
    """Return how far the faces cover each pixel, from 0 to 1: the soft silhouette.

    Gradients reach the fragments' distances.
    """
    hits = HitPixels.of(fragments)
    alpha = _alpha(hits.take(fragments.dists), hits.exists, sigma)
    return hits.put(alpha)


def hard_depth(fragments: Fragments, *, background: float) -> Float[Tensor, "image height width 1"]:
    """Return the nearest fragment's depth, which gets gradients; ``background`` without one."""
    return torch.where(fragments.pix_to_face[..., :1] >= 0, fragments.zbuf[..., :1], background)


def soft_depth(
    fragments: Fragments, *, sigma: float, background: float
) -> Float[Tensor, "image height width 1"]:
    """Return a mean depth: each fragment, nearest first, takes its probability of what is left.

    What the fragments leave of 1 goes to ``background``. Gradients reach the fragments' depths
    and distances. :func:`air3d.render.render_with_depth` weighs depths as colours instead.

    Source: PyTorch3D's SoftDepthShader.
    """
    hits = HitPixels.of(fragments)
    prob = torch.sigmoid(-hits.take(fragments.dists) / sigma)
    taken = torch.where(hits.exists, prob, 0.0).cumsum(dim=-1).clamp(max=1.0)
    share = taken.diff(dim=-1, prepend=torch.zeros_like(taken[:, :1]))
    depth = (share * hits.take(fragments.zbuf)).sum(dim=-1, keepdim=True)
    depth = depth + (1.0 - taken[:, -1:]) * background
    return hits.put(depth, background)


def _check_colours(colours: Tensor, fragments: Fragments) -> None:
    """Refuse colours that are not one per fragment."""
    if colours.shape != (*fragments.pix_to_face.shape, 3):
        raise ValueError(
            f"colours must be {[*fragments.pix_to_face.shape, 3]}, one per fragment, got "
            f"{list(colours.shape)}; shade the same fragments"
        )
    check_kind("blend", "colours", colours, fragments=fragments.dists)


def _hits(colours: Tensor, fragments: Fragments) -> HitPixels:
    """Return the pixels that are not just background."""
    _check_colours(colours, fragments)
    return HitPixels.of(fragments)


def _alpha(
    dists: Float[Tensor, "pixel fragment"], exists: Bool[Tensor, "pixel fragment"], sigma: float
) -> Float[Tensor, "pixel 1"]:
    """Return 1 - prod(1 - sigmoid(-dists / sigma)), summed in logarithms.

    A product's derivative would divide by factors that are 0.
    """
    log_left = torch.where(exists, -softplus(-dists / sigma), 0.0)
    return -torch.expm1(log_left.sum(dim=-1, keepdim=True))


def _weighted_sum(
    weight: Float[Tensor, "pixel fragment"], colours: Float[Tensor, "pixel fragment 3"]
) -> Float[Tensor, "pixel 3"]:
    """Sum the fragments' colours."""
    return torch.bmm(weight[:, None], colours)[:, 0]


def _rgba(
    hits: HitPixels,
    rgb: Float[Tensor, "pixel 3"],
    alpha: Float[Tensor, "pixel 1"],
    background: Float[Tensor, "3"],
) -> Float[Tensor, "image height width 4"]:
    """Return images with these pixels, and the background, of alpha 0, everywhere else."""
    elsewhere = torch.cat([background, torch.zeros_like(background[:1])])
    return hits.put(torch.cat([rgb, alpha], dim=-1), elsewhere)
