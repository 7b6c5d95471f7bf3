"""BOP's conventions: millimetres, pixel centres, run lengths, symmetries, there and back."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from data_cases import rle_to_mask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image

from air3d.data import DataError
from air3d.data.bop.format import (
    AnnotatedImage,
    camera_from_bop,
    camera_to_bop,
    depth_to_bop,
    info_to_bop,
    mask_to_rle,
    pose_from_bop,
    poses_to_bop,
    to_png,
    to_uint8,
)
from air3d.data.bop.models import check_models, write_models
from air3d.geometry import (
    Camera,
    look_at,
    pinhole_intrinsics,
    project,
)
from air3d.scene import ambient_light, load_mesh, upright_scenes

MESHES = Path(__file__).resolve().parent.parent / "assets" / "meshes"
masks = st_numpy.arrays(bool, st_numpy.array_shapes(min_dims=2, max_dims=2, max_side=9))


def a_camera(size: tuple[int, int] = (4, 6)) -> Camera:
    world_to_camera = look_at(torch.tensor([0.3, -2.0, 1.0]), torch.tensor([0.1, 0.0, 0.2]))
    return Camera(world_to_camera[None], pinhole_intrinsics(0.7, size)[None], size)


def annotated(silhouettes: np.ndarray, visible: np.ndarray) -> AnnotatedImage:
    count, height, width = visible.shape
    yaw = torch.linspace(0.3, 2.0, count)
    position = torch.linspace(-0.3, 0.5, 3 * count).reshape(count, 3)
    scene = upright_scenes(
        torch.arange(count)[None],
        position[None],
        yaw[None],
        camera=a_camera((height, width)),
        light=ambient_light(0.7),
    )
    return AnnotatedImage(
        rgb=np.zeros((height, width, 3), np.uint8),
        depth=np.full((height, width), np.inf, np.float32),
        scene=scene,
        silhouettes=silhouettes,
        visible=visible,
    )


@given(masks)
def test_masks_survive_their_run_lengths(mask):
    rle = mask_to_rle(mask)
    assert sum(rle["counts"]) == mask.size
    assert np.array_equal(rle_to_mask(json.loads(json.dumps(rle))), mask)


def test_run_lengths_go_column_by_column_and_start_with_zeros():
    mask = np.array([[0, 1, 1], [1, 1, 0]], dtype=bool)  # columns: 01 11 10
    assert mask_to_rle(mask) == {"counts": [1, 4, 1], "size": [2, 3]}
    assert mask_to_rle(~mask) == {"counts": [0, 1, 4, 1], "size": [2, 3]}
    assert mask_to_rle(np.zeros((2, 2), bool)) == {"counts": [4], "size": [2, 2]}


def test_the_camera_survives_and_shows_bop_the_same_pixels():
    camera = a_camera()
    entry = json.loads(json.dumps(camera_to_bop(camera, ambient_light())))
    back = camera_from_bop(entry, camera.image_size)
    torch.testing.assert_close(back.world_to_camera, camera.world_to_camera)
    torch.testing.assert_close(back.intrinsics, camera.intrinsics)
    # A BOP reader puts pixel centres at whole numbers: half a pixel less, in millimetres.
    point = torch.tensor([0.2, 0.1, 0.3], dtype=torch.float64)
    rotation, translation = (
        torch.tensor(entry[key], dtype=torch.float64) for key in ("cam_R_w2c", "cam_t_w2c")
    )
    in_camera = rotation.reshape(3, 3) @ (point * 1000.0) + translation
    pixel = torch.tensor(entry["cam_K"], dtype=torch.float64).reshape(3, 3) @ in_camera
    expected = project(camera, point.float()[None, None]).pixels[0, 0] - 0.5
    torch.testing.assert_close((pixel[:2] / pixel[2]).float(), expected, atol=1e-4, rtol=0)


def test_poses_survive_in_millimetres_and_numbered_from_one():
    image = annotated(np.zeros((3, 12, 18), bool), np.zeros((3, 4, 6), bool))
    scene = image.scene
    camera_entry, entries = camera_to_bop(scene.camera, scene.light), poses_to_bop(scene)
    assert [entry["obj_id"] for entry in entries] == [1, 2, 3]
    depth = project(scene.camera, scene.position).depth[0]
    for entry, metres in zip(entries, depth, strict=True):
        assert entry["cam_t_m2c"][2] == pytest.approx(1000 * float(metres), rel=1e-5)
    back = torch.stack([pose_from_bop(entry, camera_entry) for entry in entries])
    torch.testing.assert_close(back, scene.object_to_world[0], atol=1e-6, rtol=1e-6)


def test_areas_and_boxes_count_what_lies_beyond_the_border():
    silhouettes, visible = np.zeros((2, 12, 18), bool), np.zeros((2, 4, 6), bool)
    silhouettes[0, 5:8, 4:9] = True  # image coordinates: rows 1..3, columns -2..2
    visible[0, 1:3, 0:3] = True
    silhouettes[1, 0:2, 0:2] = True  # all beyond the border
    near, hidden = info_to_bop(annotated(silhouettes, visible))
    assert near == {
        "bbox_obj": [-2, 1, 4, 2],
        "bbox_visib": [0, 1, 2, 1],
        "px_count_all": 15,
        "px_count_valid": 9,
        "px_count_visib": 6,
        "visib_fract": 0.4,
    }
    assert hidden["px_count_all"] == 4 and hidden["visib_fract"] == 0.0
    assert hidden["bbox_obj"] == hidden["bbox_visib"] == [-1, -1, -1, -1]


def test_an_image_without_objects_has_empty_lists():
    image = annotated(np.zeros((0, 12, 18), bool), np.zeros((0, 4, 6), bool))
    assert poses_to_bop(image.scene) == [] and info_to_bop(image) == []


def test_depth_is_in_millimetres_and_zero_where_there_is_nothing():
    depth = np.array([[1.2345, np.inf], [0.5, 65.535]], dtype=np.float32)
    units = depth_to_bop(depth)
    assert units.dtype == np.uint16
    assert units.tolist() in ([[1234, 0], [500, 65535]], [[1235, 0], [500, 65535]])
    with Image.open(io.BytesIO(to_png(units))) as picture:
        assert np.array_equal(np.array(picture), units)
    with pytest.raises(DataError, match=r"depth reaches 70\.0 m.*move the camera closer"):
        depth_to_bop(np.full((2, 2), 70.0, np.float32))


@given(st_numpy.arrays(np.uint8, (3, 4, 3)))
def test_eight_bit_images_survive_png_and_rounding(pixels):
    with Image.open(io.BytesIO(to_png(pixels))) as picture:
        assert np.array_equal(np.array(picture), pixels)
    image = torch.tensor(pixels).permute(2, 0, 1).float() / 255.0
    assert np.array_equal(to_uint8(image), pixels)


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.05])
def test_noisy_png_is_as_small_as_where_longer_repeats_are_sought(noise):
    generator = torch.Generator().manual_seed(0)
    shades = torch.linspace(0.2, 0.8, 64).expand(3, 64, 64)
    pixels = to_uint8(shades + noise * torch.randn(3, 64, 64, generator=generator))
    usual = io.BytesIO()
    Image.fromarray(pixels).save(usual, format="PNG", compress_level=4)
    assert len(to_png(pixels)) <= 1.01 * len(usual.getvalue())


def test_what_lies_outside_zero_to_one_is_clamped():
    image = torch.tensor([-0.2, 0.0, 0.5, 1.0, 1.3]).expand(3, 1, 5)
    assert to_uint8(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_models_are_in_millimetres_with_their_colours_and_symmetries(tmp_path):
    meshes = [
        load_mesh(MESHES / "red_cube.ply", yaw_symmetry=4),
        load_mesh(MESHES / "blue_sphere.ply", yaw_symmetry="continuous"),
        load_mesh(MESHES / "striped_cylinder.ply"),
    ]
    write_models(tmp_path, meshes)
    assert check_models(tmp_path) == {1, 2, 3}
    info = json.loads((tmp_path / "models_info.json").read_text())
    for number, mesh in enumerate(meshes, start=1):
        stored = trimesh.load_mesh(tmp_path / f"obj_{number:06d}.ply", process=False)
        assert np.allclose(stored.vertices, 1000 * mesh.vertices.numpy(), atol=1e-3)
        assert np.array_equal(stored.faces, mesh.faces.numpy())
        colours = (255 * mesh.colours.numpy()).round()
        assert np.array_equal(stored.visual.vertex_colors[:, :3], colours)
        entry = info[str(number)]
        assert entry["diameter"] == pytest.approx(1000 * mesh.diameter)
        for axis, column in zip("xyz", mesh.vertices.T, strict=True):
            assert entry[f"min_{axis}"] == pytest.approx(1000 * float(column.min()), abs=1e-3)
            extent = 1000 * float(column.max() - column.min())
            assert entry[f"size_{axis}"] == pytest.approx(extent, abs=1e-3)
    turns = [np.array(turn).reshape(4, 4) for turn in info["1"]["symmetries_discrete"]]
    assert len(turns) == 3 and all(turn[3].tolist() == [0, 0, 0, 1] for turn in turns)
    cube = meshes[0].vertices.double().numpy()
    corners = {tuple(corner) for corner in cube.round(4).tolist()}
    for turn in turns:
        turned = (cube @ turn[:3, :3].T).round(4).tolist()
        assert {tuple(corner) for corner in turned} == corners
    assert info["2"]["symmetries_continuous"] == [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]
    assert not any(key.startswith("symmetries") for key in info["3"])


def test_missing_models_are_named(tmp_path):
    write_models(tmp_path, [load_mesh(MESHES / "red_cube.ply")])
    (tmp_path / "obj_000001.ply").unlink()
    with pytest.raises(DataError, match=r"obj_000001\.ply: is missing"):
        check_models(tmp_path)
    (tmp_path / "models_info.json").unlink()
    with pytest.raises(DataError, match=r"models_info\.json: is missing"):
        check_models(tmp_path)


@given(st.floats(-math.pi, math.pi), st.floats(-3, 3), st.floats(-3, 3))
def test_any_pose_on_the_plane_survives(yaw, x, y):
    camera, light = a_camera(), ambient_light()
    place = torch.tensor([[[x, y, 0.18]]]), torch.tensor([[yaw]])
    scene = upright_scenes(torch.zeros(1, 1, dtype=torch.int64), *place, camera=camera, light=light)
    entry = json.loads(json.dumps(poses_to_bop(scene)))[0]
    back = pose_from_bop(entry, camera_to_bop(camera, light))
    torch.testing.assert_close(back, scene.object_to_world[0, 0], atol=2e-6, rtol=1e-6)
