"""What things cost, how far that is from what the machine could do, and what they are worth."""

from air3d.benchmarks.floor import Floor, arithmetic_floor
from air3d.benchmarks.measure import Cost, measure
from air3d.benchmarks.plots import Curve, check_plottable, curve, plot_scaling, plot_shares
from air3d.benchmarks.pull_in import (
    Homecoming,
    Start,
    Trials,
    come_home,
    draw_trials,
    is_home,
    ways_to_look,
)
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
    "Curve",
    "Floor",
    "Homecoming",
    "Start",
    "Trials",
    "Workload",
    "arithmetic_floor",
    "build_scenes",
    "come_home",
    "curve",
    "draw_trials",
    "fragments",
    "fused",
    "is_home",
    "measure",
    "check_plottable",
    "plot_scaling",
    "plot_shares",
    "rasterizers",
    "stage_times",
    "ways_to_look",
    "whole_paths",
]
