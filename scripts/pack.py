"""Pack a checkpoint to be handed on: without the training's state, its weights in half precision.

Example:
    python scripts/pack.py --checkpoint runs/tabletop --out assets/checkpoints/tabletop
"""

from dataclasses import dataclass
from pathlib import Path

from air3d.checkpoint import WEIGHTS, pack_model
from air3d.cli import InputError, run


@dataclass(frozen=True)
class Arguments:
    """What to pack, and where to."""

    checkpoint: Path
    """Folder of the checkpoint."""
    out: Path
    """Folder to write; other files in it stay as they are."""


def main(arguments: Arguments) -> None:
    """Read the checkpoint, write the smaller one and say how large it is."""
    if arguments.out.resolve() == arguments.checkpoint.resolve():
        raise InputError(f"--out {arguments.out}: is the checkpoint itself; give another folder")
    pack_model(arguments.checkpoint, arguments.out)
    size = (arguments.out / WEIGHTS).stat().st_size
    print(f"{arguments.out}: {size / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    run(main, Arguments, __doc__)
