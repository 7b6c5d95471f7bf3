"""The differentiable renderer: meshes, poses and a camera to an image.

Each object is rasterized once, softly, into a layer (:func:`render_layers`); layers are merged
exactly into images (:func:`composite`), so every prefix of a scene and every combination of
candidates is compositing, not rendering. :func:`render` does both for whole scenes.

Softness has PyTorch3D's meanings (``sigma``, ``gamma``), and so have the steps per pixel and
face; the sums run over *all* faces that reach a pixel, in any order. Two backends compute the
same values: ``reference`` (plain torch, any device and precision, slow) and ``cpu`` (Numba).
"""

from air3d.render.composite import Composite, composite, prefix_selection
from air3d.render.depth import render_depth
from air3d.render.instances import Instances
from air3d.render.layers import Layers
from air3d.render.lights import Light, ambient_light, directional_light, light_of, point_light
from air3d.render.renderer import render, render_layers, render_scenes

__all__ = [
    "Composite",
    "Instances",
    "Layers",
    "Light",
    "ambient_light",
    "composite",
    "directional_light",
    "light_of",
    "point_light",
    "prefix_selection",
    "render",
    "render_depth",
    "render_layers",
    "render_scenes",
]
