"""What training, inference and data sets cost, as ``benchmark.py`` measured it."""

from collections.abc import Iterator, Sequence

from air3d.evaluation.results.markdown import number, table
from air3d.evaluation.tables import percent


def cost_parts(content: dict) -> Iterator[str]:
    """Yield the titles and tables of what a result file tells of costs; nothing of most files."""
    if rows := content.get("training_steps"):
        yield "## Steps of training"
        yield (
            "*Floors* is how many times longer a step takes than the network's arithmetic at the "
            "machine's speed. Shares are of a step whose batch is made first."
        )
        yield _shares(rows, [_training(row) for row in rows])
    if rows := content.get("inference_passes"):
        yield "## Passes of inference"
        yield "Images a second on all threads; shares on one."
        yield _shares(rows, [_inference(row) for row in rows])
    if rows := content.get("data_sets"):
        yield "## Making data sets"
        yield "Images a second by `render_dataset.py`; shares on one thread."
        yield _shares(rows, [_data_set(row) for row in rows])


def _training(row: dict) -> dict[str, str]:
    return {
        "phase": row["phase"],
        "batch": str(row["batch"]),
        "steps/s": number(row["steps_per_second"], 2),
        "ms": number(row["step"], 0),
        "floors": number(row["step"] / row["floor"]["arithmetic"], 1),
        "MiB": number(row["peak"], 0),
    }


def _inference(row: dict) -> dict[str, str]:
    return {
        "effort": row["effort"],
        "batch": str(row["batch"]),
        "images/s": number(row["images_per_second"], 1),
        "MiB": number(row["peak"], 0),
    }


def _data_set(row: dict) -> dict[str, str]:
    height, width = row["size"]
    return {
        "scene": row["scene"],
        "size": f"{height}x{width}",
        "images/s": number(row["images_per_second"], 0),
        "KiB each": number(row["bytes_per_image"] / 1024, 1),
        "MiB": number(row["peak"], 0),
    }


def _shares(rows: Sequence[dict], figures: Sequence[dict[str, str]]) -> str:
    """Return a table of figures, and of the stages' shares beside them."""
    stages = list(rows[0]["shares"])
    return table(
        [*figures[0], *stages],
        [
            [*own.values(), *(percent(row["shares"][stage]) for stage in stages)]
            for row, own in zip(rows, figures, strict=True)
        ],
    )
