"""Scene files are strict: each fault is answered with file, key and remedy."""

from pathlib import Path

import pytest
import yaml

from air3d.scene import GlimpseSpec, SceneFileError, SceneSpec, load_scene, scene_to_yaml

ROOT = Path(__file__).resolve().parent.parent
SCENES = sorted((ROOT / "scenes").glob("*.yaml"))


def mesh_scene() -> dict:
    """Return the content of a valid scene file, to be spoilt."""
    mesh = str(ROOT / "assets" / "meshes" / "red_cube.ply")
    return {
        "decoder": "scene",
        "name": "test",
        "image_size": [32, 48],
        "objects": {
            "count": [0.25, 0.5, 0.25],
            "types": [{"name": "cube", "mesh": mesh, "yaw_symmetry": 4}],
            "x": {"low": -0.5, "high": 0.5},
            "y": {"low": -0.5, "high": 0.5},
        },
        "camera": {"eye": [0.0, -2.0, 1.0], "field_of_view": 0.7},
    }


def orbited_scene() -> dict:
    """Return one whose camera, light, sizes and colours are open, on a table."""
    content = mesh_scene()
    unit = {"low": 0.2, "high": 0.8}
    content["objects"] |= {"repeats": True, "gap": 0.01, "scale": unit, "colour": unit}
    content["camera"] = {
        "azimuth": {"low": -1.0, "high": 1.0},
        "elevation": unit,
        "distance": {"low": 2.0, "high": 3.0},
        "field_of_view": 0.7,
    }
    content["light"] = {"azimuth": unit, "elevation": unit, "ambient": 0.1, "diffuse": unit}
    content["table"] = {"half_extents": [0.5, 0.4], "colour": [0.1, 0.2, 0.3]}
    return content


@pytest.mark.parametrize(
    ("keys", "value", "fault"),
    [
        ("camera.distance", None, r"camera: give eye, or all of azimuth, elevation and distance"),
        ("camera.azimuth", {"low": -4.0, "high": 4.0}, r"camera\.azimuth: .*full circle"),
        ("camera.elevation", {"low": 0.5, "high": 1.7}, r"camera\.elevation: .*below pi / 2"),
        ("camera.elevation", 1.7, r"camera\.elevation: .*below pi / 2"),
        ("camera.distance", -1.0, r"camera\.distance: .*greater than 0"),
        ("objects.rotation", "sideways", r"objects\.rotation: .*'upright' or 'free'"),
        ("camera.distance", {"low": -1.0, "high": 1.7}, r"camera\.distance\.low: .*greater than 0"),
        ("light.elevation", None, r"light: give direction, or both azimuth and elevation"),
        ("table.second_colour", [2.0, 0.0, 0.0], r"table\.second_colour\.0: .*less than or equal"),
    ],
)
def test_a_fault_of_an_open_view_is_answered_alike(tmp_path, keys, value, fault):
    with pytest.raises(SceneFileError, match=fault):
        load_scene(write(tmp_path, spoil(orbited_scene(), keys, value)))


def test_a_light_comes_from_somewhere_unless_the_file_says_where(tmp_path):
    spec = load_scene(write(tmp_path, spoil(mesh_scene(), "light", {"ambient": 0.2})))
    assert isinstance(spec, SceneSpec)
    assert spec.light.direction == (0.3, -0.5, 0.8) and spec.light.known
    opened = load_scene(write(tmp_path, orbited_scene()))
    assert isinstance(opened, SceneSpec)
    assert opened.light.direction is None and not opened.light.known and not opened.camera.known


def glimpse_scene() -> dict:
    return {
        "decoder": "glimpse",
        "name": "test",
        "image_size": [50, 50],
        "glyphs": {"count": [0.5, 0.5]},
    }


def spoil(content: dict, keys: str, value: object) -> dict:
    """Set the entry at a dotted path; None removes it."""
    *path, last = keys.split(".")
    place = content
    for key in path:
        place = place[int(key)] if isinstance(place, list) else place[key]
    index = int(last) if isinstance(place, list) else last
    if value is None:
        del place[index]
    else:
        place[index] = value
    return content


def write(folder: Path, content: dict) -> Path:
    path = folder / "scene.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_the_scene_files_of_the_repository_are_valid(path):
    spec = load_scene(path)
    assert spec.name == path.stem
    assert sum(spec.count) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "content", [mesh_scene(), orbited_scene(), glimpse_scene()], ids=["scene", "orbited", "glimpse"]
)
def test_a_spec_survives_its_own_file(tmp_path, content):
    spec = load_scene(write(tmp_path, content))
    path = tmp_path / "again.yaml"
    path.write_text(scene_to_yaml(spec))
    assert load_scene(path) == spec


def test_the_decoder_chooses_the_kind(tmp_path):
    assert isinstance(load_scene(write(tmp_path, mesh_scene())), SceneSpec)
    assert isinstance(load_scene(write(tmp_path, glimpse_scene())), GlimpseSpec)


def test_mesh_paths_start_at_the_scene_file(tmp_path):
    (tmp_path / "cube.ply").write_bytes((ROOT / "assets/meshes/red_cube.ply").read_bytes())
    content = spoil(mesh_scene(), "objects.types.0.mesh", "cube.ply")
    spec = load_scene(write(tmp_path, content))
    assert isinstance(spec, SceneSpec)
    assert spec.mesh_paths == (tmp_path / "cube.ply",)


@pytest.mark.parametrize(
    ("keys", "value", "fault"),
    [
        ("colour", "red", r"colour: unknown key; remove it or mend its spelling"),
        ("camera.fov", 0.7, r"camera\.fov: unknown key"),
        ("camera.field_of_view", None, r"camera\.field_of_view: is required but missing"),
        ("camera.field_of_view", 4.0, r"camera\.field_of_view: .*less than"),
        ("camera.eye", [0.0, 0.0, 2.0], r"camera: .*move it sideways"),
        ("camera.eye", [0.0, float("nan"), 2.0], r"camera\.eye\.1: .*finite"),
        ("image_size", [8, 64], r"image_size\.0: .*greater than or equal to 16"),
        ("image_size", [64], r"image_size"),
        ("name", "two words", r"name: .*match"),
        ("decoder", "voxels", r"decoder: must be 'scene' \(meshes\) or 'glimpse' \(patches\)"),
        ("decoder", None, r"decoder: must be"),
        ("objects.count", [0.5, 0.4], r"objects\.count: .*must sum to 1.*0\.9"),
        ("objects.count", [1.5, -0.5], r"objects\.count\.1: .*greater than or equal to 0"),
        ("objects.types", [], r"objects\.types: .*at least 1"),
        ("objects.x", {"low": 0.5, "high": -0.5}, r"objects\.x: low \(0\.5\) must be less than"),
        ("objects.types.0.yaw_symmetry", 0, r"yaw_symmetry"),
        ("objects.types.0.mesh", "gone.ply", r"objects\.types\.0\.mesh: there is no file"),
        ("noise_std", 0.0, r"noise_std: .*greater than 0"),
        ("background", [0.0, 0.0, 2.0], r"background\.2: .*less than or equal to 1"),
        ("light", {"direction": [0.0, 0.0, 0.0]}, r"light\.direction: .*zero vector"),
        ("light", {"ambient": 0.7, "diffuse": 0.5}, r"light: ambient .* must sum to at most 1"),
        ("render", {"near": 2.0, "far": 1.0}, r"render: near \(2\.0\) must be less than far"),
        ("camera.azimuth", {"low": 0.0, "high": 1.0}, r"camera: give eye, or azimuth.*not both"),
        ("camera.eye", None, r"camera: give eye, or all of azimuth, elevation and distance"),
        ("light", {"ambient": {"low": 0.9, "high": 0.1}}, r"light\.ambient: low \(0\.9\) must be"),
        ("light", {"ambient": "dim"}, r"light\.ambient: .*valid number"),
        ("light", {"diffuse": {"low": 0.5, "high": 0.6}}, r"light: ambient \(0\.5\) and diffuse"),
        ("light", {"azimuth": {"low": 0.0, "high": 1.0}}, r"light: give direction, or both"),
        (
            "light",
            {"direction": [0, 0, 1], "elevation": {"low": 0.1, "high": 1.0}},
            r"light: give direction, or azimuth and elevation, not both",
        ),
        ("objects.repeats", False, r"objects: count goes to 2, but without repeats 1 types"),
        ("objects.gap", -0.1, r"objects\.gap: .*greater than or equal to 0"),
        ("objects.scale", {"low": 0.0, "high": 1.0}, r"objects\.scale\.low: .*greater than 0"),
        ("objects.colour", {"low": 0.5, "high": 1.5}, r"objects\.colour\.high: .*less than or eq"),
        ("table", {"half_extents": [0.5, 0.0], "colour": [1, 1, 1]}, r"positive lengths"),
        ("table", {"half_extents": [0.5, 0.5]}, r"table\.colour: is required but missing"),
    ],
)
def test_a_fault_is_answered_with_file_key_and_remedy(tmp_path, keys, value, fault):
    path = write(tmp_path, spoil(mesh_scene(), keys, value))
    with pytest.raises(SceneFileError, match=fault) as caught:
        load_scene(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_every_fault_is_named_at_once(tmp_path):
    content = spoil(spoil(glimpse_scene(), "glyphs.size_mean", 0.5), "nois_std", 0.3)
    with pytest.raises(SceneFileError, match=r"glyphs\.size_mean") as caught:
        load_scene(write(tmp_path, content))
    assert "nois_std: unknown key" in str(caught.value)


def test_types_must_have_names_of_their_own(tmp_path):
    content = mesh_scene()
    content["objects"]["types"] *= 2
    with pytest.raises(SceneFileError, match=r"objects\.types: names must differ.*cube, cube"):
        load_scene(write(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("decoder: scene\n  name: [", r"line 2: is not valid YAML"),
        ("", r"is empty"),
        ("- a\n- b\n", r"must hold keys such as .*holds a list"),
        ("\x00", r"is not valid YAML"),
    ],
)
def test_what_is_no_scene_file_is_refused(tmp_path, text, fault):
    path = tmp_path / "scene.yaml"
    path.write_text(text)
    with pytest.raises(SceneFileError, match=fault) as caught:
        load_scene(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    binary = tmp_path / "picture.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "gone.yaml", tmp_path, binary):
        with pytest.raises(SceneFileError, match="cannot be read as a scene file"):
            load_scene(path)


def test_laid_tables_differ_in_what_their_files_say():
    spec = load_scene(ROOT / "scenes/tabletop.yaml")
    unique, large = (
        load_scene(ROOT / f"scenes/tabletop_{name}.yaml") for name in ("unique", "128")
    )
    same = {"name": spec.name}
    assert unique.model_copy(update={**same, "objects": spec.objects}) == spec
    assert unique.objects.model_copy(update={"repeats": True}) == spec.objects
    same |= {"image_size": spec.image_size, "render": spec.render, "pull_in": spec.pull_in}
    assert large.model_copy(update=same) == spec
