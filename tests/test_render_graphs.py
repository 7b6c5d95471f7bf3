"""The renderer's verbs compile into one graph each, which does what they do."""

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """What each compiled verb answers to wrong input, when its results are those of the plain one.

    Of all verbs at once, as torch's compiler takes seconds to load.
    """
    command = [sys.executable, "-m", "tests.compiled_graphs"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return dict(line.split(": ", 1) for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        ("render", "identity must lie between -1 (absent) and 0"),
        ("merge", "selection must hold numbers from -1 to 2 (one per object), got 0 to 3"),
        ("rasterize", "image 1 asks for 3 from 4 on"),
    ],
)
def test_verbs_compile_into_one_graph(answers, verb, sentence):
    """A check of values is a part of the graph, too."""
    assert sentence in answers[verb]
