"""Crisp depth of many objects, each in a window of its own: what surrounds it costs nothing."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera
from air3d.render.instances import Instances, check_instances, place, scaled_poses
from air3d.render.layers import ProjectedMeshes
from air3d.scene.assets import MeshBank
from air3d.scene.lights import ambient_light


@torch.no_grad()
def render_depth_in_windows(
    bank: MeshBank,
    instances: Instances,
    camera: Camera,
    windows: Int[Tensor, "object 4"],
) -> list[Float[Tensor, "height width"]]:
    """Return the depth (metres) of each object at the pixel centres of its window.

    The same as :func:`air3d.render.render_depth` before a camera that sees the window alone, bit
    for bit, but that all objects are placed and projected at once, on the CPU. inf where the object
    does not cover a centre. Discrete: nothing gets gradients.

    Args:
        bank: the meshes.
        instances: [object, 1], each before a camera of its own.
        camera: one for each object.
        windows: (left, top, right, bottom) of each, pixels of the camera's image; it may lie
            outside, and is at least one pixel wide and high.

    Raises:
        ValueError: shapes or precisions do not fit together, or an identity names no mesh.
    """
    from air3d.render import cpu  # loads Numba, so only when it is used

    check_instances(bank, instances)
    placement = place(instances, camera, ambient_light().to(dtype=bank.vertices.dtype))
    to_ndc = _windows_to_ndc(camera, windows) @ camera.world_to_camera[:, :3]
    to_ndc = to_ndc @ scaled_poses(instances)[0][:, 0]
    projected = cpu.project(bank, replace(placement, to_ndc=to_ndc))
    return [
        cpu.depth(_layer(projected, index, (bottom - top, right - left)))[0]
        for index, (left, top, right, bottom) in enumerate(windows.tolist())
    ]


def _windows_to_ndc(camera: Camera, windows: Int[Tensor, "object 4"]) -> Float[Tensor, "_ 3 3"]:
    """Return :func:`ndc_intrinsics` of cameras that see windows of as many others' images."""
    low, high = windows.to(camera.intrinsics).split(2, dim=1)
    size = high - low
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, :2, 2] -= low
    shorter = size.amin(dim=1)[:, None, None]
    pixels_to_ndc = torch.zeros_like(intrinsics)
    pixels_to_ndc[:, [0, 1], [0, 1]] = -2.0
    pixels_to_ndc[:, :2, 2] = size
    pixels_to_ndc[:, 2, 2:] = shorter[:, 0]
    return pixels_to_ndc @ intrinsics / shorter


def _layer(projected: ProjectedMeshes, index: int, image_size: tuple[int, int]) -> ProjectedMeshes:
    """Return one of several projected meshes, in an image of its own size."""
    one = slice(index, index + 1)
    return replace(
        projected,
        vertices=projected.vertices[one],
        colours=projected.colours[one],
        mesh=projected.mesh[one],
        image_size=image_size,
    )
