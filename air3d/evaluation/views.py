"""How far estimated cameras and lights are from the true ones."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import SceneEstimate
from air3d.evaluation.summaries import Errors, summarise
from air3d.geometry import Camera, angles_of, invert_rigid
from air3d.scene import Light, SceneSpec, ViewPrior


@dataclass(frozen=True)
class CameraErrors:
    """Errors of cameras.

    Attributes:
        azimuth_degrees, elevation_degrees: of the viewing direction, the camera's z axis.
        eye_metres: distance between the eyes.
    """

    azimuth_degrees: Errors
    elevation_degrees: Errors
    eye_metres: Errors


@dataclass(frozen=True)
class LightErrors:
    """Errors of lights.

    Attributes:
        direction_degrees: between the directions towards the lamp.
        ambient, diffuse: absolute errors of the strengths, mean over channels.
    """

    direction_degrees: Errors
    ambient: Errors
    diffuse: Errors


def open_numbers(spec: SceneSpec) -> frozenset[str]:
    """Name what a scene file leaves open beside identities, positions and turns.

    ``scale``, ``colour``, and the numbers of camera and light (``camera_...``, ``light_...``; see
    :class:`air3d.scene.view_prior.Unknown`).
    """
    names = {unknown.name for unknown in ViewPrior(spec).unknowns}
    names |= {name for name in ("scale", "colour") if getattr(spec.objects, name) is not None}
    return frozenset(names)


def camera_errors(
    estimates: Sequence[SceneEstimate], truth: Camera, open_names: Collection[str]
) -> CameraErrors | None:
    """Compare the estimated cameras with the true ones; None where the camera is known."""
    if not any(name.startswith("camera_") for name in open_names):
        return None
    found = torch.cat([_camera(estimate).world_to_camera for estimate in estimates]).cpu().double()
    true = truth.world_to_camera.cpu().double()
    angles = [torch.stack(angles_of(poses[:, 2, :3])) for poses in (found, true)]
    azimuth, elevation = _around(angles[0] - angles[1])
    eyes = [invert_rigid(poses)[:, :3, 3] for poses in (found, true)]
    return CameraErrors(
        azimuth_degrees=_summarise(azimuth.abs().rad2deg()),
        elevation_degrees=_summarise(elevation.abs().rad2deg()),
        eye_metres=_summarise((eyes[0] - eyes[1]).norm(dim=-1)),
    )


def light_errors(
    estimates: Sequence[SceneEstimate], truth: Light, open_names: Collection[str]
) -> LightErrors | None:
    """Compare the estimated lights with the true ones; None where the light is known."""
    if not any(name.startswith("light_") for name in open_names):
        return None

    def off(name: str) -> Float[Tensor, "image channel"]:
        found = torch.cat([getattr(_light(estimate), name) for estimate in estimates])
        return (found.cpu().double() - getattr(truth, name).cpu().double()).abs()

    found = torch.cat([_light(estimate).source[:, :3] for estimate in estimates])
    angle = _angle_between(found.cpu().double(), truth.source[:, :3].cpu().double())
    return LightErrors(
        direction_degrees=_summarise(angle.rad2deg()),
        ambient=_summarise(off("ambient").mean(dim=1)),
        diffuse=_summarise(off("diffuse").mean(dim=1)),
    )


def _camera(estimate: SceneEstimate) -> Camera:
    if estimate.camera is None:
        raise ValueError("an estimate has no camera though images must tell it; give its camera")
    return estimate.camera


def _light(estimate: SceneEstimate) -> Light:
    if estimate.light is None:
        raise ValueError("an estimate has no light though images must tell it; give its light")
    return estimate.light


def _around(radians: Tensor) -> Tensor:
    """Bring angles to [-pi, pi]."""
    return torch.remainder(radians + math.pi, 2 * math.pi) - math.pi


def _angle_between(
    one: Float[Tensor, "row 3"], other: Float[Tensor, "row 3"]
) -> Float[Tensor, " row"]:
    sine = torch.linalg.cross(one, other).norm(dim=-1)
    return torch.atan2(sine, (one * other).sum(dim=-1))


def _summarise(errors: Float[Tensor, " image"]) -> Errors:
    return summarise(errors.tolist())
