"""Infer what is in images: python scripts/infer.py IMAGE... --checkpoint C --out DIR

Writes these files per image, named after it (a second `a.png` becomes `a_2`):

* NAME.json  what was found (below)
* NAME.png   the image, its reconstruction, and over the image the outlines of objects and table;
             with --ghosts N (3D) also N draws from the network's posterior, as faint outlines
* NAME.glb   the objects, a table and the camera in 3D, for any 3D viewer (3D checkpoints only)
* NAME.gif   with --film (3D): an animation of the search from one pass to what was found, with the
             render of each of its scenes, their outlines and log p(image | scene)

Keys of the JSON file (metres, radians, pixels with (0, 0) at the image's upper left corner;
matrices by rows, for column vectors; the camera looks along its z, with x right and y down):

    format               "air3d.estimate/1"
    image, image_size    the file's path; [height, width]
    scene, checkpoint    the scene file's name; the checkpoint's folder
    refine_steps, rounds, samples  what was done beyond the network's own answer
    count                most probable number of objects
    count_probabilities  [p(0), p(1), ...]
    log_likelihood       log p(image | what was found), nats
    camera               {world_to_camera: 4x4, intrinsics: 3x3}, or null in 2D; inferred where
                         the scene file leaves it open
    light                {source, ambient, diffuse, specular}, or null in 2D: [x, y, z, 0] is the
                         direction towards the lamp (world), strengths are [red, green, blue]
    table                what the scene file says that objects stand on, or null
    objects              a list as long as count; in 3D each one has
        name, identity, identity_probability    which mesh
        presence_probability                    that the object is there at all
        object_to_world                         its pose, 4x4
        position, yaw                           the same pose as [x, y, z] and the turn about z
                                                (null where objects turn freely)
        scale, colour                           factors of the mesh's size and of its colours,
                                                1 and [1, 1, 1] where a file does not say
        position_std                            standard deviations of x and y
        mesh, yaw_symmetry                      the mesh's file; k-fold, or "continuous", or
                                                null where objects turn freely
                         and in 2D
        presence_probability, centre, side      a square window of the image
        box                                     the same as [left, top, right, bottom]
"""

import contextlib
import errno
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import PIL.Image
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from air3d.checkpoint import load_model
from air3d.cli import InputError, run
from air3d.data import read_picture
from air3d.estimate import SceneEstimate
from air3d.files import replacing
from air3d.inference import ONE_PASS, Effort, Stage, infer, unwatched
from air3d.inference.strangers import strangers
from air3d.inspection.film import film
from air3d.inspection.ghosts import draw_scenes, ghosts
from air3d.inspection.panels import captioned, count_text
from air3d.inspection.placement import percent
from air3d.inspection.records import ObjectRecord, Record, make_record
from air3d.inspection.results import result_files
from air3d.inspection.turns import axis_text
from air3d.models import Air
from air3d.scene import GlimpseSpec

BATCH = 32


@dataclass(frozen=True)
class Arguments:
    """Which images, with what, where to."""

    images: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE [IMAGE ...]")
    ]
    """Image files of the size that the checkpoint's scene file states."""
    checkpoint: Path
    """Folder of a trained model, such as assets/checkpoints/single_object."""
    out: Path
    """Folder to write the results to; made if it is not there."""
    effort: Annotated[Effort, tyro.conf.arg(name="")] = ONE_PASS
    ghosts: int = 0
    """Draw so many scenes of the network's posterior into NAME.png (3D), to see what is unsure."""
    film: bool = False
    """Write NAME.gif too, an animation of the search (3D): with --refine-steps 40, for example."""


def main(arguments: Arguments) -> None:
    """Read all images, infer in batches, write the results image by image."""
    _check(arguments)
    model = load_model(arguments.checkpoint)
    _check_model(arguments, model)
    images = [read_picture(path, model.spec) / 255 for path in arguments.images]
    names = unique_names(arguments.images)
    _make_folder(arguments.out)
    for start in range(0, len(images), BATCH):
        batch = torch.stack(images[start : start + BATCH])
        stages: list[Stage] = []
        watch = stages.append if arguments.film else unwatched
        estimates = infer(model, batch, arguments.effort, watch)
        _warn_of_strangers(arguments.images[start:], model, batch, estimates)
        for index, estimate in enumerate(estimates, start):
            record = make_record(
                estimate,
                model.meshes,
                image=str(arguments.images[index]),
                spec=model.spec,
                checkpoint=str(arguments.checkpoint),
                effort=arguments.effort,
            )
            drawn = _ghosts(images[index], model, arguments.ghosts)
            files = result_files(images[index], estimate, record, model, *drawn)
            filmed = _film(images[index], [stage.of(index - start) for stage in stages], model)
            write_results(arguments.out, names[index], filmed | files)
            print(describe(arguments.images[index], estimate, record), flush=True)


def _check(arguments: Arguments) -> None:
    """Find what is wrong with the command line before any work."""
    if not arguments.images:
        raise InputError("IMAGE: none was given; name at least one image file")
    if arguments.ghosts < 0:
        raise InputError(f"--ghosts: must not be negative, got {arguments.ghosts}")
    names, endings = unique_names(arguments.images), [".png"] + [".gif"] * arguments.film
    outputs = {(arguments.out / (name + end)).resolve() for name in names for end in endings}
    for path in arguments.images:
        if path.resolve() in outputs:
            raise InputError(
                f"{path}: would be overwritten by its own result; choose another --out"
            )


def _check_model(arguments: Arguments, model: Air) -> None:
    """Find what is wrong with the command line for this model."""
    for option, wanted in (("--ghosts", arguments.ghosts), ("--film", arguments.film)):
        if wanted and isinstance(model.spec, GlimpseSpec):
            raise InputError(f"{option}: is for 3D checkpoints, this one is 2D; leave it out")
    if arguments.film and not arguments.effort:
        raise InputError("--film: one pass is no search to film; add --refine-steps 40")


def _warn_of_strangers(
    paths: Sequence[Path],
    model: Air,
    images: Float[Tensor, "batch channel height width"],
    estimates: Sequence[SceneEstimate],
) -> None:
    """Say of which images nothing that was found should be believed (3D).

    In 2D the scene file's noise is wider than that of its images, and tells nothing of it.
    """
    if isinstance(model.spec, GlimpseSpec):
        return
    strange = strangers(images, estimates, model.spec.noise_std)
    for path, is_strange in zip(paths, strange.tolist(), strict=False):
        if is_strange:
            warnings.warn(
                f"{path}: what was found explains little of it; is it a picture of "
                f"'{model.spec.name}'? If it is, but of another camera, adapt the checkpoint to "
                "such pictures (train_3d.py --init C --data FOLDER --phase mixed)",
                stacklevel=2,
            )


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name each result after its image; the second of one name gets ``_2`` and so on.

    Names that differ in upper and lower case only count as one: some file systems think so.
    """
    taken: set[str] = {path.stem.lower() for path in paths}
    used: set[str] = set()
    names = []
    for path in paths:
        name, number = path.stem, 1
        while name.lower() in used or (number > 1 and name.lower() in taken):
            number += 1
            name = f"{path.stem}_{number}"
        used.add(name.lower())
        names.append(name)
    return names


def _ghosts(
    image: Float[Tensor, "channel height width"], model: Air, number: int
) -> list[PIL.Image.Image]:
    """Draw scenes of the posterior over an image, as a panel of its picture; none where 0."""
    if not number:
        return []
    picture = ghosts(image, draw_scenes(model, image, number), model.meshes)
    return [captioned(picture, f"{number} draws from the posterior")]


def _film(
    image: Float[Tensor, "channel height width"], stages: Sequence[Stage], model: Air
) -> dict[str, bytes]:
    """Film an image's search, where anybody watched it, as one more of its files."""
    return {".gif": film(model.scene_decoder, image, stages)} if stages else {}


def write_results(folder: Path, name: str, files: dict[str, bytes]) -> None:
    """Write an image's files; where that fails, those of an earlier run stay as they were.

    All of them are complete under temporary names before the first is renamed, and the JSON
    file, which says that there is a result, is renamed last.
    """
    path = folder
    try:
        with contextlib.ExitStack() as renaming:  # in the opposite order
            for ending, content in reversed(files.items()):
                path = folder / f"{name}{ending}"
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
                renaming.enter_context(replacing(path)).write_bytes(content)
    except OSError as error:
        raise InputError(
            f"{error.filename2 or path}: cannot be written ({error.strerror}); choose another --out"
        ) from error


def describe(path: Path, estimate: SceneEstimate, record: Record) -> str:
    """Say in one line what was found in an image."""
    parts = []
    for found in record.objects:
        if isinstance(found, ObjectRecord):
            x, y, _ = found.position
            scaled = "" if found.scale == 1.0 else f", scale {found.scale:.2f}"
            parts.append(
                f"{found.name} ({percent(found.identity_probability)}) at x {x:+.3f} m, "
                f"y {y:+.3f} m{_turned(found)}{scaled}"
            )
        else:
            u, v = found.centre
            parts.append(f"patch at ({u:.1f}, {v:.1f}), side {found.side:.1f} px")
    return "; ".join([f"{path}: {count_text(estimate)}", *parts])


def _turned(found: ObjectRecord) -> str:
    if found.yaw_symmetry == "continuous":
        return ""
    if found.yaw is None:
        return f", turned {axis_text(torch.tensor(found.object_to_world))}"
    return f", yaw {math.degrees(found.yaw):+.1f} deg"


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be made ({error.strerror})") from error
    if not os.access(out, os.W_OK):
        raise InputError(f"--out {out}: is not writable; choose another folder")


if __name__ == "__main__":
    run(main, Arguments, __doc__)
