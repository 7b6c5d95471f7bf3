"""Train AIR on canvases of digits, without labels; the checkpoint is ready for infer.py.

Example:
    python scripts/train_2d.py --out runs/multi_mnist --minutes 4.5
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from air3d.cli import choose_device, run_together
from air3d.data import load_digits, make_multi_mnist
from air3d.evaluation import TestSet, evaluate
from air3d.models import GlimpseConfig, build_air, compute_convolutions_in
from air3d.scene import GlimpseSpec, load_scene
from air3d.training import Clock, Loss, TrainOptions, annealed_count_log_prior, elbo_loss, train

CANVASES = 60_000
HELD_OUT = 2_000


@dataclass(frozen=True, kw_only=True)
class Arguments(TrainOptions):
    """What to train on, how long, and where to write."""

    scene: Path = Path("scenes/multi_mnist.yaml")
    """Scene file with decoder: glimpse."""
    mnist_dir: Path | None = None
    """Folder of MNIST's four files (default: $AIR3D_MNIST, else a download)."""
    prior_half_life: float = 1000.0
    """Iterations in which the prior's weight of a further object falls by half ..."""
    prior_floor: float = 0.01
    """... down to this."""

    def __post_init__(self):
        super().__post_init__()
        if self.prior_half_life <= 0 or not 0 < self.prior_floor <= 1:
            raise ValueError("--prior-half-life must be greater than 0, --prior-floor in (0, 1]")


def main(arguments: Arguments) -> None:
    """Train, validating on canvases of the digits' test split."""
    device = choose_device(arguments.gpu)
    settings = arguments.settings
    spec = load_scene(arguments.scene)
    if not isinstance(spec, GlimpseSpec):
        raise ValueError(f"{arguments.scene}: is a scene of meshes; use scripts/train_3d.py")
    digits = load_digits("train", folder=arguments.mnist_dir)
    print(f"digits: {digits.source}")
    canvases = make_multi_mnist(spec, digits, CANVASES, arguments.seed)
    test_digits = load_digits("test", folder=arguments.mnist_dir)
    held_out = TestSet.of_canvases(
        make_multi_mnist(spec, test_digits, HELD_OUT, arguments.seed), device
    )
    torch.manual_seed(arguments.seed)
    model = build_air(spec, GlimpseConfig(max_steps=len(spec.count))).to(device)
    compute_convolutions_in(arguments.convolutions, model)

    clock = Clock(settings)

    def loss_of(_: int) -> Loss:
        rows = torch.randint(len(canvases), (arguments.batch,))
        images = canvases.images[rows, None].to(device).float() / 255
        prior = annealed_count_log_prior(
            model.max_steps,
            clock.iteration,
            half_life=arguments.prior_half_life,
            floor=arguments.prior_floor,
        )
        return elbo_loss(model, images, prior)

    train(
        model,
        loss_of,
        settings,
        arguments.out,
        record={
            "scene": spec.model_dump(mode="json"),
            "data": digits.source,
            "network": asdict(model.config),
            "batch": arguments.batch,
            "learning_rate": arguments.learning_rate,
            "bfloat16": arguments.bfloat16,
            "prior_half_life": arguments.prior_half_life,
            "prior_floor": arguments.prior_floor,
        },
        seed=arguments.seed,
        validate=lambda: evaluate(model, held_out, batch=250).metrics.headline,
        resume=arguments.resume,
        clock=clock,
    )
    print(arguments.out)


if __name__ == "__main__":
    run_together(main, Arguments, __doc__)
