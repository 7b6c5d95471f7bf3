"""Write the page of results from the JSON files that evaluate.py and benchmark.py leave.

Example:
    python scripts/results.py
"""

from dataclasses import dataclass
from pathlib import Path

from air3d.cli import run
from air3d.evaluation.results import results_page
from air3d.files import write_atomically
from air3d.provenance import check_writable


@dataclass(frozen=True)
class Arguments:
    """Where the results lie, and where their page goes."""

    results: Path = Path("results")
    """Folder of JSON files."""
    out: Path = Path("docs/results.md")
    """Markdown file to write."""


def main(arguments: Arguments) -> None:
    """Read all results and write their page."""
    check_writable(arguments.out)
    page = results_page(arguments.results)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.out, page.encode())
    print(arguments.out)


if __name__ == "__main__":
    run(main, Arguments, __doc__)
