"""What is shown stands where it was inferred: in pictures, in 3D files, on disk."""

import contextlib
import json
import re
import types
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import trimesh
from conftest import ROOT

from air3d.data import BopDataset, BopPlan, write_bop
from air3d.estimate import ObjectEstimate, PatchEstimate, SceneEstimate
from air3d.files import temporary_name
from air3d.geometry import Camera, look_at, rigid_transform, transform_points, yaw_rotation
from air3d.inspection import open3d_view, records, report
from air3d.inspection.glb import PAGE_CHANGES, Z_UP_TO_Y_UP, build_scene, scene_html
from air3d.inspection.outline import axes, outline
from air3d.inspection.panels import count_text, overlay, sheet, triptych
from air3d.inspection.placement import (
    Placement,
    beside,
    camera_position,
    percent,
    placements_of,
    table_centre,
)
from air3d.inspection.truth import true_placements
from air3d.scene import load_assets, load_mesh, load_scene


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    """A red box of 0.4 x 0.2 x 0.2 m, its origin in its middle."""
    path = tmp_path_factory.mktemp("meshes") / "block.ply"
    solid = trimesh.creation.box((0.4, 0.2, 0.2))
    solid.visual.vertex_colors = [200, 30, 30, 255]
    solid.export(path)
    return load_mesh(path, "block", 2)


@pytest.fixture
def camera():
    """Level with the ground, 2 m south of the origin, looking north; 100 px focal length."""
    world_to_camera = look_at(torch.tensor([0.0, -2.0, 0.0]), torch.tensor([0.0, 0.0, 0.0]))
    intrinsics = torch.tensor([[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]])
    return Camera(world_to_camera[None], intrinsics[None], (48, 64))


def one_block(camera, *, position=(0.0, 0.0, 0.0), yaw=0.0, probability=0.75):
    pose = rigid_transform(yaw_rotation(torch.tensor(yaw)), torch.tensor(position))
    found = ObjectEstimate("block", 0, probability, 0.99, pose, torch.tensor([0.004, 0.006]))
    reconstruction = torch.zeros(3, 48, 64)
    return SceneEstimate(1, (0.1, 0.9), (found,), camera, reconstruction, -12.5)


def two_patches():
    patches = (PatchEstimate(0.9, (15.0, 20.0), 10.0), PatchEstimate(0.8, (38.5, 33.0), 20.0))
    return SceneEstimate(2, (0.0, 0.25, 0.75), patches, None, torch.zeros(1, 50, 50), 3.0)


def colours_near(picture, u, v, radius=2):
    """The brightest value of each channel within ``radius`` pixels of (u, v)."""
    array = np.asarray(picture)
    top, left = int(v) - radius, int(u) - radius
    return array[top : top + 2 * radius + 1, left : left + 2 * radius + 1].max(axis=(0, 1))


def test_outline_of_a_block_seen_head_on_is_its_near_face(block, camera):
    """The near face lies 1.9 m away, so its corners are 100 * 0.2 / 1.9 px off centre."""
    placement = Placement(block, torch.eye(4), "block")
    left, top, right, bottom = outline(placement, camera).box
    half_width, half_height = 100 * 0.2 / 1.9, 100 * 0.1 / 1.9
    expected = (32 - half_width, 24 - half_height, 32 + half_width, 24 + half_height)
    assert (left, top, right, bottom) == pytest.approx(expected, abs=1e-4)


def test_outline_shows_creases_of_visible_faces_only(block, camera):
    """Head on, the far face is hidden: no drawn corner projects from 2.1 m."""
    ends = outline(Placement(block, torch.eye(4), "block"), camera).ends
    far = np.array([32 + 100 * 0.2 / 2.1, 24 + 100 * 0.1 / 2.1])
    assert len(ends) == 4
    assert np.linalg.norm(ends.reshape(-1, 2) - far, axis=1).min() > 0.2


def test_nothing_is_drawn_of_what_lies_behind_the_camera(block, camera):
    pose = torch.eye(4)
    pose[1, 3] = -4.0
    assert len(outline(Placement(block, pose, "block"), camera)) == 0


def test_a_solid_of_revolution_shows_its_own_axis_alone(camera, block, tmp_path):
    trimesh.creation.icosphere(1, 0.2).export(tmp_path / "ball.ply")
    ball = load_mesh(tmp_path / "ball.ply", "ball", "continuous")
    ((axis, line),) = axes(Placement(ball, torch.eye(4), "ball"), camera)
    assert axis == 2
    tip = 24 - 100 * 0.6 * ball.diameter / 2.0
    assert line.ends[0] == pytest.approx(np.array([[32, 24], [32, tip]]), abs=1e-3)
    assert [axis for axis, _ in axes(Placement(block, torch.eye(4), "b"), camera)] == [0, 1, 2]


def test_overlay_draws_a_known_corner_at_its_pixel(block, camera):
    estimate = one_block(camera)
    picture = overlay(torch.zeros(3, 48, 64), estimate, [block], scale=8)
    assert picture.size == (8 * 64, 8 * 48)
    u, v = 32 + 100 * 0.2 / 1.9, 24 + 100 * 0.1 / 1.9
    cyan = colours_near(picture, 8 * u, 8 * v)
    assert cyan[1] > 150 and cyan[2] > 150
    assert colours_near(picture, 8 * (u + 4), 8 * v).max() == 0


def test_overlay_draws_boxes_of_patches_at_their_place():
    picture = overlay(torch.zeros(1, 50, 50), two_patches(), scale=8)
    for u, v in ((10, 20), (20, 20), (15, 25)):
        assert colours_near(picture, 8 * u, 8 * v).max() > 150
    assert colours_near(picture, 8 * 15, 8 * 20).max() == 0
    assert colours_near(picture, 8 * 28.5, 8 * 33).max() > 150


def test_pictures_of_an_empty_scene_and_of_a_sheet(block, camera):
    nothing = SceneEstimate(0, (1.0, 0.0), (), camera, torch.ones(3, 48, 64), 0.0)
    picture = triptych(torch.ones(3, 48, 64), nothing, [block])
    assert np.asarray(overlay(torch.ones(3, 48, 64), nothing, [block])).min() == 255
    page = sheet([picture] * 3, columns=2, gap=10)
    assert page.size == (2 * (picture.width + 10) + 10, 2 * (picture.height + 10) + 10)
    with pytest.raises(ValueError, match="at least one picture"):
        sheet([], columns=2)


def test_percent_never_rounds_to_certainty():
    assert percent(0.99996) == "> 99.9 %"
    assert percent(0.97) == "97 %"
    assert percent(1.0) == "100 %"


def test_a_count_says_how_sure_it_is(camera):
    image = torch.zeros(3, 48, 64)
    assert count_text(SceneEstimate(0, (0.7, 0.3), (), camera, image, 0.0)) == "0 objects, p = 70 %"
    sure = SceneEstimate(0, (0.9999, 0.0001), (), camera, image, 0.0)
    assert count_text(sure) == "0 objects, p > 99.9 %"


def test_glb_holds_the_meshes_at_their_poses(block, camera, tmp_path):
    estimate = one_block(camera, position=(0.3, -0.1, 0.1), yaw=0.7)
    picture = PIL.Image.new("RGB", (64, 48), "teal")
    scene = build_scene(placements_of(estimate, [block]), camera, image=picture)
    scene.export(tmp_path / "scene.glb")
    loaded = trimesh.load_scene(tmp_path / "scene.glb")
    assert {"object_0", "table", "camera", "image"} <= set(loaded.graph.nodes_geometry)
    to_gltf, name = loaded.graph.get("object_0")
    vertices = trimesh.transform_points(loaded.geometry[name].vertices, to_gltf)
    pose = estimate.objects[0].object_to_world
    world = transform_points(pose, block.vertices).numpy()
    y_up = np.stack([world[:, 0], world[:, 2], -world[:, 1]], axis=1)
    assert len(vertices) == len(y_up)
    order = [np.lexsort(np.round(points, 3).T) for points in (vertices, y_up)]
    np.testing.assert_allclose(vertices[order[0]], y_up[order[1]], atol=1e-5)


def test_glb_holds_the_colours_that_its_viewers_turn_back(block, camera, tmp_path):
    """glTF's vertex colours are linear: a viewer shows them by the curve of sRGB."""
    scene = build_scene([Placement(block, torch.eye(4), "block")], camera)
    scene.export(tmp_path / "scene.glb")
    loaded = trimesh.load_scene(tmp_path / "scene.glb").geometry["block_object_0"]
    linear = loaded.visual.vertex_attributes["color"][:, :3] / 255
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(shown, block.colours.numpy(), atol=0.02)


def test_a_page_shows_srgb(block, camera):
    """trimesh's viewer has to be told so; see PAGE_CHANGES."""
    page = scene_html(build_scene([Placement(block, torch.eye(4), "block")], camera))
    assert all(wanted in page for wanted in PAGE_CHANGES.values())


@pytest.mark.parametrize("eye", [(0.0, 0.0, 0.0), (3.0, 4.0, 2.0)])
def test_the_onlooker_stands_beside_the_camera_wherever_that_is(block, eye):
    """Also where camera and objects are at one place, or far from the world's origin."""
    place = torch.tensor(eye)
    camera = Camera(
        look_at(place, place + torch.tensor([0.0, 1.0, -0.5]))[None],
        torch.tensor([[[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]]]),
        (48, 64),
    )
    near = rigid_transform(torch.eye(3), place * torch.tensor([1.0, 1.0, 0.0]))
    for placements in ([Placement(block, near, "block")], []):
        centre = table_centre(placements, camera)
        direction = beside(camera, centre)
        assert np.linalg.norm(direction) == pytest.approx(1.0) and direction[2] > 0
        scene = build_scene(placements, camera)
        assert np.isfinite(scene.camera_transform).all() and np.isfinite(scene.bounds).all()
    far = look_at(place + 5.0, place)
    arm = camera_position(Camera(far[None], camera.intrinsics, (48, 64))) - place.numpy()
    side = beside(Camera(far[None], camera.intrinsics, (48, 64)), place.double().numpy())
    cosine = side[:2] @ arm[:2] / np.linalg.norm(side[:2]) / np.linalg.norm(arm[:2])
    assert cosine == pytest.approx(np.cos(np.radians(50.0)), abs=1e-5)


def test_with_a_truth_the_inferred_objects_are_wire_frames(block, camera):
    inferred = placements_of(one_block(camera), [block])
    true = placements_of(one_block(camera, position=(0.5, 0.0, 0.0)), [block])
    scene = build_scene(inferred, camera, truth=true)
    wires, solid = (scene.geometry[f"block_{node}"] for node in ("object_0", "true_0"))
    assert isinstance(wires, trimesh.path.Path3D) and isinstance(solid, trimesh.Trimesh)
    pose, _ = scene.graph.get("true_0")
    np.testing.assert_allclose(pose, Z_UP_TO_Y_UP @ true[0].object_to_world.numpy(), atol=1e-6)


def assert_offline(page: str):
    """Nothing in the page is fetched from anywhere."""
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert not re.search(r"""url\(\s*["']?(?:https?:)?//""", page)
    assert "<link" not in page and "@import" not in page


def test_html_of_a_scene_is_self_contained(block, camera):
    page = scene_html(build_scene(placements_of(one_block(camera), [block]), camera))
    assert_offline(page)
    assert "<canvas" in page or "WebGLRenderer" in page


def test_report_is_one_self_contained_page(block, camera, tmp_path):
    seen = report.Seen(
        "scene <1>", torch.rand(3, 48, 64), one_block(camera, yaw=0.5), "off by 3 mm"
    )
    canvas = report.Seen("canvas 1", torch.rand(1, 50, 50), two_patches())
    sections = [
        report.figures_section("Figures", {"identity": "100 %"}, "of 3 images"),
        report.scenes_section("Scenes", [seen], [block], ""),
        report.viewers_section("In 3D", [seen], [block], ""),
        report.patches_section("Digits", [canvas], ""),
    ]
    path = tmp_path / "report.html"
    report.write_report(path, title="A & B", lead="c", sections=sections, footer="d")
    page = path.read_text(encoding="utf-8")
    assert_offline(page)
    assert page.count("data:image/png;base64,") == 4
    assert page.count("<iframe") == 1 and "scene &lt;1&gt;" in page and "A &amp; B" in page
    assert "+28.6&deg;" in page and "&plusmn; 4.0 mm" in page and "75 %" in page
    assert "off by 3 mm" in page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def record_of(estimate, meshes):
    return records.make_record(
        estimate, meshes, image="a.png", scene="blocks", checkpoint="c", refine_steps=2
    )


def test_a_record_brings_back_the_very_poses(block, camera, tmp_path):
    estimate = one_block(camera, position=(1 / 3, -0.1, 0.2), yaw=2.5)
    path = tmp_path / "a.json"
    path.write_text(record_of(estimate, [block]).to_json())
    record = records.read_record(path)
    assert record == record_of(estimate, [block])
    (placement,) = records.record_placements(record)
    assert torch.equal(placement.object_to_world, estimate.objects[0].object_to_world)
    assert torch.equal(placement.mesh.vertices, block.vertices)
    assert placement.mesh.yaw_symmetry == 2
    back = records.record_camera(record)
    assert torch.equal(back.world_to_camera, camera.world_to_camera)
    assert torch.equal(back.intrinsics, camera.intrinsics)
    assert back.image_size == camera.image_size
    content = json.loads(path.read_text())
    assert content["objects"][0]["yaw"] == pytest.approx(2.5, abs=1e-6)
    assert content["objects"][0]["position_std"] == pytest.approx([0.004, 0.006])


def test_a_record_of_patches_brings_back_their_boxes(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(record_of(two_patches(), ()).to_json())
    record = records.read_record(path)
    assert record.count == 2 and record.camera is None
    assert record.objects[1].box == (28.5, 23.0, 48.5, 43.0)
    assert records.record_placements(record) == ()


def test_damaged_records_are_answered_with_file_and_key(block, camera, tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(records.RecordError, match=r"a\.json: cannot be read"):
        records.read_record(path)
    path.write_text("{")
    with pytest.raises(records.RecordError, match=r"a\.json: is not a result"):
        records.read_record(path)
    content = json.loads(record_of(one_block(camera), [block]).to_json())
    content["objects"][0]["yaw"] = "left"
    path.write_text(json.dumps(content))
    with pytest.raises(records.RecordError, match=r"objects.*yaw"):
        records.read_record(path)


def test_meshes_that_moved_are_found_in_the_folder_that_is_named(block, camera, tmp_path):
    record = record_of(one_block(camera), [block])
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "block.ply").write_bytes(block.path.read_bytes())
    gone = record.objects[0].model_copy(update={"mesh": Path("/nowhere/block.ply")})
    record = record.model_copy(update={"objects": (gone,)})
    with pytest.raises(records.RecordError, match="--meshes"):
        records.record_placements(record)
    (placement,) = records.record_placements(record, moved)
    assert torch.equal(placement.mesh.vertices, block.vertices)


def test_a_number_that_is_not_finite_is_refused(block, camera):
    with pytest.raises(ValueError, match="finite"):
        record_of(one_block(camera, position=(float("nan"), 0.0, 0.0)), [block])


def test_the_truth_of_a_data_set_comes_back_in_metres(tmp_path):
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    write_bop(tmp_path / "data", BopPlan(spec, 2, 5))
    image = BopDataset(tmp_path / "data")[1]
    (true,) = true_placements(tmp_path / "data", image.key)
    mesh = load_assets(spec)[image.objects[0].identity]
    torch.testing.assert_close(true.mesh.vertices, mesh.vertices, atol=1e-6, rtol=1e-5)
    assert true.mesh.diameter == pytest.approx(mesh.diameter, rel=1e-5)
    with pytest.raises(ValueError, match="no image 7"):
        true_placements(tmp_path / "data", "7")


def test_a_report_that_cannot_be_written_is_named(tmp_path):
    temporary_name(tmp_path / "a.html").mkdir()
    with pytest.raises(OSError, match=r"a\.html: cannot be written \(Is a directory\)"):
        report.write_report(tmp_path / "a.html", title="", lead="", sections=[], footer="")


class BrokenWindow:
    """An Open3D window that fails as soon as it is used."""

    destroyed = False

    def create_window(self, *_, **__):
        return True

    def get_render_option(self):
        raise RuntimeError("no shader")

    def destroy_window(self):
        self.destroyed = True


def test_a_window_is_destroyed_where_drawing_fails(block, camera, monkeypatch):
    window = BrokenWindow()
    open3d = types.ModuleType("open3d")
    open3d.visualization = types.SimpleNamespace(Visualizer=lambda: window)
    open3d.utility = types.SimpleNamespace(
        VerbosityContextManager=contextlib.nullcontext,
        VerbosityLevel=types.SimpleNamespace(Error=0),
    )
    monkeypatch.setattr(open3d_view, "import_open3d", lambda: open3d)
    with pytest.raises(RuntimeError, match="no shader"):
        open3d_view.screenshot(open3d_view.View((), camera))
    assert window.destroyed


def test_a_missing_open3d_is_answered_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open3d", None)
    with pytest.raises(open3d_view.ViewerError, match=r"\.\[viz\].*apt-get install libegl1"):
        open3d_view.import_open3d()


def test_open3d_shows_inferred_and_true_from_the_camera(block, camera):
    pytest.importorskip("open3d", exc_type=(ImportError, OSError))
    inferred = placements_of(one_block(camera), [block])
    true = placements_of(one_block(camera), [block])
    view = open3d_view.View(inferred, camera, true)
    try:
        picture = open3d_view.screenshot(view)
    except open3d_view.ViewerError as error:
        pytest.skip(str(error))
    side = open3d_view.VIEW_SIDE
    through_camera = np.asarray(picture)[-12 - side : -12, -12 - side : -12].astype(int)
    red = (through_camera[..., 0] > 2 * through_camera[..., 1]) & (through_camera[..., 0] > 80)
    rows, columns = np.nonzero(red)
    zoom = side / 64
    half_width, half_height = zoom * 100 * 0.2 / 1.9, zoom * 100 * 0.1 / 1.9
    centre = side / 2
    assert columns.min() == pytest.approx(centre - half_width, abs=4)
    assert columns.max() == pytest.approx(centre + half_width, abs=4)
    assert rows.max() == pytest.approx(centre + half_height, abs=4)
