"""An inferred scene in a browser, also over ssh: viser serves it."""

import time
from types import ModuleType

import trimesh


def import_viser() -> ModuleType:
    """Import viser when it is first used.

    Raises:
        OSError: it is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise OSError("--web: viser is not installed; run: pip install -e '.[web]'") from error
    return viser


def serve(scene: trimesh.Scene, port: int) -> None:
    """Serve a scene of :func:`air3d.inspection.glb.build_scene` until interrupted (Ctrl-C).

    Only this machine can connect; from elsewhere, forward the port: ``ssh -L 8080:localhost:8080``.

    Raises:
        OSError: viser is not installed.
    """
    server = import_viser().ViserServer(host="127.0.0.1", port=port)
    server.scene.set_up_direction("+y")  # glTF's, and so the scene's root
    server.scene.add_glb("/scene", bytes(scene.export(file_type="glb")))
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        server.stop()
