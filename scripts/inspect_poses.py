"""Look at inferred poses: python scripts/inspect_poses.py RESULT

RESULT is a JSON file that scripts/infer.py wrote, or a folder of them. An Open3D window opens
at the camera's place (mouse: turn, wheel: zoom, q: close), with the inferred objects and their axes
on the scene file's table. A pyramid is the camera, a yellow arrow the light.
Without a display, or to keep a picture, add --out:

* --out FILE.png   seen from the side and through the camera (Open3D); a folder's results below
                   one another
* --out FILE.html  a page to turn the scene in, in any browser; needs no Open3D
* --out FILE.glb   the same scene for other 3D viewers

or --web PORT, and open http://localhost:PORT in a browser (needs viser).

Where there is a truth, it is drawn solid, its camera grey, and what was inferred as orange wire
frames: name the BOP data set and the image's key in it, as in --data data/single --key
000000_000003.
"""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import tyro

from air3d.cli import InputError, run
from air3d.files import write_atomically
from air3d.inspection import open3d_view
from air3d.inspection.exhibit import Exhibit
from air3d.inspection.glb import build_scene, scene_html
from air3d.inspection.panels import sheet
from air3d.inspection.records import FORMAT, Record, read_record, record_exhibit
from air3d.inspection.truth import read_truth
from air3d.inspection.web import serve

MAX_PICTURES = 12


@dataclass(frozen=True)
class Arguments:
    """What to look at, and how."""

    result: tyro.conf.Positional[Path]
    """JSON file written by scripts/infer.py, or a folder of them."""
    out: Path | None = None
    """Write a .png, .html or .glb file instead of opening a window."""
    web: int | None = None
    """Serve the scene to a browser on this port instead, until Ctrl-C."""
    data: Path | None = None
    """BOP data set with the truth; needs --key."""
    key: str | None = None
    """Which image of the data set it is: SSSSSS_IIIIII."""
    meshes: Path | None = None
    """Folder to look for the meshes in, when they are no longer where they were."""


def main(arguments: Arguments) -> None:
    """Read the results, then show them or write one file."""
    _check(arguments)
    paths = result_paths(arguments.result)
    alone = "--data" if arguments.data else "--web" if arguments.web else None
    if alone is None and not _is_picture(arguments.out):
        alone = f"--out {arguments.out}"
    if len(paths) > 1 and alone:
        raise InputError(
            f"{arguments.result}: holds {len(paths)} results and {alone} is about one; name one "
            f"of them, such as {paths[0]}"
        )
    records = {path: read_record(path) for path in paths}
    exhibits = {path: exhibit_at(path, record, arguments) for path, record in records.items()}
    if arguments.web is not None:
        serve(build_scene(*exhibits.values()), arguments.web)
        return
    if arguments.out is None:
        for path, exhibit in exhibits.items():
            open3d_view.show(exhibit, str(path))
        return
    _write(arguments.out, list(exhibits.values()))
    print(arguments.out)


def _check(arguments: Arguments) -> None:
    """Find options that do not go together before any work."""
    if (arguments.data is None) != (arguments.key is None):
        given, missing = ("--data", "--key") if arguments.data else ("--key", "--data")
        raise InputError(f"{given}: needs {missing} too; together they say where the truth is")
    if arguments.web is not None:
        if arguments.out is not None:
            raise InputError("--web and --out: give one of them")
        if not 0 < arguments.web < 65536:
            raise InputError(f"--web: must be a port from 1 to 65535, got {arguments.web}")
    elif arguments.out is None:
        if not open3d_view.has_display():
            raise InputError(
                "there is no display to open a window on; add --out FILE.png, .html or .glb, "
                "or --web 8080"
            )
    elif arguments.out.suffix.lower() not in (".png", ".html", ".glb"):
        raise InputError(f"--out {arguments.out}: must end in .png, .html or .glb")
    elif not arguments.out.parent.is_dir() or arguments.out.is_dir():
        raise InputError(f"--out {arguments.out}: must be a file in a folder that exists")


def _is_picture(out: Path | None) -> bool:
    """Say whether several results can be shown: in windows, or below one another in a PNG."""
    return out is None or out.suffix.lower() == ".png"


def result_paths(result: Path) -> list[Path]:
    """Return the JSON files to look at."""
    if not result.is_dir():
        return [result]
    paths = [path for path in sorted(result.glob("*.json")) if FORMAT.encode() in path.read_bytes()]
    if not paths:
        raise InputError(f"{result}: holds no result; write some with scripts/infer.py")
    if len(paths) > MAX_PICTURES:
        raise InputError(
            f"{result}: holds {len(paths)} results, at most {MAX_PICTURES} are shown at once; "
            f"name one of them, such as {paths[0]}"
        )
    return paths


def exhibit_at(path: Path, record: Record, arguments: Arguments) -> Exhibit:
    """Collect what a viewer draws of one result."""
    exhibit = record_exhibit(record, arguments.meshes)
    if exhibit is None:
        raise InputError(
            f"{path}: is a 2D result, there is nothing to see in 3D; open {path.stem}.png beside it"
        )
    if arguments.data is None or arguments.key is None:
        return exhibit
    return replace(exhibit, truth=read_truth(arguments.data, arguments.key))


def _content(ending: str, exhibits: list[Exhibit]) -> bytes:
    """Make what a file of that ending holds."""
    if ending == ".png":
        picture = BytesIO()
        pages = [open3d_view.screenshot(exhibit) for exhibit in exhibits]
        sheet(pages, columns=1).save(picture, format="PNG")
        return picture.getvalue()
    scene = build_scene(exhibits[0])
    if ending == ".html":
        return scene_html(scene).encode("utf-8")
    return bytes(scene.export(file_type="glb"))


def _write(out: Path, exhibits: list[Exhibit]) -> None:
    content = _content(out.suffix.lower(), exhibits)
    try:
        write_atomically(out, content)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from error


if __name__ == "__main__":
    run(main, Arguments, __doc__)
