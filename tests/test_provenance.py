"""Figures say where they come from, and are written whole or not at all."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

import air3d
from air3d.files import temporary_name, write_atomically
from air3d.provenance import check_writable, provenance, write_json


def test_provenance_says_what_is_needed_to_repeat(monkeypatch):
    monkeypatch.setattr("sys.argv", ["scripts/evaluate.py", "--data", "two words"])
    stamp = provenance(seed=7)
    assert stamp.command == "python scripts/evaluate.py --data 'two words'"
    assert stamp.seed == 7 and stamp.gpu is None
    assert stamp.versions["air3d"] == air3d.__version__
    assert stamp.cores >= 1 and stamp.processor
    assert json.loads(json.dumps(dataclasses.asdict(stamp))) == dataclasses.asdict(stamp)


def test_written_json_reads_back(tmp_path):
    path = tmp_path / "new" / "folder" / "scores.json"
    write_json(path, {"accuracy": 0.5, "missing": None})
    assert json.loads(path.read_text()) == {"accuracy": 0.5, "missing": None}
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("content", [{"x": float("nan")}, {"x": object()}])
def test_what_json_lacks_leaves_the_old_file(tmp_path, content):
    path = tmp_path / "scores.json"
    write_json(path, {"old": 1})
    with pytest.raises((TypeError, ValueError)):
        write_json(path, content)
    assert json.loads(path.read_text()) == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_asking_whether_one_can_write_makes_nothing(tmp_path):
    check_writable(tmp_path / "new" / "folder" / "scores.json")
    assert not list(tmp_path.iterdir())


def test_processes_do_not_share_a_temporary_name(tmp_path):
    path = tmp_path / "scores.json"
    program = (
        "import sys, pathlib, air3d.files; "
        "print(air3d.files.temporary_name(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", program, str(path)]
    other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    mine = temporary_name(path)
    assert str(mine) != other and mine.suffix == ".tmp" and other.endswith(".tmp")


@pytest.mark.skipif(os.name != "posix", reason="nobody knows here whether a process is alive")
def test_what_killed_processes_left_goes_and_what_others_write_stays(tmp_path):
    path = tmp_path / "scores.json"
    mine = temporary_name(path).name
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stray, living, foreign = (
        tmp_path / mine.replace(f".{os.getpid()}.", f".{process}.")
        for process in (ended.pid, os.getppid(), "x")
    )
    stray.mkdir()
    (stray / "half").write_text("half")
    living.write_text("half")
    foreign.write_text("somebody's")
    write_atomically(path, b"{}")
    assert set(tmp_path.iterdir()) == {path, living, foreign}


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "scores.json", tmp_path):
        for attempt in (check_writable, lambda path: write_json(path, {})):
            with pytest.raises(OSError, match=r"cannot be written .*; choose another place"):
                attempt(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
