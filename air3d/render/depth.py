"""Crisp depth: what each object alone would hide, without softness and without gradients."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import Camera
from air3d.render import reference
from air3d.render.backends import fast_backend
from air3d.render.instances import Instances, check_inputs, place
from air3d.scene.assets import MeshBank
from air3d.scene.lights import ambient_light


@torch.no_grad()
def render_depth(
    bank: MeshBank, instances: Instances, camera: Camera
) -> Float[Tensor, "batch object height width"]:
    """Return the depth (metres) of each object's nearest face at the pixel centres.

    inf where the object does not cover the centre. Discrete: nothing gets gradients; the depth of
    :func:`air3d.render.render_with_depth` is soft and has them.

    Raises:
        ValueError: shapes, precisions or devices do not fit together, or an identity names no
            mesh.
    """
    light = ambient_light().to(bank.vertices.device, bank.vertices.dtype)  # which changes no depth
    check_inputs(bank, instances, camera, light)
    placement = place(instances, camera, light)
    backend = fast_backend("render_depth", "auto", placement.mesh.device) or reference
    depth = backend.depth(backend.project(bank, placement))
    return depth.unflatten(0, placement.shape)
