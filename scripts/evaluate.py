"""Test a checkpoint on data whose truth is known, and write the figures as JSON.

Examples:
    python scripts/evaluate.py --checkpoint runs/single --data data/single --json scores.json
    python scripts/evaluate.py --checkpoint runs/digits --data digits.npz --json scores.json
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Settings:
    """Test a checkpoint on data whose truth is known, and write the figures as JSON."""

    checkpoint: Path
    """Folder of the checkpoint."""
    data: Path
    """Folder of a BOP data set (3D), or .npz file with images and counts (2D)."""
    json: Path
    """File to write."""
    refine_steps: int = 0
    """Steps of refinement through the renderer for each image."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Test on the first N images only."""
    batch: int = 64
    """Images at a time."""

    def __post_init__(self):
        for name, least in (("refine_steps", 0), ("limit", 1), ("batch", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be at least {least}, got {value}")


def main(settings: Settings) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from air3d.checkpoint import load_model
    from air3d.evaluation import check_writable, load_test_set, provenance, to_json, write_json
    from air3d.evaluation.evaluate import evaluate
    from air3d.evaluation.tables import to_table

    check_writable(settings.json)
    model = load_model(settings.checkpoint)
    test_set = load_test_set(settings.data, model.spec, model.meshes)
    if settings.limit is not None:
        test_set = test_set.first(settings.limit)
    evaluation = evaluate(model, test_set, settings.batch, settings.refine_steps)
    write_json(
        settings.json,
        {
            "checkpoint": str(settings.checkpoint),
            "data": str(settings.data),
            "source": test_set.source,
            "images": len(test_set),
            "refine_steps": settings.refine_steps,
            "batch": settings.batch,
            "images_per_second": evaluation.images_per_second,
            "metrics": to_json(evaluation.metrics),
            "provenance": asdict(provenance()),
        },
    )
    print(to_table(evaluation))


if __name__ == "__main__":
    try:
        main(tyro.cli(Settings, description=__doc__))
    except (OSError, ValueError) as error:  # wrong input, each with a sentence that says so
        sys.exit(f"evaluate.py: {error}")
