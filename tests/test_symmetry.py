"""Symmetries are found from meshes: those of known solids, coloured and textured, and no others."""

import dataclasses
import math
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import trimesh
import yaml
from conftest import ROOT

from air3d.checkpoint import load_model, save_model
from air3d.data.bop.models import write_models
from air3d.geometry import angle_of, rotation_of, yaw_rotation
from air3d.models import SceneConfig, build_air
from air3d.scene import (
    Mesh,
    SceneFileError,
    SceneSpec,
    SymmetryGroup,
    find_symmetry_group,
    find_yaw_symmetry,
    load_assets,
    load_mesh,
    load_scene,
)

MESHES = ROOT / "assets" / "meshes"


def mesh_of(solid: trimesh.Trimesh, **parts: torch.Tensor) -> Mesh:
    """Return a white mesh that comes from no file."""
    vertices = torch.tensor(solid.vertices, dtype=torch.float32)
    made = Mesh(
        name="made",
        vertices=vertices,
        faces=torch.tensor(solid.faces, dtype=torch.int64),
        colours=torch.ones_like(vertices),
        normals=torch.tensor(solid.vertex_normals, dtype=torch.float32),
        yaw_symmetry=1,
        diameter=float(torch.cdist(vertices, vertices).max()),
        path=Path("made"),
    )
    return dataclasses.replace(made, **parts)


def prism(corners: int) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(radius=0.1, height=0.05, sections=corners)


def sectors(colours: list[float]) -> Mesh:
    """Return a round cake cut into equal pieces, each of its own grey."""
    cake = prism(48)
    cake = trimesh.Trimesh(cake.vertices[cake.faces].reshape(-1, 3), process=False)
    cake.faces = np.arange(len(cake.vertices)).reshape(-1, 3)
    middles = cake.triangles_center
    turn = np.arctan2(middles[:, 1], middles[:, 0]) % (2 * np.pi) / (2 * np.pi)
    grey = torch.tensor(colours)[torch.tensor(turn * len(colours)).long()]
    return mesh_of(cake, colours=grey.repeat_interleave(3)[:, None].expand(-1, 3).clone())


@pytest.mark.parametrize("corners", [3, 4, 5, 6, 7, 8, 9, 11, 12])
def test_a_prism_has_as_many_turns_as_corners(corners):
    assert find_yaw_symmetry(mesh_of(prism(corners))) == corners


@pytest.mark.parametrize(
    ("solid", "symmetry"),
    [
        (trimesh.creation.box((0.1, 0.1, 0.1)), 4),
        (trimesh.creation.box((0.1, 0.14, 0.1)), 2),
        (trimesh.creation.box((0.1, 0.1, 0.1)).apply_translation((0.02, 0.0, 0.0)), 1),
        (trimesh.creation.box((0.1, 0.1, 0.1)).apply_translation((0.0, 0.0, 5.0)), 4),
        (trimesh.creation.icosphere(subdivisions=3), "continuous"),
        (trimesh.creation.torus(1.0, 0.3), "continuous"),
        (trimesh.creation.cone(1.0, 2.0, sections=24), "continuous"),
        (prism(24), "continuous"),
        (trimesh.creation.cylinder(100.0, 300.0, sections=24), "continuous"),
    ],
    ids=["cube", "brick", "aside", "aloft", "sphere", "ring", "cone", "disc", "in millimetres"],
)
def test_a_known_solid_has_its_own_symmetry(solid, symmetry):
    assert find_yaw_symmetry(mesh_of(solid)) == symmetry


def test_a_small_knob_ends_a_symmetry():
    knob = trimesh.creation.box((0.02, 0.02, 0.02)).apply_translation((0.1, 0.0, 0.0))
    both = trimesh.util.concatenate([prism(32), knob])
    assert find_yaw_symmetry(mesh_of(both)) == 1
    opposite = knob.copy().apply_transform(np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert find_yaw_symmetry(mesh_of(trimesh.util.concatenate([both, opposite]))) == 2


def test_a_mesh_without_area_has_no_symmetry():
    line = trimesh.Trimesh(np.eye(3)[:1] * [[-1.0], [0.0], [1.0]], [[0, 1, 2]], process=False)
    assert find_yaw_symmetry(mesh_of(line)) == 1


@hypothesis.given(angle=st.floats(-math.pi, math.pi), noise=st.integers(0, 1000))
@hypothesis.settings(max_examples=10)
def test_symmetry_depends_neither_on_yaw_nor_on_little_noise(angle, noise):
    mesh = mesh_of(trimesh.creation.box((0.1, 0.1, 0.06)).subdivide())
    turned = mesh.vertices @ yaw_rotation(torch.tensor(angle, dtype=torch.float32)).T
    shaken = 2e-4 * torch.rand(turned.shape, generator=torch.Generator().manual_seed(noise))
    assert find_yaw_symmetry(dataclasses.replace(mesh, vertices=turned + shaken)) == 4


@pytest.mark.parametrize(
    ("colours", "symmetry"),
    [
        ([1.0, 0.5] * 3, 3),
        ([1.0, 0.5], 1),
        ([1.0, 0.5, 0.2, 1.0, 0.5, 0.2], 2),
        ([1.0, 0.5, 0.2, 0.8], 1),
        ([0.7], "continuous"),
    ],
)
def test_colours_count(colours, symmetry):
    assert find_yaw_symmetry(sectors(colours)) == symmetry


@pytest.mark.parametrize(
    ("texels", "symmetry"),
    [([[0.2, 0.2], [0.2, 0.2]], 4), ([[1.0, 0.2], [0.2, 1.0]], 2), ([[1.0, 0.2], [0.2, 0.5]], 1)],
)
def test_textures_count(texels, symmetry):
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    tile = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
    uvs = torch.tensor(0.5 + 0.5 * corners[:, :2], dtype=torch.float32)
    texture = torch.tensor(texels)[..., None].expand(-1, -1, 3).clone()
    assert find_yaw_symmetry(mesh_of(tile, uvs=uvs, texture=texture)) == symmetry


@pytest.mark.parametrize(
    ("name", "symmetry"),
    [
        ("red_cube", 4),
        ("blue_sphere", "continuous"),
        ("striped_cylinder", 1),
        ("plate", "continuous"),
        ("bowl", "continuous"),
        ("mug", 1),
        ("glass", "continuous"),
        ("pot", 2),
        ("teapot", 1),
        ("bottle", "continuous"),
        ("egg_cup", "continuous"),
    ],
)
def test_shipped_meshes_have_the_symmetries_that_the_manifest_states(name, symmetry):
    assert find_yaw_symmetry(load_mesh(MESHES / f"{name}.ply")) == symmetry
    stated = {"continuous": "continuous", 1: "no"}.get(symmetry, f"{symmetry}-fold")
    manifest = (ROOT / "assets" / "MANIFEST.md").read_text(encoding="utf-8")
    row = next(line for line in manifest.splitlines() if f"meshes/{name}.ply" in line)
    assert f" {stated} yaw symmetry" in row


def scene_of(folder: Path, *kinds: dict) -> SceneSpec:
    """Write and read a scene file with some kinds of object."""
    content = yaml.safe_load((ROOT / "scenes" / "single_object.yaml").read_text())
    content["objects"]["types"] = list(kinds)
    path = folder / "scene.yaml"
    path.write_text(yaml.safe_dump(content))
    spec = load_scene(path)
    assert isinstance(spec, SceneSpec)
    return spec


def test_a_scene_file_may_leave_symmetries_to_be_found_or_state_them(tmp_path):
    """What is found reaches BOP's models, and stays in a checkpoint."""
    pot = {"name": "pot", "mesh": str(MESHES / "pot.ply")}
    spec = scene_of(tmp_path, pot, pot | {"name": "other", "yaw_symmetry": 1})
    meshes = load_assets(spec)
    assert [mesh.yaw_symmetry for mesh in meshes] == [2, 1]
    write_models(tmp_path / "models", meshes)
    info = yaml.safe_load((tmp_path / "models" / "models_info.json").read_text())
    assert len(info["1"]["symmetries_discrete"]) == 1
    assert "symmetries_discrete" not in info["2"]
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    save_model(tmp_path / "model", build_air(spec, sizes, meshes), {})
    stored = load_model(tmp_path / "model").spec
    assert isinstance(stored, SceneSpec)
    assert [kind.yaw_symmetry for kind in stored.objects.types] == [2, 1]


def tetrahedron() -> trimesh.Trimesh:
    corners = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    return trimesh.convex.convex_hull(trimesh.PointCloud(corners))


TURN = rotation_of(torch.tensor([0.4, -0.7, 1.1], dtype=torch.float64))


def tilted(solid: trimesh.Trimesh) -> trimesh.Trimesh:
    matrix = np.eye(4)
    matrix[:3, :3] = TURN.numpy()
    return solid.copy().apply_transform(matrix)


def check_group(group: SymmetryGroup, number: int) -> None:
    """A group's turns are as many as told, different, rotations, and closed under products."""
    turns = group.turns
    assert len(turns) == number
    assert torch.equal(turns[0], torch.eye(3).double())
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(number).double())
    products = (turns[:, None] @ turns).flatten(0, 1)
    away = angle_of(products[:, None].mT @ turns).sort(dim=1).values
    assert away[:, 0].max() < 1e-3 and (number == 1 or away[:, 1].min() > 0.1)


@pytest.mark.parametrize(
    ("solid", "number"),
    [
        (trimesh.creation.box((0.1, 0.1, 0.1)), 24),
        (trimesh.creation.box((0.1, 0.14, 0.1)), 8),
        (tilted(trimesh.creation.box((0.1, 0.14, 0.2))), 4),
        (trimesh.creation.box((0.1, 0.1, 0.1)).apply_translation((0.02, 0.0, 0.0)), 4),
        (tetrahedron(), 12),
        (trimesh.creation.icosahedron(), 60),
        (tilted(prism(5)), 10),
        (prism(11), 22),
    ],
    ids=["cube", "brick", "tilted block", "aside", "four", "twenty", "five sides", "eleven sides"],
)
def test_all_turns_of_a_known_solid_are_found(solid, number):
    group = find_symmetry_group(mesh_of(solid))
    assert group.freedom == 3
    check_group(group, number)


@pytest.mark.parametrize(
    ("solid", "turns", "axes"),
    [
        (trimesh.creation.icosphere(subdivisions=2), 1, 3),
        (trimesh.creation.cone(1.0, 2.0, sections=24), 1, 1),
        (tilted(trimesh.creation.cylinder(0.1, 0.3, sections=24)), 2, 1),
        (trimesh.creation.cylinder(0.1, 0.1633, sections=24), 2, 1),
    ],
    ids=["ball", "cone", "tilted can", "can of equal moments"],
)
def test_what_is_round_is_known_by_its_axes(solid, turns, axes):
    group = find_symmetry_group(mesh_of(solid))
    assert (len(group.turns), len(group.axes)) == (turns, axes)
    assert group.freedom == {1: 2, 3: 0}[axes]


def test_the_axis_of_a_tilted_can_is_found():
    group = find_symmetry_group(mesh_of(tilted(trimesh.creation.cylinder(0.1, 0.3, sections=24))))
    assert abs(float(group.axes[0] @ TURN[:, 2])) == pytest.approx(1.0, abs=1e-5)
    assert angle_of(group.turns[1]) == pytest.approx(math.pi)
    torch.testing.assert_close(group.turns[1] @ group.axes[0], -group.axes[0])


@pytest.mark.parametrize(("faces", "number"), [(1, 4), (2, 8), (3, 1)])
def test_coloured_faces_of_a_cube_count(faces, number):
    """One face that differs leaves its axis, two opposite ones can be swapped, three are three."""
    cube = trimesh.creation.box((0.1, 0.1, 0.1))
    cube = trimesh.Trimesh(cube.vertices[cube.faces].reshape(-1, 3), process=False)
    cube.faces = np.arange(len(cube.vertices)).reshape(-1, 3)
    grey = torch.ones(len(cube.faces))
    normals = torch.tensor(cube.face_normals)
    grey[normals[:, 2] > 0.5] = 0.5
    grey[normals[:, 2] < -0.5] = 0.5 if faces == 2 else 1.0
    if faces == 3:
        grey[normals[:, 0] > 0.5], grey[normals[:, 1] > 0.5] = 0.2, 0.8
    colours = grey.repeat_interleave(3)[:, None].expand(-1, 3).clone()
    check_group(find_symmetry_group(mesh_of(cube, colours=colours)), number)


@pytest.mark.parametrize(
    ("name", "turns", "axes"),
    [
        ("red_cube", 24, 0),
        ("blue_sphere", 1, 3),
        ("striped_cylinder", 1, 0),
        ("mug", 1, 0),
        ("pot", 2, 0),
        ("bottle", 1, 1),
    ],
)
def test_shipped_meshes_have_the_groups_that_they_show(name, turns, axes):
    group = find_symmetry_group(load_mesh(MESHES / f"{name}.ply"))
    assert (len(group.turns), len(group.axes)) == (turns, axes)
    assert group.trivial == (turns == 1 and axes == 0)


@hypothesis.given(vector=st.tuples(*[st.floats(-3.0, 3.0)] * 3), fold=st.integers(1, 6))
def test_about_z_a_group_of_turns_is_that_of_yaws(vector, fold):
    rotation = rotation_of(torch.tensor(vector, dtype=torch.float64))
    some, every = SymmetryGroup.about_z(fold), SymmetryGroup.about_z("continuous")
    finely = SymmetryGroup.about_z(720)
    eye = torch.eye(3).double()
    twin = rotation @ yaw_rotation(torch.tensor(2 * math.pi / fold, dtype=torch.float64))
    assert float(some.angle(rotation, twin)) == pytest.approx(0.0, abs=1e-7)
    assert float(every.angle(rotation, eye)) <= float(some.angle(rotation, eye)) + 1e-7
    assert float(every.angle(rotation, eye)) == pytest.approx(
        float(finely.angle(rotation, eye)), abs=0.01
    )


def test_a_free_scene_finds_the_groups_which_reach_bop_and_stay_in_a_checkpoint(tmp_path):
    content = yaml.safe_load((ROOT / "scenes" / "single_object_so3.yaml").read_text())
    names = ("red_cube", "blue_sphere", "pot")
    kinds = [{"name": name, "mesh": str(MESHES / f"{name}.ply")} for name in names]
    content["objects"]["types"] = kinds
    path = tmp_path / "scene.yaml"
    path.write_text(yaml.safe_dump(content))
    meshes = load_assets(load_scene(path))
    write_models(tmp_path / "models", meshes)
    info = yaml.safe_load((tmp_path / "models" / "models_info.json").read_text())
    discrete = [len(info[key].get("symmetries_discrete", [])) for key in "123"]
    continuous = [len(info[key].get("symmetries_continuous", [])) for key in "123"]
    assert (discrete, continuous) == ([23, 0, 1], [0, 3, 0])
    half_turn = np.reshape(info["3"]["symmetries_discrete"][0], (4, 4))
    np.testing.assert_allclose(half_turn, np.diag([-1.0, -1.0, 1.0, 1.0]), atol=1e-3)
    sizes = SceneConfig(
        channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4), rotation_bins=16
    )
    model = build_air(load_scene(path), sizes, meshes)
    save_model(tmp_path / "model", model, {})
    again = load_model(tmp_path / "model")
    ours, theirs = (m.guide.head.rotations for m in (model, again))
    assert torch.equal(ours.centres, theirs.centres)
    for one, other in zip(ours.groups, theirs.groups, strict=True):
        check_group(other, len(one.turns))


def test_a_free_scene_takes_no_yaw_symmetry(tmp_path):
    content = yaml.safe_load((ROOT / "scenes" / "single_object_so3.yaml").read_text())
    content["objects"]["types"][0] |= {"mesh": str(MESHES / "red_cube.ply"), "yaw_symmetry": 4}
    path = tmp_path / "scene.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(SceneFileError, match="yaw_symmetry of red_cube .* remove it"):
        load_scene(path)
