"""Estimates as the CSV file that the BOP challenge takes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from air3d.data.bop.format import MILLIMETRES
from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.evaluation.detection import score_of
from air3d.evaluation.pairs import objects_of
from air3d.files import write_atomically
from air3d.geometry import Camera
from air3d.scene import Scenes

HEADER = "scene_id,im_id,obj_id,score,R,t,time"


def write_bop_results(
    path: Path,
    keys: Sequence[str],
    estimates: Sequence[SceneEstimate],
    truth: Scenes,
    seconds: float,
) -> None:
    """Write one line for each estimated object; poses are model to camera, in millimetres.

    BOP knows no scale: it is left out, and the pose is that of the unscaled model.

    Args:
        path: file to write; its folder is made as needed.
        keys: BOP's numbers of each image, ``SSSSSS_IIIIII``.
        estimates: one per image.
        truth: gives the camera where an estimate has none.
        seconds: that an image took.
    """
    lines = [HEADER]
    for row, (key, estimate) in enumerate(zip(keys, estimates, strict=True)):
        camera = truth.camera[row : row + 1] if estimate.camera is None else estimate.camera
        lines += _lines(key, estimate, camera, seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _lines(key: str, estimate: SceneEstimate, camera: Camera, seconds: float) -> Iterator[str]:
    scene, image = (int(number) for number in key.split("_"))
    for thing in objects_of(estimate):
        pose = _pose(thing, camera)
        yield f"{scene},{image},{thing.identity + 1},{score_of(thing):.9g},{pose},{seconds:.6f}"


def _pose(thing: ObjectEstimate, camera: Camera) -> str:
    world_to_camera = camera.world_to_camera[0].cpu().double()
    object_to_camera = world_to_camera @ thing.object_to_world.detach().cpu().double()
    rotation = object_to_camera[:3, :3].flatten().tolist()
    place = (object_to_camera[:3, 3] * MILLIMETRES).tolist()
    return ",".join(" ".join(f"{value:.9g}" for value in values) for values in (rotation, place))
