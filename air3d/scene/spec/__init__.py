"""What a scene file may say: strict pydantic models of how images come about.

A scene file is YAML and describes one generative model. ``decoder`` says which of the two
kinds it is: ``scene`` (meshes before a camera) or ``glimpse`` (patches on a canvas).
Whatever a file says that is unknown, out of range or missing on disk ends in a
:class:`SceneFileError` that names the file, the key and the remedy.
"""

from air3d.scene.spec.base import Range
from air3d.scene.spec.files import SceneFileError, load_scene, scene_to_yaml
from air3d.scene.spec.glimpse import GlimpseSpec, GlyphsSpec
from air3d.scene.spec.objects import MeshType, ObjectsSpec
from air3d.scene.spec.scene import SceneSpec
from air3d.scene.spec.softness import PullInSpec, RenderSpec
from air3d.scene.spec.view import CameraSpec, LightSpec, TableSpec

__all__ = [
    "CameraSpec",
    "GlimpseSpec",
    "GlyphsSpec",
    "LightSpec",
    "MeshType",
    "ObjectsSpec",
    "PullInSpec",
    "Range",
    "RenderSpec",
    "SceneFileError",
    "SceneSpec",
    "TableSpec",
    "load_scene",
    "scene_to_yaml",
]
