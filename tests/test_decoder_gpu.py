"""The scene decoder on a GPU: everything stays there, and the host waits for nothing.

Torch's meta device, whose tensors have shapes but no numbers, stands in for a GPU where there is
none: an operation that would have to read a number fails on it.
"""

import dataclasses
import sys

import pytest
import torch
from conftest import ROOT
from cuda_cases import sent
from model_cases import SMALL
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from air3d.data import SceneStream
from air3d.models import build_air, decoders
from air3d.objectives import enumerate_swaps
from air3d.render import backends, cuda
from air3d.scene import load_scene

META = torch.device("meta")


class Borders(TorchDispatchMode):
    """Notes operations that take tensors of two devices, or that wait for a copy from the host."""

    def __init__(self):
        super().__init__()
        self.crossed: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, torch.Tensor)]
        # A single number of the host goes along with an operation's arguments.
        devices = {tensor.device.type for tensor in tensors if tensor.dim()}
        leaves = kwargs.get("device") == META and "cpu" in devices
        # The backend's own operations take a selection from the host, and do not wait for it.
        mixed = len(devices) > 1 and function.namespace != "air3d"
        if mixed or (leaves and not kwargs.get("non_blocking")):
            self.crossed.append(str(function))
        return function(*args, **kwargs)


class Literals(TorchFunctionMode):
    """Notes tensors that are made of Python's numbers on a GPU, for which the host waits, too."""

    def __init__(self):
        super().__init__()
        self.made: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there = function is torch.Tensor.new_tensor and args[0].device == META
        if there or (function is torch.tensor and kwargs.get("device") == META):
            self.made.append(str(args[-1]))
        return function(*args, **kwargs)


@pytest.fixture
def stand_in(monkeypatch) -> None:
    """Take the meta device for a GPU, with the CUDA backend."""
    plain = backends.fast_backend

    def fast_backend(verb, backend, device):
        return cuda if device == META else plain(verb, backend, device)

    for name in ("renderer", "composite", "ground"):
        monkeypatch.setattr(sys.modules[f"air3d.render.{name}"], "fast_backend", fast_backend)
    monkeypatch.setattr(decoders, "_renders_on", lambda tensor: tensor.device)


def case(name: str):
    """Return a small model of a scene file, and what it says of its own scenes."""
    spec = load_scene(ROOT / "scenes" / f"{name}.yaml")
    stream = SceneStream(spec, batch=2, seed=1)
    torch.manual_seed(0)
    model = build_air(spec, SMALL, stream.meshes)
    batch = stream.batch(0)
    with torch.no_grad():
        unrolled = model.mode(batch.images)
    steps, kinds = unrolled.latents.scale.shape[1], len(stream.meshes)
    drawn = torch.randint(kinds, (2, steps))
    return model.decoder, batch, unrolled, enumerate_swaps(steps, kinds), drawn


def with_leaves(value):
    """Return latents or a view with leaves for all tensors that may have gradients."""
    if isinstance(value, torch.Tensor):
        return value.detach().requires_grad_(value.is_floating_point())
    if dataclasses.is_dataclass(value):
        parts = {f.name: with_leaves(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("name", ["single_object", "tabletop"])
def test_nothing_leaves_the_gpu_nor_waits(name):
    """From the latents to the likelihoods and back, with a table and without."""
    decoder, batch, unrolled, hypotheses, drawn = case(name)
    unrolled, images, drawn = sent((with_leaves(unrolled), batch.images, drawn), META)
    decoder._bank_on(META)  # sends the meshes, once
    with Literals() as literals, Borders() as borders:
        scores = decoder.log_likelihood(images, unrolled, hypotheses, drawn)
        scores.sum().backward()
    assert borders.crossed == [] and literals.made == []
    assert scores.device == META and scores.shape == (2, len(hypotheses))
    assert unrolled.latents.position.grad.device == META


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", ["single_object", "tabletop"])
def test_a_gpu_scores_as_the_cpu_does(name):
    decoder, batch, unrolled, hypotheses, drawn = case(name)
    gpu, results = torch.device("cuda", 0), []
    for device in (torch.device("cpu"), gpu):
        given = sent(with_leaves(unrolled), device)
        images, chosen = batch.images.to(device), drawn.to(device)
        for mode in ("default", "error"):  # compiled first
            torch.cuda.set_sync_debug_mode(mode if device == gpu else "default")
            try:
                scores = decoder.log_likelihood(images, given, hypotheses, chosen)
                places = given.latents.position
                (gradient,) = torch.autograd.grad(scores.mean(), places)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        results.append((scores.detach().cpu(), gradient.cpu()))
    for truth, value in zip(*results, strict=True):
        largest = float(truth.abs().max())
        torch.testing.assert_close(value, truth, rtol=0.0, atol=2e-3 * largest)
