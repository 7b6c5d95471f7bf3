"""What can be in a scene: the scene file, its meshes, and the prior over scenes."""

from air3d.scene.assets import Mesh, MeshBank
from air3d.scene.lights import Light, ambient_light, directional_light, point_light
from air3d.scene.mesh_export import (
    mesh_to_ply,
    texture_pixels,
    textured_mesh_to_glb,
    textured_mesh_to_ply,
)
from air3d.scene.mesh_files import MeshFileError, load_assets, load_mesh, make_mesh
from air3d.scene.prior import ScenePrior
from air3d.scene.rotation_prior import FREE_VOLUME, RotationPrior
from air3d.scene.scenes import ABSENT, Scenes, choose, concatenate, upright_scenes
from air3d.scene.soft_box import SoftBox
from air3d.scene.spec import (
    GlimpseSpec,
    PullInSpec,
    RenderSpec,
    SceneFileError,
    SceneSpec,
    load_scene,
    scene_to_yaml,
)
from air3d.scene.symmetry import find_symmetry_group, find_yaw_symmetry
from air3d.scene.symmetry_groups import SymmetryGroup
from air3d.scene.view_prior import View, ViewPrior, known_view

__all__ = [
    "ABSENT",
    "FREE_VOLUME",
    "GlimpseSpec",
    "Light",
    "Mesh",
    "MeshBank",
    "MeshFileError",
    "PullInSpec",
    "RenderSpec",
    "RotationPrior",
    "ScenePrior",
    "SceneFileError",
    "SceneSpec",
    "Scenes",
    "SoftBox",
    "SymmetryGroup",
    "View",
    "ViewPrior",
    "ambient_light",
    "choose",
    "concatenate",
    "directional_light",
    "find_symmetry_group",
    "find_yaw_symmetry",
    "known_view",
    "load_assets",
    "load_mesh",
    "load_scene",
    "make_mesh",
    "mesh_to_ply",
    "point_light",
    "scene_to_yaml",
    "texture_pixels",
    "textured_mesh_to_glb",
    "textured_mesh_to_ply",
    "upright_scenes",
]
