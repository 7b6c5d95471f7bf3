"""Figures as Markdown."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; columns of nothing but figures are set flush right."""
    columns = list(zip(*rows, strict=True)) or [()] * len(head)
    rule = ["---:" if all(map(_is_figure, column)) else "---" for column in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def number(value: float | None, digits: int) -> str:
    """Write a number with so many decimals; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def median_and_mean(errors: dict | None, digits: int) -> str:
    """Write a summary of errors; a dash where there is none."""
    if errors is None or errors["median"] is None:
        return "-"
    return f"{errors['median']:.{digits}f} / {errors['mean']:.{digits}f}"


def _is_figure(text: str) -> bool:
    return text == "-" or text[:1].isdigit()
