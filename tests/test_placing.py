"""Objects stand apart, and a scene file that asks for too many of them is told so."""

import pytest
import torch
from conftest import ROOT

from air3d.scene import ABSENT, ScenePrior, SceneSpec, SoftBox, load_assets, load_scene
from air3d.scene.placing import place_apart
from air3d.scene.spec import Range

BOX = SoftBox.of([Range(low=-0.4, high=0.4), Range(low=-0.3, high=0.3)])


def nearest(places: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Return the least distance between two circles of each scene; inf where one is absent."""
    away = torch.cdist(places, places) - radius[:, None] - radius[:, :, None]
    return away.masked_fill(torch.eye(places.shape[1], dtype=torch.bool), torch.inf).amin((1, 2))


def test_circles_keep_their_gap_and_are_drawn_again_alike():
    radius = 0.04 + 0.06 * torch.rand(500, 6, generator=torch.Generator().manual_seed(1))
    radius[::3, 4:] = -torch.inf
    first, again = (
        place_apart(BOX, radius, 0.01, torch.Generator().manual_seed(2)) for _ in range(2)
    )
    assert torch.equal(first, again)
    assert (nearest(first, radius) >= 0.01 - 1e-6).all()
    assert ((first >= BOX.low) & (first <= BOX.high)).all()


def test_without_a_gap_places_are_independent():
    radius = torch.full((200, 6), 0.2)
    places = place_apart(BOX, radius, None, torch.Generator().manual_seed(3))
    assert (nearest(places, radius) < 0).all()
    assert torch.equal(places, BOX.sample((200, 6), torch.Generator().manual_seed(3)))


def test_absent_objects_are_in_nobodys_way():
    radius = torch.full((5, 3), -torch.inf)
    radius[:, 0] = 10.0
    assert place_apart(BOX, radius, 1.0, torch.Generator().manual_seed(4)).shape == (5, 3, 2)


def test_objects_that_find_no_room_are_an_error():
    radius = torch.full((4, 3), 0.5)
    with pytest.raises(ValueError, match=r"objects\.gap: in 4 of 4 scenes .* widen objects\.x"):
        place_apart(BOX, radius, 0.0, torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def tabletop() -> ScenePrior:
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    assert isinstance(spec, SceneSpec)
    return ScenePrior(spec, load_assets(spec))


def test_vertices_of_a_laid_table_do_not_meet(tabletop):
    """No two objects' bounding cylinders meet, whatever their turn and size."""
    scenes = tabletop.sample(300, torch.Generator().manual_seed(6))
    reach = tabletop.reach[scenes.identity] * scenes.scale
    radius = reach.masked_fill(scenes.identity == ABSENT, -torch.inf)
    assert (nearest(scenes.position[..., :2], radius) >= tabletop.spec.objects.gap - 1e-6).all()
    present = scenes.identity != ABSENT
    height = tabletop.rest_height[scenes.identity] * scenes.scale
    torch.testing.assert_close(scenes.position[..., 2][present], height[present])


def test_sizes_and_colours_fill_their_ranges(tabletop):
    scenes = tabletop.sample(2000, torch.Generator().manual_seed(7))
    objects = tabletop.spec.objects
    for values, range_ in ((scenes.scale, objects.scale), (scenes.colour, objects.colour)):
        assert range_.low <= values.min() and values.max() <= range_.high
        assert values.mean() == pytest.approx(0.5 * (range_.low + range_.high), abs=0.01)


def test_without_repeats_every_kind_comes_at_most_once(tabletop):
    objects = tabletop.spec.objects.model_copy(update={"repeats": False})
    spec = tabletop.spec.model_copy(update={"objects": objects})
    scenes = ScenePrior(spec, load_assets(spec)).sample(500, torch.Generator().manual_seed(8))
    for identity in scenes.identity.tolist():
        present = [kind for kind in identity if kind != ABSENT]
        assert len(set(present)) == len(present)
    shares = scenes.identity[scenes.identity != ABSENT].bincount().float()
    assert (shares / shares.mean() - 1).abs().max() < 0.2
