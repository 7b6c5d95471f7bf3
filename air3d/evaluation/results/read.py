"""Result files: JSON with the figures of one run and its provenance."""

import json
from dataclasses import dataclass
from pathlib import Path


class ResultsError(ValueError):
    """A result file that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Result:
    """One result file.

    Attributes:
        name: of the file, without ``.json``.
        content: what it holds, parsed; ``provenance`` is there.
    """

    name: str
    content: dict

    @property
    def is_evaluation(self) -> bool:
        """Whether ``evaluate.py`` or ``rivals.py`` wrote it."""
        return "source" in self.content and "metrics" in self.content

    @property
    def is_of_scenes(self) -> bool:
        """Whether it is an evaluation in 3D."""
        return self.is_evaluation and "count" in self.content["metrics"]

    @property
    def is_benchmark(self) -> bool:
        """Whether ``benchmark.py render`` wrote it."""
        return "rows" in self.content and "floor" in self.content

    @property
    def is_pull_in(self) -> bool:
        """Whether it tells from how far refinement brings objects home."""
        return "ways" in self.content and "scenes_per_start" in self.content

    @property
    def method(self) -> str:
        """What was tested: the name that the script was given, or the file's."""
        return self.content.get("method") or self.name


def read_results(folder: Path) -> list[Result]:
    """Read every JSON file of a folder, in the order of their names.

    Raises:
        ResultsError: there is none, or one is damaged or tells nothing of its origin.
    """
    results = [_read(path) for path in sorted(folder.glob("*.json"))]
    if not results:
        raise ResultsError(f"{folder}: holds no result (*.json); run scripts/evaluate.py first")
    return results


def _read(path: Path) -> Result:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: cannot be read as JSON ({error}); make it anew") from error
    if not isinstance(content, dict) or "provenance" not in content:
        raise ResultsError(f"{path}: does not tell where it comes from (provenance); make it anew")
    return Result(path.stem, content)
