"""The page of results: every result file's figures, then how each was made."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from air3d.evaluation.results.costs import cost_parts
from air3d.evaluation.results.markdown import number, table
from air3d.evaluation.results.pull_in import pull_in_table
from air3d.evaluation.results.read import Result, read_results
from air3d.evaluation.results.scenes import scene_details, scene_tables
from air3d.evaluation.results.wanted import WantedRow, read_wanted, wanted_part
from air3d.evaluation.tables import percent

_TITLE = """# Results

Made by `python scripts/results.py` from the JSON files under [results](../results); edit those, or
rather the code. Errors are median / mean. Position is in diameters of the object; rotation is up to
symmetry, without solids of revolution. *All right* are images whose count, every identity and every
position (within 0.1 diameters) is right, *and turned* those whose every rotation is within 10
degrees too. AP is BOP's of 2024, ADD(-S) the share of all objects below 0.1 diameters. Methods that
were tested on the same images stand beside one another."""


def results_page(folder: Path) -> str:
    """Return the page, in Markdown, of a folder of result files.

    Raises:
        ResultsError: there is none, or one is damaged.
    """
    parts = _parts(read_results(folder), read_wanted(folder))
    return "\n\n".join(parts) + "\n"


def _parts(results: Sequence[Result], wanted: Sequence[WantedRow]) -> Iterator[str]:
    yield _TITLE
    if wanted:
        yield "## Wanted and measured"
        yield wanted_part(wanted, results)
    if scenes := [result for result in results if result.is_of_scenes]:
        yield "## Scenes of meshes"
        yield from scene_tables(scenes)
        yield "### In detail"
        for result in scenes:
            yield from scene_details(result)
    if canvases := [r for r in results if r.is_evaluation and not r.is_of_scenes]:
        yield "## Canvases of digits"
        yield _canvases(canvases)
    for result in results:
        yield from _other_part(result)
    yield "## How they were made"
    yield _provenance(results)


def _other_part(result: Result) -> Iterator[str]:
    if result.is_benchmark:
        yield "## The renderer"
        yield "Milliseconds, PyTorch3D's CPU path beside it in the same run."
        yield _benchmark(result.content["rows"])
    if result.is_pull_in:
        yield "## Refinement from afar"
        steps = result.content["steps"]
        yield f"Share that comes home in {steps} steps; starts in diameters and in half turns."
        yield pull_in_table(result.content["rows"])
    yield from cost_parts(result.content)


def _canvases(results: Sequence[Result]) -> str:
    most = max(len(result.content["metrics"]["per_count"]) for result in results)
    head = ["method", "images of", "images", "count", *(f"of {n}" for n in range(most)), "images/s"]
    return table(
        head,
        [
            [
                result.method,
                result.content["source"],
                f"{result.content['images']:,}",
                percent(result.content["metrics"]["accuracy"]),
                *_padded(result.content["metrics"]["per_count"], most),
                number(result.content["images_per_second"], 0),
            ]
            for result in results
        ],
    )


def _padded(shares: Sequence[float | None], length: int) -> list[str]:
    return [percent(share) for share in [*shares, *[None] * (length - len(shares))]]


def _benchmark(rows: Sequence[dict]) -> str:
    head = ["path", "images", "side", "faces", "objects", "forward", "and backward", "MiB"]
    return table(
        head,
        [
            [
                row["path"],
                *(str(row[key]) for key in ("images", "size", "faces", "objects")),
                number(row["forward"], 1),
                number(row["total"], 1),
                number(row["peak"], 0),
            ]
            for row in rows
        ],
    )


def _provenance(results: Sequence[Result]) -> str:
    head = ["file", "command", "seed", "commit", "machine", "torch"]
    return table(head, [_origin(result) for result in results])


def _origin(result: Result) -> list[str]:
    made = result.content["provenance"]
    processor = f"{made['threads']} threads of {made['cores']} cores, {made['processor']}"
    return [
        f"[{result.name}](../results/{result.name}.json)",
        f"`{made['command']}`",
        "-" if made["seed"] is None else str(made["seed"]),
        (made["commit"] or "-")[:12],
        made["gpu"] or processor,
        made["versions"]["torch"],
    ]
