"""What is wanted of the figures, beside what was measured.

The list lies among the results as ``wanted.yaml``: rows of a figure's name, what it must reach, and
where the files hold it. A row whose file is not there says so; notes say why others are missed.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from air3d.evaluation.results.markdown import table
from air3d.evaluation.results.read import Result, ResultsError
from air3d.evaluation.tables import percent

WANTED = "wanted.yaml"

_STEP = re.compile(r"(\w+)(?:\[(\w+)\])?")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WantedFigure(_Part):
    """A figure of a result file, and its bound.

    Attributes:
        result: name of the file, without ``.json``.
        path: keys that lead to the figure, joined by dots; ``per_type[mug]`` is the entry of a
            list whose ``name`` is mug.
        least, most: bound of the figure; one of them or neither.
        unit: how it is written.
    """

    result: str
    path: str
    least: float | None = None
    most: float | None = None
    unit: Literal["%", "degrees", "diameters", "times", "a second", ""] = ""

    def of(self, results: Mapping[str, Result]) -> float | None:
        """Return the figure; None where the file is not there.

        Raises:
            ResultsError: the file holds no such figure.
        """
        if self.result not in results:
            return None
        here = results[self.result].content
        for key, name in _STEP.findall(self.path):
            here = here.get(key) if isinstance(here, dict) else None
            if name and isinstance(here, list):
                here = next((entry for entry in here if entry.get("name") == name), None)
        if not isinstance(here, int | float):
            raise ResultsError(
                f"{WANTED}: {self.result}.json holds no number at '{self.path}'; name another path"
            )
        return float(here)

    def reached(self, value: float) -> bool:
        """Return whether the figure keeps its bounds."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    def written(self, value: float) -> str:
        """Return the figure for people, linked to its file."""
        digits = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        text = percent(value) if self.unit == "%" else f"{digits} {self.unit}".rstrip()
        return f"[{text}](../results/{self.result}.json)"


class WantedRow(_Part):
    """A row of the table.

    Attributes:
        row: what is measured.
        wanted, aim: what it must reach at least, and should, in words.
        figures: where that is found, in the order of the words.
        note: what stands in the way, what was tried, what differs.
    """

    row: str
    wanted: str
    aim: str = ""
    figures: tuple[WantedFigure, ...]
    note: str = ""


class _Wanted(_Part):
    rows: tuple[WantedRow, ...]


def read_wanted(folder: Path) -> tuple[WantedRow, ...]:
    """Read what is wanted of a folder of results; nothing where there is no such file.

    Raises:
        ResultsError: the file is damaged.
    """
    path = folder / WANTED
    if not path.exists():
        return ()
    try:
        return _Wanted.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).rows
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ResultsError(f"{path}: cannot be read ({reason}); mend it") from error


def wanted_part(rows: Sequence[WantedRow], results: Sequence[Result]) -> str:
    """Return the table of what is wanted and measured, and below it the notes."""
    by_name = {result.name: result for result in results}
    body, notes = [], []
    for row in rows:
        values = [figure.of(by_name) for figure in row.figures]
        mark = ""
        if row.note:
            notes.append(f"{len(notes) + 1}. *{row.row}*: {row.note}")
            mark = f" ({len(notes)})"
        measured = [
            "not measured" if value is None else figure.written(value)
            for figure, value in zip(row.figures, values, strict=True)
        ]
        body.append(
            [row.row + mark, row.wanted, row.aim, ", ".join(measured), _verdict(row, values)]
        )
    head = ["", "wanted at least", "aim", "measured", "reached"]
    return "\n\n".join([table(head, body), "\n".join(notes)]).strip()


def _verdict(row: WantedRow, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not values or len(known) < len(values):
        return "not measured"
    if all(figure.least is figure.most is None for figure in row.figures):
        return "reported"
    kept = (figure.reached(value) for figure, value in zip(row.figures, known, strict=True))
    return "yes" if all(kept) else "no"
