"""Painting object by object: in the end what compositing all of them gives."""

import pytest
import torch
from test_composite import COLOUR, random_layers

from air3d.render import Layers, Painting, composite, paint

BACKENDS = ("cpu", "reference")


def some(layers, objects):
    """Return one layer of each of some scenes, by (scene, object)."""
    row, column = torch.tensor(objects).unbind(dim=1)
    parts = (layers.colour, layers.log_weight, layers.log_transmittance)
    return Layers(*(part[row, column][:, None] for part in parts)), row


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("behind", ["colour", "one image", "images"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_painted_in_any_order_a_scene_is_its_composite(backend, behind, dtype):
    layers = random_layers(batch=3, objects=3)
    layers = Layers(*(part.to(dtype) for part in list(vars(layers).values())[:3]))
    pictures = {"colour": COLOUR, "one image": torch.rand(1, 4, 5, 3), "images": None}[behind]
    background = (torch.rand(3, 4, 5, 3) if pictures is None else pictures).to(dtype)
    painting = Painting.blank(3, (4, 5), background)
    expected = background.expand(3, 4, 5, 3)
    torch.testing.assert_close(painting.rgb, expected)
    # Image 0 gets objects 2, 0, 1; image 1 none; image 2 one, and a second later.
    for objects in ([[0, 2], [2, 1]], [[0, 0]], [[2, 0], [0, 1]]):
        paint(painting, *some(layers, objects), backend=backend)
    wanted = composite(layers, torch.tensor([[0, 1, 2], [-1, -1, -1], [0, 1, -1]]), background).rgb
    exact = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    for image in range(3):
        torch.testing.assert_close(
            painting.rgb[image], wanted[image, image], atol=exact, rtol=exact
        )


def test_backends_paint_alike():
    layers = random_layers(batch=4, objects=2, size=(9, 7))
    one, other = (Painting.blank(4, (9, 7), COLOUR) for _ in range(2))
    for painting, backend in ((one, "cpu"), (other, "reference")):
        for column in range(2):
            paint(painting, *some(layers, [[3, column], [1, column]]), backend=backend)
    torch.testing.assert_close(one.rgb, other.rgb)
    for name in ("colour", "log_weight", "log_transmittance"):
        torch.testing.assert_close(getattr(one.merged, name), getattr(other.merged, name))


@pytest.mark.parametrize(
    ("rows", "objects", "said"),
    [
        ([0, 0], [[0, 0], [0, 1]], "none of them twice"),
        ([0, 3], [[0, 0], [1, 1]], "from 0 to 1"),
        ([0], [[0, 0], [1, 1]], r"must be \[1, 1, 4, 5\]"),
    ],
)
def test_what_does_not_go_on_a_painting_is_refused(rows, objects, said):
    painting = Painting.blank(2, (4, 5), COLOUR)
    before = painting.rgb.clone()
    with pytest.raises(ValueError, match=said):
        paint(painting, some(random_layers(), objects)[0], torch.tensor(rows))
    assert torch.equal(painting.rgb, before)


def test_layers_are_of_the_paintings_precision():
    layers, row = some(random_layers(), [[0, 0]])
    with pytest.raises(ValueError, match="bring them together"):
        paint(Painting.blank(2, (4, 5), COLOUR.float()), layers, row)
