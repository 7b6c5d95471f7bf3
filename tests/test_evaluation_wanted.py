"""What is wanted of the figures: which are there, and which keep their bounds."""

import pytest
from conftest import ROOT

from air3d.evaluation.results.read import Result, ResultsError, read_results
from air3d.evaluation.results.wanted import (
    WANTED,
    WantedFigure,
    WantedRow,
    read_wanted,
    wanted_part,
)

CONTENT = {"metrics": {"all_right": 0.975, "per_type": [{"name": "cup", "yaw": 3.5}]}}
RESULTS = [Result("tables", CONTENT)]


def row(*figures: dict, **fields: str) -> WantedRow:
    filled = {"row": "tables", "wanted": "much", **fields}
    return WantedRow(figures=tuple(WantedFigure(**figure) for figure in figures), **filled)


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ({"least": 0.97}, "yes"),
        ({"least": 0.98}, "no"),
        ({"most": 0.98}, "yes"),
        ({"most": 0.97}, "no"),
        ({}, "reported"),
    ],
)
def test_a_figure_is_held_against_its_bound(bounds, verdict):
    figure = {"result": "tables", "path": "metrics.all_right", "unit": "%", **bounds}
    line = wanted_part([row(figure)], RESULTS).splitlines()[-1]
    assert line == f"| tables | much |  | [97.50 %](../results/tables.json) | {verdict} |"


@pytest.mark.parametrize(
    ("value", "text"), [(1050.4, "1,050"), (999.6, "1,000"), (0.0176, "0.0176")]
)
def test_large_figures_have_no_exponent(value, text):
    figure = WantedFigure(result="tables", path="x", unit="a second")
    assert figure.written(value) == f"[{text} a second](../results/tables.json)"


def test_all_figures_of_a_row_must_keep_theirs_and_be_there():
    good = {"result": "tables", "path": "metrics.all_right", "least": 0.9}
    cup = {"result": "tables", "path": "metrics.per_type[cup].yaw", "unit": "degrees", "most": 3.0}
    line = wanted_part([row(good, cup)], RESULTS).splitlines()[-1]
    assert "[3.5 degrees]" in line and line.endswith("| no |")
    line = wanted_part([row(good, good | {"result": "elsewhere"})], RESULTS).splitlines()[-1]
    assert "not measured | not measured |" in line


def test_notes_stand_below_the_table_by_number():
    figure = {"result": "tables", "path": "metrics.all_right"}
    part = wanted_part([row(figure), row(figure, note="Hard.")], RESULTS)
    assert "| tables (1) |" in part and part.endswith("1. *tables*: Hard.")


@pytest.mark.parametrize("path", ["metrics.none", "metrics", "metrics.per_type[pot].yaw", "a.b.c"])
def test_a_path_that_leads_nowhere_is_an_error(path):
    with pytest.raises(ResultsError, match="holds no number"):
        wanted_part([row({"result": "tables", "path": path})], RESULTS)


def test_a_damaged_list_is_one_sentence(tmp_path):
    assert read_wanted(tmp_path) == ()
    (tmp_path / WANTED).write_text("rows: [{row: x, wanted: y, figure: []}]")
    with pytest.raises(ResultsError, match="wanted.yaml: cannot be read .*; mend it") as caught:
        read_wanted(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_list_that_is_shipped_finds_all_its_figures():
    folder = ROOT / "results"
    assert len(read_wanted(folder)) > 20
    assert "| yes |" in wanted_part(read_wanted(folder), read_results(folder))
