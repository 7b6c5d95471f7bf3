"""BOP data sets are complete, exact, repeatable, and read back as they were written."""

import io
import itertools
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from data_cases import contents, rle_to_mask
from PIL import Image

from air3d.data import BopDataset, BopPlan, DataError, read_images, write_bop
from air3d.data.bop import format, read_diameters, read_model, write
from air3d.data.bop.annotate import AnnotatedScenes
from air3d.data.bop.silhouettes import surround
from air3d.evaluation import load_test_set
from air3d.geometry import project
from air3d.render import Instances, render_depth
from air3d.scene import ABSENT, SceneSpec, View, ViewPrior, known_view, load_assets, load_scene

ROOT = Path(__file__).resolve().parent.parent
COUNT, SHARD, SEED = 21, 8, 3


@pytest.fixture(scope="module")
def spec() -> SceneSpec:
    """Return none to three objects, spread so wide that some leave the image or hide others."""
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    assert isinstance(spec, SceneSpec)
    content = spec.model_dump(mode="json") | {"image_size": [24, 32]}
    content["objects"]["count"] = [0.2, 0.2, 0.3, 0.3]
    content["objects"] |= {"x": {"low": -1.1, "high": 1.1}, "y": {"low": -0.5, "high": 0.5}}
    return SceneSpec.model_validate(content).model_copy(update={"folder": spec.folder})


@pytest.fixture(scope="module")
def shards(spec, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bop") / "shards"
    write_bop(path, BopPlan(spec, COUNT, SEED, shard_size=SHARD))
    return path


@pytest.fixture(scope="module")
def loose(spec, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bop") / "loose"
    write_bop(path, BopPlan(spec, COUNT, SEED, layout="scenewise", shard_size=SHARD))
    return path


@pytest.fixture
def copy(shards, tmp_path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def member(shard: Path, name: str) -> bytes:
    with tarfile.open(shard) as file:
        extracted = file.extractfile(name)
        assert extracted is not None
        return extracted.read()


def test_shards_hold_every_image_once_with_all_its_parts(shards):
    names = sorted(path.name for path in shards.iterdir())
    assert names == [
        "dataset_info.json",
        "key_to_shard.json",
        "models",
        *(f"shard-{number:06d}.tar" for number in range(3)),
    ]
    key_to_shard = json.loads((shards / "key_to_shard.json").read_text())
    found = {}
    for number in range(3):
        with tarfile.open(shards / f"shard-{number:06d}.tar") as file:
            for name in file.getnames():
                key, _, suffix = name.partition(".")
                assert key_to_shard[key] == number
                found.setdefault(key, []).append(suffix)
    assert list(found) == list(key_to_shard) and len(found) == COUNT
    parts = "rgb.png depth.png camera.json gt.json gt_info.json mask.json mask_visib.json".split()
    assert all(suffixes == parts for suffixes in found.values())


def test_the_data_set_says_what_made_it(shards, spec):
    info = json.loads((shards / "dataset_info.json").read_text())
    assert info["seed"] == SEED and info["count"] == COUNT
    restored = SceneSpec.model_validate(info["scene"])
    assert restored.model_copy(update={"folder": spec.folder}) == spec
    assert set(info) >= {"air3d_version", "git_commit", "mesh_sha256", "layout", "shard_size"}


def test_both_layouts_say_the_same(shards, loose):
    for a, b in zip(BopDataset(shards), BopDataset(loose), strict=True):
        assert a.key == b.key and torch.equal(a.rgb, b.rgb)
        assert torch.equal(a.camera.intrinsics, b.camera.intrinsics)
        assert [o.identity for o in a.objects] == [o.identity for o in b.objects]
        for first, second in zip(a.objects, b.objects, strict=True):
            assert torch.equal(first.object_to_world, second.object_to_world)
            assert first.visib_fract == second.visib_fract
    scene = loose / "train" / "000000"
    for index in range(SHARD):
        rle = json.loads(member(shards / "shard-000000.tar", f"000000_{index:06d}.mask.json"))
        for number in map(int, rle):
            picture = Image.open(scene / "mask" / f"{index:06d}_{number:06d}.png")
            assert np.array_equal(np.array(picture) == 255, rle_to_mask(rle[str(number)]))


def test_images_and_scenes_come_back_as_they_were_drawn(shards, spec):
    scenes = AnnotatedScenes(spec, SEED)
    drawn = scenes.stream.batch(0)
    read = read_images(shards)
    assert read.images.shape == (COUNT, 3, 24, 32)
    rounded = (drawn.images.clamp(0, 1) * 255).round() / 255
    torch.testing.assert_close(read.images[: scenes.chunk], rounded, atol=1e-6, rtol=0)
    first = slice(0, scenes.chunk)
    assert torch.equal(read.scenes.identity[first], drawn.scenes.identity)
    assert set(read.scenes.count.tolist()) == {0, 1, 2, 3}
    present = drawn.scenes.identity != ABSENT
    for name in ("position", "yaw"):
        mine, theirs = getattr(read.scenes, name)[first], getattr(drawn.scenes, name)
        torch.testing.assert_close(mine[present], theirs[present], atol=1e-5, rtol=0)


def test_the_camera_comes_back(shards, spec):
    camera = known_view(spec).camera
    read = BopDataset(shards)[5].camera
    torch.testing.assert_close(read.intrinsics, camera.intrinsics)
    torch.testing.assert_close(read.world_to_camera, camera.world_to_camera)
    assert read.image_size == (24, 32)


def test_the_cameras_of_all_images_come_back_without_their_pixels(shards, loose, spec):
    camera = known_view(spec).camera
    for path in (shards, loose):
        cameras = BopDataset(path).cameras()
        assert len(cameras) == COUNT and cameras.image_size == (24, 32)
        for image, seen in zip(BopDataset(path), cameras.world_to_camera, strict=True):
            assert torch.equal(image.camera.world_to_camera[0], seen)
        torch.testing.assert_close(cameras.intrinsics, camera.expand(COUNT).intrinsics)


def test_an_image_is_found_by_its_key_whatever_the_others_hold(copy):
    image = BopDataset(copy).find("000001_000003")
    assert image.key == "000001_000003"
    assert torch.equal(image.rgb, BopDataset(copy)[SHARD + 3].rgb)
    shard = copy / "shard-000001.tar"
    with tarfile.open(shard) as file:
        offset = next(m.offset_data for m in file if m.name == "000001_000002.rgb.png")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:offset] + b"#" * 8 + whole[offset + 8 :])
    assert torch.equal(BopDataset(copy).find("000001_000003").rgb, image.rgb)
    with pytest.raises(DataError, match="has no image 7; keys are SSSSSS_IIIIII.*000000_000000"):
        BopDataset(copy).find("7")


def test_models_come_back_in_metres(shards, spec):
    meshes = AnnotatedScenes(spec, SEED).stream.meshes
    assert read_diameters(shards / "models") == pytest.approx(
        {number: mesh.diameter for number, mesh in enumerate(meshes, start=1)}
    )
    for number, mesh in enumerate(meshes, start=1):
        model = read_model(shards / "models", number)
        torch.testing.assert_close(model.vertices, mesh.vertices, atol=1e-6, rtol=0)
        assert torch.equal(model.faces, mesh.faces)
        assert model.diameter == pytest.approx(mesh.diameter, rel=1e-5)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"1": {"diameter": 9.0}, "2": {}}, "has no diameter of object 2"),
        ({"1": {"diameter": 9.0}, "2": 7}, "has no diameter of object 2"),
        ({"cube": {"diameter": 9.0}}, "names an object that is no number"),
    ],
)
def test_damaged_diameters_are_named(tmp_path, content, fault):
    (tmp_path / "models_info.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"models_info.json: {fault}"):
        read_diameters(tmp_path)


def test_silhouettes_are_those_of_the_whole_surrounding_image(spec):
    scenes = AnnotatedScenes(spec, SEED)
    stream = scenes.stream
    truncated = hidden = 0
    for image in scenes.images(0, COUNT):
        scene = image.scene
        if int(scene.count) == 0:
            assert not np.isfinite(image.depth).any()
            continue
        instances = Instances(scene.identity, scene.object_to_world, scene.scale)
        large = render_depth(stream.bank, instances, surround(scene.camera))[0].numpy()
        differs = np.isfinite(large) != image.silhouettes
        assert differs.sum() <= 1  # a pixel centre on an edge may fall to either side
        assert not (image.visible.sum(axis=0) > 1).any()
        assert np.array_equal(image.visible.any(axis=0), np.isfinite(image.depth))
        assert not (image.visible & ~image.masks).any()
        truncated += int((image.masks.sum((1, 2)) < image.silhouettes.sum((1, 2))).sum())
        hidden += int((image.visible.sum((1, 2)) < image.masks.sum((1, 2))).sum())
    assert truncated > 0 and hidden > 0  # else this test would not test much


def test_depth_agrees_with_the_poses(shards, spec):
    """At each object's visible centre, the depth is that of its surface, before its origin."""
    checked = 0
    for index in range(SHARD):
        key = f"000000_{index:06d}"
        shard = shards / "shard-000000.tar"
        depth = np.array(Image.open(io.BytesIO(member(shard, f"{key}.depth.png"))))
        visible = json.loads(member(shard, f"{key}.mask_visib.json"))
        for number, pose in enumerate(json.loads(member(shard, f"{key}.gt.json"))):
            mask = rle_to_mask(visible[str(number)])
            if mask.sum() > 20:
                ahead = pose["cam_t_m2c"][2] - depth[mask].min()
                assert 100 < ahead < 350  # millimetres: between half a side and half a diagonal
                assert (depth[mask] > 0).all()
                checked += 1
    assert checked > 3


def test_boxes_lie_around_the_projected_objects(shards):
    dataset = BopDataset(shards)
    shard = shards / "shard-000000.tar"
    for index in range(SHARD):
        image = dataset[index]
        infos = json.loads(member(shard, f"{image.key}.gt_info.json"))
        for entry, info in zip(image.objects, infos, strict=True):
            if info["px_count_visib"] == 0:
                continue
            origin = entry.object_to_world[:3, 3][None, None]
            u, v = project(image.camera, origin).pixels[0, 0].tolist()
            left, top, width, height = info["bbox_obj"]
            assert left <= u <= left + width + 1 and top <= v <= top + height + 1


def test_the_same_plan_gives_the_same_bytes_and_another_seed_others(spec, shards, tmp_path):
    write_bop(tmp_path / "again", BopPlan(spec, COUNT, SEED, shard_size=SHARD))
    assert contents(tmp_path / "again") == contents(shards)
    write_bop(tmp_path / "other", BopPlan(spec, COUNT, SEED + 1, shard_size=SHARD))
    shard = "shard-000000.tar"
    assert (tmp_path / "other" / shard).read_bytes() != (shards / shard).read_bytes()


def test_an_image_does_not_depend_on_shards_or_count(spec, shards, tmp_path):
    write_bop(tmp_path / "few", BopPlan(spec, 11, SEED, shard_size=5))
    few, many = read_images(tmp_path / "few"), read_images(shards)
    assert torch.equal(few.images, many.images[:11])


@pytest.mark.parametrize("layout", ["webdataset", "scenewise"])
def test_an_interrupted_run_is_finished_to_the_same_bytes(spec, shards, loose, tmp_path, layout):
    plan = BopPlan(spec, COUNT, SEED, layout=layout, shard_size=SHARD)

    def interrupt(done: int, seen: list[int] = []) -> None:  # noqa: B006
        seen.append(done)
        if sum(seen) == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bop(tmp_path / "set", plan, interrupt)
    assert not list((tmp_path / "set").rglob("*.tmp"))
    with pytest.raises(DataError, match=f"holds 8 of {COUNT} images; finish it by"):
        BopDataset(tmp_path / "set")
    done: list[int] = []
    write_bop(tmp_path / "set", plan, done.append)
    assert done[0] == 8 and sum(done) == COUNT
    assert contents(tmp_path / "set") == contents(shards if layout == "webdataset" else loose)


def fail_at(number: int, monkeypatch) -> None:
    """Let the writing of an image's depth fail, as it does beyond 65 m."""
    done = itertools.count(1)

    def fail(depth):
        if next(done) == number:
            raise DataError("depth reaches 70.0 m")
        return format.depth_to_bop(depth)

    monkeypatch.setattr(write, "depth_to_bop", fail)


@pytest.mark.parametrize("layout", ["webdataset", "scenewise"])
@pytest.mark.parametrize("there", [True, False])
def test_an_error_before_the_first_part_leaves_nothing(spec, tmp_path, monkeypatch, layout, there):
    out = tmp_path / "set"
    if there:
        out.mkdir()
    fail_at(3, monkeypatch)
    with pytest.raises(DataError, match="depth reaches 70"):
        write_bop(out, BopPlan(spec, COUNT, SEED, layout=layout, shard_size=SHARD))
    assert list(tmp_path.rglob("*")) == ([out] if there else [])


def test_an_error_after_the_first_part_keeps_it(spec, shards, tmp_path, monkeypatch):
    fail_at(SHARD + 3, monkeypatch)
    plan = BopPlan(spec, COUNT, SEED, shard_size=SHARD)
    with pytest.raises(DataError, match="depth reaches 70"):
        write_bop(tmp_path / "set", plan)
    assert [path.name for path in (tmp_path / "set").glob("shard-*")] == ["shard-000000.tar"]
    write_bop(tmp_path / "set", plan)
    assert contents(tmp_path / "set") == contents(shards)


def test_what_is_too_far_for_a_depth_image_is_refused(spec, tmp_path):
    camera = {"eye": [0.0, -70.0, 20.0], "target": [0.0, 0.0, 0.0], "field_of_view": 0.06}
    content = spec.model_dump(mode="json") | {"camera": camera}
    content["objects"]["count"] = [0.0, 1.0]
    far = SceneSpec.model_validate(content).model_copy(update={"folder": spec.folder})
    with pytest.raises(DataError, match="depth reaches 7.*move the camera closer"):
        write_bop(tmp_path / "set", BopPlan(far, 4, 0))
    assert not list(tmp_path.iterdir())


def test_meshes_of_one_file_name_are_all_recorded(spec, tmp_path):
    content = spec.model_dump(mode="json")
    for kind, path in zip(content["objects"]["types"], spec.mesh_paths, strict=True):
        folder = tmp_path / kind["name"]
        folder.mkdir()
        shutil.copy(path, folder / "mesh.ply")
        kind["mesh"] = str(folder / "mesh.ply")
    digests = BopPlan(SceneSpec.model_validate(content), 1, 0).settings()["mesh_sha256"]
    assert digests == BopPlan(spec, 1, 0).settings()["mesh_sha256"]
    assert len(set(digests.values())) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 9}, "seed"),
        ({"count": 22}, "count"),
        ({"shard_size": 7}, "shard_size"),
        ({"layout": "scenewise"}, "layout"),
    ],
)
def test_other_settings_are_refused_and_change_nothing(spec, copy, change, named):
    before = contents(copy)
    settings = {"count": COUNT, "seed": SEED, "shard_size": SHARD} | change
    with pytest.raises(DataError, match=rf"made with other settings \({named}\)"):
        write_bop(copy, BopPlan(spec, **settings))
    assert contents(copy) == before


def test_a_folder_with_other_files_is_left_alone(spec, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds other files \(thesis\.txt\)"):
        write_bop(tmp_path, BopPlan(spec, 2, 0))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"count": 0, "seed": 0}, "count must be at least 1"),
        ({"count": 1, "seed": -1}, "seed must not be negative"),
        ({"count": 1, "seed": 0, "shard_size": 1001}, r"1 to 1000 \(BOP's limit\), got 1001"),
        ({"count": 1, "seed": 0, "shard_size": 0}, "shard size must be 1 to 1000"),
    ],
)
def test_senseless_plans_are_refused(spec, settings, fault):
    with pytest.raises(DataError, match=fault):
        BopPlan(spec, **settings)


def test_a_truncated_shard_is_named_wherever_it_is_cut(copy):
    shard = copy / "shard-000001.tar"
    whole = shard.read_bytes()
    for keep in (0, 100, 700, len(whole) // 2, len(whole) // 3 * 2):
        shard.write_bytes(whole[:keep])
        with pytest.raises(DataError) as caught:
            BopDataset(copy)
        message = str(caught.value)
        assert "\n" not in message
        assert f"{shard}: is truncated" in message or f"of {COUNT} images" in message


def test_a_shard_cut_between_two_members_is_noticed(copy):
    shard = copy / "shard-000002.tar"
    with tarfile.open(shard) as file:
        border = next(m.offset for m in file if m.name.endswith("000004.gt.json"))
    shard.write_bytes(shard.read_bytes()[:border])
    with pytest.raises(DataError, match=rf"{shard}: 000002_000004: has no \.gt\.json"):
        list(BopDataset(copy))


def test_damaged_members_are_named(copy):
    shard = copy / "shard-000000.tar"
    whole = shard.read_bytes()
    with tarfile.open(shard) as file:
        offsets = {m.name: m.offset_data for m in file}
    for suffix, fault in (("rgb.png", "cannot be decoded"), ("gt.json", "damaged")):
        offset = offsets[f"000000_000002.{suffix}"]
        shard.write_bytes(whole[:offset] + b"#" * 8 + whole[offset + 8 :])
        dataset = BopDataset(copy)
        assert dataset[1].key == "000000_000001"
        with pytest.raises(DataError, match=f"000000_000002: .*{fault}"):
            dataset[2]


def test_every_damage_of_a_picture_is_a_sentence(copy):
    """Four bytes of the file wrong, wherever they lie: it is decoded, or refused by name."""
    shard = copy / "shard-000000.tar"
    with tarfile.open(shard) as file:
        picture = next(m for m in file if m.name == "000000_000002.rgb.png")
    dataset, faults = BopDataset(copy), 0
    with shard.open("r+b", buffering=0) as file:
        places = [*range(0, 64, 4), *range(64, picture.size, 64), *range(picture.size - 16, 4)]
        for place in places:
            file.seek(picture.offset_data + place)
            before = file.read(4)
            file.seek(picture.offset_data + place)
            file.write(b"####")
            try:
                assert dataset[2].rgb.dim() == 3
            except DataError as error:
                assert "000000_000002: the image cannot be decoded" in str(error)
                faults += 1
            file.seek(picture.offset_data + place)
            file.write(before)
    assert faults > 10


def test_a_picture_too_large_to_be_one_is_refused(copy, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for read in (lambda dataset: dataset[0], BopDataset.cameras):
        with pytest.raises(DataError, match="000000_000000: the image cannot be decoded.*exceeds"):
            read(BopDataset(copy))


def test_folders_that_are_no_scenes_are_passed_over(loose, tmp_path):
    path = Path(shutil.copytree(loose, tmp_path / "copy"))
    for name in ("000000.tmp", "backup"):
        shutil.copytree(path / "train" / "000000", path / "train" / name)
    assert [image.key for image in BopDataset(path)] == [image.key for image in BopDataset(loose)]


def test_splits_are_not_mixed(loose, shards, tmp_path):
    path = Path(shutil.copytree(loose, tmp_path / "copy"))
    shutil.copytree(path / "train", path / "test")
    with pytest.raises(DataError, match=r"holds several splits \(test, train\)"):
        BopDataset(path)
    shutil.rmtree(path / "test")
    shutil.copy(shards / "shard-000000.tar", path)
    with pytest.raises(DataError, match=r"holds several splits \(train, shards\)"):
        BopDataset(path)


def test_sets_that_lack_something_are_refused(copy, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        BopDataset(tmp_path / "empty")
    with pytest.raises(DataError, match="is not a folder"):
        BopDataset(tmp_path / "gone")
    (copy / "models" / "obj_000002.ply").unlink()
    with pytest.raises(DataError, match=r"obj_000002\.ply: is missing"):
        BopDataset(copy)
    shutil.rmtree(copy / "models")
    with pytest.raises(DataError, match=r"models_info\.json: is missing"):
        BopDataset(copy)


def test_an_object_without_a_model_is_named(copy):
    info = copy / "models" / "models_info.json"
    models = json.loads(info.read_text())
    info.write_text(json.dumps({key: models[key] for key in ("1", "2")}))
    with pytest.raises(DataError, match=r"shows object 3, which .*models_info\.json does not list"):
        list(BopDataset(copy))


def test_a_set_of_another_tool_without_our_record_is_read(copy):
    (copy / "dataset_info.json").unlink()
    assert len(BopDataset(copy)) == COUNT


def test_a_set_without_the_cameras_place_is_refused(loose, tmp_path):
    path = Path(shutil.copytree(loose, tmp_path / "copy"))
    table = path / "train" / "000000" / "scene_camera.json"
    cameras = json.loads(table.read_text())
    del cameras["1"]["cam_R_w2c"]
    table.write_text(json.dumps(cameras))
    with pytest.raises(DataError, match="image 1: the annotation lacks 'cam_R_w2c'"):
        list(BopDataset(path))


def test_an_object_that_lies_on_its_side_is_read_but_refused_as_a_test(loose, spec, tmp_path):
    path = Path(shutil.copytree(loose, tmp_path / "copy"))
    table = path / "train" / "000000" / "scene_gt.json"
    poses = json.loads(table.read_text())
    index = next(key for key, entries in poses.items() if entries)
    poses[index][0]["cam_R_m2c"] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    table.write_text(json.dumps(poses))
    scenes = read_images(path).scenes
    in_camera = scenes.camera.world_to_camera[int(index), :3, :3] @ scenes.rotation[int(index), 0]
    torch.testing.assert_close(in_camera, torch.eye(3), atol=1e-5, rtol=0)
    with pytest.raises(DataError, match="turned about another axis"):
        load_test_set(path, spec, load_assets(spec))


def test_all_of_a_table_comes_back(tmp_path):
    """What BOP does not know (light, scale, colour) comes back, too."""
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    assert isinstance(spec, SceneSpec)
    write_bop(tmp_path / "table", BopPlan(spec, 6, SEED))
    drawn = AnnotatedScenes(spec, SEED).stream.batch(0).scenes[:6]
    read = load_test_set(tmp_path / "table", spec, load_assets(spec)).scenes
    assert read is not None
    present = drawn.identity != ABSENT
    assert torch.equal(read.identity[read.identity != ABSENT], drawn.identity[present])
    for name in ("position", "rotation", "scale", "colour"):
        mine, theirs = getattr(read, name)[read.identity != ABSENT], getattr(drawn, name)[present]
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    view = ViewPrior(spec)
    mine, theirs = (view.coordinates(View(s.camera, s.light)) for s in (read, drawn))
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)
