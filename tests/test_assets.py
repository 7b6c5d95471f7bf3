"""Meshes: the shipped ones are what they are said to be; a bad file is named."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
import trimesh
from conftest import ROOT
from render_cases import NAMES, shipped_meshes

from air3d.geometry import yaw_rotation
from air3d.scene import (
    Mesh,
    MeshBank,
    MeshFileError,
    load_assets,
    load_mesh,
    load_scene,
    make_mesh,
)

MESHES = dict(zip(NAMES, shipped_meshes(), strict=True))
FOLDER = ROOT / "assets" / "meshes"
HOLES = {
    "plate": 0,
    "bowl": 0,
    "mug": 1,
    "glass": 0,
    "pot": 2,
    "teapot": 1,
    "bottle": 0,
    "egg_cup": 0,
}
CROCKERY = {name: load_mesh(FOLDER / f"{name}.ply") for name in HOLES}


@pytest.mark.parametrize("mesh", MESHES.values(), ids=NAMES)
def test_shipped_meshes_are_closed_and_face_outwards(mesh):
    """Watertight once the vertices are joined that were split for colour and light."""
    solid = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    solid.merge_vertices()
    assert solid.is_watertight
    assert solid.volume > 0.0
    assert len(mesh.faces) < 1500
    assert 0.3 < mesh.diameter < 0.7
    torch.testing.assert_close(mesh.normals.norm(dim=1), torch.ones(len(mesh.normals)))
    # All three are convex about their origin.
    assert ((mesh.normals * mesh.vertices).sum(dim=1) > 0).all()
    assert (mesh.vertices.amin(0) + mesh.vertices.amax(0)).abs().max() < 1e-6


@pytest.mark.parametrize("name", CROCKERY)
def test_crockery_is_one_closed_surface_that_faces_outwards(name):
    """Watertight, and with as many holes to put a finger through as it has handles."""
    mesh = CROCKERY[name]
    solid = trimesh.Trimesh(mesh.vertices.double().numpy(), mesh.faces.numpy(), process=False)
    solid.merge_vertices()
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.body_count == 1 and solid.euler_number == 2 - 2 * HOLES[name]
    assert solid.volume > 0.0
    assert 400 < len(mesh.faces) < 800
    assert solid.area_faces.min() > 3e-6
    torch.testing.assert_close(mesh.normals.norm(dim=1), torch.ones(len(mesh.normals)))


@pytest.mark.parametrize("name", CROCKERY)
def test_crockery_stands_on_its_base_about_its_axis(name):
    """The origin is at half the height; the base is a disc about the axis."""
    vertices = CROCKERY[name].vertices
    low, high = vertices[:, 2].amin(), vertices[:, 2].amax()
    assert abs(low + high) < 1e-7
    base = vertices[vertices[:, 2] < low + 1e-7][:, :2]
    assert base.mean(dim=0).norm() < 1e-6
    assert CROCKERY[name].rest_height == pytest.approx(float(high))


@pytest.mark.parametrize("name", ["plate", "bowl", "mug", "glass", "pot", "egg_cup"])
def test_open_vessels_are_hollow(name):
    """On the axis the inside lies far below the rim, and above the base."""
    vertices = CROCKERY[name].vertices
    low, high = vertices[:, 2].amin(), vertices[:, 2].amax()
    inside = vertices[vertices[:, :2].norm(dim=1) < 1e-6][:, 2].amax()
    assert low + 0.004 < inside < high - 0.4 * (high - low)


def turned_apart(mesh: Mesh, angle: float) -> float:
    """Return how far the coloured mesh is from itself after a yaw: metres plus colour."""
    points = torch.cat([mesh.vertices, mesh.colours], dim=1)
    turned = points.clone()
    turned[:, :3] = mesh.vertices @ yaw_rotation(torch.tensor(angle)).T
    return float((turned[:, None] - points).norm(dim=2).amin(dim=1).max())


def test_stated_yaw_symmetries_are_the_meshes_own():
    """A k-fold turn maps the coloured mesh to itself; no smaller turn does."""
    for mesh in load_assets(load_scene(ROOT / "scenes" / "single_object.yaml")):
        if mesh.yaw_symmetry == "continuous":
            radius = mesh.vertices.norm(dim=1)
            assert radius.max() - radius.min() < 1e-6
            assert len(mesh.colours.unique(dim=0)) == 1
            continue
        assert turned_apart(mesh, 2 * math.pi / mesh.yaw_symmetry) < 1e-6
        for k in range(mesh.yaw_symmetry + 1, 73):
            assert turned_apart(mesh, 2 * math.pi / k) > 0.01, (mesh.name, k)


def test_script_makes_the_shipped_files(run_script, tmp_path):
    answer = run_script("make_meshes.py", "--out", tmp_path / "new" / "folder")
    assert answer.returncode == 0, answer.stderr
    for name, shipped in (MESHES | CROCKERY).items():
        made = load_mesh(tmp_path / "new" / "folder" / f"{name}.ply")
        torch.testing.assert_close(made.vertices, shipped.vertices, rtol=0.0, atol=1e-7)
        assert torch.equal(made.faces, shipped.faces)
        assert torch.equal(made.colours, shipped.colours)


def test_every_asset_is_in_the_manifest():
    manifest = (ROOT / "assets" / "MANIFEST.md").read_text(encoding="utf-8")
    for path in FOLDER.iterdir():
        assert f"meshes/{path.name}" in manifest


TRIANGLE = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n" + (
    "property float z\nelement face {faces}\nproperty list uchar int vertex_indices\nend_header\n"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TRIANGLE.format(faces=1) + "0 0 0\n1 0 0\nnan 1 0\n3 0 1 2\n", "not finite"),
        (TRIANGLE.format(faces=0) + "0 0 0\n1 0 0\n0 1 0\n", "no faces"),
        (TRIANGLE.format(faces=1) + "0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n", "names a vertex"),
        ("this is no mesh", "cannot be read as a mesh"),
        ("", "cannot be read as a mesh"),
    ],
)
def test_a_bad_mesh_file_is_named_in_one_sentence(content, message, tmp_path):
    path = tmp_path / "bad.ply"
    path.write_text(content)
    with pytest.raises(MeshFileError, match=rf"^{re.escape(str(path))}: .*{message}") as caught:
        load_mesh(path)
    assert "\n" not in str(caught.value)


def test_a_missing_or_unknown_mesh_file_is_named(tmp_path):
    for name in ("missing.ply", "mesh.unknown"):
        path = tmp_path / name
        if name == "mesh.unknown":
            path.write_text("?")
        with pytest.raises(MeshFileError, match=re.escape(str(path))):
            load_mesh(path)


def test_a_truncated_mesh_file_is_named(tmp_path):
    path = tmp_path / "short.ply"
    path.write_bytes((ROOT / "assets" / "meshes" / "red_cube.ply").read_bytes()[:-40])
    with pytest.raises(MeshFileError, match="short.ply"):
        load_mesh(path)


def test_a_mesh_without_colours_is_grey(tmp_path):
    path = tmp_path / "plain.ply"
    path.write_text(TRIANGLE.format(faces=1) + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    colours = load_mesh(path).colours
    assert torch.equal(colours, colours[:1, :1].expand(3, 3))


@pytest.mark.parametrize("suffix", ["ply", "obj", "glb"])
def test_formats_carry_vertices_and_colours(suffix, tmp_path):
    mesh = MESHES["striped_cylinder"]
    path = tmp_path / f"mesh.{suffix}"
    colours = np.rint(255 * mesh.colours.numpy()).astype(np.uint8)
    trimesh.Trimesh(
        mesh.vertices.numpy(), mesh.faces.numpy(), vertex_colors=colours, process=False
    ).export(path)
    loaded = load_mesh(path)
    torch.testing.assert_close(loaded.vertices, mesh.vertices, rtol=0.0, atol=1e-6)
    torch.testing.assert_close(loaded.colours, mesh.colours, rtol=0.0, atol=0.5 / 255)


def test_a_bank_pads_and_keeps_every_mesh():
    bank = MeshBank.pack(list(MESHES.values()))
    for index, mesh in enumerate(MESHES.values()):
        vertices, faces = int(bank.num_vertices[index]), int(bank.num_faces[index])
        assert torch.equal(bank.vertices[index, :vertices], mesh.vertices)
        assert torch.equal(bank.faces[index, :faces], mesh.faces)
    with pytest.raises(ValueError, match="at least one mesh"):
        MeshBank.pack([])


def test_a_mesh_of_ones_own_arrays_is_the_one_from_a_file():
    cube = load_mesh(FOLDER / "red_cube.ply", yaw_symmetry=4)
    made = make_mesh(cube.vertices, cube.faces, cube.colours, name=cube.name, yaw_symmetry=4)
    torch.testing.assert_close(made.normals, cube.normals)
    assert made.diameter == pytest.approx(cube.diameter) and made.rest_height == cube.rest_height
    white = make_mesh(cube.vertices, cube.faces)
    assert (white.colours == 1.0).all()
    vertices = cube.vertices.clone().requires_grad_()
    MeshBank.pack([make_mesh(vertices, cube.faces)]).vertices.sum().backward()
    assert (vertices.grad == 1.0).all()


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("faces", torch.tensor([[0, 1, 999]]), "faces name vertices 0 to 999, but there are"),
        ("faces", torch.tensor([[-1, 1, 2]]), "faces name vertices -1 to 2"),
        ("faces", torch.zeros(1, 4, dtype=torch.int64), r"triangles \[F, 3\] of torch.int64"),
        ("faces", torch.zeros(1, 3), "of torch.float32"),
        ("colours", torch.ones(3, 4), r"colours must be \[\d+, 3\].*got \[3, 4\]"),
        ("normals", torch.ones(3, 3), r"normals must be \[\d+, 3\]"),
    ],
)
def test_arrays_that_do_not_fit_make_no_mesh(field, value, message):
    """Kernels would read what lies beyond the arrays."""
    cube = load_mesh(FOLDER / "red_cube.ply")
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(cube, **{field: value})
