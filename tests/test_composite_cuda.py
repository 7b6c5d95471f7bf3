"""The CUDA backend merges layers as the CPU's does; see ``test_render_cuda``."""

import math
from dataclasses import replace

import pytest
import torch
from cuda_cases import sent
from render_cases import one_thread  # noqa: F401 (a fixture)
from test_composite import (
    COLOUR,
    SELECTION,
    evaluate,
    gradients_of,
    inputs_of,
    random_layers,
)

from air3d.objectives import enumerate_hypotheses
from air3d.render import Layers, Painting, cpu, cuda
from air3d.render import paint as paint_any
from air3d.render.composite import composite, prefix_selection
from air3d.render.cuda.images import PIXELS

pytestmark = pytest.mark.usefixtures("one_thread")
KERNELS = ("composite", "squared_error")
CLOSE = {torch.float64: 1e-11, torch.float32: 1e-5}
LARGE = random_layers(1, 4, (13, 17))
CASES = {
    "small": (random_layers(), SELECTION),
    "without depth": (replace(random_layers(), depth=None), SELECTION),
    "several blocks": (LARGE, enumerate_hypotheses(2, 2)),
    "no objects": (random_layers(2, 0), prefix_selection(0)),
}


@pytest.mark.parametrize("verb", KERNELS)
@pytest.mark.parametrize(
    ("case", "behind", "dtype"),
    [
        ("small", "colour", torch.float64),
        ("small", "image", torch.float64),
        ("small", "images", torch.float32),
        ("without depth", "colour", torch.float64),
        ("several blocks", "images", torch.float32),
        ("no objects", "colour", torch.float64),
    ],
)
def test_values_and_gradients_are_the_cpus(verb, case, behind, dtype, device):
    layers, selection = CASES[case]
    inputs = inputs_of(layers, dtype)
    if behind != "colour":
        generator = torch.Generator().manual_seed(3)
        count = len(layers.colour) if behind == "images" else 1
        image = torch.rand(count, *layers.log_weight.shape[2:], 3, generator=generator)
        inputs["background"] = image.to(dtype).requires_grad_()
    results = []
    for backend, given in ((cpu, inputs), (cuda, sent(inputs, device))):
        outputs = evaluate(verb, backend, given, selection)
        moved = [part.cpu() for part in outputs]
        results.append(dict(enumerate(moved)) | gradients_of(moved, given))
    truths, values = results
    assert values.keys() == truths.keys()
    for name, truth in truths.items():
        value, truth = values[name].detach().cpu(), truth.detach()
        assert value.dtype == dtype and value.shape == truth.shape
        torch.testing.assert_close(value, truth, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    assert len(layers.log_weight[0]) == 0 or truths["log_weight"].any()
    assert case != "several blocks" or layers.log_weight[0, 0].numel() > PIXELS


@pytest.mark.parametrize("verb", ["visibility", "expected_composite"])
def test_verbs_without_kernels_of_their_own_are_the_cpus(verb, device):
    inputs = inputs_of(random_layers())
    results = []
    for backend, given in ((cpu, inputs), (cuda, sent(inputs, device))):
        outputs = [part.cpu() for part in evaluate(verb, backend, given, SELECTION)]
        results.append(dict(enumerate(outputs)) | gradients_of(outputs, given))
    for name, truth in results[0].items():
        value = results[1][name].detach().cpu()
        torch.testing.assert_close(value, truth.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("verb", KERNELS)
@pytest.mark.parametrize("place", [0, 1])
def test_nan_in_a_log_weight_comes_out(verb, place, device):
    """It is no sign that a layer is not there; elsewhere all is as it was."""
    inputs = {name: part.detach() for name, part in inputs_of(random_layers()).items()}
    inputs["log_weight"] = torch.full_like(inputs["log_weight"], 2.0)
    selection = torch.tensor([[0, 1], [place, -1]])
    truth = evaluate(verb, cuda, sent(inputs, device), selection)
    inputs["log_weight"][0, place, 1, 2] = torch.nan
    values = evaluate(verb, cuda, sent(inputs, device), selection)
    for number, (value, true_value) in enumerate(zip(values, truth, strict=True)):
        assert all(image.isnan().any() for image in value[0]) or number == 1  # alpha
        assert torch.equal(value[1], true_value[1])


@pytest.mark.parametrize("verb", KERNELS)
def test_nothing_finite_makes_nan_or_infinity(verb, device):
    """Layers in front by any distance, of any opacity, among them beyond what a layer may hold."""
    extreme = torch.tensor([-3e38, -1e5, -50.0, 0.0, 50.0, 3e38, -math.inf])
    missed = torch.tensor([-3e38, -120.0, -1e-30, 0.0, 5.0])
    log_weight = torch.cartesian_prod(extreme, extreme).T.reshape(1, 2, 7, 7)
    layers = random_layers(1, 2, (7, 7))
    passed = missed[torch.arange(98).view(1, 2, 7, 7) % 5]
    layers = replace(layers, log_weight=log_weight, log_transmittance=passed)
    inputs = sent(inputs_of(layers, torch.float32), device)
    outputs = [part.cpu() for part in evaluate(verb, cuda, inputs, torch.tensor([[0, 1], [1, -1]]))]
    for part in (*outputs, *gradients_of(outputs, inputs).values()):
        assert part.isfinite().all()


def test_alpha_is_exact_where_little_is_covered(device):
    """1 - exp(m) would keep half of float32's digits at m = -1e-4, and none at 1e-8."""
    missed = -torch.logspace(-8.0, 1.5, 40).view(1, 1, 4, 10)
    layers = Layers(torch.ones(1, 1, 4, 10, 3), torch.zeros(1, 1, 4, 10), missed)
    alpha = cuda.composite(sent(layers, device), torch.tensor([[0]]), COLOUR.float().to(device))
    truth = -torch.expm1(missed.double())
    torch.testing.assert_close(alpha.alpha.cpu().double(), truth, rtol=1e-6, atol=0.0)


def test_squared_errors_are_summed_in_float64(device):
    """2^24 is the largest number to which float32 can still add 1."""
    nothing = torch.full((1, 1, 1, 3), -math.inf, device=device)
    layers = Layers(nothing.new_zeros(1, 1, 1, 3, 3), nothing, torch.zeros_like(nothing))
    pictures = torch.zeros(1, 1, 3, 3, device=device)
    pictures[0, 0, :, 0] = torch.tensor([2.0**12, 1.0, 1.0])
    background = torch.zeros(3, device=device)
    error = cuda.squared_error(layers, torch.tensor([[0]]), background, pictures)
    assert error.item() == 2.0**24 + 2.0


def test_a_shared_backgrounds_gradient_is_summed_in_float64(device):
    """2^24 is the largest number to which float32 can still add 1."""
    nothing = torch.full((3, 1, 1, 1), -math.inf, device=device)
    layers = Layers(nothing.new_zeros(3, 1, 1, 1, 3), nothing, torch.zeros_like(nothing))
    for shape in ((1, 1, 1, 3), (3,)):
        background = torch.zeros(shape, device=device, requires_grad=True)
        rgb = cuda.composite(layers, torch.tensor([[0]]), background).rgb[:, 0, 0, 0, 0]
        upstream = torch.tensor([2.0**24, 1.0, 1.0], device=device)
        (gradient,) = torch.autograd.grad(rgb, background, upstream)
        assert gradient.flatten()[0].item() == 2.0**24 + 2.0


def test_layers_that_are_not_there_are_none(device):
    """A selection on a GPU is not looked at; on the CPU it is refused."""
    layers = sent(random_layers(), device)
    with pytest.raises(ValueError, match="from -1 to 3"):
        composite(layers, torch.tensor([[0, 4]]), COLOUR.to(device), backend="cuda")
    background, rows = COLOUR.to(device), [[0, -1]] if device.type == "cpu" else [[0, 4]]
    odd = cuda.composite(layers, torch.tensor(rows, dtype=torch.int32, device=device), background)
    plain = cuda.composite(layers, torch.tensor([[0, -1]]), background)
    assert torch.equal(odd.rgb, plain.rgb)


def test_painting_is_the_cpus(device):
    layers = random_layers(2, 2, (3, 4))
    pictures = []
    for backend, where in (("cpu", torch.device("cpu")), ("cuda", device)):
        painting = Painting.blank(2, (3, 4), COLOUR.to(where))
        for column in range(2):
            parts = (layers.colour, layers.log_weight, layers.log_transmittance)
            one = Layers(*(part[:, column : column + 1].to(where) for part in parts))
            paint_any(painting, one, torch.tensor([1, 0]), backend=backend)
        pictures.append(painting.rgb.cpu())
    torch.testing.assert_close(pictures[1], pictures[0], rtol=1e-12, atol=1e-12)


def test_operations_keep_torchs_rules(device):
    inputs = sent(inputs_of(random_layers(size=(2, 3)), torch.float32), device)
    maps = [inputs[name] for name in ("colour", "log_weight", "log_transmittance", "depth")]
    selection = torch.tensor([[0, 1], [2, -1]], device=device)
    torch.library.opcheck(
        torch.ops.air3d.cuda_composite.default, (*maps, inputs["background"], selection)
    )
    flat = [part.detach().requires_grad_() for part in (*maps[:3], inputs["background"])]
    arguments = (*flat[:3], maps[3].new_empty(0, 0, 0, 0), flat[3], inputs["images"], selection)
    torch.library.opcheck(torch.ops.air3d.cuda_squared_error.default, arguments)
