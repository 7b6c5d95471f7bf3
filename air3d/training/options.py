"""The command-line options that every training shares."""

from dataclasses import dataclass
from pathlib import Path

import torch

from air3d.training.loop import TrainSettings


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How long to train, with what, and where to write."""

    out: Path
    """Folder of this training: checkpoint, metrics.jsonl, state for --resume."""
    minutes: float | None = None
    """Train this long; or give --iterations."""
    iterations: int | None = None
    """Train for so many steps; repeatable bit by bit on a CPU."""
    seed: int = 0
    """Of the data, the weights and the draws."""
    gpu: bool = False
    """Train on the CUDA device of this process (meshes are rendered there, too)."""
    resume: bool = False
    """Go on from the last state in --out; all else as before, but for how long."""
    batch: int = 64
    """Images per step, of each process."""
    learning_rate: float = 1e-3
    """Adam's; warmed up, held, then lowered along a cosine."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: twice as fast on CPUs that have it (AVX-512 BF16, AMX)."""
    checkpoint_seconds: float = 60.0
    """How often to write the state for --resume."""
    keep: int = 2
    """How many of the last states to keep: what a crash damages is passed over by --resume."""
    tensorboard: bool = False
    """Write event files for TensorBoard to --out as well."""

    def __post_init__(self):
        for name, least in (("batch", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least}, got {getattr(self, name)}")

    @property
    def convolutions(self) -> torch.dtype:
        """The numbers that convolutions compute with."""
        return torch.bfloat16 if self.bfloat16 else torch.float32

    @property
    def settings(self) -> TrainSettings:
        """What the training loop needs of these.

        Raises:
            ValueError: they do not say how long to train, or a number is out of range.
        """
        return TrainSettings(
            self.iterations,
            self.minutes,
            learning_rate=self.learning_rate,
            checkpoint_seconds=self.checkpoint_seconds,
            keep=self.keep,
            tensorboard=self.tensorboard,
        )
