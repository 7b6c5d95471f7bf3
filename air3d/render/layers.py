"""What goes from stage to stage: placed instances, projected meshes, layers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera
from air3d.scene.assets import MeshBank
from air3d.scene.spec import LightSpec

MIN_DEPTH = 1e-3
"""A face with a vertex nearer than this to the camera's plane (metres) is dropped.

PyTorch3D's 1e-8 admits faces whose projection is 1e8 images wide, where float32 has no digits
left for their edges.
"""


@dataclass(frozen=True)
class Layers:
    """One softly rasterised image per object, before compositing.

    Leading dimensions are [batch, object], and one for all layers inside a backend.

    Attributes:
        colour: mean colour of the faces at a pixel, weighted by nearness and coverage; 0 where
            nothing is hit.
        log_weight: log sum_k prob_k exp(z_inv_k / gamma) over the faces k; -inf where nothing
            is hit.
        log_transmittance: sum_k log(1 - prob_k), at most 0; 0 where nothing is hit.
    """

    colour: Float[Tensor, "*layer height width 3"]
    log_weight: Float[Tensor, "*layer height width"]
    log_transmittance: Float[Tensor, "*layer height width"]

    def unflatten(self, batch: int, objects: int) -> "Layers":
        """Return a backend's layers by batch and object."""
        maps = (self.colour, self.log_weight, self.log_transmittance)
        return Layers(*(part.unflatten(0, (batch, objects)) for part in maps))


@dataclass(frozen=True)
class Instances:
    """Which mesh each layer shows, and from where: a mesh is never copied.

    Attributes:
        mesh: index into the bank; -1 for an empty layer.
        to_ndc: from the object's frame to homogeneous NDC, whose third coordinate is the depth.
        to_light: unit vector towards the light, in the object's frame.
        image_size: (height, width).
    """

    mesh: Int[Tensor, " layer"]
    to_ndc: Float[Tensor, "layer 3 4"]
    to_light: Float[Tensor, "layer 3"]
    image_size: tuple[int, int]


@dataclass(frozen=True)
class ProjectedMeshes:
    """One lit mesh per layer, in front of its camera: all that a rasteriser needs.

    Attributes:
        vertices: x and y in PyTorch3D's NDC (+x left, +y up, the short image side spans
            [-1, 1]) and the depth in metres; x and y mean nothing where the depth is below
            ``MIN_DEPTH``.
        colours: vertex colours after lighting.
        faces, num_faces: as in the mesh bank, [M, F, 3] and [M].
        mesh: which of the M meshes each layer shows; -1 for an empty layer.
        image_size: (height, width).
    """

    vertices: Float[Tensor, "layer vertex 3"]
    colours: Float[Tensor, "layer vertex 3"]
    faces: Int[Tensor, "mesh face 3"]
    num_faces: Int[Tensor, " mesh"]
    mesh: Int[Tensor, " layer"]
    image_size: tuple[int, int]


def check_inputs(
    bank: MeshBank,
    identity: Int[Tensor, "batch object"],
    object_to_world: Float[Tensor, "batch object 4 4"],
    camera: Camera,
) -> None:
    """Refuse what cannot be rendered.

    Raises:
        ValueError: shapes, precisions or devices do not fit together, or an identity names no
            mesh; the message says which in one sentence.
    """
    if object_to_world.shape != (*identity.shape, 4, 4) or identity.dim() != 2:
        raise ValueError(
            "render: identity must be [batch, object] and object_to_world [batch, object, 4, 4], "
            f"got {tuple(identity.shape)} and {tuple(object_to_world.shape)}"
        )
    if len(camera) not in (1, len(identity)):
        raise ValueError(
            f"render: camera must hold 1 or {len(identity)} cameras (the batch), got {len(camera)}"
        )
    if identity.numel() and not -1 <= int(identity.min()) <= int(identity.max()) < len(bank.meshes):
        raise ValueError(
            f"render: identity must lie between -1 (absent) and {len(bank.meshes) - 1} (the last "
            f"mesh), got {int(identity.min())} to {int(identity.max())}"
        )
    for name, tensor in (("bank", bank.vertices), ("camera", camera.world_to_camera)):
        if (tensor.dtype, tensor.device) != (object_to_world.dtype, object_to_world.device):
            raise ValueError(
                f"render: {name} is {tensor.dtype} on {tensor.device} but object_to_world is "
                f"{object_to_world.dtype} on {object_to_world.device}; bring them together by .to()"
            )


def place(
    identity: Int[Tensor, "batch object"],
    object_to_world: Float[Tensor, "batch object 4 4"],
    camera: Camera,
    light: LightSpec,
) -> Instances:
    """Put every object before its camera and under the light.

    Gradients reach the poses and the camera. An absent object passes no gradient, whatever its
    pose holds.
    """
    mesh = identity.flatten()
    absent = (mesh < 0)[:, None, None]
    pose = object_to_world.flatten(0, 1)
    pose = torch.where(absent, torch.eye(4, dtype=pose.dtype, device=pose.device), pose)
    world_to_ndc = _world_to_ndc(camera).expand(len(identity), 3, 4)
    direction = torch.nn.functional.normalize(pose.new_tensor(light.direction), dim=0)
    return Instances(
        mesh=mesh,
        to_ndc=world_to_ndc.repeat_interleave(identity.shape[1], dim=0) @ pose,
        # The light goes to the object's frame, which is cheaper than its normals to the world's.
        to_light=(pose[:, :3, :3].mT @ direction[:, None])[..., 0],
        image_size=camera.image_size,
    )


def pixel_centres(size: int, other: int) -> list[float]:
    """Return the NDC coordinates of the pixel centres along one image side of ``size`` pixels.

    ``other`` is the image's other side. They fall, since NDC's x points left and its y up.
    """
    shorter = min(size, other)
    return [(size - 1 - 2 * index) / shorter for index in range(size)]


def _world_to_ndc(camera: Camera) -> Float[Tensor, "batch 3 4"]:
    """Return the projection matrices to homogeneous NDC, whose third coordinate is the depth."""
    height, width = camera.image_size
    shorter = min(height, width)
    pixels_to_ndc = camera.intrinsics.new_tensor(
        [[-2.0, 0.0, width], [0.0, -2.0, height], [0.0, 0.0, shorter]]
    )
    return (pixels_to_ndc / shorter) @ camera.intrinsics @ camera.world_to_camera[:, :3]
