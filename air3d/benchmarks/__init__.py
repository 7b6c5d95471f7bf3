"""What things cost, how far that is from what the machine could do, and what they are worth."""

from air3d.benchmarks.data_sets import DataCost, measure_data_set
from air3d.benchmarks.floor import Floor, arithmetic_floor
from air3d.benchmarks.inference_passes import InferCost, images_to_infer, measure_inference
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
from air3d.benchmarks.render_paths import fused
from air3d.benchmarks.render_sweep import (
    Sweep,
    measure_rendering,
    render_breakdown,
    render_curves,
    render_table,
)
from air3d.benchmarks.stages import stage_times
from air3d.benchmarks.tables import data_table, infer_table, to_row, train_row, train_table
from air3d.benchmarks.train_steps import (
    PHASES,
    TABLETOP,
    Phase,
    TrainCost,
    TrainWorkload,
    measure_training,
)
from air3d.benchmarks.workloads import BenchmarkScenes, Workload, build_scenes

__all__ = [
    "PHASES",
    "TABLETOP",
    "BenchmarkScenes",
    "Cost",
    "Curve",
    "DataCost",
    "Floor",
    "Homecoming",
    "InferCost",
    "Phase",
    "Start",
    "Sweep",
    "TrainCost",
    "TrainWorkload",
    "Trials",
    "Workload",
    "arithmetic_floor",
    "build_scenes",
    "check_plottable",
    "come_home",
    "curve",
    "data_table",
    "draw_trials",
    "fused",
    "images_to_infer",
    "infer_table",
    "is_home",
    "measure",
    "measure_data_set",
    "measure_inference",
    "measure_rendering",
    "measure_training",
    "plot_scaling",
    "plot_shares",
    "render_breakdown",
    "render_curves",
    "render_table",
    "stage_times",
    "to_row",
    "train_row",
    "train_table",
    "ways_to_look",
]
