"""Inferred and true poses in an Open3D window, or in a picture where there is no display.

Open3D is an extra and is imported when used. Only its legacy visualiser is touched: the newer
off-screen renderer ends the whole process where it finds no graphics driver.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float

from air3d.geometry import Camera
from air3d.inspection.exhibit import CLEARANCE, Exhibit
from air3d.inspection.panels import AXIS_COLOURS, captioned, sheet
from air3d.inspection.placement import (
    Placement,
    beside,
    camera_position,
    frustum_edges,
    to_numpy,
)
from air3d.inspection.tiles import tiles_of
from air3d.scene import texture_pixels
from air3d.scene.spec import TableSpec

VIEW_SIDE = 720
INFERRED, CAMERA_GREY, GROUND = (0.93, 0.35, 0.05), (0.35, 0.38, 0.44), (0.80, 0.82, 0.85)
LAMP = (1.0, 0.72, 0.0)


class ViewerError(OSError):
    """Open3D cannot be used here; the message names the remedy."""


def import_open3d() -> ModuleType:
    """Import Open3D, or say how to install it."""
    try:
        import open3d
    except (ImportError, OSError) as error:  # OSError: a shared library is missing
        raise ViewerError(
            f"Open3D cannot be imported ({error}); install it with `pip install -e '.[viz]'` and, "
            "on Debian or Ubuntu, `apt-get install libegl1 libusb-1.0-0 libgl1`; "
            "--out FILE.html needs neither"
        ) from error
    return open3d


def has_display() -> bool:
    """Say whether a window can be opened at all."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def show(exhibit: Exhibit, title: str) -> None:
    """Open a window that starts at the camera's place, and wait until it is closed.

    Raises:
        ViewerError: Open3D is missing, or there is no display.
    """
    o3d = import_open3d()
    if not has_display():
        raise ViewerError("there is no display to open a window on; add --out FILE.png or .html")
    with _open_window(o3d, title, visible=True) as window:
        _fill(o3d, window, exhibit)
        for frustum in _frusta(o3d, exhibit):
            window.add_geometry(frustum)
        _look_through(o3d, window, exhibit.camera)
        window.run()


def screenshot(exhibit: Exhibit) -> PIL.Image.Image:
    """Draw the scene from the side and through the camera, next to one another.

    Raises:
        ViewerError: Open3D is missing, or cannot draw on this machine.
    """
    o3d = import_open3d()
    with (
        o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error),
        _open_window(o3d, "air3d", visible=False) as window,
    ):
        _fill(o3d, window, exhibit)
        frusta = _frusta(o3d, exhibit)
        for frustum in frusta:
            window.add_geometry(frustum)
        _look_from_the_side(window, exhibit)
        from_side = _capture(window)
        for frustum in frusta:
            window.remove_geometry(frustum, reset_bounding_box=False)
        _look_through(o3d, window, exhibit.camera)
        through_camera = _capture(window)
    legend = "truth solid, inferred as wire frame" if exhibit.truth else "inferred"
    pictures = [
        captioned(from_side, f"from the side ({legend})"),
        captioned(through_camera, "through the camera"),
    ]
    return sheet(pictures, columns=2)


@contextlib.contextmanager
def _open_window(o3d: ModuleType, title: str, *, visible: bool) -> Iterator[Any]:
    """Open a window, and destroy it whatever happens."""
    window = o3d.visualization.Visualizer()
    try:
        if not window.create_window(title, VIEW_SIDE, VIEW_SIDE, visible=visible):
            raise ViewerError(
                "Open3D cannot draw here (it found no display and no off-screen graphics); "
                "use --out FILE.html, or run under xvfb-run"
            )
        yield window
    finally:
        window.destroy_window()


def _fill(o3d: ModuleType, window: Any, exhibit: Exhibit) -> None:
    window.get_render_option().line_width = 2.0
    for placement in exhibit.truth.placements if exhibit.truth else ():
        window.add_geometry(_solid(o3d, placement))
    drawn = _wireframe if exhibit.truth else _solid
    for placement in exhibit.inferred:
        window.add_geometry(drawn(o3d, placement))
        window.add_geometry(_axes(o3d, placement))
    table = exhibit.table
    window.add_geometry(_grid(o3d, exhibit) if table is None else _table(o3d, table))
    if exhibit.lamp is not None:
        window.add_geometry(_lamp(o3d, exhibit, exhibit.lamp))


def _solid(o3d: ModuleType, placement: Placement) -> Any:
    solid = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(to_numpy(placement.world_vertices)),
        o3d.utility.Vector3iVector(placement.mesh.faces.cpu().numpy()),
    )
    solid.vertex_colors = o3d.utility.Vector3dVector(to_numpy(placement.colours))
    if placement.mesh.uvs is not None:
        corners = placement.mesh.uvs[placement.mesh.faces].reshape(-1, 2)
        solid.triangle_uvs = o3d.utility.Vector2dVector(to_numpy(corners))
        solid.triangle_material_ids = o3d.utility.IntVector([0] * len(placement.mesh.faces))
        # Open3D counts the rows of a texture from below, as it counts v.
        pixels = texture_pixels(placement.mesh)[::-1] * np.array(placement.colour)
        solid.textures = [o3d.geometry.Image(np.round(pixels).astype(np.uint8))]
    solid.compute_vertex_normals()
    return solid


def _wireframe(o3d: ModuleType, placement: Placement) -> Any:
    lines = o3d.geometry.LineSet.create_from_triangle_mesh(_solid(o3d, placement))
    return lines.paint_uniform_color(INFERRED)


def _axes(o3d: ModuleType, placement: Placement) -> Any:
    """Draw the axes that the object's symmetry leaves meaning to; x red, y green, z blue."""
    which, length = placement.axes
    pose = to_numpy(placement.object_to_world)
    tips = [pose[:3, 3] + length * pose[:3, axis] for axis in which]
    colours = np.array([_rgb(AXIS_COLOURS[axis]) for axis in which])
    return _line_set(o3d, np.array([(pose[:3, 3], tip) for tip in tips]), colours)


def _table(o3d: ModuleType, table: TableSpec) -> Any:
    tiles = tiles_of(table)
    flat = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(tiles.vertices - [0.0, 0.0, CLEARANCE]),
        o3d.utility.Vector3iVector(tiles.faces),
    )
    flat.vertex_colors = o3d.utility.Vector3dVector(tiles.colours)
    flat.compute_vertex_normals()
    return flat


def _grid(o3d: ModuleType, exhibit: Exhibit) -> Any:
    """Lines on the plane z = 0 below the objects, where nothing is known of their table."""
    reach = _reach(exhibit)
    steps = np.linspace(-reach, reach, 11)
    along_x = [((-reach, step, 0.0), (reach, step, 0.0)) for step in steps]
    along_y = [((step, -reach, 0.0), (step, reach, 0.0)) for step in steps]
    pieces = np.array(along_x + along_y) + exhibit.centre
    return _line_set(o3d, pieces, np.tile(np.array(GROUND), (len(pieces), 1)))


def _lamp(o3d: ModuleType, exhibit: Exhibit, lamp: Float[np.ndarray, "3"]) -> Any:
    """Point in the light's direction, towards the middle of the table."""
    far = float(np.linalg.norm(camera_position(exhibit.camera) - exhibit.centre))
    arrow = o3d.geometry.TriangleMesh.create_arrow(
        0.004 * far, 0.012 * far, 0.14 * far, 0.06 * far, resolution=12
    )
    arrow.rotate(_turn_z_to(-lamp), center=(0.0, 0.0, 0.0))
    arrow.translate(exhibit.centre + 0.62 * far * lamp)
    return arrow.paint_uniform_color(LAMP)


def _turn_z_to(direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Return a rotation that takes z to a unit vector."""
    aside = np.cross([1.0, 0.0, 0.0] if abs(direction[0]) < 0.7 else [0.0, 1.0, 0.0], direction)
    aside /= np.linalg.norm(aside)
    return np.column_stack([aside, np.cross(direction, aside), direction])


def _reach(exhibit: Exhibit) -> float:
    """Return the distance from the centre beyond which nothing stands, metres."""
    if exhibit.table is not None:
        return max(exhibit.table.half_extents)
    placements = exhibit.placements
    feet = [to_numpy(each.object_to_world[:2, 3]) - exhibit.centre[:2] for each in placements]
    far = max((float(np.abs(foot).max()) for foot in feet), default=0.0)
    return far + 1.5 * max((each.diameter for each in placements), default=0.5)


def _line_set(
    o3d: ModuleType,
    pieces: Float[np.ndarray, "piece 2 3"],
    colours: Float[np.ndarray, "piece 3"],
) -> Any:
    points = pieces.reshape(-1, 3)
    pairs = np.arange(len(points)).reshape(-1, 2)
    lines = o3d.geometry.LineSet(
        o3d.utility.Vector3dVector(points), o3d.utility.Vector2iVector(pairs)
    )
    lines.colors = o3d.utility.Vector3dVector(colours)
    return lines


def _frusta(o3d: ModuleType, exhibit: Exhibit) -> list[Any]:
    """Draw the inferred camera, and in grey the true one where it is known."""
    far = float(np.linalg.norm(camera_position(exhibit.camera) - exhibit.centre))
    depth = 0.25 * max(_reach(exhibit), far)
    if exhibit.truth is None:
        return [_frustum(o3d, exhibit.camera, depth, CAMERA_GREY)]
    return [
        _frustum(o3d, exhibit.truth.camera, depth, CAMERA_GREY),
        _frustum(o3d, exhibit.camera, depth, INFERRED),
    ]


def _frustum(
    o3d: ModuleType, camera: Camera, depth: float, colour: tuple[float, float, float]
) -> Any:
    pieces = frustum_edges(camera, depth)
    return _line_set(o3d, pieces, np.tile(np.array(colour), (len(pieces), 1)))


def _look_from_the_side(window: Any, exhibit: Exhibit) -> None:
    control = window.get_view_control()
    control.set_front(beside(exhibit.camera, exhibit.centre))
    control.set_up([0.0, 0.0, 1.0])
    control.set_lookat(0.6 * exhibit.centre + 0.4 * camera_position(exhibit.camera))
    control.set_zoom(0.7)


def _look_through(o3d: ModuleType, window: Any, camera: Camera) -> None:
    """Put the viewer where the camera is; the image fills the window's shorter side."""
    height, width = camera.image_size
    zoom = VIEW_SIDE / max(height, width)
    matrix = to_numpy(camera.intrinsics[0])
    parameters = o3d.camera.PinholeCameraParameters()
    # Open3D counts pixels from their centres and accepts only a centred principal point.
    parameters.intrinsic = o3d.camera.PinholeCameraIntrinsic(
        VIEW_SIDE,
        VIEW_SIDE,
        zoom * matrix[0, 0],
        zoom * matrix[1, 1],
        0.5 * VIEW_SIDE - 0.5,
        0.5 * VIEW_SIDE - 0.5,
    )
    parameters.extrinsic = to_numpy(camera.world_to_camera[0])
    control = window.get_view_control()
    control.convert_from_pinhole_camera_parameters(parameters, allow_arbitrary=True)


def _capture(window: Any) -> PIL.Image.Image:
    window.poll_events()
    window.update_renderer()
    shot = np.asarray(window.capture_screen_float_buffer(do_render=True))
    return PIL.Image.fromarray(np.round(255 * shot).astype(np.uint8))


def _rgb(colour: str) -> Float[np.ndarray, "3"]:
    return np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
