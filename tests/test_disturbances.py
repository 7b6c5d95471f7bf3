"""What a camera does to pictures: its statistics, its record, its refusals."""

import json

import pytest
import torch
from conftest import ROOT

from air3d.data import DataError, Disturbances, SceneStream
from air3d.data.bop import BopPlan, write_bop
from air3d.evaluation import load_test_set
from air3d.randomness import own_generator
from air3d.scene import load_assets, load_scene

SPEC = load_scene(ROOT / "scenes" / "single_object.yaml").model_copy(
    update={"image_size": (16, 20)}
)


def _batch(disturbances: Disturbances, batch: int = 8):
    return SceneStream(SPEC, batch=batch, seed=3, disturbances=disturbances).batch(0)


def test_no_disturbance_changes_nothing():
    plain = SceneStream(SPEC, batch=8, seed=3).batch(0)
    assert not Disturbances()
    assert torch.equal(_batch(Disturbances()).images, plain.images)


def test_brightness_and_tint_are_drawn_evenly_within_their_range():
    images = torch.ones(4000, 3, 1, 1)
    gains = Disturbances(brightness=0.3).disturbed(images, own_generator(0))[..., 0, 0]
    assert torch.equal(gains[:, 0], gains[:, 2])
    assert 0.7 <= float(gains.min()) < 0.71 and 1.29 < float(gains.max()) <= 1.3
    assert float(gains[:, 0].std()) == pytest.approx(0.3 / 3**0.5, rel=0.05)
    tints = Disturbances(tint=0.2).disturbed(images, own_generator(0))[..., 0, 0]
    assert float(tints.std(dim=0).min()) == pytest.approx(0.2 / 3**0.5, rel=0.05)
    assert abs(float(torch.corrcoef(tints.T)[0, 1])) < 0.06


def test_blur_spreads_light_and_keeps_its_sum():
    spot = torch.zeros(1, 1, 21, 21)
    spot[..., 10, 10] = 1.0
    blurred = Disturbances(blur=1.5).disturbed(spot, own_generator(0))[0, 0]
    away = torch.arange(21.0) - 10
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float((blurred.sum(dim=0) * away**2).sum()) == pytest.approx(1.5**2, rel=0.02)


def test_noise_is_multiplied_and_the_scenes_stay():
    plain, noisy = _batch(Disturbances()), _batch(Disturbances(noise=3.0))
    clean = SceneStream(SPEC, batch=8, seed=3).render(plain.scenes)
    torch.testing.assert_close(noisy.images - clean, 3 * (plain.images - clean))
    assert torch.equal(plain.scenes.position, noisy.scenes.position)


def test_light_turns_about_the_vertical_and_objects_show_it():
    plain, relit = _batch(Disturbances()), _batch(Disturbances(light=60.0))
    before, after = plain.scenes.light.source, relit.scenes.light.source
    torch.testing.assert_close(before[:, 2:], after[:, 2:])
    cosine = torch.nn.functional.cosine_similarity(before[:, :2], after[:, :2])
    assert 0.5 <= float(cosine.min()) < 0.95
    assert float((relit.images - plain.images).abs().max()) > 0.05


def test_gamma_lifts_shadows():
    images = torch.tensor([-0.1, 0.0, 0.25, 1.0])[None, None, None]
    lifted = Disturbances(gamma=2.0).developed(images)
    torch.testing.assert_close(lifted, torch.tensor([0.0, 0.0, 0.5, 1.0])[None, None, None])


def test_a_data_set_says_how_it_was_disturbed(tmp_path):
    disturbances = Disturbances(brightness=0.25, blur=0.5, noise=2.0, light=40.0, gamma=2.2)
    write_bop(tmp_path / "data", BopPlan(SPEC, 2, 0, disturbances=disturbances))
    test_set = load_test_set(tmp_path / "data", SPEC, load_assets(SPEC))
    assert test_set.source == (
        "data, seed 0, brightness +-25 %, blur 0.5 px, noise x 2, light +-40 degrees, gamma 2.2"
    )
    with pytest.raises(DataError, match=r"other settings \(disturbances\)"):
        write_bop(tmp_path / "data", BopPlan(SPEC, 2, 0))
    record = tmp_path / "data" / "dataset_info.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"disturbances": {"fog": 1}}))
    with pytest.raises(DataError, match="dataset_info.json: is damaged"):
        load_test_set(tmp_path / "data", SPEC, load_assets(SPEC))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"brightness": -0.1}, "brightness must be from 0 to 1"),
        ({"light": 181.0}, "light must be from 0 to 180"),
        ({"noise": float("nan")}, "noise must be a number that is not negative"),
        ({"gamma": 0.0}, "gamma must be a number greater than 0"),
    ],
)
def test_senseless_disturbances_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        Disturbances(**options)


def test_canvases_are_not_disturbed(call_script, tmp_path):
    message = call_script(
        "render_dataset.py", ROOT / "scenes/multi_mnist.yaml", "--out", tmp_path / "x",
        "--count", "2", "--seed", "0", "--blur", "1",
    )  # fmt: skip
    assert "blur 1 px: has no meaning for the glimpse scene" in str(message)
    assert not (tmp_path / "x").exists()
