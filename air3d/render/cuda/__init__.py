"""The CUDA backend: Triton kernels."""

from air3d.render.cuda.composite import composite, expected_composite
from air3d.render.cuda.launch import interpreted
from air3d.render.cuda.layers import depth, rasterize_layers
from air3d.render.cuda.squared_error import squared_error
from air3d.render.cuda.vertices import project
from air3d.render.reference_composite import paint, visibility
from air3d.render.reference_ground import trace_ground

__all__ = [
    "composite",
    "depth",
    "expected_composite",
    "interpreted",
    "paint",
    "project",
    "rasterize_layers",
    "squared_error",
    "trace_ground",
    "visibility",
]
