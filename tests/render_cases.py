"""Small scenes that the renderer's tests share."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import trimesh
from conftest import ROOT
from jaxtyping import Float, Int
from torch import Tensor

from air3d import threads
from air3d.geometry import Camera, look_at, pinhole_intrinsics, rigid_transform
from air3d.render import (
    Composite,
    Instances,
    Layers,
    Light,
    composite,
    directional_light,
    render_layers,
)
from air3d.render.layers import ProjectedMeshes
from air3d.render.operations import layer_settings
from air3d.scene import Mesh, MeshBank, load_mesh, make_mesh
from air3d.scene.spec import RenderSpec

LIGHT = directional_light((0.5, -0.4, 0.8), ambient=0.4, diffuse=0.6)
SOFT = RenderSpec(sigma=1e-4, gamma=1e-3, near=1.0, far=10.0)
NAMES = ("red_cube", "blue_sphere", "striped_cylinder")


@pytest.fixture
def one_thread():
    """Work on one thread, which is faster on arrays this small where cores are shared."""
    with threads.one_thread():
        yield


@dataclass(frozen=True)
class Scene:
    """All differentiable inputs of one batch of scenes, and what goes with them."""

    bank: MeshBank
    identity: Int[Tensor, "batch object"]
    poses: Float[Tensor, "batch object 4 4"]
    camera: Camera
    background: Float[Tensor, "3"]
    scale: Float[Tensor, "batch object"]
    tint: Float[Tensor, "batch object 3"]
    light: Light = LIGHT

    @property
    def instances(self) -> Instances:
        return Instances(self.identity, self.poses, self.scale, self.tint)

    def to(self, dtype: torch.dtype) -> "Scene":
        """Return a copy in another precision, whose inputs ask for gradients."""
        bank, camera = self.bank.to(dtype=dtype), self.camera.to(dtype=dtype)
        return replace(
            self,
            bank=replace(
                bank,
                vertices=_leaf(bank.vertices),
                colours=_leaf(bank.colours),
                normals=_leaf(bank.normals),
                textures=_leaf(bank.textures),
                uvs=_leaf(bank.uvs),
            ),
            poses=_leaf(self.poses.to(dtype)),
            camera=Camera(
                _leaf(camera.world_to_camera), _leaf(camera.intrinsics), camera.image_size
            ),
            background=_leaf(self.background.to(dtype)),
            scale=_leaf(self.scale.to(dtype)),
            tint=_leaf(self.tint.to(dtype)),
            light=Light(*(_leaf(part.to(dtype)) for part in vars(self.light).values())),
        )

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What gets gradients, by name; a bank without textures has none to give them to."""
        bank = self.bank
        paint = {"textures": bank.textures, "uvs": bank.uvs} if bank.textures.numel() else {}
        return paint | {
            "poses": self.poses,
            "vertices": self.bank.vertices,
            "colours": self.bank.colours,
            "normals": self.bank.normals,
            "world_to_camera": self.camera.world_to_camera,
            "intrinsics": self.camera.intrinsics,
            "background": self.background,
            "scale": self.scale,
            "tint": self.tint,
            "source": self.light.source,
            "ambient": self.light.ambient,
            "diffuse": self.light.diffuse,
        }

    def layers(
        self, backend: str, softness: RenderSpec = SOFT, *, with_depth: bool = False
    ) -> Layers:
        return render_layers(
            self.bank,
            self.instances,
            self.camera,
            light=self.light,
            softness=softness,
            with_depth=with_depth,
            backend=backend,
        )

    def images(self, backend: str, selection: Int[Tensor, "image layer"]) -> Composite:
        """Return composited images, all the way by one backend."""
        return composite(self.layers(backend), selection, self.background, backend=backend)


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def shipped_meshes() -> tuple[Mesh, ...]:
    return tuple(load_mesh(ROOT / "assets" / "meshes" / f"{name}.ply") for name in NAMES)


def coarse_meshes() -> tuple[Mesh, ...]:
    """Return the same, but for a sphere of 320 faces, which fragments have room for."""
    cube, _, cylinder = shipped_meshes()
    solid = trimesh.creation.icosphere(subdivisions=2, radius=0.2)
    vertices = torch.tensor(solid.vertices, dtype=torch.float32)
    colours = torch.tensor([0.12, 0.25, 0.8]).expand(len(vertices), 3)
    sphere = make_mesh(vertices, torch.tensor(solid.faces), colours, name="blue_sphere")
    return cube, sphere, cylinder


def camera(image_size: tuple[int, int], field_of_view: float = 0.68) -> Camera:
    """Return a camera that looks down at the origin from 3.2 m."""
    world_to_camera = look_at(torch.tensor([0.0, -2.6, 1.9]), torch.tensor([0.0, 0.0, 0.1]))
    return Camera(
        world_to_camera[None], pinhole_intrinsics(field_of_view, image_size)[None], image_size
    )


def random_scene(seed: int, batch: int, objects: int, image_size: tuple[int, int]) -> Scene:
    """Return objects turned at random about the origin; float64."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(batch, objects, 3, 4, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(random[..., :3]).Q
    turn = turn * torch.linalg.det(turn)[..., None, None]
    return Scene(
        bank=MeshBank.pack(coarse_meshes()),
        identity=torch.randint(3, (batch, objects), generator=generator),
        poses=rigid_transform(turn, 0.35 * random[..., 3]),
        camera=camera(image_size),
        background=torch.tensor([0.1, 0.25, 0.4]),
        scale=0.7 + 0.5 * torch.rand(batch, objects, generator=generator),
        tint=0.5 + 0.5 * torch.rand(batch, objects, 3, generator=generator),
    ).to(torch.float64)


def mesh(vertices: Tensor, faces: Tensor, colours: Tensor, normals: Tensor) -> Mesh:
    """Return a mesh that comes from no file."""
    return Mesh("made", vertices, faces, colours, normals, 1, math.nan, Path("made"))


def tetrahedron() -> Mesh:
    """Return the smallest closed mesh, each corner of its own colour; 0.8 m across."""
    vertices = 0.3 * torch.tensor(
        [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
    )
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    colours = torch.tensor([[0.9, 0.1, 0.2], [0.2, 0.8, 0.1], [0.1, 0.3, 0.9], [0.8, 0.8, 0.3]])
    return mesh(vertices, faces, colours, vertices / vertices.norm(dim=1, keepdim=True))


def layer_arguments(
    projected: ProjectedMeshes, image_size: tuple[int, int], with_depth: bool
) -> tuple:
    """Return what an operation that rasterizes layers takes, all that may be with gradients."""
    return (
        projected.vertices.detach().requires_grad_(),
        projected.colours.detach().requires_grad_(),
        projected.uvs.requires_grad_(),
        projected.textures.requires_grad_(),
        projected.texture_sizes,
        projected.faces,
        projected.num_faces,
        projected.mesh,
        list(image_size),
        layer_settings(RenderSpec(), projected),
        with_depth,
    )
