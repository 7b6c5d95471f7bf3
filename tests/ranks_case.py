"""What test_ranks.py lets torchrun start twice; rank 0 writes what came out to a file.

Usage: ranks_case.py OUT
"""

import sys

import torch
from test_ranks import half_of, loss_of, small_model

from air3d import ranks
from air3d.training import Clock, TrainSettings, take_step

ranks.join()
model, images = small_model()
optimiser = torch.optim.SGD(model.parameters())
loss = loss_of(model, half_of(images, ranks.rank()))
take_step(optimiser, loss, Clock(TrainSettings(iterations=10, warmup=1)))
view = torch.arange(6.0)[ranks.rank() : ranks.rank() + 2]
parts = ranks.gather((f"of rank {ranks.rank()}", view))
result = {
    "gradients": {name: value.grad for name, value in model.named_parameters()},
    "weights": model.state_dict(),
    "largest": ranks.largest([ranks.rank(), -ranks.rank()]),
    "gathered": parts,
    "size": ranks.size(),
}
with ranks.together():
    if ranks.is_first():
        torch.save(result, sys.argv[1])
try:
    with ranks.together():
        assert ranks.rank() == 0, "rank 1 fails"
except ranks.AnotherRankFailed:
    assert ranks.rank() == 0
except AssertionError:
    assert ranks.rank() == 1
ranks.leave()
