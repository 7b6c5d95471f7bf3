"""Figures as Markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def number(value: float | None, digits: int) -> str:
    """Write a number with so many decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def median_and_mean(errors: dict | None, digits: int) -> str:
    """Write a summary of errors; a dash where there is none."""
    if errors is None or errors["median"] is None:
        return "-"
    return f"{errors['median']:.{digits}f} / {errors['mean']:.{digits}f}"
