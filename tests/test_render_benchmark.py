"""benchmark.py: writes its figures with where they come from; refuses bad options."""

import json


def test_benchmark_writes_what_it_measured(run_script, tmp_path):
    path = tmp_path / "new" / "render.json"
    answer = run_script("benchmark.py", "render", "--runs", "1", "--images", "2", "--json", path)
    assert answer.returncode == 0, answer.stderr
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["images"] == 2
    assert [row["objects"] for row in content["milliseconds"]] == [1, 3]
    assert all(row["faces"] == 320 and row["total"] > 0 for row in content["milliseconds"])
    assert content["provenance"]["processor"]
    assert content["provenance"]["threads"] >= 1
    assert "3 object(s), 320 faces" in answer.stdout


def test_benchmark_refuses_no_runs(run_script, tmp_path):
    answer = run_script("benchmark.py", "render", "--runs", "0", "--json", tmp_path / "x.json")
    assert answer.returncode != 0
    assert "--runs must be at least 1, got 0" in answer.stdout + answer.stderr
    assert not (tmp_path / "x.json").exists()
