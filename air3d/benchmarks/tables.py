"""What training, inference and data sets cost, as text and as rows of JSON."""

from collections.abc import Mapping
from dataclasses import asdict

from air3d.benchmarks.data_sets import DataCost
from air3d.benchmarks.inference_passes import InferCost
from air3d.benchmarks.network_floor import NetworkFloor
from air3d.benchmarks.train_steps import TrainCost

Costs = TrainCost | InferCost | DataCost


def to_row(cost: Costs) -> dict:
    """Return a cost as JSON has it: its figures, and each stage's share of the whole."""
    return asdict(cost) | {"shares": shares(cost.stages)}


def shares(stages: Mapping[str, float]) -> dict[str, float]:
    """Return each stage's share of all of them."""
    total = sum(stages.values())
    return {stage: time / total for stage, time in stages.items()}


def train_row(cost: TrainCost) -> dict:
    """Return the same of a training's phase, with what the floor comes to in milliseconds."""
    floor = cost.floor
    times = {"arithmetic": floor.arithmetic, "traffic": floor.traffic}
    return to_row(cost) | {"floor": asdict(floor) | times}


def train_table(cost: TrainCost) -> str:
    """Return what a phase's steps cost as text."""
    network = {name: time for name, time in cost.operations.items() if name != "torch"}
    return "\n".join(
        [
            f"{cost.phase}: {cost.steps_per_second:.2f} steps a second; {cost.step:.1f} ms one "
            f"after the other, {_peak(cost.peak)}",
            *_stage_lines(cost.stages),
            f"  of the loss and its gradient, the renderer's operations take "
            f"{sum(network.values()):.1f} ms, torch and Python {cost.operations['torch']:.1f}",
            _floor_line(cost.floor, cost.step),
        ]
    )


def infer_table(cost: InferCost) -> str:
    """Return what an effort costs as text."""
    head = (
        f"{cost.effort}, {cost.batch} at a time: {cost.images_per_second:.1f} images a second; on "
        f"one thread {cost.step / cost.batch:.2f} ms an image, {_peak(cost.peak)}"
    )
    return "\n".join([head, *_stage_lines(cost.stages)])


def data_table(cost: DataCost) -> str:
    """Return what a data set costs as text."""
    height, width = cost.size
    head = (
        f"{cost.scene}, {cost.count} images of {height}x{width}: {cost.images_per_second:.0f} a "
        f"second, {cost.bytes_per_image / 1024:.1f} KiB each; {cost.step:.2f} ms one after the "
        f"other, {_peak(cost.peak)}"
    )
    return "\n".join([head, *_stage_lines(cost.stages)])


def _stage_lines(stages: Mapping[str, float]) -> list[str]:
    """Return a line for each stage that occurred, in the order of their times."""
    share = shares(stages)
    return [
        f"  {stage:<34}{time:>12.2f} ms{100 * share[stage]:>8.0f}%"
        for stage, time in sorted(stages.items(), key=lambda stage: -stage[1])
        if time > 0
    ]


def _floor_line(floor: NetworkFloor, step: float) -> str:
    flops = floor.convolution_gigaflops + floor.matrix_gigaflops
    return (
        f"  the network's {flops:.1f} GFLOP take {floor.arithmetic:.1f} ms at this machine's "
        f"{floor.convolution_speed:.0f} (convolutions) and {floor.matrix_speed:.0f} GFLOP/s "
        f"(matrix products): {step / floor.arithmetic:.1f} times less than the step; the "
        f"{floor.gigabytes:.2f} GB that its operations read and write take {floor.traffic:.1f} ms"
    )


def _peak(mebibytes: float | None) -> str:
    return "peak unknown" if mebibytes is None else f"{mebibytes:.0f} MiB at the peak"
