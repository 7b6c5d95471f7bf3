"""What is rendered: spheres of a wanted number of faces, at random in front of a camera."""

from dataclasses import dataclass
from pathlib import Path

import torch
import trimesh
from torch import Tensor

from air3d.geometry import Camera, look_at, pinhole_intrinsics, rigid_transform, yaw_rotation
from air3d.render import Instances, Light, directional_light
from air3d.scene import Mesh, MeshBank
from air3d.scene.spec import RenderSpec

SOFTNESS = RenderSpec(sigma=1e-4, gamma=1e-4, near=1.0, far=100.0)
"""PyTorch3D's default blending, so that both renderers do the same work."""

SPHERE_FACES = (20, 80, 320, 1280, 5120, 20480)
"""An icosahedron's faces, and after each subdivision."""


@dataclass(frozen=True)
class Workload:
    """One size of problem.

    Attributes:
        images: in the batch.
        size: their height and width in pixels.
        faces: of each mesh, one of ``SPHERE_FACES``.
        objects: in each image.
    """

    images: int = 64
    size: int = 64
    faces: int = 320
    objects: int = 3

    def __str__(self) -> str:
        return f"{self.images} x {self.size}^2, {self.objects} x {self.faces} faces"


@dataclass(frozen=True)
class BenchmarkScenes:
    """A workload's inputs; poses and vertex colours ask for gradients."""

    bank: MeshBank
    instances: Instances
    camera: Camera
    light: Light

    @property
    def leaves(self) -> tuple[Tensor, Tensor]:
        """What gets gradients."""
        return self.instances.object_to_world, self.bank.colours


def build_scenes(workload: Workload) -> BenchmarkScenes:
    """Place spheres of 0.2 m at random on a table of 1.2 m before a camera 3.2 m away.

    Raises:
        ValueError: no sphere has that number of faces.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (workload.images, workload.objects)
    xy = torch.rand(*shape, 2, generator=generator) * 1.2 - 0.6
    position = torch.cat([xy, torch.full_like(xy[..., :1], 0.2)], dim=-1)
    turn = yaw_rotation(6.28 * torch.rand(shape, generator=generator))
    bank = MeshBank.pack([_sphere(workload.faces)])
    bank.colours.requires_grad_()
    poses = rigid_transform(turn, position).requires_grad_()
    image_size = (workload.size, workload.size)
    eye, target = torch.tensor([0.0, -2.6, 1.9]), torch.tensor([0.0, 0.0, 0.1])
    return BenchmarkScenes(
        bank,
        Instances(torch.zeros(shape, dtype=torch.int64), poses),
        Camera(look_at(eye, target)[None], pinhole_intrinsics(0.68, image_size)[None], image_size),
        directional_light((0.5, -0.4, 0.8), ambient=0.4, diffuse=0.6),
    )


def _sphere(faces: int) -> Mesh:
    if faces not in SPHERE_FACES:
        wanted = ", ".join(map(str, SPHERE_FACES))
        raise ValueError(f"faces must be one of {wanted} (subdivided icosahedra), got {faces}")
    sphere = trimesh.creation.icosphere(SPHERE_FACES.index(faces), radius=0.2)
    vertices = torch.tensor(sphere.vertices, dtype=torch.float32)
    return Mesh(
        name="sphere",
        vertices=vertices,
        faces=torch.tensor(sphere.faces),
        colours=0.5 + 2.0 * vertices,
        normals=torch.nn.functional.normalize(vertices, dim=1),
        yaw_symmetry="continuous",
        diameter=0.4,
        path=Path("sphere"),
    )
