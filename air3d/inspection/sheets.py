"""A sheet of test images with what became of them: input, reconstruction, outlines; and a rank."""

import math
from collections.abc import Sequence

import PIL.Image

from air3d.estimate import ObjectEstimate
from air3d.evaluation import Evaluation, TestSet, match_objects
from air3d.inspection.panels import (
    captioned,
    count_text,
    enlarge,
    overlay,
    panel_scale,
    sheet,
    to_picture,
)
from air3d.inspection.report import Seen
from air3d.scene import Mesh
from air3d.scene.spec import TableSpec

COLUMNS = 3


def least_likely_first(evaluation: Evaluation) -> list[int]:
    """Return the rows of a test set, those first whose images the estimate explains least."""
    scores = [estimate.log_likelihood for estimate in evaluation.estimates]
    return sorted(range(len(scores)), key=scores.__getitem__)


def farthest_first(test_set: TestSet, evaluation: Evaluation) -> list[int]:
    """Return the rows of a 3D test set, those first whose worst object is farthest off (metres).

    Images of a wrong count come before all others, the least likely first.
    """
    errors = [_worst_error(test_set, evaluation, row) for row in range(len(test_set))]
    return sorted(least_likely_first(evaluation), key=errors.__getitem__, reverse=True)


def case_sheet(
    title: str, seen: Sequence[Seen], meshes: Sequence[Mesh], table: TableSpec | None = None
) -> PIL.Image.Image:
    """Lay out images of a test set with their reconstructions and overlays, and a remark each.

    Raises:
        ValueError: there is nothing to show.
    """
    page = sheet([_case(each, meshes, table) for each in seen], columns=COLUMNS, gap=20)
    return captioned(page, f"  {title}")


def _case(seen: Seen, meshes: Sequence[Mesh], table: TableSpec | None) -> PIL.Image.Image:
    scale = max(1, round(0.7 * panel_scale(*seen.image.shape[-2:])))
    pictures = [
        enlarge(to_picture(seen.image), scale),
        enlarge(to_picture(seen.estimate.reconstruction), scale),
        overlay(seen.image, seen.estimate, meshes, table=table, scale=scale),
    ]
    row = sheet(pictures, columns=3, gap=6)
    words = f"{seen.name}: log p {seen.estimate.log_likelihood:.0f}; {count_text(seen.estimate)}"
    return captioned(captioned(row, f"  {seen.remark}"), f"  {words}")


def _worst_error(test_set: TestSet, evaluation: Evaluation, row: int) -> float:
    """Return how far the worst object of an image is off; infinity where the count is wrong."""
    assert test_set.scenes is not None
    true = test_set.scenes[row : row + 1].present().position[0]
    objects = evaluation.estimates[row].objects
    found = [each.object_to_world[:3, 3] for each in objects if isinstance(each, ObjectEstimate)]
    if len(found) != len(true):
        return math.inf
    if not found:
        return 0.0
    places = true.new_tensor([place.tolist() for place in found])
    pairs = match_objects(places, true)
    return max(float((places[p.estimated] - true[p.true]).norm()) for p in pairs)
