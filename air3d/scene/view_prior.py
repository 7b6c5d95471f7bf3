"""p(camera, light): which of their numbers a scene file leaves open, and how they are drawn."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import (
    Camera,
    angles_of,
    direction_of,
    from_target,
    look_at,
    orbit,
    pinhole_intrinsics,
)
from air3d.scene.lights import Light, directional_light
from air3d.scene.soft_box import SoftBox
from air3d.scene.spec import Range, SceneSpec


@dataclass(frozen=True)
class Unknown:
    """One number of the camera or the light that a scene file leaves open.

    Attributes:
        name: ``camera_`` or ``light_``, then the scene file's key.
        range: of its uniform distribution.
        circular: whether it is an angle on the full circle's line, where pi is -pi.
    """

    name: str
    range: Range
    circular: bool


@dataclass(frozen=True)
class View:
    """From where, and under which light, each scene of a batch is seen."""

    camera: Camera
    light: Light


class ViewPrior:
    """p(camera, light) of a scene file, in the coordinates that it leaves open.

    Attributes:
        unknowns: the coordinates, D of them, in their order; none where the camera and the light
            are known.

    Args:
        spec: the scene file.
    """

    def __init__(self, spec: SceneSpec):
        self.spec = spec
        self.unknowns = tuple(_unknowns(spec))
        self._box = SoftBox.of([unknown.range for unknown in self.unknowns])

    def sample(self, batch: int, generator: torch.Generator) -> Float[Tensor, "batch unknown"]:
        """Draw coordinates on the CPU."""
        return self._box.sample((batch,), generator)

    def log_prob(self, coordinates: Float[Tensor, "batch unknown"]) -> Float[Tensor, " batch"]:
        """Return the log-density of coordinates; gradients reach them.

        Angles are taken as they come: none is brought back to its range by full turns.
        """
        return self._box.log_prob(coordinates)

    def view(self, coordinates: Float[Tensor, "batch unknown"]) -> View:
        """Return the cameras and lights that coordinates stand for; gradients reach them."""
        given = dict(zip(self._names, coordinates.unbind(dim=1), strict=True))
        return View(self._camera(given, coordinates), self._light(given, coordinates))

    def coordinates(self, view: View) -> Float[Tensor, "batch unknown"]:
        """Return the coordinates of cameras and lights; angles within [-pi, pi]."""
        eye = from_target(view.camera.world_to_camera, self._target(view.camera.world_to_camera))
        camera_azimuth, camera_elevation = angles_of(eye)
        light_azimuth, light_elevation = angles_of(view.light.source[:, :3])
        known = {
            "camera_azimuth": camera_azimuth,
            "camera_elevation": camera_elevation,
            "camera_distance": torch.linalg.vector_norm(eye, dim=-1),
            "light_azimuth": light_azimuth,
            "light_elevation": light_elevation,
            "light_ambient": view.light.ambient.mean(dim=1),
            "light_diffuse": view.light.diffuse.mean(dim=1),
        }
        columns = [known[name] for name in self._names]
        return torch.stack(columns, dim=1) if columns else eye[:, :0]

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(unknown.name for unknown in self.unknowns)

    def _target(self, like: Tensor) -> Float[Tensor, "3"]:
        return torch.tensor(self.spec.camera.target).to(like)

    def _camera(self, given: dict[str, Tensor], like: Float[Tensor, "batch unknown"]) -> Camera:
        spec, batch = self.spec.camera, len(like)
        if spec.eye is not None:
            eye = torch.tensor(spec.eye).to(like)
            world_to_camera = look_at(eye, self._target(like)).expand(batch, 4, 4)
        else:
            names = ("azimuth", "elevation", "distance")
            azimuth, elevation, distance = (
                _number(given, f"camera_{name}", getattr(spec, name), like) for name in names
            )
            world_to_camera = orbit(azimuth, elevation, distance, self._target(like))
        intrinsics = pinhole_intrinsics(spec.field_of_view, self.spec.image_size)
        intrinsics = intrinsics.to(like).expand(batch, 3, 3)
        return Camera(world_to_camera, intrinsics, self.spec.image_size)

    def _light(self, given: dict[str, Tensor], like: Float[Tensor, "batch unknown"]) -> Light:
        spec, batch = self.spec.light, len(like)
        if spec.direction is not None:
            direction = torch.tensor(spec.direction).to(like).expand(batch, 3)
        else:
            direction = direction_of(given["light_azimuth"], given["light_elevation"])

        def strength(name: str, value: float | Range) -> Float[Tensor, "batch 3"]:
            return _number(given, name, value, like)[:, None].expand(batch, 3)

        return directional_light(
            direction,
            ambient=strength("light_ambient", spec.ambient),
            diffuse=strength("light_diffuse", spec.diffuse),
        )


def _number(
    given: dict[str, Tensor], name: str, value: float | Range, like: Float[Tensor, "batch unknown"]
) -> Float[Tensor, " batch"]:
    """Return what is given of a number that a scene file leaves open, or the number itself."""
    return given[name] if isinstance(value, Range) else like.new_full((len(like),), value)


def known_view(spec: SceneSpec) -> View:
    """Return the one view of a scene file that leaves nothing of it open, as a batch of one.

    Raises:
        ValueError: images must tell the camera or the light.
    """
    prior = ViewPrior(spec)
    if prior.unknowns:
        names = ", ".join(unknown.name for unknown in prior.unknowns)
        raise ValueError(f"{spec.name}: has no one view, as it leaves {names} open")
    return prior.view(torch.zeros(1, 0))


def _unknowns(spec: SceneSpec) -> list[Unknown]:
    camera, light = spec.camera, spec.light
    values = [
        ("camera_azimuth", camera.azimuth, True),
        ("camera_elevation", camera.elevation, False),
        ("camera_distance", camera.distance, False),
        ("light_azimuth", light.azimuth, True),
        ("light_elevation", light.elevation, False),
        ("light_ambient", light.ambient, False),
        ("light_diffuse", light.diffuse, False),
    ]
    return [Unknown(name, v, circular) for name, v, circular in values if isinstance(v, Range)]
