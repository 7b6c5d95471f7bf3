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
from air3d.geometry import yaw_rotation
from air3d.models import SceneConfig, build_air
from air3d.scene import Mesh, SceneSpec, find_yaw_symmetry, load_assets, load_mesh, load_scene

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
