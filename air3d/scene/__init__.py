"""What can be in a scene: the scene file, its meshes, and the prior over scenes."""

from air3d.scene.assets import Mesh, MeshBank
from air3d.scene.mesh_export import (
    mesh_to_ply,
    texture_pixels,
    textured_mesh_to_glb,
    textured_mesh_to_ply,
)
from air3d.scene.mesh_files import MeshFileError, load_assets, load_mesh
from air3d.scene.prior import ABSENT, ScenePrior, Scenes, camera_of
from air3d.scene.spec import (
    GlimpseSpec,
    PullInSpec,
    RenderSpec,
    SceneFileError,
    SceneSpec,
    load_scene,
    scene_to_yaml,
)
from air3d.scene.symmetry import find_yaw_symmetry

__all__ = [
    "ABSENT",
    "GlimpseSpec",
    "Mesh",
    "MeshBank",
    "MeshFileError",
    "PullInSpec",
    "RenderSpec",
    "ScenePrior",
    "SceneFileError",
    "SceneSpec",
    "Scenes",
    "camera_of",
    "find_yaw_symmetry",
    "load_assets",
    "load_mesh",
    "load_scene",
    "mesh_to_ply",
    "scene_to_yaml",
    "texture_pixels",
    "textured_mesh_to_glb",
    "textured_mesh_to_ply",
]
