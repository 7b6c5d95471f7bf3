"""The renderer in plain torch: dense, slow, float32 or float64, on any device.

The twin of the fast path, written in the order of operations of PyTorch3D's rasterizer
(perspective-correct and clipped barycentric coordinates), with one repair: no gradient flows
through the perspective denominator where it is clamped. There clipping cancels it, so the true
gradient is zero, while float32 makes noise of it.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.instances import MAX_DEPTH, MIN_DEPTH, Placement, exact_centres, placed_meshes
from air3d.render.layers import OPAQUE, Layers, ProjectedMeshes, blur_radius
from air3d.scene.assets import MeshBank
from air3d.scene.spec import RenderSpec

EPSILON = 1e-8
CLIP_EPSILON = 1e-5


@dataclass(frozen=True)
class _Paint:
    """What the faces of one mesh show.

    Attributes:
        colours: at the corners, after lighting; blended linearly across the faces.
        uvs: where the corners lie on the texture.
        texture: it multiplies the colours; empty where there is none.
    """

    colours: Float[Tensor, "face 3 3"]
    uvs: Float[Tensor, "face 3 2"]
    texture: Float[Tensor, "row column 3"]

    def at(self, bary: Float[Tensor, "pixel face 3"]) -> Float[Tensor, "pixel face 3"]:
        """Return the colours at barycentric coordinates."""
        colours = torch.einsum("pfk,fkc->pfc", bary, self.colours)
        if self.texture.numel() == 0:
            return colours
        u, v = torch.einsum("pfk,fkc->pfc", bary, self.uvs).unbind(dim=-1)
        texels = torch.nn.functional.grid_sample(
            self.texture.movedim(-1, 0)[None],
            torch.stack([2.0 * u - 1.0, 1.0 - 2.0 * v], dim=-1)[None],
            padding_mode="border",
            align_corners=True,
        )
        return colours * texels[0].movedim(0, -1)


def project(bank: MeshBank, placement: Placement) -> ProjectedMeshes:
    """Project each layer's mesh into its image and light it.

    Vertices are lit (see :class:`~air3d.scene.lights.Light`), not pixels. Gradients reach the
    placement and the bank's vertices, colours and normals.
    """
    index = placement.mesh.clamp(min=0)
    to_ndc, lamp, weight = placement.to_ndc, placement.source[:, None, :3], placement.source[:, 3:]
    vertices = bank.vertices[index]
    homogeneous = vertices @ to_ndc[:, :, :3].mT + to_ndc[:, None, :, 3]
    depth = homogeneous[..., 2:]
    safe_depth = torch.where(depth >= MIN_DEPTH, depth, 1.0)
    to_lamp = torch.nn.functional.normalize(lamp - weight[:, None] * vertices, dim=-1)
    facing = (bank.normals[index] * to_lamp).sum(dim=-1, keepdim=True).clamp(min=0.0)
    light = placement.ambient[:, None] + placement.diffuse[:, None] * facing
    projected = torch.cat([homogeneous[..., :2] / safe_depth, depth], dim=-1)
    return placed_meshes(projected, bank.colours[index] * light, bank, placement)


def rasterize_layers(
    projected: ProjectedMeshes, softness: RenderSpec, *, with_depth: bool
) -> Layers:
    """Rasterize every mesh into a layer, [layer, height, width].

    Gradients reach the projected vertices and colours, the uvs and the textures.
    """
    pixels = _pixel_grid(projected)
    # No layer at all, to begin with: scenes may have no objects.
    nothing = (projected.vertices + projected.colours)[:0, :1].expand(0, len(pixels), 3)
    layers = [Layers(nothing, nothing[..., 0], nothing[..., 0], nothing[..., 0])]
    for layer, faces in enumerate(_faces_of_layers(projected)):
        corners, paint = projected.vertices[layer][faces], _paint(projected, layer, faces)
        layers.append(_soft_layer(corners, paint, pixels, softness))
    parts = zip(*(vars(layer).values() for layer in layers), strict=True)
    maps = Layers(*(torch.cat(part).unflatten(1, projected.image_size) for part in parts))
    return maps if with_depth else replace(maps, depth=None)


def depth(projected: ProjectedMeshes) -> Float[Tensor, "layer height width"]:
    """Return the depth of the nearest face at each pixel centre, inf where there is none."""
    pixels = _pixel_grid(projected)
    layers = [projected.vertices.new_empty(0, len(pixels))]  # there may be none
    for layer, faces in enumerate(_faces_of_layers(projected)):
        corners = projected.vertices[layer][faces]
        weights, valid = _barycentric(corners, pixels)
        inside = (weights >= 0).all(dim=-1) & valid
        z = torch.where(valid[:, None], corners[:, :, 2], 1.0)
        face_depth = weights.sum(dim=-1) / (weights / z).sum(dim=-1)
        face_depth = torch.where(inside, face_depth, math.inf)
        # A column of its own for the background, as there may be no faces.
        nothing = face_depth.new_full((len(face_depth), 1), math.inf)
        layers.append(torch.cat([face_depth, nothing], dim=1).amin(dim=1)[None])
    return torch.cat(layers).unflatten(1, projected.image_size)


def _faces_of_layers(projected: ProjectedMeshes) -> list[Int[Tensor, "face 3"]]:
    """Return each layer's faces, none for an empty layer."""
    counts = projected.num_faces.tolist()
    return [
        projected.faces[mesh, : counts[mesh] if mesh >= 0 else 0]
        for mesh in projected.mesh.tolist()
    ]


def _paint(projected: ProjectedMeshes, layer: int, faces: Int[Tensor, "face 3"]) -> _Paint:
    """Return what the faces of a layer show."""
    mesh = projected.mesh[layer].clamp(min=0)
    rows, columns = projected.texture_sizes[mesh].tolist()
    return _Paint(
        colours=projected.colours[layer][faces],
        uvs=projected.uvs[mesh][faces],
        texture=projected.textures[mesh, :rows, :columns],
    )


def _pixel_grid(projected: ProjectedMeshes) -> Float[Tensor, "pixel 1 2"]:
    """Return the pixel centres in NDC, row by row."""
    height, width = projected.image_size
    x, y = exact_centres(projected.image_size, projected.vertices)
    grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    return grid.reshape(-1, 1, 2)


def _cross(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return twice the signed area of the triangle (a, b, p)."""
    return (p[..., 0] - a[..., 0]) * (b[..., 1] - a[..., 1]) - (p[..., 1] - a[..., 1]) * (
        b[..., 0] - a[..., 0]
    )


def _barycentric(
    corners: Float[Tensor, "face 3 3"], pixels: Float[Tensor, "pixel 1 2"]
) -> tuple[Tensor, Tensor]:
    """Return screen-space barycentric coordinates [P, F, 3] and which faces count [F]."""
    v0, v1, v2 = corners.unbind(dim=1)
    area = _cross(v2, v0, v1)
    valid = ((corners[..., 2] >= MIN_DEPTH) & (corners[..., 2] <= MAX_DEPTH)).all(dim=1) & (
        area.abs() > EPSILON
    )
    area = torch.where(valid, area, 1.0) + EPSILON
    edges = [_cross(pixels, v1, v2), _cross(pixels, v2, v0), _cross(pixels, v0, v1)]
    return torch.stack(edges, dim=-1) / area[:, None], valid


def _perspective(weights: Tensor, z: Float[Tensor, "face 3"]) -> Tensor:
    """Correct barycentric coordinates for perspective."""
    z0, z1, z2 = z.unbind(dim=1)
    scaled = weights * torch.stack([z1 * z2, z0 * z2, z0 * z1], dim=-1)
    total = scaled.sum(dim=-1, keepdim=True)
    return scaled / torch.where(total > EPSILON, total, EPSILON)


def _clip(weights: Tensor) -> Tensor:
    """Move barycentric coordinates of points outside the face to its border."""
    clipped = weights.clamp(min=0.0)
    total = clipped.sum(dim=-1, keepdim=True)
    return clipped / torch.where(total > CLIP_EPSILON, total, CLIP_EPSILON)


def _edge_distance(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances of points p to the segments from a to b."""
    along = b - a
    length = (along * along).sum(dim=-1)
    foot = ((p - a) * along).sum(dim=-1) / torch.where(length > 0, length, 1.0)
    foot = foot.clamp(0.0, 1.0).detach()
    offset = p - a - foot[..., None] * along
    return (offset * offset).sum(dim=-1)


def _soft_layer(
    corners: Float[Tensor, "face 3 3"],
    paint: _Paint,
    pixels: Float[Tensor, "pixel 1 2"],
    softness: RenderSpec,
) -> Layers:
    """Rasterize one mesh into a layer, [1, pixel]."""
    weights, valid = _barycentric(corners, pixels)
    weights = _perspective(weights, corners[:, :, 2])
    inside = (weights > 0).all(dim=-1)
    bary = _clip(weights)
    z = (bary * corners[:, :, 2]).sum(dim=-1)
    a, b, c = corners[:, :, :2].unbind(dim=1)
    distances = [_edge_distance(pixels, *edge) for edge in ((a, b), (b, c), (c, a))]
    distance = torch.stack(distances).amin(dim=0)
    hit = valid & (inside | (distance < blur_radius(softness.sigma)))
    signed = torch.where(inside, distance, -distance) / softness.sigma
    signed = torch.where(hit, signed, 0.0)
    z_inv = (softness.far - z) / (softness.far - softness.near)
    log_weights = torch.nn.functional.logsigmoid(signed) + z_inv / softness.gamma
    log_weights = torch.where(hit, log_weights, -math.inf)
    share = masked_softmax(log_weights, dim=1)
    missed = torch.where(hit, -torch.nn.functional.softplus(signed), 0.0).sum(dim=1)
    return Layers(
        colour=torch.einsum("pf,pfc->pc", share, paint.at(bary))[None],
        log_weight=_logsumexp(log_weights, dim=1)[None],
        log_transmittance=missed.clamp(min=OPAQUE[missed.dtype])[None],
        depth=(share * torch.where(hit, z, 0.0)).sum(dim=1)[None],
    )


def _logsumexp(values: Tensor, dim: int) -> Tensor:
    """Return logsumexp with zero gradient, not NaN, where every value is -inf; -inf if empty."""
    if values.shape[dim] == 0:
        return values.sum(dim=dim) - math.inf
    nothing = (values == -math.inf).all(dim=dim)
    finite = torch.where(nothing.unsqueeze(dim), 0.0, values)
    return torch.where(nothing, -math.inf, finite.logsumexp(dim=dim))


def masked_softmax(values: Tensor, dim: int) -> Tensor:
    """Return softmax, and all zeros where every value is -inf."""
    nothing = (values == -math.inf).all(dim=dim, keepdim=True)
    return torch.where(nothing, 0.0, torch.where(nothing, 0.0, values).softmax(dim=dim))
