"""Textured meshes: read from every format, kept by all that is written, whole or refused."""

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import trimesh
from conftest import ROOT
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from air3d.checkpoint import load_model, save_model
from air3d.data.bop.models import read_model, write_models
from air3d.inspection import open3d_view
from air3d.inspection.exhibit import Exhibit
from air3d.inspection.glb import build_scene
from air3d.inspection.placement import Placement
from air3d.models import SceneConfig, build_air
from air3d.scene import (
    Mesh,
    MeshBank,
    MeshFileError,
    known_view,
    load_mesh,
    load_scene,
    mesh_to_ply,
    texture_pixels,
    textured_mesh_to_glb,
    textured_mesh_to_ply,
)

RED_CUBE = ROOT / "assets" / "meshes" / "red_cube.ply"
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
QUAD = np.hstack([CORNERS, np.zeros((4, 1))])
QUAD_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def visual(uvs: np.ndarray, factor=None, colours=None) -> TextureVisuals:
    material = PBRMaterial(
        baseColorTexture=PIL.Image.fromarray(PIXELS), baseColorFactor=factor, metallicFactor=0.0
    )
    made = TextureVisuals(uv=uvs, material=material)
    if colours is not None:
        made.vertex_attributes["color"] = colours
    return made


def globe() -> trimesh.Trimesh:
    """A sphere whose texture has a seam: its first meridian is there twice, u = 0 and u = 1."""
    height, angle = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(0, 2 * np.pi, 13))
    radius = np.sqrt(1.0 - height**2)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)
    points[-1] = points[0]
    index = np.arange(13 * 9).reshape(13, 9)
    a, b = index[:-1, :-1].ravel(), index[1:, :-1].ravel()
    c, d = b + 1, a + 1
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    uvs = np.stack([angle / (2 * np.pi), 0.5 + 0.5 * height], axis=-1)
    paint = visual(uvs.reshape(-1, 2))
    made = trimesh.Trimesh(points.reshape(-1, 3), faces, visual=paint, process=False)
    made.update_faces(made.nondegenerate_faces())
    made.remove_unreferenced_vertices()
    return made


@pytest.fixture(scope="module")
def textured(tmp_path_factory) -> Mesh:
    path = tmp_path_factory.mktemp("meshes") / "globe.glb"
    globe().export(path)
    return load_mesh(path, "globe", "continuous")


def assert_same(loaded: Mesh, expected: Mesh, scale: float = 1.0) -> None:
    assert loaded.texture is not None and loaded.uvs is not None
    assert torch.equal(loaded.texture, expected.texture)
    assert torch.equal(loaded.faces, expected.faces)
    torch.testing.assert_close(loaded.vertices, scale * expected.vertices, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(loaded.uvs, expected.uvs, rtol=0.0, atol=4e-8)
    torch.testing.assert_close(loaded.normals, expected.normals, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("suffix", ["obj", "glb"])
def test_formats_carry_textures(suffix, tmp_path):
    """Vertices may come in another order, split at seams: what counts is each face's corners."""
    made = globe()
    made.export(tmp_path / f"globe.{suffix}")
    loaded = load_mesh(tmp_path / f"globe.{suffix}")
    assert np.array_equal(texture_pixels(loaded), PIXELS)
    assert torch.equal(loaded.colours, torch.ones_like(loaded.vertices))
    corners = np.hstack([made.vertices, made.visual.uv])[made.faces]
    found = torch.cat([loaded.vertices, loaded.uvs], dim=1)[loaded.faces]
    np.testing.assert_allclose(found.numpy(), corners, atol=1e-7)


def gltf_quad() -> dict:
    """A quad in glTF as its specification has it: v = 0 at the texture's top."""
    uvs = CORNERS * [1, -1] + [0, 1]
    parts = [QUAD.astype("<f4"), uvs.astype("<f4"), QUAD_FACES.astype("<u2")]
    buffer = b"".join(part.tobytes() for part in parts)
    sizes = [part.nbytes for part in parts]
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {
                "primitives": [
                    {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}
                ]
            }
        ],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"uri": as_uri(png(PIXELS), "image/png")}],
        "buffers": [{"byteLength": len(buffer), "uri": as_uri(buffer, "application/octet-stream")}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": sum(sizes[:index]), "byteLength": size}
            for index, size in enumerate(sizes)
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
    }


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def as_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def obj_quad(folder: Path, image: bytes | None = None) -> Path:
    """Write a quad as OBJ, its origin at the texture's lower left; the image too if given."""
    lines = ["mtllib quad.mtl", "usemtl paint"]
    lines += [f"v {x} {y} {z}" for x, y, z in QUAD] + [f"vt {u} {v}" for u, v in CORNERS]
    lines += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in face) for face in QUAD_FACES]
    (folder / "quad.obj").write_text("\n".join(lines) + "\n")
    (folder / "quad.mtl").write_text("newmtl paint\nKd 0.4 0.4 0.4\nmap_Kd paint.png\n")
    if image is not None:
        (folder / "paint.png").write_bytes(image)
    return folder / "quad.obj"


def test_v_points_up_whatever_the_format(tmp_path):
    """Vertex (0, 0) of the quad lies on the image's lower left pixel, in glTF and in OBJ."""
    (tmp_path / "quad.gltf").write_text(json.dumps(gltf_quad()))
    for path in (tmp_path / "quad.gltf", obj_quad(tmp_path, png(PIXELS))):
        loaded = load_mesh(path)
        torch.testing.assert_close(loaded.uvs, loaded.vertices[:, :2])
        assert np.array_equal(texture_pixels(loaded), PIXELS)


def test_an_obj_files_diffuse_colour_leaves_its_texture_alone(tmp_path):
    loaded = load_mesh(obj_quad(tmp_path, png(PIXELS)))
    assert torch.equal(loaded.colours, torch.ones(4, 3))


def test_opacity_and_palettes_are_read_as_colours(tmp_path):
    transparent = np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)])
    loaded = load_mesh(obj_quad(tmp_path, png(transparent)))
    assert np.array_equal(texture_pixels(loaded), PIXELS)
    grey = load_mesh(obj_quad(tmp_path, png(PIXELS[..., 0])))
    assert np.array_equal(texture_pixels(grey), PIXELS[..., :1].repeat(3, axis=2))


def test_glb_colours_multiply_the_texture(tmp_path):
    colours = np.array([[255, 0, 51, 255], [102, 255, 0, 255], [0, 0, 0, 9], [255] * 4], np.uint8)
    factor = [255, 204, 51, 255]
    quad = trimesh.Trimesh(QUAD, QUAD_FACES, visual=visual(CORNERS, factor, colours), process=False)
    quad.export(tmp_path / "quad.glb")
    expected = torch.tensor(colours[:, :3] / 255.0 * [1.0, 0.8, 0.2]).float()
    torch.testing.assert_close(load_mesh(tmp_path / "quad.glb").colours, expected)


def test_parts_of_a_file_become_one_mesh_with_one_texture(tmp_path):
    """Each part keeps its own texture and factor; the colours are constant, so texels are too."""
    scene = trimesh.Scene()
    white, tint = (255, 255, 255, 255), (255, 128, 51, 255)
    for index, (shade, factor) in enumerate([((200, 100, 30), white), ((20, 130, 240), tint)]):
        image = PIL.Image.new("RGB", (8, 8), shade)
        material = PBRMaterial(baseColorTexture=image, baseColorFactor=factor)
        part = trimesh.Trimesh(QUAD + [2 * index, 0, 0], QUAD_FACES, process=False)
        part.visual = TextureVisuals(uv=CORNERS, material=material)
        scene.add_geometry(part)
    scene.export(tmp_path / "two.glb")
    loaded = load_mesh(tmp_path / "two.glb")
    pixels, (u, v) = texture_pixels(loaded), loaded.uvs.numpy().T
    rows = np.rint((1 - v) * (pixels.shape[0] - 1)).astype(int)
    columns = np.rint(u * (pixels.shape[1] - 1)).astype(int)
    for right, shade in ((False, (200, 100, 30)), (True, (20, 65, 48))):
        texels = pixels[rows, columns][(loaded.vertices[:, 0] > 1.5).numpy() == right]
        assert np.abs(texels.astype(int) - shade).max() <= 1


def test_light_knows_no_seams_but_edges(textured, tmp_path):
    """The globe's first and last meridian share their normals; a box keeps its 24."""
    inner = (textured.uvs[:, 1] - 0.5).abs() < 0.49
    first, last = (textured.normals[inner & (textured.uvs[:, 0] == side)] for side in (0.0, 1.0))
    assert len(first) == 7
    torch.testing.assert_close(first, last)
    outwards = (textured.normals * textured.vertices).sum(dim=1)
    assert outwards.min() > 0.98
    box = trimesh.creation.box()
    box.unmerge_vertices()
    box.visual = visual(np.random.default_rng(1).random((len(box.vertices), 2)))
    box.export(tmp_path / "box.glb")
    steepest = load_mesh(tmp_path / "box.glb").normals.abs().amax(dim=1)
    torch.testing.assert_close(steepest, torch.ones(36))


@pytest.mark.parametrize("fault", ["no image", "damaged image", "short image", "no material"])
def test_a_texture_that_cannot_be_had_is_named(fault, tmp_path):
    image = {"damaged image": b"?", "short image": png(PIXELS)[:-30]}.get(fault)
    path = obj_quad(tmp_path, image)
    named = "paint.png"
    if fault == "no material":
        (tmp_path / "quad.mtl").unlink()
        named = "quad.mtl"
    if fault == "short image":
        named = "image file is truncated"
    with pytest.raises(MeshFileError, match=rf"^{re.escape(str(path))}: .*{named}") as caught:
        load_mesh(path)
    assert "\n" not in str(caught.value)


def test_a_ply_file_without_its_image_is_named_and_nothing_printed(textured, tmp_path, caplog):
    path = tmp_path / "globe.ply"
    path.write_bytes(textured_mesh_to_ply(textured, "paint.png"))
    with pytest.raises(MeshFileError, match=r"globe.ply: names paint.png .*put it into"):
        load_mesh(path)
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_what_has_no_place_on_the_texture_needs_none(tmp_path):
    """A material that is missing is no error where there are no texture coordinates."""
    path = obj_quad(tmp_path)
    text = path.read_text()
    path.write_text(re.sub(r"/\d", "", re.sub(r"vt .*\n", "", text)))
    loaded = load_mesh(path)
    assert loaded.texture is None and loaded.uvs is None
    torch.testing.assert_close(loaded.colours, torch.full((4, 3), 0.4), rtol=0.0, atol=0.01)


def test_colours_of_parts_are_no_texture(tmp_path):
    """trimesh makes a texture of them when it joins the parts; colours of vertices say as much."""
    scene = trimesh.Scene()
    for index, shade in enumerate(([200, 100, 30, 255], [20, 130, 240, 255])):
        part = trimesh.Trimesh(QUAD + [2 * index, 0, 0], QUAD_FACES, process=False)
        part.visual = TextureVisuals(uv=CORNERS, material=SimpleMaterial(diffuse=shade))
        scene.add_geometry(part)
    scene.export(tmp_path / "two.obj")
    loaded = load_mesh(tmp_path / "two.obj")
    assert loaded.texture is None
    assert len(loaded.colours.unique(dim=0)) == 2


def test_uvs_and_texture_go_together(textured):
    with pytest.raises(ValueError, match="globe: has uvs but no texture; give both"):
        dataclasses.replace(textured, texture=None)
    with pytest.raises(ValueError, match="globe: has texture but no uvs; give both"):
        dataclasses.replace(textured, uvs=None)


def test_a_bank_pads_textures_and_passes_their_gradients(textured):
    plain = load_mesh(RED_CUBE)
    texture = textured.texture.clone().requires_grad_()
    small = dataclasses.replace(textured, texture=torch.rand(2, 9, 3))
    bank = MeshBank.pack([plain, dataclasses.replace(textured, texture=texture), small])
    assert bank.texture_sizes.tolist() == [[0, 0], [5, 7], [2, 9]]
    assert bank.textures.shape == (3, 5, 9, 3)
    assert torch.equal(bank.textures[1, :5, :7], texture)
    assert torch.equal(bank.textures[2, :2, :9], small.texture)
    assert torch.equal(bank.uvs[1, : len(textured.uvs)], textured.uvs)
    assert bank.textures[0].count_nonzero() == 0 and bank.textures[2, 2:].count_nonzero() == 0
    (gradient,) = torch.autograd.grad(bank.textures.sum(), texture)
    assert torch.equal(gradient, torch.ones_like(texture))
    assert bank.to(dtype=torch.float64).textures.dtype == torch.float64


def test_a_bank_without_textures_holds_no_texel():
    bank = MeshBank.pack([load_mesh(RED_CUBE)])
    assert bank.textures.shape == (1, 0, 0, 3)
    assert bank.texture_sizes.tolist() == [[0, 0]]


def test_glb_keeps_a_mesh_with_texture_and_colours(textured, tmp_path):
    colours = torch.randint(0, 256, textured.vertices.shape) / 255.0
    coloured = dataclasses.replace(textured, colours=colours)
    (tmp_path / "globe.glb").write_bytes(textured_mesh_to_glb(coloured))
    loaded = load_mesh(tmp_path / "globe.glb")
    assert_same(loaded, coloured)
    assert torch.equal(loaded.vertices, textured.vertices)
    torch.testing.assert_close(loaded.colours, colours)


def test_writers_refuse_what_they_would_lose(textured):
    with pytest.raises(ValueError, match="globe has a texture, which a PLY file cannot hold"):
        mesh_to_ply(textured)
    with pytest.raises(ValueError, match="red_cube has no texture"):
        textured_mesh_to_glb(load_mesh(RED_CUBE))


def test_a_checkpoint_holds_its_textures(textured, tmp_path):
    """Also when it has moved, and the meshes it was trained with are gone."""
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    types = spec.objects.types[:2]
    meshes = (
        load_mesh(RED_CUBE, types[0].name),
        dataclasses.replace(textured, name=types[1].name),
    )
    spec = spec.model_copy(update={"objects": spec.objects.model_copy(update={"types": types})})
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    save_model(tmp_path / "old", build_air(spec, sizes, meshes), {})
    (tmp_path / "old").rename(tmp_path / "new")
    plain, loaded = load_model(tmp_path / "new").meshes
    assert_same(loaded, textured)
    assert torch.equal(loaded.colours, textured.colours)
    assert plain.texture is None and torch.equal(plain.colours, meshes[0].colours)


def test_bop_models_keep_textures_in_millimetres(textured, tmp_path):
    """In BOP's own form; a factor that is the same everywhere goes into the image."""
    dark = dataclasses.replace(textured, colours=torch.full_like(textured.colours, 0.2))
    write_models(tmp_path, [load_mesh(RED_CUBE), textured, dark])
    images = sorted(path.name for path in tmp_path.glob("*.png"))
    assert images == ["obj_000002.png", "obj_000003.png"]
    header = (tmp_path / "obj_000002.ply").read_bytes().split(b"end_header")[0].decode()
    assert "comment TextureFile obj_000002.png\n" in header
    assert "property float texture_u\nproperty float texture_v\n" in header and "red" not in header
    assert_same(read_model(tmp_path, 2), textured)
    expected = np.rint(0.2 * PIXELS.astype(float))
    assert np.abs(texture_pixels(read_model(tmp_path, 3)) - expected).max() <= 1


def test_the_page_shows_the_texture(textured, tmp_path):
    camera = known_view(load_scene(ROOT / "scenes" / "single_object.yaml")).camera
    exhibit = Exhibit([Placement(textured, torch.eye(4), "")], camera)
    build_scene(exhibit).export(tmp_path / "scene.glb")
    shown = trimesh.load_scene(tmp_path / "scene.glb").geometry["globe_object_0"]
    assert np.array_equal(np.asarray(shown.visual.material.baseColorTexture), PIXELS)
    np.testing.assert_allclose(shown.visual.uv, textured.uvs.numpy(), atol=1e-6)


def test_the_window_shows_the_texture(textured, tmp_path):
    """Open3D's own OBJ file of what it shows is the mesh again."""
    o3d = pytest.importorskip("open3d")
    solid = open3d_view._solid(o3d, Placement(textured, torch.eye(4), ""))
    o3d.io.write_triangle_mesh(str(tmp_path / "globe.obj"), solid)
    written = load_mesh(tmp_path / "globe.obj")
    assert np.array_equal(texture_pixels(written), PIXELS)
    corners = [torch.cat([m.vertices, m.uvs], dim=1)[m.faces] for m in (written, textured)]
    torch.testing.assert_close(*corners, rtol=0.0, atol=1e-5)
