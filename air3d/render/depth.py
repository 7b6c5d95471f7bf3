"""Crisp depth: what each object alone would hide, without softness and without gradients."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera
from air3d.render import reference
from air3d.render.layers import check_inputs, place
from air3d.scene.assets import MeshBank
from air3d.scene.spec import LightSpec


@torch.no_grad()
def render_depth(
    bank: MeshBank,
    identity: Int[Tensor, "batch object"],
    object_to_world: Float[Tensor, "batch object 4 4"],
    camera: Camera,
) -> Float[Tensor, "batch object height width"]:
    """Return the depth (metres) of each object's nearest face at the pixel centres.

    inf where the object does not cover the centre. Discrete: nothing gets gradients.

    Raises:
        ValueError: shapes, precisions or devices do not fit together, or an identity names no
            mesh.
    """
    check_inputs(bank, identity, object_to_world, camera)
    light = LightSpec()  # which depth does not depend on
    instances = place(identity, object_to_world, camera, light)
    if object_to_world.device.type != "cpu":
        depth = reference.depth(reference.project(bank, instances, light))
    else:
        from air3d.render import cpu  # loads Numba, so only when it is used

        depth = cpu.depth(cpu.project(bank, instances, light))
    return depth.unflatten(0, tuple(identity.shape))
