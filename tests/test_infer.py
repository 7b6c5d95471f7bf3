"""scripts/infer.py and inspect_poses.py: files in, files out, and every kind of bad input."""

import errno
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import trimesh

from air3d.checkpoint import load_model, save_model
from air3d.cli import InputError
from air3d.data import read_picture
from air3d.files import temporary_name
from air3d.inference import Effort, infer
from air3d.inspection import open3d_view
from air3d.inspection.records import read_record, record_placements
from air3d.models import GlimpseConfig, SceneConfig, build_air
from air3d.scene import load_assets, load_scene
from scripts import infer as infer_script
from scripts import inspect_poses

ROOT = Path(__file__).resolve().parent.parent


def save_untrained(scene, folder):
    """A 3D model: what it says is wrong, but said in the right form."""
    torch.manual_seed(0)
    spec = load_scene(ROOT / "scenes" / f"{scene}.yaml")
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    save_model(folder, build_air(spec, sizes, load_assets(spec)), {})
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a scene whose camera and light are known."""
    return save_untrained("single_object", tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="module")
def checkpoint_tabletop(tmp_path_factory):
    """Of a scene whose camera, light, scales and colours images must tell."""
    return save_untrained("tabletop", tmp_path_factory.mktemp("tabletop"))


@pytest.fixture(scope="module")
def checkpoint_2d(tmp_path_factory):
    """An untrained 2D model."""
    torch.manual_seed(0)
    spec = load_scene(ROOT / "scenes" / "multi_mnist.yaml")
    sizes = GlimpseConfig(channels=(4, 4, 4), features=8, state=8, code=4, hidden=8)
    folder = tmp_path_factory.mktemp("digits")
    save_model(folder, build_air(spec, sizes, ()), {})
    return folder


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def run_infer(images, checkpoint, out, ghosts=0, film=False, **effort):
    infer_script.main(
        infer_script.Arguments(tuple(images), checkpoint, out, Effort(**effort), ghosts, film)
    )


def refusal(images, checkpoint, out, **options):
    """The sentence that infer.py ends with; it must have written nothing."""
    with pytest.raises(ValueError) as caught:
        run_infer(images, checkpoint, out, **options)
    assert not out.exists() or not list(out.iterdir())
    return str(caught.value)


def test_infer_writes_json_picture_and_glb(image, checkpoint, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    run_infer([image], checkpoint, out, refine_steps=1)
    assert sorted(path.name for path in out.iterdir()) == ["photo.glb", "photo.json", "photo.png"]
    record = read_record(out / "photo.json")
    assert record.count == len(record.objects) == int(np.argmax(record.count_probabilities))
    assert sum(record.count_probabilities) == pytest.approx(1.0, abs=1e-5)
    assert record.image_size == (64, 64) and record.refine_steps == 1
    nodes = trimesh.load_scene(out / "photo.glb").graph.nodes_geometry
    assert sum(node.startswith("object_") for node in nodes) == record.count
    assert PIL.Image.open(out / "photo.png").width > 3 * 64
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 and printed[0].startswith(f"{image}: {record.count} object")


def test_the_scripts_positions_are_those_of_the_pose_matrix(image, checkpoint, tmp_path):
    run_infer([image], checkpoint, tmp_path / "out")
    record = read_record(tmp_path / "out" / "photo.json")
    for found, placement in zip(record.objects, record_placements(record), strict=True):
        pose = placement.object_to_world
        assert found.position == pytest.approx(pose[:3, 3].tolist())
        assert np.cos(found.yaw) == pytest.approx(float(pose[0, 0]), abs=1e-6)
        assert np.sin(found.yaw) == pytest.approx(float(pose[1, 0]), abs=1e-6)


def test_what_the_scene_file_leaves_open_is_in_every_result(
    image, checkpoint_tabletop, tmp_path, capsys
):
    """The JSON, the line that is printed and the GLB file are about one estimate."""
    run_infer([image], checkpoint_tabletop, tmp_path / "out")
    model = load_model(checkpoint_tabletop)
    (estimate,) = infer(model, read_picture(image, model.spec)[None] / 255)
    assert estimate.count > 0, "choose another seed: the untrained model must see something"
    content = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert content["table"] == json.loads(model.spec.table.model_dump_json())
    assert content["light"]["source"] == pytest.approx(estimate.light.source[0].tolist())
    assert content["light"]["ambient"] == pytest.approx(estimate.light.ambient[0].tolist())
    world_to_camera = estimate.camera.world_to_camera[0]
    assert np.array(content["camera"]["world_to_camera"]) == pytest.approx(world_to_camera.numpy())
    printed = capsys.readouterr().out
    scene = trimesh.load_scene(tmp_path / "out" / "photo.glb")
    for index, found in enumerate(estimate.objects):
        written = content["objects"][index]
        assert written["scale"] == pytest.approx(found.scale) and found.scale != 1.0
        assert written["colour"] == pytest.approx(found.colour.tolist())
        assert f"scale {found.scale:.2f}" in printed
        _, name = scene.graph.get(f"object_{index}")
        extents = found.scale * np.ptp(model.meshes[found.identity].vertices.numpy(), axis=0)
        assert scene.geometry[name].extents == pytest.approx(extents, rel=1e-5)


def test_infer_on_patches_has_boxes_and_no_glb(checkpoint_2d, tmp_path):
    path = tmp_path / "digits.png"
    PIL.Image.new("L", (50, 50), 40).save(path)
    run_infer([path], checkpoint_2d, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["digits.json", "digits.png"]
    content = json.loads((tmp_path / "out" / "digits.json").read_text())
    assert content["camera"] is None and len(content["objects"]) == content["count"]


def test_images_of_one_name_do_not_overwrite_one_another(checkpoint, tmp_path):
    paths = [tmp_path / name for name in ("a/x.png", "b/x.png", "b/x.bmp", "b/x_2.png")]
    for level, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (64, 64), (60 * level, 0, 0)).save(path)
    run_infer(paths, checkpoint, tmp_path / "out")
    sources = {path.stem: read_record(path).image for path in (tmp_path / "out").glob("*.json")}
    assert len(sources) == 4 and set(sources.values()) == {str(path) for path in paths}
    assert sources["x"] == str(paths[0]) and sources["x_2"] == str(paths[3])


def test_names_that_differ_in_case_only_count_as_one():
    names = infer_script.unique_names([Path("A.png"), Path("b/a.png"), Path("c.png")])
    assert names == ["A", "a_2", "c"]


def test_all_images_are_read_before_any_result_is_written(image, checkpoint, tmp_path):
    text = tmp_path / "notes.png"
    text.write_text("no picture")
    assert refusal([image, text], checkpoint, tmp_path / "out").startswith(
        f"{text}: is not an image"
    )
    cut = tmp_path / "cut.png"
    cut.write_bytes(image.read_bytes()[:3000])
    assert refusal([image, cut], checkpoint, tmp_path / "out").startswith(f"{cut}: cannot be read")
    gone = tmp_path / "gone.png"
    assert "No such file" in refusal([gone], checkpoint, tmp_path / "out")
    assert f"{tmp_path}: cannot be read" in refusal([tmp_path], checkpoint, tmp_path / "out")


def test_a_picture_of_another_size_or_depth_is_refused(checkpoint, tmp_path):
    large = tmp_path / "large.png"
    PIL.Image.new("RGB", (80, 64)).save(large)
    sentence = refusal([large], checkpoint, tmp_path / "out")
    assert "is 80 x 64 pixels" in sentence and "64 x 64" in sentence
    deep = tmp_path / "deep.png"
    PIL.Image.new("I;16", (64, 64)).save(deep)
    assert "8 bits per channel" in refusal([deep], checkpoint, tmp_path / "out")


def test_grey_and_transparent_pictures_are_read_as_colour(checkpoint):
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    for mode, value in (("L", 51), ("RGBA", (51, 51, 51, 255)), ("P", None)):
        picture = (
            PIL.Image.new(mode, (64, 64), value)
            if value
            else (PIL.Image.new("RGB", (64, 64), (51, 51, 51)).convert("P"))
        )
        path = checkpoint / f"{mode}.png"
        picture.save(path)
        pixels = read_picture(path, spec) / 255
        assert pixels.shape == (3, 64, 64)
        assert torch.allclose(pixels, torch.full((3, 64, 64), 0.2), atol=2e-3)


def test_what_cannot_be_done_is_said_in_a_sentence(image, checkpoint, checkpoint_2d, tmp_path):
    out = tmp_path / "out"
    assert "none was given" in refusal([], checkpoint, out)
    assert "--refine-steps" in refusal([image], checkpoint, out, refine_steps=-1)
    assert "is no checkpoint" in refusal([image], tmp_path / "nothing", out)
    digits = tmp_path / "digits.png"
    PIL.Image.new("L", (50, 50)).save(digits)
    assert "2D" in refusal([digits], checkpoint_2d, out, refine_steps=3)
    assert "--ghosts: must not be negative" in refusal([image], checkpoint, out, ghosts=-1)
    assert "--ghosts: is for 3D" in refusal([digits], checkpoint_2d, out, ghosts=3)
    assert "--film: is for 3D" in refusal([digits], checkpoint_2d, out, film=True)
    assert "add --refine-steps 40" in refusal([image], checkpoint, out, film=True)


def test_ghosts_are_a_fourth_panel_and_change_nothing_else(image, checkpoint_tabletop, tmp_path):
    run_infer([image], checkpoint_tabletop, tmp_path / "plain")
    run_infer([image], checkpoint_tabletop, tmp_path / "ghosts", ghosts=3)
    plain, ghostly = (PIL.Image.open(tmp_path / name / "photo.png") for name in ("plain", "ghosts"))
    assert ghostly.height == plain.height and 3 * ghostly.width == pytest.approx(
        4 * plain.width, abs=12
    )
    shared = np.asarray(ghostly)[:, : plain.width - 12]
    assert np.array_equal(shared, np.asarray(plain)[:, : plain.width - 12])
    jsons = [(tmp_path / name / "photo.json").read_bytes() for name in ("plain", "ghosts")]
    assert jsons[0] == jsons[1]


def test_a_film_is_one_file_more_and_changes_no_other(image, checkpoint, tmp_path):
    for name, film in (("plain", False), ("filmed", True)):
        run_infer([image], checkpoint, tmp_path / name, film=film, refine_steps=3)
    filmed = {path.name: path.read_bytes() for path in (tmp_path / "filmed").iterdir()}
    with PIL.Image.open(tmp_path / "filmed" / "photo.gif") as animation:
        assert animation.format == "GIF" and animation.n_frames > 2
    del filmed["photo.gif"]
    assert filmed == {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}


def test_an_image_is_never_overwritten_by_its_own_film(image, checkpoint):
    animation = image.with_suffix(".gif")
    image.rename(animation)
    before = animation.read_bytes()
    with pytest.raises(InputError, match="overwritten"):
        run_infer([animation], checkpoint, animation.parent, film=True, refine_steps=1)
    assert animation.read_bytes() == before and len(list(animation.parent.iterdir())) == 1


def test_an_image_is_never_overwritten_by_its_own_result(image, checkpoint):
    before = image.read_bytes()
    with pytest.raises(InputError, match="overwritten"):
        run_infer([image], checkpoint, image.parent)
    assert image.read_bytes() == before and len(list(image.parent.iterdir())) == 1


def test_an_out_that_cannot_be_a_folder_is_named(image, checkpoint):
    with pytest.raises(InputError, match=r"--out .*photo\.png.*cannot be made"):
        run_infer([image], checkpoint, image / "below")


@pytest.mark.parametrize(
    "obstacle",
    ["photo.json", temporary_name(Path("photo.json")).name],
    ids=["the file", "its temporary name"],  # which holds the process's number
)
def test_a_failed_write_leaves_nothing_behind(image, checkpoint, tmp_path, obstacle):
    out = tmp_path / "out"
    (out / obstacle).mkdir(parents=True)
    with pytest.raises(InputError, match=r"photo.json.*cannot be written"):
        run_infer([image], checkpoint, out)
    assert [path.name for path in out.iterdir()] == [obstacle]


def test_a_failed_write_leaves_an_earlier_runs_files(image, checkpoint, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run_infer([image], checkpoint, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    write_bytes = Path.write_bytes

    def full_disk(path, content):
        if path.name.startswith("photo.png"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(InputError, match=r"photo\.png: cannot be written \(No space left"):
        run_infer([image], checkpoint, out, refine_steps=1)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_an_interrupted_write_leaves_no_temporary_files(tmp_path, monkeypatch):
    def interrupted(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        infer_script.write_results(tmp_path, "a", {".png": b"1", ".json": b"2"})
    assert not list(tmp_path.iterdir())


def test_infer_ends_with_one_line_and_status_1(run_script, image, tmp_path):
    done = run_script("infer.py", image, "--checkpoint", tmp_path / "no", "--out", tmp_path / "o")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("infer: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_inspect_ends_with_a_sentence(call_script, tmp_path):
    code = call_script("inspect_poses.py", tmp_path / "no.json", "--out", tmp_path / "x.html")
    assert str(code).startswith(f"inspect_poses: {tmp_path}/no.json: cannot be read")


def test_the_command_line_of_infer(call_script, image, checkpoint, tmp_path):
    options = ("--checkpoint", checkpoint, "--out", tmp_path / "out", "--refine-steps", "1")
    assert call_script("infer.py", image, *options) == 0
    assert (tmp_path / "out" / "photo.json").is_file()


@pytest.fixture
def result(image, checkpoint, tmp_path):
    run_infer([image], checkpoint, tmp_path / "out")
    return tmp_path / "out" / "photo.json"


def inspect(result, **options):
    inspect_poses.main(inspect_poses.Arguments(result, **options))


def test_inspect_writes_html_and_glb_without_open3d(result, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open3d", None)
    inspect(result, out=tmp_path / "x.html")
    inspect(result.parent, out=tmp_path / "x.glb")
    assert "WebGLRenderer" in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "object_0" in trimesh.load_scene(tmp_path / "x.glb").graph.nodes_geometry
    with pytest.raises(open3d_view.ViewerError, match=r"Open3D cannot be imported.*\.\[viz\]"):
        inspect(result, out=tmp_path / "x.png")
    assert not list(tmp_path.glob("*.tmp")) and not (tmp_path / "x.png").exists()


def test_inspect_names_the_file_that_cannot_be_written(result, tmp_path):
    temporary_name(tmp_path / "x.glb").mkdir()
    with pytest.raises(InputError, match=r"--out .*x\.glb: cannot be written \(Is a directory"):
        inspect(result, out=tmp_path / "x.glb")
    assert not (tmp_path / "x.glb").exists()


def test_inspect_serves_one_result_to_a_browser(result, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr(inspect_poses, "serve", lambda scene, port: served.append((scene, port)))
    inspect(result, web=8123)
    ((scene, port),) = served
    assert port == 8123 and "table" in scene.graph.nodes_geometry
    with pytest.raises(InputError, match="--web and --out"):
        inspect(result, web=8123, out=tmp_path / "x.png")
    with pytest.raises(InputError, match="--web: must be a port"):
        inspect(result, web=65536)
    (result.parent / "second.json").write_text(result.read_text())
    with pytest.raises(InputError, match="holds 2 results and --web is about one"):
        inspect(result.parent, web=8123)


def test_inspect_answers_options_that_conflict(result, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")

    def sentence(**options):
        with pytest.raises(InputError) as caught:
            inspect(options.pop("result", result), **options)
        return str(caught.value)

    assert "--out FILE.png" in sentence()
    assert sentence(key="000000_000000").startswith("--key: needs --data")
    assert sentence(data=tmp_path).startswith("--data: needs --key")
    assert "must end in" in sentence(out=tmp_path / "x.jpg")
    assert "folder that exists" in sentence(out=tmp_path / "no" / "x.png")
    (tmp_path / "empty").mkdir()
    assert "holds no result" in sentence(result=tmp_path / "empty", out=tmp_path / "x.png")
    (result.parent / "scores.json").write_text("{}")
    (result.parent / "second.json").write_text(result.read_text())
    assert "holds 2 results" in sentence(result=result.parent, out=tmp_path / "x.html")


def test_inspect_has_nothing_to_show_of_2d_results(checkpoint_2d, tmp_path):
    path = tmp_path / "digits.png"
    PIL.Image.new("L", (50, 50), 40).save(path)
    run_infer([path], checkpoint_2d, tmp_path / "out")
    with pytest.raises(InputError, match="is a 2D result"):
        inspect(tmp_path / "out" / "digits.json", out=tmp_path / "x.html")
