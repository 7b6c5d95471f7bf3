"""The CPU backend: Numba kernels as torch operations, on threads that survive a fork."""

import sys
from pathlib import Path

from numba.core import event

from air3d.render.cpu import layer_kernels
from air3d.render.cpu.compilation import CompilationReport
from air3d.render.cpu.composite import composite
from air3d.render.cpu.expected_composite import expected_composite
from air3d.render.cpu.ground import trace_ground
from air3d.render.cpu.layers import depth, rasterize_layers
from air3d.render.cpu.painting import paint
from air3d.render.cpu.squared_error import squared_error
from air3d.render.cpu.vertices import project
from air3d.render.cpu.visibility import visibility

__all__ = [
    "composite",
    "depth",
    "expected_composite",
    "paint",
    "project",
    "rasterize_layers",
    "squared_error",
    "trace_ground",
    "visibility",
]


def _announce_compilation() -> None:
    """Say why the first call takes so long, where Numba's cache holds no kernels yet."""
    stats = getattr(layer_kernels.rasterize, "stats", None)
    if stats is None:
        return  # NUMBA_DISABLE_JIT leaves plain functions, which are never compiled
    cache = Path(stats.cache_path or "")
    if not any(cache.glob("layer_kernels.rasterize-*.nbi")):
        print(
            f"air3d: the renderer's kernels are compiled when first used and kept in {cache}",
            file=sys.stderr,
        )


_announce_compilation()
event.register("numba:compile", CompilationReport())
