"""The guide q(z | x): AIR's recurrent inference network, one object per step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from air3d.models.latents import Latents, Remembered, stack_steps

Draw = TypeVar("Draw", bound=Remembered)


class Head(nn.Module):
    """What finds one object, given the recurrent state: patches in 2D, poses in 3D.

    Attributes:
        num_memory: width of its latents' ``memory``.
    """

    num_memory: int

    def sample(self, images: Tensor, state: Tensor) -> Latents:
        """Draw the object's latents from q; gradients as the reparameterisation gives them."""
        raise NotImplementedError

    def mode(self, images: Tensor, state: Tensor) -> Latents:
        """Take the object's most probable latents."""
        raise NotImplementedError


@dataclass(frozen=True)
class Unrolled(Generic[Draw]):
    """What the guide says of a batch of images.

    Attributes:
        presence_logits: of q(z_pres_i = 1 | x, z_<i) [B, N].
        latents: the steps' latents, stacked along axis 1.
    """

    presence_logits: Float[Tensor, "batch step"]
    latents: Draw


class Guide(nn.Module):
    """Encode the image once, then find one object per step.

    Each step updates a recurrent state from the image's features and the last step's latents,
    says how probable a further object is, and hands the state to the head of the mode at hand
    (patches in 2D, poses in 3D), which draws the object.

    Args:
        encoder: images [B, C, H, W] -> features [B, F].
        num_features: F.
        head: draws one object.
        state_size: width of the recurrent state.
        max_steps: N.
        presence_bias: initial logit of z_pres; 2 starts with objects nearly always present.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_features: int,
        head: Head,
        *,
        state_size: int,
        max_steps: int,
        presence_bias: float = 2.0,
    ):
        super().__init__()
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        self.encoder = encoder
        self.head = head
        self.cell = nn.LSTMCell(num_features + head.num_memory, state_size)
        self.presence = nn.Linear(state_size, 1)
        self.max_steps = max_steps
        nn.init.zeros_(self.presence.weight)
        nn.init.constant_(self.presence.bias, presence_bias)

    def unroll(
        self,
        images: Float[Tensor, "batch channel height width"],
        draw: Callable[[Tensor, Tensor, int], Draw],
    ) -> Unrolled[Draw]:
        """Take all N steps; ``draw(images, state, step)`` chooses each step's latents."""
        features = self.encoder(images)
        memory = features.new_zeros(len(images), self.head.num_memory)
        state = None
        logits, draws = [], []
        for step in range(self.max_steps):
            state = self.cell(torch.cat([features, memory], dim=1), state)
            logits.append(self.presence(state[0])[:, 0])
            draws.append(draw(images, state[0], step))
            memory = draws[-1].memory
        return Unrolled(torch.stack(logits, dim=1), stack_steps(draws))
