"""The differentiable renderer: meshes, poses, a camera and light to an image.

Two paths share cameras, lights and meanings. The *fused* one is for learning: each object is
rasterized once, softly, into a layer (:func:`render_layers`), and layers are merged exactly into
images (:func:`composite`), so every prefix of a scene and every combination of candidates is
compositing, not rendering; all faces count and none is stored. :func:`render` does both, and
:func:`render_with_depth` returns alpha and soft depth beside the colours; :func:`paint` adds
objects one by one to images that it keeps. The *fragments* path is PyTorch3D's contract, stage by
stage: :func:`pack_instances`, :func:`project_faces`, :func:`rasterize` (the nearest faces of every
pixel), a shading, a blend.

Softness has PyTorch3D's meanings (``sigma``, ``gamma``), and so have the steps per pixel and
face. Backends compute the same values, in float32 or float64: ``cpu`` (Numba), ``cuda`` (Triton,
the fused path alone), ``reference`` (plain torch, any device, slow), and for :func:`rasterize`
also ``pytorch3d``, where that is installed. Nothing is converted silently: arguments are of one
precision, on one device.
"""

from air3d.render.blend import (
    coverage,
    hard_depth,
    hard_rgb_blend,
    sigmoid_alpha_blend,
    soft_depth,
    softmax_alpha_blend,
    softmax_rgb_blend,
)
from air3d.render.composite import (
    composite,
    expected_composite,
    join,
    prefix_selection,
    squared_error,
    visibility,
)
from air3d.render.depth import render_depth
from air3d.render.fragments import Fragments
from air3d.render.ground import Ground, checkerboard, ground_layer, plain_ground
from air3d.render.instances import Instances
from air3d.render.layers import Composite, Layers, Painting
from air3d.render.painting import paint
from air3d.render.rasterize import rasterize
from air3d.render.renderer import render, render_layers, render_with_depth
from air3d.render.scenes import behind_objects, render_scenes
from air3d.render.shade import gouraud_shading, interpolate, phong_shading, texels
from air3d.render.surfaces import (
    Surfaces,
    pack_instances,
    pack_meshes,
    project_faces,
    vertex_normals,
    with_texture,
)
from air3d.render.textures import UVTexture
from air3d.scene.lights import Light, ambient_light, directional_light, point_light

__all__ = [
    "Composite",
    "Fragments",
    "Ground",
    "Instances",
    "Layers",
    "Light",
    "Painting",
    "Surfaces",
    "UVTexture",
    "ambient_light",
    "behind_objects",
    "checkerboard",
    "composite",
    "coverage",
    "directional_light",
    "expected_composite",
    "gouraud_shading",
    "ground_layer",
    "hard_depth",
    "hard_rgb_blend",
    "interpolate",
    "join",
    "pack_instances",
    "pack_meshes",
    "paint",
    "phong_shading",
    "plain_ground",
    "point_light",
    "prefix_selection",
    "project_faces",
    "rasterize",
    "render",
    "render_depth",
    "render_layers",
    "render_scenes",
    "render_with_depth",
    "sigmoid_alpha_blend",
    "soft_depth",
    "softmax_alpha_blend",
    "softmax_rgb_blend",
    "squared_error",
    "texels",
    "vertex_normals",
    "visibility",
    "with_texture",
]
