"""The page of results: up to date, and made of whatever result files there are."""

import json

import pytest
import torch
from conftest import ROOT
from evaluation_cases import TABLE

from air3d.data import SceneStream
from air3d.evaluation import TestSet, elbo_of, evaluate, examine, to_json
from air3d.evaluation.results import ResultsError, results_page
from air3d.models import SceneConfig, build_air

SHIPPED = json.loads((ROOT / "results" / "single_object.json").read_text())


@pytest.fixture(scope="module")
def new():
    """Return what evaluate.py writes today, of a model that knows nothing."""
    torch.manual_seed(0)
    small = SceneConfig(
        channels=(8, 8), features=16, state=16, glimpse_channels=(8, 8), hidden=16, yaw_bins=4
    )
    stream = SceneStream(TABLE, batch=12, seed=0)
    model = build_air(TABLE, small, stream.meshes).eval()
    test_set = TestSet.of_scenes(stream.batch(0), source="tables")
    evaluation = evaluate(model, test_set)
    return {
        **SHIPPED,
        "method": "a beginner",
        "source": test_set.source,
        "images": 12,
        "metrics": to_json(evaluation.metrics),
        **to_json(examine(test_set, evaluation, model.meshes, elbo_of(model, test_set.images))),
    }


def _write(folder, **contents):
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, allow_nan=False))
    return folder


def test_the_page_is_up_to_date():
    there = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert there == results_page(ROOT / "results"), "run: python scripts/results.py"


def test_the_page_names_every_file_its_command_commit_and_machine():
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for path in (ROOT / "results").glob("*.json"):
        made = json.loads(path.read_text())["provenance"]
        assert f"[{path.stem}](../results/{path.name})" in page
        assert made["command"] in page and made["commit"][:12] in page
        assert made["processor"] in page


def test_methods_on_the_same_images_stand_in_one_table(tmp_path, new):
    rival = {**new, "method": "a rival"}
    page = results_page(_write(tmp_path, another=SHIPPED, new=new, rival=rival))
    tables, rows = page.split("### "), {}
    for table in tables:
        for method in ("| another |", "| a beginner |", "| a rival |"):
            if method in table:
                rows[method] = table.splitlines()[0]
    assert rows == {
        "| another |": "single, seed 100",
        "| a beginner |": "tables",
        "| a rival |": "tables",
    }


def test_every_figure_of_an_open_scene_is_told(tmp_path, new):
    page = results_page(_write(tmp_path, new=new))
    for words in (
        "camera, azimuth degrees",
        "camera, eye metres",
        "light, direction degrees",
        "scale, relative",
        "colour, per channel",
        "average precision, BOP24",
        "add s, diameters",
        "PSNR",
        "ELBO: ",
        "90 % region",
        "expected calibration error",
        "with a kind repeated",
        "| teapot |",
    ):
        assert words in page


def test_refinement_from_afar_has_a_table(tmp_path):
    start = {"distance": 0.5, "angle": 0.1}
    rows = [{"way": way, **start, "share_home": share} for way, share in (("a", 0.5), ("b", 1.0))]
    rows.append({"way": "a", "distance": 1.5, "angle": 0.1, "share_home": 0.25})
    content = {"ways": {}, "rows": rows, "steps": 40, "scenes_per_start": 2}
    page = results_page(_write(tmp_path, home=content | {"provenance": SHIPPED["provenance"]}))
    assert "| way | 0.5, 0.1 | 1.5, 0.1 |" in page
    assert "| a | 50.00 % | 25.00 % |" in page and "| b | 100.00 % | - |" in page


def test_costs_have_tables(tmp_path):
    """Rows as benchmark.py writes them."""
    shared = {"shares": {"encoder": 0.25, "backward": 0.75}, "peak": None, "step": 30.0}
    step = {"phase": "sleep", "batch": 64, "steps_per_second": 8.5, "floor": {"arithmetic": 10.0}}
    infer = {"effort": "one pass", "batch": 3, "images_per_second": 12.25}
    made = {"scene": "t", "size": [64, 48], "images_per_second": 99.6, "bytes_per_image": 2048.0}
    several = {"training_steps": step, "inference_passes": infer, "data_sets": made}
    contents = {
        name: {name: [row | shared], "provenance": SHIPPED["provenance"]}
        for name, row in several.items()
    }
    page = results_page(_write(tmp_path, **contents))
    assert "| phase | batch | steps/s | ms | floors | MiB | encoder | backward |" in page
    assert "| sleep | 64 | 8.50 | 30 | 3.0 | - | 25.00 % | 75.00 % |" in page
    assert "| one pass | 3 | 12.2 | - | 25.00 % | 75.00 % |" in page
    assert "| t | 64x48 | 100 | 2.0 | - | 25.00 % | 75.00 % |" in page


@pytest.mark.parametrize(
    ("content", "fault"),
    [("{", "cannot be read as JSON"), ("{}", "provenance"), (None, "holds no result")],
)
def test_what_is_no_result_is_refused(tmp_path, content, fault):
    if content is not None:
        (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ResultsError, match=fault):
        results_page(tmp_path)


def test_the_script_writes_the_page(tmp_path, call_script):
    folder = _write(tmp_path, another=SHIPPED)
    out = tmp_path / "docs" / "results.md"
    assert call_script("results.py", "--results", folder, "--out", out) == 0
    assert out.read_text() == results_page(folder)
