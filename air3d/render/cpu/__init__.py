"""The CPU backend: Numba kernels as torch operations, on threads that survive a fork."""

from air3d.render.cpu.composite import composite
from air3d.render.cpu.layers import depth, rasterize_layers
from air3d.render.cpu.vertices import project

__all__ = ["composite", "depth", "project", "rasterize_layers"]
