"""The CPU backend: Numba kernels as torch operations, on threads that survive a fork."""

from air3d.render.cpu.composite import composite
from air3d.render.cpu.expected_composite import expected_composite
from air3d.render.cpu.ground import trace_ground
from air3d.render.cpu.layers import depth, rasterize_layers
from air3d.render.cpu.squared_error import squared_error
from air3d.render.cpu.vertices import project
from air3d.render.cpu.visibility import visibility

__all__ = [
    "composite",
    "depth",
    "expected_composite",
    "project",
    "rasterize_layers",
    "squared_error",
    "trace_ground",
    "visibility",
]
