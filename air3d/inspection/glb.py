"""An inferred scene as a GLB file and as one HTML page that needs no network.

glTF is y up, this project's world is z up: the root node of every scene made here carries
that one rotation, and all nodes below it hold poses in the world frame.
"""

import numpy as np
import PIL.Image
import torch
import trimesh
import trimesh.viewer
from jaxtyping import Float, Shaped, UInt8
from trimesh.visual.material import PBRMaterial

from air3d.geometry import Camera, invert_rigid, look_at
from air3d.inspection.exhibit import CLEARANCE, Exhibit
from air3d.inspection.placement import (
    Placement,
    beside,
    camera_position,
    frustum,
    frustum_edges,
    to_numpy,
)
from air3d.inspection.tiles import tiles_of
from air3d.scene import texture_pixels
from air3d.scene.spec import TableSpec

Z_UP_TO_Y_UP = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
OPENCV_TO_GLTF_CAMERA = np.diag([1.0, -1.0, -1.0, 1.0])
TABLE_GREY = (206, 210, 217)
VIEW_HEIGHT = np.radians(40.0)
LINE_GREY = (90, 98, 112)
WIRE = (237, 89, 13)
LAMP = (255, 196, 0)
# The viewer of trimesh shows linear colours as if they were sRGB, and has one lamp, too bright,
# whose far side is black.
PAGE_CHANGES = {
    "renderer.setSize(": "renderer.outputEncoding=THREE.sRGBEncoding;renderer.setSize(",
    "THREE.DirectionalLight(0xffffff,1.75);": "THREE.DirectionalLight(0xffffff,0.75);"
    "scene.add(new THREE.AmbientLight(0xffffff,0.35));",
}


def build_scene(exhibit: Exhibit, *, image: PIL.Image.Image | None = None) -> trimesh.Scene:
    """Put objects, table, lamp and the camera's frustum into one scene.

    Object nodes are named ``object_0``, ``object_1``, ... Their matrices are the objects'
    poses, below a root that turns z up into glTF's y up; scales and colours are in their vertices.
    Where the truth is known, it is what is drawn solid (``true_0``, ..., ``true_camera``), and the
    inferred objects and camera become orange lines. A table of which nothing is known is grey.
    ``lamp`` is an arrow in the light's direction. ``image`` is shown on the inferred frustum's
    image plane.
    """
    scene = trimesh.Scene(base_frame="y_up")  # "world" is what trimesh 4 calls any file's root
    scene.graph.update(frame_from="y_up", frame_to="z_up", matrix=Z_UP_TO_Y_UP)
    for index, placement in enumerate(exhibit.inferred):
        geometry = _wires(placement) if exhibit.truth else _solid(placement)
        _add_object(scene, f"object_{index}", geometry, placement)
    if exhibit.truth:
        for index, placement in enumerate(exhibit.truth.placements):
            _add_object(scene, f"true_{index}", _solid(placement), placement)
    for node, geometry in _surroundings(exhibit, image).items():
        scene.add_geometry(geometry, node_name=node, parent_node_name="z_up")
    _look_from_the_side(scene, exhibit)
    return scene


def _surroundings(
    exhibit: Exhibit, image: PIL.Image.Image | None
) -> dict[str, trimesh.Trimesh | trimesh.path.Path3D]:
    """Return what is not an object, in the world frame, by the names of its nodes."""
    table, camera = exhibit.table, exhibit.camera
    depth = 0.22 * max(_half_side(exhibit), _arm_length(exhibit))
    colour = WIRE if exhibit.truth else LINE_GREY
    parts = {
        "table": _plain_table(exhibit) if table is None else _table(table),
        "camera": _lines(frustum_edges(camera, depth), colour),
    }
    if exhibit.truth:
        parts["true_camera"] = _lines(frustum_edges(exhibit.truth.camera, depth), LINE_GREY)
    if exhibit.lamp is not None:
        parts["lamp"] = _arrow(exhibit.centre, exhibit.lamp, _arm_length(exhibit))
    if image is not None:
        parts["image"] = _image_plane(image, camera, depth)
    return parts


def scene_html(scene: trimesh.Scene) -> str:
    """Return a page that shows the scene and can be turned; it works without a network."""
    page = trimesh.viewer.scene_to_html(scene)
    for there, wanted in PAGE_CHANGES.items():
        page = page.replace(there, wanted, 1)
    return page


def _add_object(
    scene: trimesh.Scene,
    node: str,
    geometry: trimesh.Trimesh | trimesh.path.Path3D,
    placement: Placement,
) -> None:
    """Hang a geometry in its object's frame into the world, at its pose."""
    scene.add_geometry(
        geometry,
        node_name=node,
        geom_name=f"{placement.mesh.name}_{node}",
        parent_node_name="z_up",
        transform=to_numpy(placement.object_to_world),
    )


def _wires(placement: Placement) -> trimesh.path.Path3D:
    """The edges of an object, a little outside of it, or its own faces would hide them."""
    mesh = placement.mesh
    outwards = 0.004 * placement.diameter * mesh.normals.cpu()
    raised = to_numpy(placement.vertices + outwards)
    edges = trimesh.Trimesh(raised, mesh.faces.cpu().numpy(), process=False).edges_unique
    return _lines(raised[edges], WIRE)


def _lines(
    pieces: Float[np.ndarray, "piece 2 3"], colour: tuple[int, int, int]
) -> trimesh.path.Path3D:
    lines = trimesh.load_path(pieces)
    lines.colors = np.tile(_gltf_colours(np.array([colour])), (len(lines.entities), 1))
    return lines


def _solid(placement: Placement) -> trimesh.Trimesh:
    mesh = placement.mesh
    solid = trimesh.Trimesh(
        placement.vertices.numpy(),
        mesh.faces.cpu().numpy(),
        vertex_normals=mesh.normals.cpu().numpy(),
        process=False,
    )
    solid.visual = _matte(np.round(255 * to_numpy(placement.colours)))
    if mesh.uvs is not None:
        solid.visual.uv = mesh.uvs.cpu().numpy()
        solid.visual.material.baseColorTexture = PIL.Image.fromarray(texture_pixels(mesh))
    return solid


def _matte(colours: Float[np.ndarray, "vertex 3"]) -> trimesh.visual.TextureVisuals:
    """Colour vertices (0-255) on a dull material; glTF's default is metal, which looks black."""
    material = PBRMaterial(metallicFactor=0.0, roughnessFactor=0.9)
    visual = trimesh.visual.TextureVisuals(material=material)
    visual.vertex_attributes["color"] = _gltf_colours(colours)
    return visual


def _gltf_colours(colours: Shaped[np.ndarray, "colour 3"]) -> UInt8[np.ndarray, "colour 4"]:
    """Turn sRGB (0-255) into the linear, opaque colours that glTF wants of vertices.

    Source: the glTF 2.0 specification, 3.7.2.1, and IEC 61966-2-1 for the curve.
    """
    share = np.asarray(colours, float) / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    opaque = np.ones((len(linear), 1))
    return np.round(255.0 * np.hstack([linear, opaque])).astype(np.uint8)


def _arm_length(exhibit: Exhibit) -> float:
    """Return the distance between the camera and the middle of the table, metres."""
    return float(np.linalg.norm(camera_position(exhibit.camera) - exhibit.centre))


def _half_side(exhibit: Exhibit) -> float:
    """Return half the side of the table, or of one that all objects stand on, metres."""
    if exhibit.table is not None:
        return max(exhibit.table.half_extents)
    reach = [
        float(np.linalg.norm(to_numpy(each.object_to_world[:2, 3]) - exhibit.centre[:2]))
        + each.diameter
        for each in exhibit.placements
    ]
    return max([0.28 * _arm_length(exhibit), 0.01, *reach])


def _plain_table(exhibit: Exhibit) -> trimesh.Trimesh:
    half_side = _half_side(exhibit)
    thickness = 0.01 * half_side
    # A hair below z = 0, or the table and the feet of the objects would fight for pixels.
    place = trimesh.transformations.translation_matrix(exhibit.centre - [0, 0, 0.6 * thickness])
    table = trimesh.creation.box((2 * half_side, 2 * half_side, thickness), place)
    table.visual = _matte(np.tile(np.array(TABLE_GREY, float), (len(table.vertices), 1)))
    return table


def _table(table: TableSpec) -> trimesh.Trimesh:
    """The scene file's table; its underside is there too, for who looks from below."""
    tiles = tiles_of(table)
    faces = np.concatenate([tiles.faces, tiles.faces[:, ::-1] + len(tiles.vertices)])
    levels = [tiles.vertices - [0, 0, CLEARANCE], tiles.vertices - [0, 0, 2 * CLEARANCE]]
    flat = trimesh.Trimesh(np.concatenate(levels), faces, process=False)
    flat.visual = _matte(np.round(255 * np.tile(tiles.colours, (2, 1))))
    return flat


def _arrow(
    centre: Float[np.ndarray, "3"], lamp: Float[np.ndarray, "3"], arm: float
) -> trimesh.path.Path3D:
    """Point from the lamp's side towards the middle of the table, a third of the way to it."""
    tip, tail = centre + 0.42 * arm * lamp, centre + 0.62 * arm * lamp
    across = np.cross(lamp, [1.0, 0.0, 0.0] if abs(lamp[0]) < 0.7 else [0.0, 1.0, 0.0])
    across *= 0.025 * arm / np.linalg.norm(across)
    upwards = np.cross(across, lamp)
    back = tip + 0.07 * arm * lamp
    barbs = [back + across, back + upwards, back - across, back - upwards]
    return _lines(np.array([(tip, tail), *((tip, barb) for barb in barbs)]), LAMP)


def _image_plane(image: PIL.Image.Image, camera: Camera, depth: float) -> trimesh.Trimesh:
    """Hang the picture into the frustum; seen from both sides."""
    _, corners = frustum(camera, depth)
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)
    larger = max(1, 512 // max(image.size))
    # Viewers smooth textures; enlarged beforehand, the picture keeps its pixels.
    texture = image.convert("RGB").resize(
        (larger * image.width, larger * image.height), PIL.Image.Resampling.NEAREST
    )
    # It glows by itself and reflects nothing, so that no lamp changes its colours.
    material = PBRMaterial(
        baseColorFactor=[0, 0, 0, 255],
        emissiveTexture=texture,
        emissiveFactor=[1.0, 1.0, 1.0],
        doubleSided=True,
        metallicFactor=0.0,
        roughnessFactor=1.0,
    )
    return trimesh.Trimesh(
        corners,
        [[0, 1, 2], [0, 2, 3]],
        visual=trimesh.visual.TextureVisuals(uv=uv, material=material),
        process=False,
    )


def _look_from_the_side(scene: trimesh.Scene, exhibit: Exhibit) -> None:
    """Set the viewer's own camera so that table and frustum are both in the picture."""
    centre, length = exhibit.centre, _arm_length(exhibit)
    target = centre + 0.45 * (camera_position(exhibit.camera) - centre)
    radius = max(0.62 * length, _half_side(exhibit) + 0.45 * length)
    # The scene is not a ball, so it may come nearer than its bounding sphere would allow.
    towards = beside(exhibit.camera, centre)
    eye = target + 0.68 * radius / np.sin(0.5 * VIEW_HEIGHT) * towards
    view_to_world = invert_rigid(look_at(torch.tensor(eye), torch.tensor(target)))
    degrees = np.degrees(VIEW_HEIGHT)
    scene.camera = trimesh.scene.Camera(
        "view", resolution=(400, 300), fov=(degrees * 4 / 3, degrees)
    )
    scene.camera.z_near, scene.camera.z_far = 0.01 * radius, 100.0 * radius
    scene.camera_transform = Z_UP_TO_Y_UP @ to_numpy(view_to_world) @ OPENCV_TO_GLTF_CAMERA
