"""Compositing: the fast path does what the reference does, and both do what they say."""

import io
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from render_cases import one_thread  # noqa: F401 (a fixture)
from torch import Tensor

import air3d.render
from air3d.objectives import enumerate_hypotheses
from air3d.render import Layers, cpu, reference_composite
from air3d.render.checks import check_background, check_layers
from air3d.render.composite import (
    MAX_RELAXED,
    composite,
    expected_composite,
    join,
    prefix_selection,
    squared_error,
    visibility,
)
from air3d.render.cpu import composite_kernels, visibility_kernels

pytestmark = pytest.mark.usefixtures("one_thread")
COLOUR = torch.tensor([0.2, 0.5, 0.7]).double()
VERBS = ("composite", "squared_error", "visibility", "expected_composite")
# A layer in any slot, missing ones, all, none, and one that is there twice.
SELECTION = torch.tensor([[0, 1, 2], [2, -1, 0], [-1, 3, -1], [3, 2, 1], [-1, -1, -1], [1, 1, 0]])


def random_layers(
    batch: int = 2, objects: int = 4, size: tuple[int, int] = (4, 5), seed: int = 0
) -> Layers:
    """Return layers that hit half of the pixels, in float64; nearness differs by what counts."""
    generator = torch.Generator().manual_seed(seed)

    def random(*tail: int) -> Tensor:
        return torch.rand(batch, objects, *size, *tail, generator=generator, dtype=torch.float64)

    hit = random() < 0.5
    return Layers(
        colour=random(3) * hit[..., None],
        log_weight=torch.where(hit, 300.0 + 4.0 * random(), -math.inf),
        log_transmittance=torch.where(hit, -3.0 * random() - 1e-3, 0.0),
        depth=torch.where(hit, 1.0 + random(), 0.0),
    )


def inputs_of(layers: Layers, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Return everything that gets gradients, by name, as leaves."""
    batch, objects, height, width = layers.log_weight.shape
    generator = torch.Generator().manual_seed(1)
    picture = torch.rand(batch, height, width, 3, generator=generator, dtype=torch.float64)
    parts = {name: part for name, part in vars(layers).items() if part is not None} | {
        "background": COLOUR,
        "images": picture,
        "presence": torch.rand(batch, objects, generator=generator, dtype=torch.float64),
    }
    return {name: part.detach().to(dtype).requires_grad_() for name, part in parts.items()}


def evaluate(verb: str, backend, inputs: dict[str, Tensor], selection: Tensor) -> list[Tensor]:
    """Return all that a verb of a backend (or the public one) returns."""
    layers = Layers(
        *(inputs.get(n) for n in ("colour", "log_weight", "log_transmittance", "depth"))
    )
    function = getattr(backend, verb)
    if verb == "squared_error":
        return [function(layers, selection, inputs["background"], inputs["images"])]
    if verb == "visibility":
        return [function(layers, selection)]
    if verb == "expected_composite":
        images = function(layers, inputs["presence"], inputs["background"])
    else:
        images = function(layers, selection, inputs["background"])
    return [part for part in (images.rgb, images.alpha, images.depth) if part is not None]


def gradients_of(outputs: list[Tensor], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return gradients of a random sum of the outputs, the same in every precision."""
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(o.shape, generator=generator, dtype=torch.float64) for o in outputs]
    loss = sum((o * w.to(o)).sum() for o, w in zip(outputs, weights, strict=True))
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    return {n: g for n, g in zip(inputs, gradients, strict=True) if g is not None}


CASES = {
    "small": (random_layers(), SELECTION),
    "without depth": (replace(random_layers(), depth=None), SELECTION),
    # More pixels than a band has, and hypotheses of which many are the same at a pixel.
    "large": (random_layers(1, 6, (50, 90)), _candidates := enumerate_hypotheses(2, 3)),
    "no objects": (random_layers(2, 0), prefix_selection(0)),
}
_candidates[:, 1] += torch.where(_candidates[:, 1] < 0, 0, 3)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("case", "behind"),
    [
        ("small", "colour"),
        ("small", "image"),
        ("small", "images"),
        ("without depth", "colour"),
        ("large", "colour"),
        ("large", "images"),
        ("no objects", "colour"),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_fast_path_agrees_with_the_reference(verb, case, behind, dtype, tolerance):
    """Values and gradients; at log-weights of 300, float32 has 3e-5 of a weight."""
    layers, selection = CASES[case]
    true_inputs = inputs_of(layers)
    if behind != "colour":
        generator = torch.Generator().manual_seed(3)
        count = len(layers.colour) if behind == "images" else 1
        shape = (count, *layers.log_weight.shape[2:], 3)
        image = torch.rand(shape, generator=generator, dtype=torch.float64)
        true_inputs["background"] = image.requires_grad_()
    inputs = {name: part.detach().to(dtype).requires_grad_() for name, part in true_inputs.items()}
    outputs = evaluate(verb, cpu, inputs, selection)
    expected = evaluate(verb, reference_composite, true_inputs, selection)
    gradients, true_gradients = gradients_of(outputs, inputs), gradients_of(expected, true_inputs)
    assert gradients.keys() == true_gradients.keys()
    results = dict(enumerate(outputs)) | gradients
    truths = dict(enumerate(expected)) | true_gradients
    for name, result in results.items():
        truth = truths[name].detach()
        assert result.dtype == dtype
        largest = float(truth.abs().max().clamp(min=1.0)) if truth.numel() else 1.0
        error = (result.detach().double() - truth).abs() / largest
        assert error.numel() == 0 or float(error.max()) < tolerance, name


@pytest.mark.parametrize("backend", [cpu, reference_composite], ids=["cpu", "reference"])
@pytest.mark.parametrize("verb", VERBS)
def test_gradients_are_those_of_finite_differences(verb, backend):
    layers = random_layers(size=(2, 3))
    inputs = inputs_of(layers)
    hit = layers.log_weight > -math.inf
    names = [n for n in inputs if n in gradients_of(evaluate(verb, cpu, inputs, SELECTION), inputs)]
    for name in names:
        value = inputs[name].detach()

        def outputs(change: Tensor, name: str = name) -> tuple[Tensor, ...]:
            start = inputs[name].detach()
            # Where a layer hits nothing there is nothing to change.
            change = change.masked_fill(~hit, 0.0) if name == "log_weight" else change
            return tuple(evaluate(verb, backend, inputs | {name: start + change}, SELECTION))

        start = torch.zeros_like(value).requires_grad_()
        assert torch.autograd.gradcheck(outputs, start, eps=1e-6, atol=1e-7, fast_mode=True), name


@pytest.mark.parametrize("verb", VERBS[:2])
def test_the_order_of_slots_does_not_matter(verb):
    inputs = inputs_of(random_layers())
    orders = [torch.randperm(3, generator=torch.Generator().manual_seed(s)) for s in range(3)]
    expected = evaluate(verb, cpu, inputs, SELECTION)
    for order in orders:
        for value, truth in zip(
            evaluate(verb, cpu, inputs, SELECTION[:, order]), expected, strict=True
        ):
            torch.testing.assert_close(value, truth, rtol=1e-13, atol=1e-13)


def merged(layers: Layers, first: int, second: int) -> Layers:
    """Return the merger of two layers as one layer, by the definition of a layer."""
    weights = layers.log_weight[:, [first, second]]
    share = weights.exp() / weights.exp().sum(dim=1, keepdim=True).clamp(min=1e-300)
    return Layers(
        colour=(share[..., None] * layers.colour[:, [first, second]]).sum(dim=1, keepdim=True),
        log_weight=weights.exp().sum(dim=1, keepdim=True).log(),
        log_transmittance=layers.log_transmittance[:, [first, second]].sum(dim=1, keepdim=True),
        depth=(share * layers.depth[:, [first, second]]).sum(dim=1, keepdim=True),
    )


def test_merging_is_associative():
    """Two layers made one merge with a third as all three do."""
    layers, background = random_layers(objects=3), COLOUR
    pair = merged(layers, 0, 1)
    third = Layers(*(part[:, 2:] for part in vars(layers).values()))
    apart = composite(layers, torch.tensor([[0, 1, 2]]), background)
    together = composite(join([pair, third]), torch.tensor([[0, 1]]), background)
    for part, other in zip(vars(apart).values(), vars(together).values(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-12)


def test_join_keeps_depth_only_if_all_have_it():
    layers = random_layers()
    assert join([layers, layers]).depth.shape[1] == 8
    assert join([layers, replace(layers, depth=None)]).depth is None


def test_squared_error_is_that_of_the_composited_images():
    layers, background = random_layers(), COLOUR
    images = inputs_of(layers)["images"].detach()
    difference = composite(layers, SELECTION, background).rgb - images[:, None]
    errors = squared_error(layers, SELECTION, background, images)
    torch.testing.assert_close(errors, difference.square().sum(dim=(2, 3, 4)), rtol=1e-13, atol=0.0)


def test_squared_error_is_summed_in_float64():
    """2^24 is the largest number to which float32 can still add 1."""
    layers = replace(random_layers(1, 1, (4096, 1025)), depth=None)
    layers = Layers(*(part.float() for part in list(vars(layers).values())[:3]))
    images = torch.ones(1, 4096, 1025, 3)
    error = squared_error(layers, torch.tensor([[-1]]), torch.full((3,), -1.0), images)
    assert error.item() == 4 * 4096 * 1025 * 3


def test_what_is_visible_sums_to_alpha():
    layers = random_layers()
    visible = visibility(layers, SELECTION)
    alpha = composite(layers, SELECTION, COLOUR).alpha
    torch.testing.assert_close(visible.sum(dim=2), alpha, rtol=1e-13, atol=1e-14)
    assert not visible[:, SELECTION < 0].any() and (visible >= 0).all()
    hit = layers.log_weight[:, SELECTION.clamp(min=0)] > -math.inf
    assert torch.equal(visible > 0, hit & (SELECTION >= 0)[None, :, :, None, None])


def test_depth_is_that_of_what_is_seen():
    """Of the nearer layer where it covers, 0 where nothing does, between where both are soft."""
    layers = Layers(
        colour=torch.zeros(1, 2, 1, 3, 3),
        log_weight=torch.tensor([[[[90.0, 90.0, -math.inf]], [[50.0, 90.0, -math.inf]]]]),
        log_transmittance=torch.tensor([[[[-9.0, -1.0, 0.0]], [[-9.0, -1.0, 0.0]]]]),
        depth=torch.tensor([[[[2.0, 2.0, 0.0]], [[3.0, 3.0, 0.0]]]]),
    )
    images = composite(layers, torch.tensor([[0, 1], [1, -1]]), torch.zeros(3))
    assert images.depth.tolist() == [[[[2.0, 2.5, 0.0]], [[3.0, 3.0, 0.0]]]]
    assert composite(replace(layers, depth=None), SELECTION[:0], torch.zeros(3)).depth is None


def test_expected_image_at_zeros_and_ones_is_that_of_the_subset():
    layers, background = random_layers(1, 3), COLOUR
    there = torch.cartesian_prod(*3 * [torch.tensor([0.0, 1.0], dtype=torch.float64)])
    images = composite(layers, torch.where(there > 0, torch.arange(3), -1), background)
    every = Layers(*(part.expand(8, *part.shape[1:]) for part in vars(layers).values()))
    mean = expected_composite(every, there, background)
    for part, truth in zip(vars(mean).values(), vars(images).values(), strict=True):
        torch.testing.assert_close(part, truth[0], rtol=1e-13, atol=1e-14)


def test_gradient_of_presence_is_the_difference_that_the_object_makes():
    inputs = inputs_of(random_layers(1, 3))
    presence = inputs["presence"]

    def mean_red(presence: Tensor) -> Tensor:
        return evaluate("expected_composite", cpu, inputs | {"presence": presence}, SELECTION)[0][
            ..., 0
        ].sum()

    gradient = torch.autograd.grad(mean_red(presence), presence)[0][0]
    for index in range(3):
        there, gone = presence.detach().clone(), presence.detach().clone()
        there[0, index], gone[0, index] = 1.0, 0.0
        difference = mean_red(there) - mean_red(gone)
        torch.testing.assert_close(gradient[index], difference.detach(), rtol=1e-12, atol=1e-12)


def threads_case(threads: int, verb: str) -> list[Tensor]:
    torch.set_num_threads(threads)
    layers = random_layers(3, 4, (70, 80))
    inputs = inputs_of(layers, torch.float32)
    outputs = evaluate(verb, cpu, inputs, SELECTION)
    return [*outputs, *gradients_of(outputs, inputs).values()]


@pytest.mark.parametrize("verb", VERBS)
def test_results_do_not_depend_on_threads(verb):
    before = torch.get_num_threads()
    try:
        one, two = (threads_case(threads, verb) for threads in (1, 2))
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, one, two))


@pytest.mark.parametrize("backend", [cpu, reference_composite], ids=["cpu", "reference"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_finite_makes_nan_or_infinity(verb, backend, dtype):
    """Layers in front by any distance, of any opacity, among them beyond what a layer may hold."""
    extreme = torch.tensor([-3e38, -1e5, -100.0, -50.0, 0.0, 50.0, 100.0, 1e5, 3e38, -math.inf])
    missed = torch.tensor([-3e38, -1e5, -120.0, -40.0, -1e-30, 0.0, 5.0, 1e5])
    log_weight = torch.cartesian_prod(extreme, extreme, extreme).T.reshape(1, 3, 10, 100)
    generator = torch.Generator().manual_seed(4)
    pick = torch.randint(len(missed), log_weight.shape, generator=generator)
    layers = Layers(
        colour=torch.rand(*log_weight.shape, 3, generator=generator),
        log_weight=log_weight,
        log_transmittance=missed[pick],
        depth=torch.rand(log_weight.shape, generator=generator),
    )
    inputs = inputs_of(layers, dtype)
    selection = torch.tensor([[0, 1, 2], [0, -1, 2], [1, 2, -1], [-1, -1, -1]])
    outputs = evaluate(verb, backend, inputs, selection)
    for value in (*outputs, *gradients_of(outputs, inputs).values()):
        assert value.isfinite().all()
    if verb != "squared_error":
        assert all((value >= 0).all() and (value <= 1 + 1e-6).all() for value in outputs)


def test_float32_stays_float32():
    """No arithmetic is promoted, but for what is summed in float64 on purpose."""
    for verb in VERBS:
        inputs = inputs_of(random_layers(), torch.float32)
        gradients_of(evaluate(verb, cpu, inputs, SELECTION), inputs)
    kernels = [composite_kernels.composite, composite_kernels.composite_backward]
    kernels += [composite_kernels.expected, visibility_kernels.visibility]
    for kernel in (*kernels, visibility_kernels.visibility_backward):
        name = kernel.py_func.__name__
        signatures = [s for s in kernel.signatures if "float64" not in str(s)]
        assert signatures, name
        for signature in signatures:
            types = io.StringIO()
            kernel.inspect_types(types, signature=signature)
            assert "float32" in types.getvalue() and "float64" not in types.getvalue(), name


@pytest.mark.parametrize("verb", VERBS)
def test_operations_obey_torch(verb):
    inputs = inputs_of(random_layers(size=(2, 3)), torch.float32)
    layers = [inputs[n] for n in ("colour", "log_weight", "log_transmittance", "depth")]
    arguments = {
        "composite": (*layers, inputs["background"], SELECTION),
        "squared_error": (*layers, inputs["background"], inputs["images"], SELECTION),
        "visibility": (*layers[1:3], SELECTION),
        "expected_composite": (*layers, inputs["background"], inputs["presence"]),
    }
    torch.library.opcheck(getattr(torch.ops.air3d, verb).default, arguments[verb])


def wrong_background(layers: Layers) -> None:
    composite(layers, SELECTION, torch.zeros(3, 4, 5, 3).double())


def wrong_images(layers: Layers) -> None:
    squared_error(layers, SELECTION, COLOUR, torch.zeros(1, 4, 5, 3).double())


def wrong_presence(layers: Layers) -> None:
    expected_composite(layers, torch.zeros(2, 3).double(), COLOUR)


def too_many(layers: Layers) -> None:
    many = join([layers, layers, layers])
    expected_composite(many, torch.zeros(many.log_weight.shape[:2]).double(), COLOUR)


def missing_layer(layers: Layers) -> None:
    visibility(layers, SELECTION + 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (wrong_background, r"background must be \[1 or 2, 4, 5, 3\].* got \[3, 4, 5, 3\]"),
        (wrong_images, r"images must be \[2, 4, 5, 3\].* got \[1, 4, 5, 3\]"),
        (wrong_presence, r"presence must be \[2, 4\], one per layer, got \[2, 3\]"),
        (too_many, f"at most {MAX_RELAXED} layers can be relaxed"),
        (missing_layer, "selection must hold numbers from -1 to 3"),
    ],
)
def test_wrong_arguments_are_named(call: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        call(random_layers())


def broken(**parts: Tensor) -> Layers:
    """Return layers with some maps replaced, though these tests check shapes where one is made."""
    layers = random_layers()
    for name, part in parts.items():
        object.__setattr__(layers, name, part)
    return layers


ONE_IMAGE = torch.tensor([[0, 1]])


@pytest.mark.parametrize(
    ("layers", "selection", "message"),
    [
        (
            broken(colour=torch.zeros(2, 4, 2, 2, 3).double()),
            ONE_IMAGE,
            r"layers.colour must be \[2, 4, 4, 5, 3\], .* got \[2, 4, 2, 2, 3\]",
        ),
        (
            broken(log_transmittance=torch.zeros(2, 4, 4, 4).double()),
            ONE_IMAGE,
            r"layers.log_transmittance must be \[2, 4, 4, 5\]",
        ),
        (broken(depth=torch.zeros(2, 4, 1, 5).double()), ONE_IMAGE, "layers.depth must be"),
        (broken(log_weight=torch.zeros(4, 5).double()), ONE_IMAGE, r"must be \[batch, object, h"),
        (
            broken(colour=torch.zeros(2, 4, 4, 5, 3)),
            ONE_IMAGE,
            "layers.colour is torch.float32 on cpu but layers.log_weight is torch.float64",
        ),
        (
            Layers(*(part.bfloat16() for part in vars(random_layers()).values())),
            ONE_IMAGE,
            "must be float32 or float64, got torch.bfloat16",
        ),
        (random_layers(), ONE_IMAGE[0], r"selection must be \[image, slot\] .* got \[2\] of"),
        (random_layers(), ONE_IMAGE.float(), "of torch.int64, got .* of torch.float32"),
    ],
)
def test_layers_that_do_not_go_together_are_refused(layers, selection, message):
    """Kernels would read memory that is not theirs."""
    with pytest.raises(ValueError, match=message):
        check_layers(layers, selection)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_looks_at_its_layers(verb):
    inputs = {name: part.detach() for name, part in inputs_of(random_layers()).items()}
    inputs["log_transmittance"] = inputs["log_transmittance"].float()
    with pytest.raises(ValueError, match="layers.log_transmittance is torch.float32"):
        evaluate(verb, air3d.render, inputs, SELECTION)


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (torch.tensor(0.5).double(), r"background must be one colour \[3\], got \[\]"),
        (torch.zeros(4).double(), r"background must be one colour \[3\], got \[4\]"),
        (torch.zeros(2, 3).double(), r"background must be \[1 or 2, 4, 5, 3\].* got \[2, 3\]"),
        (torch.zeros(3), "background is torch.float32 on cpu but layers.colour is torch.float64"),
    ],
)
def test_a_background_is_a_colour_or_an_image(background, message):
    """By a check of its own, as these tests check the shapes of the verbs' arguments themselves."""
    with pytest.raises(ValueError, match=message):
        check_background(background, random_layers())


def test_images_and_presence_are_of_the_layers_precision():
    inputs = inputs_of(random_layers())
    for verb, name in (("squared_error", "images"), ("expected_composite", "presence")):
        mixed = inputs | {name: inputs[name].detach().float()}
        with pytest.raises(ValueError, match=f"{name} is torch.float32 on cpu but layers.colour"):
            evaluate(verb, air3d.render, mixed, SELECTION)


@pytest.mark.parametrize("backend", [cpu, reference_composite], ids=["cpu", "reference"])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("verb", VERBS)
def test_nan_in_a_log_weight_comes_out(verb, backend, place):
    """It is no sign that a layer is not there: be it the first of those merged, the last or alone.

    Elsewhere all is as it was.
    """
    inputs = {name: part.detach() for name, part in inputs_of(random_layers()).items()}
    inputs["log_weight"] = torch.full_like(inputs["log_weight"], 2.0)
    selection = torch.tensor([[0, 1], [place, -1]])
    truth = evaluate(verb, backend, inputs, selection)
    inputs["log_weight"][0, place, 1, 2] = torch.nan
    values = evaluate(verb, backend, inputs, selection)
    alpha = 1 if len(values) > 1 else None  # which hangs on no log-weight
    for number, (value, true_value) in enumerate(zip(values, truth, strict=True)):
        images = [value[0]] if verb == "expected_composite" else value[0]
        assert all(image.isnan().any() for image in images) or number == alpha
        assert torch.equal(value[1], true_value[1])


@pytest.mark.parametrize("behind", ["colour", "image", "images"])
@pytest.mark.parametrize("wanted", [True, False])
def test_backward_operation_obeys_torch(behind, wanted):
    """The background's gradient has its shape, also if nobody wants it."""
    inputs = inputs_of(random_layers(size=(2, 3)), torch.float32)
    layers = [inputs[n].detach() for n in ("colour", "log_weight", "log_transmittance", "depth")]
    background = {"colour": torch.rand(3), "image": torch.rand(1, 2, 3, 3)}.get(
        behind, torch.rand(2, 2, 3, 3)
    )
    images = torch.ops.air3d.composite.default(*layers, background, SELECTION)
    arguments = (layers, background, SELECTION, [torch.rand_like(i) for i in images], wanted)
    torch.library.opcheck(torch.ops.air3d.composite_backward.default, arguments)


def test_gradient_of_a_shared_background_is_summed_in_float64():
    """2^24 is the largest number to which float32 can still add 1."""
    layers = Layers(
        torch.zeros(3, 1, 1, 1, 3), torch.full((3, 1, 1, 1), -math.inf), torch.zeros(3, 1, 1, 1)
    )
    background = torch.zeros(1, 1, 1, 3, requires_grad=True)
    rgb = composite(layers, torch.tensor([[0]]), background).rgb[:, 0, 0, 0, 0]
    upstream = torch.tensor([2.0**24, 1.0, 1.0])
    (gradient,) = torch.autograd.grad(rgb, background, upstream)
    assert gradient[0, 0, 0, 0].item() == 2.0**24 + 2.0


def test_the_reference_composites_where_it_is_asked_for():
    inputs = inputs_of(random_layers())
    layers = Layers(*(inputs[n] for n in ("colour", "log_weight", "log_transmittance", "depth")))
    image = composite(layers, SELECTION, COLOUR, backend="reference").rgb
    assert torch.equal(image, reference_composite.composite(layers, SELECTION, COLOUR).rgb)
    assert "air3d" not in image.grad_fn.name()
    with pytest.raises(ValueError, match="must be auto, cpu, cuda or reference, got 'fast'"):
        composite(layers, SELECTION, COLOUR, backend="fast")
