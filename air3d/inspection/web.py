"""An inferred scene in a browser, also over ssh: viser serves it."""

import contextlib
import time
from collections.abc import Iterator
from types import ModuleType

import trimesh

from air3d.inspection.glb import VIEW_HEIGHT


def import_viser() -> ModuleType:
    """Import viser when it is first used.

    Raises:
        OSError: it is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise OSError("viser is not installed; run: pip install -e '.[web]'") from error
    return viser


def serve(scene: trimesh.Scene, port: int) -> None:
    """Serve a scene of :func:`air3d.inspection.glb.build_scene` until interrupted (Ctrl-C).

    Only this machine can connect; from elsewhere, forward the port: ``ssh -L 8080:localhost:8080``.

    Raises:
        OSError: viser is not installed.
    """
    with contextlib.suppress(KeyboardInterrupt), serving(scene, port):
        while True:
            time.sleep(1.0)


@contextlib.contextmanager
def serving(scene: trimesh.Scene, port: int) -> Iterator[int]:
    """Serve a scene while the context lasts, and yield the port: another where that is taken.

    Raises:
        OSError: viser is not installed.
    """
    server = import_viser().ViserServer(host="127.0.0.1", port=port)
    try:
        server.scene.set_up_direction("+y")  # glTF's, and so the scene's root
        server.scene.add_glb("/scene", bytes(scene.export(file_type="glb")))
        eye, backwards = scene.camera_transform[:3, 3], scene.camera_transform[:3, 2]
        distance = backwards @ (eye - scene.bounds.mean(axis=0))
        server.initial_camera.position = eye
        server.initial_camera.look_at = eye - distance * backwards  # what the mouse turns round
        server.initial_camera.fov = VIEW_HEIGHT
        yield server.get_port()
    finally:
        server.stop()
