"""Training: the loop, and the losses of its phases."""

from air3d.training.loop import Clock, Loss, TrainSettings, train
from air3d.training.losses import annealed_count_log_prior, elbo_loss, sleep_loss

__all__ = [
    "Clock",
    "Loss",
    "TrainSettings",
    "annealed_count_log_prior",
    "elbo_loss",
    "sleep_loss",
    "train",
]
