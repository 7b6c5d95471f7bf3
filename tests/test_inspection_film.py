"""A search can be watched and filmed, and goes on as if it were not."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import ROOT, without_checks
from torch import Tensor

from air3d.data import SceneStream
from air3d.estimate import SceneEstimate
from air3d.inference import Effort, Stage, infer, rescoring
from air3d.inspection.film import FIRST, HELD, LAST, STEP, film, frames_of
from air3d.models import Air, SceneConfig, build_air
from air3d.scene import load_assets, load_scene

EFFORT = Effort(samples=1, refine_steps=4, rounds=1)
STAGES = [
    "one pass",
    "best of 2 draws",
    "light turned",
    "objects turned",
    *["pulled in"] * 3,
    "settled",
    "round 1: other objects tried",
    "settled",
]


@dataclass(frozen=True)
class Search:
    """An untrained model, images, the stages of its search there, and what that found."""

    model: Air
    images: Tensor
    stages: list[Stage]
    found: list[SceneEstimate]


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """What is told of a round does not depend on how far its edits climb."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OWN_STEPS", "STEPS", "LAST_STEPS"):
            patch.setattr(rescoring, name, 1)
        yield


@pytest.fixture(scope="module")
def search(few_steps):
    torch.manual_seed(0)
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    two = spec.objects.model_copy(
        update={"count": (0.1, 0.3, 0.6), "types": spec.objects.types[:2]}
    )
    spec = spec.model_copy(update={"objects": two, "image_size": (32, 32)})
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    model = build_air(spec, sizes, load_assets(spec)).eval()
    images = SceneStream(spec, batch=2, seed=3).batch(0).images
    stages = []
    torch.manual_seed(1)
    with without_checks():
        found = infer(model, images, EFFORT, stages.append)
    return Search(model, images, stages, found)


def assert_shown(estimate: SceneEstimate, stage: Stage) -> None:
    scene = stage.scenes.near_to_far().present()
    poses = {tuple(found.object_to_world.flatten().tolist()) for found in estimate.objects}
    assert poses == {tuple(pose.flatten().tolist()) for pose in scene.object_to_world[0]}
    kinds = sorted(found.identity for found in estimate.objects)
    assert kinds == sorted(scene.identity[0].tolist())
    assert torch.equal(estimate.camera.world_to_camera, scene.camera.world_to_camera)
    assert torch.equal(estimate.light.source, scene.light.source)


def test_stages_come_in_order_from_one_pass_to_what_is_found(search):
    assert [stage.name for stage in search.stages] == STAGES
    for stage in search.stages:
        assert len(stage.scenes) == 2 and not stage.scenes.position.requires_grad
    one_pass = infer(search.model, search.images)
    for row in range(2):
        assert_shown(one_pass[row], search.stages[0].of(row))
        assert_shown(search.found[row], search.stages[-1].of(row))


@pytest.mark.usefixtures("as_users_run")
def test_watching_changes_nothing(search):
    torch.manual_seed(1)
    for one, two in zip(search.found, infer(search.model, search.images, EFFORT), strict=True):
        assert one.log_likelihood == two.log_likelihood
        assert torch.equal(one.reconstruction, two.reconstruction)


def test_one_pass_has_no_stages(search):
    with pytest.raises(ValueError, match=r"watch: one pass has no stages.*refine_steps=40"):
        infer(search.model, search.images, watch=print)


def test_frames_show_each_scene_once_in_order(search):
    """A scene that comes again right away, be its objects in another order, is no new frame."""
    image, stages = search.images[0], [stage.of(0) for stage in search.stages]
    first, moved = stages[0], stages[4]
    order = torch.arange(first.scenes.identity.shape[1]).flip(0)[None]
    again = Stage("again", first.scenes.pick(order))
    frames = frames_of(search.model.scene_decoder, image, [first, again, moved, *stages[5:7]])
    assert [frame.stage for frame in frames] == ["one pass"] + ["pulled in"] * 3
    assert [frame.duration for frame in frames] == [FIRST, STEP, STEP, LAST]
    frames = frames_of(search.model.scene_decoder, image, [first, moved, *stages[7:], again])
    assert [frame.duration for frame in frames] == [FIRST, *[HELD] * (len(frames) - 2), LAST]
    pixels = [np.asarray(frame.picture) for frame in frames]
    changed = np.any([pixels[0] != other for other in pixels[1:]], axis=(0, 3))
    rows, columns = changed.nonzero()
    third = pixels[0].shape[1] // 3
    assert not (columns[rows > 60] < third).any(), "the input stays as it is"
    assert (columns[rows > 60] // third == 1).any() and (columns[rows > 60] // third == 2).any()


def test_the_last_frame_renders_what_was_found(search):
    stages = [stage.of(1) for stage in search.stages]
    last = frames_of(search.model.scene_decoder, search.images[1], stages)[-1].picture
    found = (255 * search.found[1].reconstruction).round().clamp(0, 255).numpy()
    width = (last.width - 12) // 3
    panel = np.asarray(last.crop((12 + width, last.height - 12 - 256, 2 * width, last.height - 12)))
    assert abs(panel[4::8, 4::8].transpose(2, 0, 1) - found).max() <= 1


def test_a_film_is_an_animation_of_its_frames(search):
    decoder, stages = search.model.scene_decoder, [stage.of(0) for stage in search.stages]
    frames = frames_of(decoder, search.images[0], stages)
    durations = []
    with PIL.Image.open(BytesIO(film(decoder, search.images[0], stages))) as animation:
        assert animation.format == "GIF" and animation.size == frames[0].picture.size
        for index, frame in enumerate(frames):
            animation.seek(index)
            durations.append(animation.info["duration"])
            off = np.subtract(animation.convert("RGB"), frame.picture, dtype=int)
            assert abs(off).mean() < 3
        assert animation.n_frames == len(frames)
    assert durations == [frame.duration for frame in frames]
    with pytest.raises(ValueError, match="stages: is empty"):
        film(decoder, search.images[0], [])
