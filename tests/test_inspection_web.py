"""The scene in a browser: viser serves it, and says what to install where it is missing."""

import sys
import urllib.request

import pytest
import torch

from air3d.geometry import Camera, look_at
from air3d.inspection import web
from air3d.inspection.exhibit import Exhibit
from air3d.inspection.glb import build_scene


@pytest.fixture
def scene():
    """A table before a camera."""
    world_to_camera = look_at(torch.tensor([0.0, -2.0, 1.0]), torch.zeros(3))
    intrinsics = torch.tensor([[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]])
    return build_scene(Exhibit((), Camera(world_to_camera[None], intrinsics[None], (48, 64))))


def test_a_missing_viser_is_answered_with_what_to_install(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(OSError, match=r"^viser is not installed; run: pip install -e '\.\[web\]'$"):
        web.serve(scene, 8080)


def test_a_browser_gets_the_page_while_it_is_served(scene, capsys):
    pytest.importorskip("viser")
    with web.serving(scene, 8080) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10)


def test_ctrl_c_ends_the_server(scene, monkeypatch, capsys):
    pytest.importorskip("viser")

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(web.time, "sleep", interrupted)
    web.serve(scene, 8080)
    assert "127.0.0.1" in capsys.readouterr().out
