"""What things cost: time, memory, and how far that is from what the machine could do."""

from air3d.benchmarks.floor import Floor, arithmetic_floor
from air3d.benchmarks.measure import Cost, measure
from air3d.benchmarks.plots import plot_scaling
from air3d.benchmarks.render_paths import (
    PYTORCH3D,
    PYTORCH3D_RASTERIZER,
    RASTERIZER,
    fragments,
    fused,
    rasterizers,
    whole_paths,
)
from air3d.benchmarks.stages import stage_times
from air3d.benchmarks.workloads import BenchmarkScenes, Workload, build_scenes

__all__ = [
    "PYTORCH3D",
    "PYTORCH3D_RASTERIZER",
    "RASTERIZER",
    "BenchmarkScenes",
    "Cost",
    "Floor",
    "Workload",
    "arithmetic_floor",
    "build_scenes",
    "fragments",
    "fused",
    "measure",
    "plot_scaling",
    "rasterizers",
    "stage_times",
    "whole_paths",
]
