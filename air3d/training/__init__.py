"""Training: the loop, and the losses of its phases."""

from air3d.training.adapting import held_out_figures, mixing_loss, waking_loss
from air3d.training.from_scratch import FromScratch, from_scratch_loss
from air3d.training.loop import Clock, Loss, TrainSettings, take_step, train
from air3d.training.losses import annealed_count_log_prior, elbo_loss, mixed_loss, sleep_loss
from air3d.training.options import TrainOptions

__all__ = [
    "Clock",
    "FromScratch",
    "Loss",
    "TrainOptions",
    "TrainSettings",
    "annealed_count_log_prior",
    "elbo_loss",
    "from_scratch_loss",
    "held_out_figures",
    "mixed_loss",
    "mixing_loss",
    "sleep_loss",
    "take_step",
    "train",
    "waking_loss",
]
