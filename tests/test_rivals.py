"""What AIR is compared with: the supervised twin, and the search from random starts."""

import dataclasses
import json

import pytest
import torch
from conftest import ROOT
from evaluation_cases import CROCKERY, TABLE, table_scenes

from air3d.data import RenderedScenes, SceneStream
from air3d.data.bop import BopPlan, write_bop
from air3d.evaluation import Method, TestSet, evaluate_in_turn
from air3d.evaluation.results import results_page
from air3d.inference import infer
from air3d.inference.settling import settle
from air3d.models import SceneConfig, build_air
from air3d.models.decoders import SceneDecoder
from air3d.rivals import Optimiser, Restarts, Twin, infer_by_twin, teach, twin_loss
from air3d.rivals.bound import efficient_scenes
from air3d.rivals.teaching import in_order_of_kinds
from air3d.rivals.twin import Answers
from air3d.scene import ABSENT, ScenePrior, load_assets, load_scene
from air3d.training import TrainSettings

SINGLE = load_scene(ROOT / "scenes" / "single_object.yaml")
THINGS = load_assets(SINGLE)
SMALL = SceneConfig(channels=(8, 16, 16), features=64, state=64, search=12, hidden=64)


def _twin(spec=TABLE):
    torch.manual_seed(0)
    return Twin(spec, SMALL, CROCKERY)


class OneBatch(SceneStream):
    """A stream that gives the same batch again and again."""

    def __init__(self, spec, *, batch: int, seed: int):
        super().__init__(spec, batch=batch, seed=seed)
        self.only = super().batch(0)

    def batch(self, index: int) -> RenderedScenes:
        return self.only


def _certain_answers(twin, scenes):
    """Return the answers of somebody who knows the scenes."""
    there = scenes.identity != ABSENT
    kinds = torch.arange(len(twin.meshes))
    return Answers(
        presence_logits=torch.where(there, 20.0, -20.0),
        identity_logits=torch.where(scenes.identity[..., None] == kinds, 20.0, 0.0),
        numbers=twin.numbers(scenes),
    )


def test_right_answers_are_the_scene():
    twin, scenes = _twin(), table_scenes(20)
    found = twin.scenes(_certain_answers(twin, scenes))
    assert torch.equal(found.identity, scenes.identity)
    there = scenes.identity != ABSENT
    for name in ("position", "rotation", "scale", "colour"):
        values = [getattr(some, name)[there] for some in (found, scenes)]
        torch.testing.assert_close(*values, rtol=0.0, atol=2e-5)
    torch.testing.assert_close(found.camera.world_to_camera, scenes.camera.world_to_camera)
    for name in ("source", "ambient", "diffuse"):
        torch.testing.assert_close(getattr(found.light, name), getattr(scenes.light, name))


def test_labels_come_in_the_order_of_kinds():
    """Kinds that differ may come in any order; which of two of a kind comes first counts."""
    twin, drawn, images = _twin(), table_scenes(12), torch.rand(12, 3, 64, 64)
    scenes = in_order_of_kinds(drawn)
    assert torch.equal(scenes.count, drawn.count)
    for kinds, count in zip(scenes.identity.tolist(), scenes.count.tolist(), strict=True):
        assert kinds[:count] == sorted(kinds[:count]) and set(kinds[count:]) <= {ABSENT}
    backwards = torch.where(
        scenes.identity != ABSENT, scenes.count[:, None] - 1 - torch.arange(6), ABSENT
    )
    turned_round = scenes.pick(backwards)
    kinds = [row[:n] for row, n in zip(scenes.identity.tolist(), scenes.count, strict=True)]
    repeats = [len(set(row)) < len(row) for row in kinds]
    assert {True, False} == set(repeats)
    with torch.no_grad():
        for row, repeated in enumerate(repeats):
            only = slice(row, row + 1)
            losses = [twin_loss(twin, images[only], s[only]) for s in (scenes, turned_round)]
            assert (losses[0] != losses[1]) == repeated


def test_the_twin_overfits_a_batch():
    objects = TABLE.objects.model_copy(update={"count": (0.2, 0.4, 0.4)})
    spec = TABLE.model_copy(update={"objects": objects, "image_size": (32, 32)})
    twin, stream = _twin(spec), OneBatch(spec, batch=3, seed=1)
    teach(twin, stream, TrainSettings(iterations=200, learning_rate=5e-3, warmup=10))
    test_set = TestSet.of_scenes(stream.only)
    method = Method(spec, CROCKERY, lambda images: infer_by_twin(twin, images))
    (evaluation,) = evaluate_in_turn([method], test_set, batch=4)
    metrics = evaluation.metrics
    assert metrics.count.accuracy == metrics.identity_accuracy == 1.0
    assert metrics.position_in_diameters.median < 0.5
    assert metrics.camera.azimuth_degrees.median < 20.0


def test_a_twin_knows_yaws_alone():
    objects = SINGLE.objects.model_copy(update={"rotation": "free"})
    with pytest.raises(ValueError, match="single_object: its objects turn freely"):
        Twin(SINGLE.model_copy(update={"objects": objects}), SMALL, THINGS)


def test_the_search_finds_an_object():
    batch = SceneStream(SINGLE, batch=2, seed=3).batch(0)
    truth = batch.scenes
    search = Optimiser(SINGLE, THINGS, Restarts(starts=6, climbers=3, steps=20), seed=0)
    for row, estimate in enumerate(search.infer(batch.images)):
        (thing,) = estimate.objects
        assert thing.identity == int(truth.identity[row, 0])
        assert float((thing.object_to_world[:3, 3] - truth.position[row, 0]).norm()) < 0.01
        assert estimate.count_probability == (0.0, 1.0)


def test_the_search_adds_objects_while_they_explain():
    """Two objects, and none, where nothing says beforehand how many there are."""
    objects = SINGLE.objects.model_copy(update={"count": (0.3, 0.3, 0.4)})
    spec = SINGLE.model_copy(update={"objects": objects, "image_size": (32, 32)})
    scenes = SceneStream(spec, batch=2, seed=5).batch(0).scenes[:1]
    scenes = dataclasses.replace(
        scenes,
        identity=torch.tensor([[0, 1]]),
        position=torch.tensor([[[-0.4, 0.3, 0.18], [0.4, -0.2, 0.2]]]),
    )
    kept = torch.tensor([[0, 1], [ABSENT, ABSENT]])
    scenes = scenes[torch.zeros(2, dtype=torch.int64)].pick(kept)
    with torch.no_grad():
        images = SceneDecoder(spec, THINGS).image(scenes)
    images = images + spec.noise_std * torch.randn(
        images.shape, generator=torch.Generator().manual_seed(0)
    )
    search = Optimiser(spec, THINGS, Restarts(starts=8, climbers=4, steps=12), seed=0)
    found = [[thing.identity for thing in said.objects] for said in search.infer(images)]
    assert [sorted(kinds) for kinds in found] == [[0, 1], []]


def test_methods_in_turn_are_tested_as_alone():
    torch.manual_seed(0)
    model = build_air(SINGLE, SMALL, THINGS).eval()
    test_set = TestSet.of_scenes(SceneStream(SINGLE, batch=5, seed=0).batch(0))
    methods = [Method.of_model(model), Method(SINGLE, THINGS, lambda images: infer(model, images))]
    one, other = evaluate_in_turn(methods, test_set, batch=2)
    assert one.metrics == other.metrics and one.metrics.count.images == 5


SIZES = ("channels", "8 8"), ("features", "16"), ("state", "16"), ("hidden", "16")


def test_rivals_stand_on_the_page_beside_air(tmp_path, call_script, capsys):
    write_bop(tmp_path / "data", BopPlan(SINGLE, count=3, seed=0))
    results = tmp_path / "results"
    common = ["--scene", ROOT / "scenes" / "single_object.yaml", "--data", tmp_path / "data"]
    sizes = [word for name, n in SIZES for word in (f"--network.{name}", *n.split())]
    flags = [*common, "--json", results / "taught.json", "--iterations", 2, "--batch", 4, *sizes]
    assert call_script("rivals.py", "twin", *flags) == 0, capsys.readouterr().err
    against = ["--against", ROOT / "assets" / "checkpoints" / "single_object"]
    search = ["--starts", 2, "--climbers", 1, "--steps", 2, "--limit", 2, *against]
    flags = [*common, "--json", results / "searched.json", *search]
    assert call_script("rivals.py", "optimise", *flags) == 0, capsys.readouterr().err
    against = json.loads((results / "searched.json").read_text())["against"]
    assert against["metrics"]["all_right"] == 1.0 and against["times_faster"] > 0
    page = results_page(results)
    assert "| searched | 2 starts a kind, best 1 climb 2 steps | 2 |" in page
    assert "| taught | one pass | 3 |" in page
    assert "trained by labels: 2 iterations" in page and "times as long as" in page


@pytest.mark.parametrize(
    ("rival", "change", "sentence"),
    [
        ("twin", {}, "give either --iterations or --minutes: nothing says how long"),
        ("twin", {"iterations": 1, "minutes": 1.0}, "give either --iterations or --minutes"),
        ("twin", {"scene": "scenes/multi_mnist.yaml"}, "is a scene of glimpses"),
        ("twin", {"data": "nowhere", "iterations": "1"}, "nowhere: there is no such data set"),
        ("optimise", {"against": "nowhere"}, "nowhere: is no checkpoint"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, call_script, rival, change, sentence):
    write_bop(tmp_path / "data", BopPlan(SINGLE, count=1, seed=0))
    options = {"data": tmp_path / "data", "json": tmp_path / "x.json"} | change
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    monkeypatch.chdir(ROOT)
    answer = call_script("rivals.py", rival, *flags)
    assert isinstance(answer, str) and sentence in answer and "\n" not in answer
    assert not (tmp_path / "x.json").exists()


def test_numbers_out_of_range_are_refused():
    for name in ("starts", "climbers", "steps"):
        with pytest.raises(ValueError, match=f"--{name} must be at least 1, got 0"):
            Restarts(**{name: 0})


@pytest.mark.parametrize(
    ("option", "fault"),
    [("--limit=0", "--limit must be at least 1, got 0"), ("--rounds=1", "name it by --against")],
)
def test_options_out_of_range_end_before_any_work(call_script, capsys, option, fault):
    flags = ["--data", "x", "--json", "y", option]
    assert call_script("rivals.py", "optimise", *flags) not in (0, None)
    assert fault in " ".join(capsys.readouterr().err.split())


def test_the_bound_is_as_wide_as_the_noise_lets_it():
    """Fitting noisy images from the truth scatters as an efficient estimator does."""
    truth = ScenePrior(SINGLE, THINGS).sample(1, torch.Generator().manual_seed(3))
    scenes = truth[torch.zeros(200, dtype=torch.int64)]
    decoder, generator = SceneDecoder(SINGLE, THINGS), torch.Generator().manual_seed(0)
    drawn = efficient_scenes(decoder, scenes, generator).position[:, 0, :2]
    images = decoder.image(scenes)
    images = images + decoder.noise_std * torch.randn(images.shape, generator=generator)
    fitted = settle(decoder, images, scenes, steps=6).position[:, 0, :2]
    middle = truth.position[0, 0, :2]
    for found in (drawn, fitted):
        torch.testing.assert_close(found.mean(0), middle, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(fitted.T.cov(), drawn.T.cov(), rtol=0.4, atol=4e-9)


def test_the_bound_stands_beside_the_rivals(tmp_path, call_script, capsys):
    write_bop(tmp_path / "data", BopPlan(SINGLE, count=6, seed=5))
    scene, results = ROOT / "scenes" / "single_object.yaml", tmp_path / "results"
    flags = ["--scene", scene, "--data", tmp_path / "data", "--json", results / "bound.json"]
    assert call_script("rivals.py", "bound", *flags, "--batch", 4) == 0, capsys.readouterr().err
    content = json.loads((results / "bound.json").read_text())
    assert content["metrics"]["all_right"] == 1.0
    assert content["metrics"]["position_in_diameters"]["median"] < 0.003
    assert "| bound | told what there is" in results_page(results)
