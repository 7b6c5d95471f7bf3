"""Nothing is lost: states outlive crashes, signals, full disks and losses that are not finite."""

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from air3d.checkpoint import STATES, WEIGHTS, CheckpointError, load_model, save_model
from air3d.data import SceneStream
from air3d.models import SceneConfig, build_air
from air3d.objectives import count_log_prior
from air3d.randomness import set_random_states
from air3d.scene import load_scene
from air3d.training import Loss, TrainSettings, elbo_loss, sleep_loss, train
from air3d.training.losses import mixed_loss
from air3d.training.post_mortem import FAILURE
from air3d.training.states import (
    LOCK,
    claimed,
    forget_after,
    has_states,
    load_state,
    save_state,
)

SMALL = SceneConfig(
    channels=(4, 4, 4),
    features=8,
    state=8,
    search=4,
    glimpse_size=8,
    glimpse_channels=(4, 4),
    closer_size=8,
    closer_channels=(4, 4),
    hidden=8,
)


@pytest.fixture(scope="module")
def stream():
    return SceneStream(load_scene(ROOT / "scenes/single_object.yaml"), batch=4, seed=0)


def tiny(
    stream: SceneStream,
    out: Path,
    iterations: int = 6,
    *,
    before: Callable[[int], None] = lambda iteration: None,
):
    """Train on the ELBO, which draws from torch's global random state; return the weights.

    ``before`` is called before each step. What a run before has left in ``out`` is gone on with.
    """
    torch.manual_seed(5)
    model = build_air(stream.spec, SMALL, stream.meshes)
    prior = count_log_prior(model.spec.count, model.max_steps)
    images = stream.batch(0).images

    def loss_of(iteration: int) -> Loss:
        before(iteration)
        return elbo_loss(model, images, prior)

    settings = TrainSettings(iterations=iterations, warmup=2, checkpoint_seconds=0.0)
    options = {"record": {}, "seed": 5, "validate": lambda: {}}
    train(model, loss_of, settings, out, **options, resume=has_states(out))
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def whole(stream, tmp_path_factory):
    """The weights of a training that nothing interrupts."""
    return tiny(stream, tmp_path_factory.mktemp("whole"))


def check_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / STATES).iterdir())


def at(wanted: int, action: Callable[[], None]) -> Callable[[int], None]:
    return lambda iteration: action() if iteration == wanted else None


def test_resuming_restores_the_random_state(stream, whole, tmp_path):
    def crash():
        raise MemoryError

    with pytest.raises(MemoryError):
        tiny(stream, tmp_path, before=at(3, crash))
    check_same(tiny(stream, tmp_path), whole)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_saves_the_step_that_it_comes_in(stream, whole, tmp_path, number, kind):
    before = signal.getsignal(number)
    with pytest.warns(UserWarning, match=r"stopped after iteration 4; .* --iterations 4 at"):
        with pytest.raises(kind) as stopped:
            tiny(stream, tmp_path, before=at(3, lambda: os.kill(os.getpid(), number)))
    if kind is SystemExit:
        assert stopped.value.code == 143
    assert signal.getsignal(number) == before
    assert load_state(tmp_path)["iteration"] == 4
    assert not (tmp_path / WEIGHTS).exists()
    with pytest.raises(CheckpointError, match="has not ended; repeat its command with --resume"):
        load_model(tmp_path)
    check_same(tiny(stream, tmp_path), whole)


def test_a_stopped_training_becomes_a_checkpoint_at_once(stream, tmp_path):
    """With the iterations that it has, as the message of stopping says."""
    with pytest.warns(UserWarning, match="stopped after"), pytest.raises(SystemExit):
        tiny(stream, tmp_path, before=at(3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    state = load_state(tmp_path)["model"]
    check_same(tiny(stream, tmp_path, 4), state)
    check_same(load_model(tmp_path).state_dict(), state)


def twice(number: int) -> Callable[[], None]:
    def send() -> None:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    return send


def test_the_second_interrupt_does_not_wait(stream, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tiny(stream, tmp_path, before=at(3, twice(signal.SIGINT)))
    assert load_state(tmp_path)["iteration"] == 3


def test_further_terminations_wait(stream, tmp_path):
    """Batch systems send them to torchrun and to its processes, to which torchrun passes it on."""
    with pytest.warns(UserWarning, match="stopped after iteration 4"), pytest.raises(SystemExit):
        tiny(stream, tmp_path, before=at(3, twice(signal.SIGTERM)))
    assert load_state(tmp_path)["iteration"] == 4


def test_training_works_in_another_thread_which_no_signal_reaches(stream, whole, tmp_path):
    made = []
    thread = threading.Thread(target=lambda: made.append(tiny(stream, tmp_path)))
    thread.start()
    thread.join()
    check_same(made[0], whole)


def test_the_last_states_are_kept(tmp_path):
    for iteration in (1, 20, 300):
        save_state(tmp_path, iteration, {"iteration": iteration}, keep=2)
    assert names(tmp_path) == ["000000020.pt", "000000300.pt"]
    assert load_state(tmp_path)["iteration"] == 300
    save_state(tmp_path, 25, {"iteration": 25}, keep=2)  # of a run that goes on from 20
    assert names(tmp_path) == ["000000020.pt", "000000025.pt"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_state_is_passed_over(stream, whole, tmp_path, share):
    tiny(stream, tmp_path)
    newest = tmp_path / STATES / "000000006.pt"
    content = newest.read_bytes()
    newest.write_bytes(content[: int(share * len(content))])
    with pytest.warns(UserWarning, match=r"000000006\.pt: is damaged .* passed over"):
        check_same(tiny(stream, tmp_path), whole)
    assert load_state(tmp_path)["iteration"] == 6


def test_a_damaged_state_does_not_count_as_kept(stream, tmp_path):
    for iteration in (1, 2):
        save_state(tmp_path, iteration, {"iteration": iteration}, keep=2)
    (tmp_path / STATES / "000000002.pt").write_bytes(b"PK")
    with pytest.warns(UserWarning, match="passed over"):
        forget_after(tmp_path, load_state(tmp_path)["iteration"])
    save_state(tmp_path, 5, {"iteration": 5}, keep=2)
    assert names(tmp_path) == ["000000001.pt", "000000005.pt"]


def test_a_state_that_cannot_be_read_is_no_damaged_one(tmp_path, monkeypatch):
    save_state(tmp_path, 1, {"iteration": 1})

    def failing(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(CheckpointError, match=r"000000001\.pt: cannot be read \(Input"):
        load_state(tmp_path)


def test_a_finished_training_is_not_announced_again(stream, whole, tmp_path):
    tiny(stream, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    check_same(tiny(stream, tmp_path), whole)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_where_all_states_are_damaged_it_says_so(tmp_path):
    save_state(tmp_path, 1, {"iteration": 1})
    (tmp_path / STATES / "000000001.pt").write_bytes(b"PK")
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(CheckpointError, match="every state is damaged; start without --resume"),
    ):
        load_state(tmp_path)


def test_nothing_to_resume_from(tmp_path):
    with pytest.raises(CheckpointError, match="holds no state to resume from"):
        load_state(tmp_path)


def test_a_state_of_another_program_is_refused(stream, tmp_path):
    save_state(tmp_path, 1, {"record": {"seed": 5}, "iteration": 1})
    with pytest.raises(CheckpointError, match="its states are not those of such a training"):
        tiny(stream, tmp_path)


def test_a_full_disk_is_one_sentence_and_keeps_the_last_states(stream, tmp_path, monkeypatch):
    tiny(stream, tmp_path, 3)
    before = {name: (tmp_path / STATES / name).read_bytes() for name in names(tmp_path)}
    assert len(before) == 2

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"000000004\.pt: cannot be written \(No space"):
            save_state(tmp_path, 4, {"iteration": 4}, keep=2)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(CheckpointError, match="cannot be written .*free space"):
            save_model(tmp_path, load_model(tmp_path), {})
    assert before == {name: (tmp_path / STATES / name).read_bytes() for name in names(tmp_path)}
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_loss_that_is_not_finite_leaves_what_led_there(stream, tmp_path):
    """With the weights and the random state that are kept, the same loss comes out again."""
    torch.manual_seed(0)
    model = build_air(stream.spec, SMALL, stream.meshes)
    options = {"record": {}, "seed": 0, "validate": lambda: {}}

    def loss_of(iteration: int) -> Loss:
        loss = sleep_loss(model, stream.batch(iteration))
        return Loss(loss.value * (float("nan") if iteration == 2 else 1), loss.figures, loss.batch)

    with pytest.raises(FloatingPointError, match=r"weights are kept in .*failure\.pt"):
        train(model, loss_of, TrainSettings(iterations=5), tmp_path, **options)
    kept = torch.load(tmp_path / FAILURE, weights_only=True)
    batch = stream.batch(kept["iteration"])
    assert kept["iteration"] == 2
    assert torch.equal(kept["batch"]["images"], batch.images)
    assert torch.equal(kept["batch"]["position"], batch.scenes.position)
    assert torch.equal(kept["batch"]["world_to_camera"], batch.scenes.camera.world_to_camera)
    again = build_air(stream.spec, SMALL, stream.meshes)
    again.load_state_dict(kept["model"])
    losses = []
    for each in (model, again):
        set_random_states(kept["random"], torch.device("cpu"))
        losses.append(sleep_loss(each, batch).value.item())
    assert losses[0] == losses[1]


def test_every_loss_keeps_its_batch(stream):
    model = build_air(stream.spec, SMALL, stream.meshes)
    prior = count_log_prior(model.spec.count, model.max_steps)
    dreams = stream.batch(0)
    kept = mixed_loss(model, stream.batch(1).images, dreams, prior).batch
    assert torch.equal(kept["pictures"], stream.batch(1).images)
    assert torch.equal(kept["images"], dreams.images)


def test_weights_that_no_loss_can_be_computed_with_are_kept_too(stream, tmp_path):
    model = build_air(stream.spec, SMALL, stream.meshes)
    options = {"record": {}, "seed": 0, "validate": lambda: {}}

    def loss_of(number: int) -> Loss:
        if number == 3:
            raise RuntimeError("index -9 is out of bounds")
        return sleep_loss(model, stream.batch(number))

    with pytest.raises(FloatingPointError, match=r"iteration 3 cannot be computed .*--learning"):
        train(model, loss_of, TrainSettings(iterations=5), tmp_path, **options)
    assert torch.load(tmp_path / FAILURE, weights_only=True)["iteration"] == 3


def test_two_trainings_do_not_share_a_folder(stream, tmp_path):
    def begin_another():
        with pytest.raises(CheckpointError, match="another process is training there"):
            with claimed(tmp_path):
                raise AssertionError("the folder was free")

    tiny(stream, tmp_path, 3, before=at(1, begin_another))
    with claimed(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_failure_that_cannot_be_kept_is_told_all_the_same(stream, tmp_path, monkeypatch):
    model = build_air(stream.spec, SMALL, stream.meshes)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    def loss_of(iteration: int) -> Loss:
        monkeypatch.setattr(os, "replace", full)
        return Loss(float("nan") * model.guide.presence.bias.sum(), {})

    with pytest.raises(FloatingPointError, match=r"not finite.*failure\.pt could not be written"):
        options = {"record": {}, "seed": 0, "validate": lambda: {}}
        train(model, loss_of, TrainSettings(iterations=1), tmp_path, **options)
