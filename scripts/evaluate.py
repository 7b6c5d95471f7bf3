"""Test a checkpoint on data whose truth is known, and write the figures as JSON.

Examples:
    python scripts/evaluate.py --checkpoint runs/single --data data/single --json scores.json
    python scripts/evaluate.py --checkpoint runs/digits --data digits.npz --json scores.json
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from air3d.checkpoint import load_model
from air3d.cli import run_together
from air3d.evaluation import (
    Evaluation,
    TestSet,
    elbo_of,
    evaluate_together,
    examine,
    load_test_set,
    result_record,
    write_bop_results,
)
from air3d.evaluation.tables import further_table, to_table
from air3d.inference import ONE_PASS, Effort
from air3d.models import compute_convolutions_in
from air3d.provenance import check_writable, write_json


@dataclass(frozen=True)
class Arguments:
    """What to test on what, and where to write."""

    checkpoint: Path
    """Folder of the checkpoint."""
    data: Path
    """Folder of a BOP data set (3D), or .npz file with images and counts (2D)."""
    json: Path
    """File to write."""
    method: str | None = None
    """What the page of results calls what is tested (default: the name of the JSON file)."""
    bop_csv: Path | None = None
    """Scenes of meshes only: write the poses too, as the BOP challenge takes them."""
    effort: Annotated[Effort, tyro.conf.arg(name="")] = ONE_PASS
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Test on the first N images only."""
    batch: int = 64
    """Images at a time."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on CPUs that have it (AVX-512 BF16, AMX)."""

    def __post_init__(self):
        for name, least in (("limit", 1), ("batch", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be at least {least}, got {value}")


def main(arguments: Arguments) -> None:
    """Read model and data, test, write the figures and show them."""
    check_writable(arguments.json)
    if arguments.bop_csv is not None:
        check_writable(arguments.bop_csv)
    model = load_model(arguments.checkpoint)
    if arguments.bfloat16:
        compute_convolutions_in(torch.bfloat16, model)
    test_set = load_test_set(arguments.data, model.spec, model.meshes)
    if arguments.limit is not None:
        test_set = test_set.first(arguments.limit)
    if arguments.bop_csv is not None and test_set.keys is None:
        raise ValueError(f"--bop-csv: {arguments.data} shows no poses; leave it out")
    evaluation = evaluate_together(model, test_set, arguments.batch, arguments.effort)
    if evaluation is None:  # the first rank has it
        return
    if arguments.bop_csv is not None:
        _write_poses(arguments.bop_csv, test_set, evaluation)
    elbo = elbo_of(model, test_set.images)
    figures = examine(test_set, evaluation, model.meshes, elbo)
    how = {
        "method": arguments.method,
        "checkpoint": str(arguments.checkpoint),
        "data": str(arguments.data),
        **asdict(arguments.effort),
        "batch": arguments.batch,
        "bfloat16": arguments.bfloat16,
    }
    write_json(arguments.json, result_record(how, test_set, evaluation, figures))
    print(to_table(evaluation), further_table(figures), sep="\n")


def _write_poses(path: Path, test_set: TestSet, evaluation: Evaluation) -> None:
    assert test_set.keys is not None and test_set.scenes is not None
    seconds = 1 / evaluation.images_per_second
    write_bop_results(path, test_set.keys, evaluation.estimates, test_set.scenes, seconds)


if __name__ == "__main__":
    run_together(main, Arguments, __doc__)
