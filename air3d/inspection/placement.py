"""A mesh at a pose, in its size and colour: what every viewer draws, be it inferred or true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.geometry import Camera, invert_rigid, transform_points
from air3d.scene import Mesh, Scenes

Colour = tuple[float, float, float]
WHITE: Colour = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Placement:
    """One mesh in the world.

    Attributes:
        mesh: what stands there.
        object_to_world: its pose [4, 4].
        label: what to write beside it.
        scale: factor of the mesh's size.
        colour: multiplies the mesh's own colours.
    """

    mesh: Mesh
    object_to_world: Float[Tensor, "4 4"]
    label: str
    scale: float = 1.0
    colour: Colour = WHITE

    @property
    def vertices(self) -> Float[Tensor, "vertex 3"]:
        """The object's vertices in its own frame: the mesh's, scaled; metres, on the CPU."""
        return self.scale * self.mesh.vertices.detach().cpu()

    @property
    def world_vertices(self) -> Float[Tensor, "vertex 3"]:
        """The object's vertices in the world frame, metres, on the CPU."""
        pose = self.object_to_world.detach().cpu()
        return transform_points(pose, self.vertices.to(pose.dtype))

    @property
    def colours(self) -> Float[Tensor, "vertex 3"]:
        """The object's colours at its vertices, before lighting; on the CPU."""
        return self.mesh.colours.detach().cpu() * self.mesh.colours.new_tensor(self.colour).cpu()

    @property
    def diameter(self) -> float:
        """Largest distance between two of the object's vertices, metres."""
        return self.scale * self.mesh.diameter

    @property
    def axes(self) -> tuple[tuple[int, ...], float]:
        """Which of the object's axes say something (z alone on an upright solid of revolution),
        and how long to draw them (metres)."""
        continuous = self.mesh.yaw_symmetry == "continuous"
        return (2,) if continuous else (0, 1, 2), 0.6 * self.diameter


def placements_of(estimate: SceneEstimate, meshes: Sequence[Mesh]) -> tuple[Placement, ...]:
    """Place the meshes of a 3D estimate's objects; labels carry name and probability."""
    return tuple(
        Placement(
            meshes[found.identity],
            found.object_to_world.detach().cpu(),
            f"{found.name} {percent(found.identity_probability)}",
            found.scale,
            colour_of(found.colour),
        )
        for found in estimate.objects
        if isinstance(found, ObjectEstimate)
    )


def placements_in(scene: Scenes, meshes: Sequence[Mesh]) -> tuple[Placement, ...]:
    """Place the meshes of a single scene's objects, in their order; labels carry the name."""
    scene = scene.present().to("cpu")
    return tuple(
        Placement(
            meshes[identity],
            scene.object_to_world[0, index],
            meshes[identity].name,
            float(scene.scale[0, index]),
            colour_of(scene.colour[0, index]),
        )
        for index, identity in enumerate(scene.identity[0].tolist())
    )


def colour_of(colour: Float[Tensor, "3"]) -> Colour:
    """Return a colour as three numbers."""
    red, green, blue = colour.tolist()
    return red, green, blue


def percent(probability: float) -> str:
    """Write a probability for people; what is not quite certain never reads as 100 %."""
    if 0.999 < probability < 1.0:
        return "> 99.9 %"
    return f"{100 * probability:.3g} %"


def camera_position(camera: Camera) -> Float[np.ndarray, "3"]:
    """Return where the first camera of a batch stands in the world."""
    return to_numpy(invert_rigid(camera.world_to_camera)[0, :3, 3])


def to_numpy(tensor: Float[Tensor, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Copy a tensor into a float64 array, for the viewers."""
    return tensor.detach().cpu().to(torch.float64).numpy()


def frustum(
    camera: Camera, depth: float
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "4 3"]]:
    """Return a camera's centre and the corners of its image at ``depth`` metres, in the world.

    The corners go round as the image's: upper left, upper right, lower right, lower left.
    """
    height, width = camera.image_size
    pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], float)
    rays = pixels @ np.linalg.inv(to_numpy(camera.intrinsics[0])).T
    camera_to_world = to_numpy(invert_rigid(camera.world_to_camera)[0])
    corners = depth * rays @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]
    return camera_to_world[:3, 3], corners


def frustum_edges(camera: Camera, depth: float) -> Float[np.ndarray, "edge 2 3"]:
    """Return the lines from a camera's centre to its image's corners, and those round the image."""
    eye, corners = frustum(camera, depth)
    beyond = np.roll(corners, -1, axis=0)
    return np.array([*((eye, corner) for corner in corners), *zip(corners, beyond, strict=True)])


def beside(camera: Camera, centre: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Return a unit vector from ``centre`` to where objects and camera are both well seen.

    It leads to the camera's left by 50 degrees and up; along x where the camera is straight above.
    """
    x, y = (camera_position(camera) - centre)[:2]
    distance = float(np.hypot(x, y))
    angle = np.arctan2(y, x) + np.radians(50.0) if distance > 1e-9 else 0.0
    direction = np.array([np.cos(angle), np.sin(angle), 0.5])
    return direction / np.linalg.norm(direction)
