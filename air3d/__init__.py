"""air3d turns an image into the 3D scene that made it.

The names below are the public face; each loads its module when it is first used, so that
``import air3d`` costs next to nothing.

* ``load_scene``, ``load_assets``: a scene file and the meshes it names
* ``air3d.render.render``: meshes at poses before a camera -> images, with gradients
* ``SceneStream``: scenes drawn from a scene file, rendered
* ``build_air``, ``train``: a model and its training
* ``load_model``, ``infer``: a checkpoint, and images -> ``SceneEstimate``
* ``evaluate``: estimates against the truth
"""

import importlib
from typing import TYPE_CHECKING

from air3d.version import __version__

if TYPE_CHECKING:
    from air3d.checkpoint import load_model
    from air3d.data import SceneStream
    from air3d.estimate import SceneEstimate
    from air3d.evaluation import evaluate
    from air3d.inference import infer
    from air3d.models import build_air
    from air3d.scene import load_assets, load_scene
    from air3d.training import train


__all__ = [
    "__version__",
    "SceneEstimate",
    "SceneStream",
    "build_air",
    "evaluate",
    "infer",
    "load_assets",
    "load_model",
    "load_scene",
    "train",
]

_HOMES = {
    "SceneEstimate": "air3d.estimate",
    "SceneStream": "air3d.data",
    "build_air": "air3d.models",
    "evaluate": "air3d.evaluation",
    "infer": "air3d.inference",
    "load_assets": "air3d.scene",
    "load_model": "air3d.checkpoint",
    "load_scene": "air3d.scene",
    "train": "air3d.training",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'air3d' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
