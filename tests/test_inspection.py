"""What is shown stands where it was inferred: in pictures, in 3D files, on disk."""

import contextlib
import dataclasses
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
from air3d.geometry import (
    Camera,
    look_at,
    project,
    rigid_transform,
    transform_points,
    yaw_rotation,
)
from air3d.inference import Effort
from air3d.inspection import open3d_view, records, report
from air3d.inspection.exhibit import Exhibit, Truth, exhibit_of
from air3d.inspection.glb import PAGE_CHANGES, Z_UP_TO_Y_UP, build_scene, scene_html
from air3d.inspection.outline import axes, outline
from air3d.inspection.panels import count_text, overlay, sheet, triptych
from air3d.inspection.placement import (
    Placement,
    beside,
    camera_position,
    percent,
    placements_of,
)
from air3d.inspection.tiles import MOST, tiles_of
from air3d.inspection.truth import read_truth
from air3d.render.scenes import behind_objects
from air3d.scene import ambient_light, directional_light, load_assets, load_mesh, load_scene
from air3d.scene.spec import TableSpec


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


LIGHT = directional_light((0.6, 0.0, 0.8), ambient=0.4, diffuse=(0.5, 0.4, 0.3))


CHEQUERED = TableSpec(
    centre=(0.1, -0.05),
    half_extents=(0.5, 0.3),
    colour=(0.9, 0.1, 0.2),
    second_colour=(0.1, 0.6, 0.9),
    square=0.2,
)


def one_block(camera, *, position=(0.0, 0.0, 0.0), yaw=0.0, scale=1.0, colour=(1.0, 1.0, 1.0)):
    pose = rigid_transform(yaw_rotation(torch.tensor(yaw)), torch.tensor(position))
    spread = torch.tensor([[1.6e-5, 0.0], [0.0, 3.6e-5]])
    found = ObjectEstimate("block", 0, 0.75, 0.99, pose, scale, torch.tensor(colour), spread)
    reconstruction = torch.zeros(3, 48, 64)
    return SceneEstimate(1, (0.1, 0.9), (found,), camera, LIGHT, reconstruction, -12.5)


def nothing_seen(camera, probabilities=(1.0, 0.0)):
    return SceneEstimate(0, probabilities, (), camera, LIGHT, torch.ones(3, 48, 64), 0.0)


def two_patches():
    patches = (PatchEstimate(0.9, (15.0, 20.0), 10.0), PatchEstimate(0.8, (38.5, 33.0), 20.0))
    return SceneEstimate(2, (0.0, 0.25, 0.75), patches, None, None, torch.zeros(1, 50, 50), 3.0)


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


def test_outline_of_a_scaled_block_is_that_of_a_larger_one(block, camera):
    """At scale 2 the near face is 0.8 x 0.4 m and 1.8 m away; its axes are twice as long."""
    placement = Placement(block, torch.eye(4), "block", scale=2.0)
    left, top, right, bottom = outline(placement, camera).box
    half_width, half_height = 100 * 0.4 / 1.8, 100 * 0.2 / 1.8
    expected = (32 - half_width, 24 - half_height, 32 + half_width, 24 + half_height)
    assert (left, top, right, bottom) == pytest.approx(expected, abs=1e-4)
    tip = 24 - 100 * 0.6 * 2 * block.diameter / 2.0
    assert axes(placement, camera)[2][1].ends[0, 1, 1] == pytest.approx(tip, abs=1e-3)


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


def test_overlay_draws_the_table_as_the_inferred_camera_sees_it():
    """From 2 m above its middle, half of its sides, 0.5 and 0.3 m, are 25 and 15 px."""
    world_to_camera = look_at(torch.tensor([0.1, -0.0501, 2.0]), torch.tensor([0.1, -0.05, 0.0]))
    intrinsics = torch.tensor([[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]])
    above = Camera(world_to_camera[None], intrinsics[None], (48, 64))
    empty = torch.zeros(3, 48, 64)
    picture = overlay(empty, nothing_seen(above), table=CHEQUERED, scale=8)
    for u, v in ((32 + 25, 24), (32 - 25, 24), (32, 24 + 15), (32, 24 - 15), (32 + 25, 24 - 15)):
        assert colours_near(picture, 8 * u, 8 * v).min() > 100
    assert colours_near(picture, 8 * 32, 8 * 24).max() == 0
    assert np.asarray(overlay(empty, nothing_seen(above))).max() == 0


def test_overlay_draws_boxes_of_patches_at_their_place():
    picture = overlay(torch.zeros(1, 50, 50), two_patches(), scale=8)
    for u, v in ((10, 20), (20, 20), (15, 25)):
        assert colours_near(picture, 8 * u, 8 * v).max() > 150
    assert colours_near(picture, 8 * 15, 8 * 20).max() == 0
    assert colours_near(picture, 8 * 28.5, 8 * 33).max() > 150


def test_pictures_of_an_empty_scene_and_of_a_sheet(block, camera):
    nothing = nothing_seen(camera)
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
    assert count_text(nothing_seen(camera, (0.7, 0.3))) == "0 objects, p = 70 %"
    sure = nothing_seen(camera, (0.9999, 0.0001))
    assert count_text(sure) == "0 objects, p > 99.9 %"


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_glb_holds_the_meshes_at_their_poses_and_scales(block, camera, tmp_path, scale):
    estimate = one_block(camera, position=(0.3, -0.1, 0.1), yaw=0.7, scale=scale)
    picture = PIL.Image.new("RGB", (64, 48), "teal")
    scene = build_scene(exhibit_of(estimate, [block]), image=picture)
    scene.export(tmp_path / "scene.glb")
    loaded = trimesh.load_scene(tmp_path / "scene.glb")
    assert {"object_0", "table", "camera", "image", "lamp"} <= set(loaded.graph.nodes_geometry)
    to_gltf, name = loaded.graph.get("object_0")
    pose = estimate.objects[0].object_to_world
    np.testing.assert_allclose(to_gltf, Z_UP_TO_Y_UP @ pose.double().numpy(), atol=1e-6)
    vertices = trimesh.transform_points(loaded.geometry[name].vertices, to_gltf)
    world = transform_points(pose, scale * block.vertices).numpy()
    y_up = np.stack([world[:, 0], world[:, 2], -world[:, 1]], axis=1)
    assert len(vertices) == len(y_up)
    order = [np.lexsort(np.round(points, 3).T) for points in (vertices, y_up)]
    np.testing.assert_allclose(vertices[order[0]], y_up[order[1]], atol=1e-5)


def shown_colours(geometry):
    """The colours [0, 1] that viewers make of glTF's linear ones, by the curve of sRGB."""
    linear = geometry.visual.vertex_attributes["color"][:, :3] / 255
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("colour", [(1.0, 1.0, 1.0), (0.9, 0.5, 0.75)])
def test_glb_holds_the_colours_that_its_viewers_turn_back(block, camera, tmp_path, colour):
    """An object's colour multiplies its mesh's own, as in the renderer."""
    exhibit = exhibit_of(one_block(camera, colour=colour), [block])
    build_scene(exhibit).export(tmp_path / "scene.glb")
    loaded = trimesh.load_scene(tmp_path / "scene.glb").geometry["block_object_0"]
    expected = block.colours.numpy() * np.array(colour)
    np.testing.assert_allclose(shown_colours(loaded), expected, atol=0.02)


def test_the_arrow_of_the_lamp_points_as_the_light_does(block, camera):
    exhibit = exhibit_of(one_block(camera), [block])
    assert exhibit.lamp == pytest.approx([0.6, 0.0, 0.8])
    scene = build_scene(exhibit)
    _, name = scene.graph.get("lamp", "z_up")
    points = np.array(scene.geometry[name].vertices)
    order = np.linalg.norm(points - exhibit.centre, axis=1).argsort()
    tip, tail = points[order[[0, -1]]]
    assert (tail - tip) / np.linalg.norm(tail - tip) == pytest.approx([0.6, 0.0, 0.8])
    assert "lamp" not in build_scene(Exhibit(exhibit.inferred, camera)).graph.nodes_geometry


def test_the_table_is_that_of_the_scene_file(block, camera, tmp_path):
    """In a GLB file: its rectangle just below z = 0, and no colours but its two."""
    exhibit = exhibit_of(one_block(camera), [block], CHEQUERED)
    assert exhibit.centre == pytest.approx([0.1, -0.05, 0.0])
    build_scene(exhibit).export(tmp_path / "scene.glb")
    loaded = trimesh.load_scene(tmp_path / "scene.glb")
    to_gltf, name = loaded.graph.get("table")
    low, high = trimesh.transform_points(loaded.geometry[name].bounds, to_gltf)
    assert sorted([low[0], high[0]]) == pytest.approx([-0.4, 0.6])
    assert sorted([-low[2], -high[2]]) == pytest.approx([-0.35, 0.25])
    assert -0.01 < min(low[1], high[1]) and max(low[1], high[1]) < 0
    found = np.unique(np.round(shown_colours(loaded.geometry[name]), 1), axis=0)
    assert found == pytest.approx(np.array([[0.1, 0.6, 0.9], [0.9, 0.1, 0.2]]))


def test_each_field_of_the_table_has_the_renderers_colour():
    """The renderer's own picture of the table, at the middle of every tile."""
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    spec = spec.model_copy(update={"table": CHEQUERED})
    world_to_camera = look_at(torch.tensor([0.1, -0.06, 2.0]), torch.tensor([0.1, -0.05, 0.0]))
    intrinsics = torch.tensor([[180.0, 0.0, 64.0], [0.0, 180.0, 64.0], [0.0, 0.0, 1.0]])
    above = Camera(world_to_camera[None], intrinsics[None], (128, 128))
    picture = behind_objects(spec, above, ambient_light())[0]
    tiles = tiles_of(CHEQUERED)
    middles = tiles.vertices.reshape(-1, 4, 3).mean(axis=1)
    assert len(middles) == 5 * 4  # x from -0.4 to 0.6; y from -0.35 to 0.25, cut at -0.2, 0 and 0.2
    pixels = project(above, torch.tensor(middles).float()[None]).pixels[0].long()
    seen = picture[pixels[:, 1], pixels[:, 0]].numpy()
    np.testing.assert_allclose(seen, tiles.colours[::4], atol=0.02)


def test_tiles_cover_the_table_once_and_face_up():
    for update in ({}, {"second_colour": None}, {"square": 1e-9}):
        tiles = tiles_of(CHEQUERED.model_copy(update=update))
        assert len(tiles.faces) <= 2 * MOST
        solid = trimesh.Trimesh(tiles.vertices, tiles.faces, process=False)
        assert solid.area == pytest.approx(1.0 * 0.6)
        assert (solid.face_normals[:, 2] > 0.99).all()


def test_a_page_shows_srgb(block, camera):
    """trimesh's viewer has to be told so; see PAGE_CHANGES."""
    page = scene_html(build_scene(Exhibit([Placement(block, torch.eye(4), "block")], camera)))
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
        exhibit = Exhibit(placements, camera)
        centre = exhibit.centre
        direction = beside(camera, centre)
        assert np.linalg.norm(direction) == pytest.approx(1.0) and direction[2] > 0
        scene = build_scene(exhibit)
        assert np.isfinite(scene.camera_transform).all() and np.isfinite(scene.bounds).all()
    far = look_at(place + 5.0, place)
    arm = camera_position(Camera(far[None], camera.intrinsics, (48, 64))) - place.numpy()
    side = beside(Camera(far[None], camera.intrinsics, (48, 64)), place.double().numpy())
    cosine = side[:2] @ arm[:2] / np.linalg.norm(side[:2]) / np.linalg.norm(arm[:2])
    assert cosine == pytest.approx(np.cos(np.radians(50.0)), abs=1e-5)


def test_with_a_truth_the_inferred_objects_are_wire_frames(block, camera):
    inferred = placements_of(one_block(camera), [block])
    true = placements_of(one_block(camera, position=(0.5, 0.0, 0.0)), [block])
    scene = build_scene(Exhibit(inferred, camera, truth=Truth(true, camera)))
    assert {"camera", "true_camera"} <= set(scene.graph.nodes_geometry)
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
    page = scene_html(build_scene(exhibit_of(one_block(camera), [block])))
    assert_offline(page)
    assert "<canvas" in page or "WebGLRenderer" in page


def test_report_is_one_self_contained_page(block, camera, tmp_path):
    estimate = one_block(camera, yaw=0.5, scale=1.25, colour=(1.0, 0.5, 0.0))
    seen = report.Seen("scene <1>", torch.rand(3, 48, 64), estimate, "off by 3 mm")
    canvas = report.Seen("canvas 1", torch.rand(1, 50, 50), two_patches())
    sections = [
        report.figures_section("Figures", {"identity": "100 %"}, "of 3 images"),
        report.scenes_section("Scenes", [seen], [block], ""),
        report.viewers_section("In 3D", [seen], [block], "", table=CHEQUERED),
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
    assert "<td>1.250</td>" in page and "#ff8000" in page and "1.00, 0.50, 0.00" in page
    assert "camera at (+0.000, -2.000, +0.000) m" in page
    assert "light from +0&deg;, 53&deg; up, ambient 0.40, diffuse 0.40" in page
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def record_of(estimate, meshes, scene="tabletop"):
    spec = load_scene(ROOT / "scenes" / f"{scene}.yaml")
    return records.make_record(
        estimate, meshes, image="a.png", spec=spec, checkpoint="c", effort=Effort(refine_steps=2)
    )


def test_a_record_brings_back_the_very_poses(block, camera, tmp_path):
    pose = {"position": (1 / 3, -0.1, 0.2), "yaw": 2.5}
    estimate = one_block(camera, **pose, scale=1.25, colour=(0.25, 0.5, 1.0))
    path = tmp_path / "a.json"
    path.write_text(record_of(estimate, [block]).to_json())
    record = records.read_record(path)
    assert record == record_of(estimate, [block])
    (placement,) = records.record_placements(record)
    assert torch.equal(placement.object_to_world, estimate.objects[0].object_to_world)
    assert torch.equal(placement.mesh.vertices, block.vertices)
    assert placement.mesh.yaw_symmetry == 2
    assert (placement.scale, placement.colour) == (1.25, (0.25, 0.5, 1.0))
    back = records.record_camera(record)
    assert torch.equal(back.world_to_camera, camera.world_to_camera)
    assert torch.equal(back.intrinsics, camera.intrinsics)
    assert back.image_size == camera.image_size
    exhibit = records.record_exhibit(record)
    for field in dataclasses.fields(LIGHT):
        assert torch.equal(getattr(exhibit.light, field.name), getattr(LIGHT, field.name))
    assert exhibit.table == load_scene(ROOT / "scenes" / "tabletop.yaml").table
    content = json.loads(path.read_text())
    assert content["objects"][0]["yaw"] == pytest.approx(2.5, abs=1e-6)
    assert content["objects"][0]["position_std"] == pytest.approx([0.004, 0.006])


def test_a_record_of_before_scales_and_colours_reads_as_it_did(block, camera, tmp_path):
    content = json.loads(record_of(one_block(camera, yaw=0.5, scale=1.25), [block]).to_json())
    for key in ("light", "table"):
        del content[key]
    for key in ("scale", "colour"):
        del content["objects"][0][key]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(content))
    exhibit = records.record_exhibit(records.read_record(path))
    (placement,) = exhibit.inferred
    assert (placement.scale, placement.colour) == (1.0, (1.0, 1.0, 1.0))
    assert torch.equal(placement.vertices, block.vertices)
    assert torch.equal(placement.colours, block.colours)
    assert exhibit.light is None and exhibit.table is None and exhibit.lamp is None
    assert {"object_0", "table"} <= set(build_scene(exhibit).graph.nodes_geometry)


def test_a_record_of_patches_brings_back_their_boxes(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(record_of(two_patches(), (), "multi_mnist").to_json())
    record = records.read_record(path)
    assert record.count == 2 and record.camera is None
    assert record.objects[1].box == (28.5, 23.0, 48.5, 43.0)
    assert records.record_placements(record) == () and records.record_exhibit(record) is None


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
    truth = read_truth(tmp_path / "data", image.key)
    (true,) = truth.placements
    assert torch.equal(truth.camera.world_to_camera, image.camera.world_to_camera)
    mesh = load_assets(spec)[image.objects[0].identity]
    torch.testing.assert_close(true.mesh.vertices, mesh.vertices, atol=1e-6, rtol=1e-5)
    assert true.mesh.diameter == pytest.approx(mesh.diameter, rel=1e-5)
    with pytest.raises(ValueError, match="no image 7"):
        read_truth(tmp_path / "data", "7")


def test_the_truth_of_a_data_set_has_its_objects_sizes_and_colours(tmp_path):
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    write_bop(tmp_path / "data", BopPlan(spec, 4, 5))
    meshes, bound = load_assets(spec), 0
    for image in BopDataset(tmp_path / "data"):
        truth = read_truth(tmp_path / "data", image.key)
        for true, found in zip(truth.placements, image.objects, strict=True):
            mesh, bound = meshes[found.identity], bound + 1
            assert found.scale != 1.0
            expected = transform_points(found.object_to_world, found.scale * mesh.vertices)
            torch.testing.assert_close(true.world_vertices, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(true.colours, mesh.colours * found.colour, atol=3e-3, rtol=0)
    assert bound > 0


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
        open3d_view.screenshot(Exhibit((), camera))
    assert window.destroyed


def test_a_missing_open3d_is_answered_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open3d", None)
    with pytest.raises(open3d_view.ViewerError, match=r"\.\[viz\].*apt-get install libegl1"):
        open3d_view.import_open3d()


def test_open3d_shows_inferred_and_true_from_the_camera(block, camera):
    pytest.importorskip("open3d", exc_type=(ImportError, OSError))
    inferred = placements_of(one_block(camera), [block])
    true = placements_of(one_block(camera), [block])
    exhibit = Exhibit(inferred, camera, LIGHT, truth=Truth(true, camera))
    try:
        picture = open3d_view.screenshot(exhibit)
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
