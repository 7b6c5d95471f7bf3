"""Draw a sheet of test images with what a checkpoint makes of them, worst cases first.

Each case shows the image, its reconstruction and the inferred outlines over the image, and says
what is truly there and how far off the estimate is.

Examples:
    python scripts/sheet.py --checkpoint runs/single --data data/single --out sheet.png
    python scripts/sheet.py --checkpoint runs/digits --data digits.npz --out digits.png
"""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import tyro

from air3d.checkpoint import load_model
from air3d.cli import InputError, run
from air3d.data import BopDataset
from air3d.evaluation import Evaluation, TestSet, evaluate, load_test_set
from air3d.files import write_atomically
from air3d.inference import ONE_PASS, Effort
from air3d.inspection.scores import seen_at
from air3d.inspection.sheets import case_sheet, farthest_first, least_likely_first
from air3d.models import Air
from air3d.provenance import check_writable
from air3d.scene import SceneSpec


@dataclass(frozen=True)
class Arguments:
    """Which images, what counts as bad, and where to draw them."""

    checkpoint: Path
    """Folder of the checkpoint."""
    data: Path
    """Folder of a BOP data set (3D), or .npz file with images and counts (2D)."""
    out: Path
    """PNG file to write."""
    count: int = 24
    """How many images the sheet shows; all of the data set are judged."""
    worst_by: Literal["likelihood", "position"] = "likelihood"
    """Least likely images first, or (3D) wrong counts, then objects that are farthest off."""
    effort: Annotated[Effort, tyro.conf.arg(name="")] = ONE_PASS
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Judge the first N images only."""

    def __post_init__(self):
        for name, least in (("count", 1), ("limit", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be at least {least}, got {value}")
        if self.out.suffix.lower() != ".png":
            raise ValueError(f"--out {self.out}: must end in .png")


def main(arguments: Arguments) -> None:
    """Read model and data, infer all images, draw the worst."""
    check_writable(arguments.out)
    model = load_model(arguments.checkpoint)
    test_set = load_test_set(arguments.data, model.spec, model.meshes)
    if arguments.limit is not None:
        test_set = test_set.first(arguments.limit)
    if arguments.worst_by == "position" and test_set.scenes is None:
        raise InputError("--worst-by position: is for 3D checkpoints; this one is 2D, leave it out")
    evaluation = evaluate(model, test_set, effort=arguments.effort)
    content = _draw(arguments, model, test_set, evaluation)
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.out, content)
    except OSError as error:
        raise InputError(f"--out {arguments.out}: cannot be written ({error.strerror})") from error
    print(arguments.out)


def _draw(arguments: Arguments, model: Air, test_set: TestSet, evaluation: Evaluation) -> bytes:
    """Return the sheet as a PNG file."""
    if arguments.worst_by == "position":
        rows, order = farthest_first(test_set, evaluation), "wrong counts and farthest off first"
    else:
        rows, order = least_likely_first(evaluation), "least likely first"
    rows = rows[: arguments.count]
    seen = [seen_at(model.meshes, test_set, evaluation, row) for row in rows]
    table = None
    if isinstance(model.spec, SceneSpec):
        images = BopDataset(arguments.data)
        seen = [replace(each, name=images[row].key) for each, row in zip(seen, rows, strict=True)]
        table = model.spec.table
    title = (
        f"{model.spec.name}: {len(rows)} of {len(test_set)} images of {test_set.source}, {order}; "
        f"{arguments.effort}"
    )
    picture = BytesIO()
    case_sheet(title, seen, model.meshes, table).save(picture, format="PNG")
    return picture.getvalue()


if __name__ == "__main__":
    run(main, Arguments, __doc__)
