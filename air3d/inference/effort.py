"""How much is done for an image beyond one pass of the guide."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Effort:
    """What is done for each image beyond one pass of the network (3D only)."""

    samples: int = 0
    """Draws from the network's posterior, beside its mode; the likeliest of all is gone on with."""
    refine_steps: int = 0
    """Gradient steps through the renderer: 20 to 40 make poses far more exact."""
    rounds: int = 0
    """Times that other objects are tried where an image is not explained; after refinement."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0:
                option = field.name.replace("_", "-")
                raise ValueError(f"--{option} must be at least 0, got {value}")

    def __bool__(self) -> bool:
        """Return whether there is anything to be done."""
        return self != Effort()

    def __str__(self) -> str:
        """Return the same in words."""
        parts = [
            f"best of {self.samples + 1}" * bool(self.samples),
            f"{self.refine_steps} steps" * bool(self.refine_steps),
            f"{self.rounds} rounds" * bool(self.rounds),
        ]
        return ", ".join(part for part in parts if part) or "one pass"


ONE_PASS = Effort()
