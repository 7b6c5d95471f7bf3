"""The guide q(z | x): AIR's recurrent inference network, one object per step."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from air3d.models.canvas import Canvas
from air3d.models.encoder import Encoded
from air3d.models.latents import Latents, replace_rows, stack_steps
from air3d.models.rows import rows_of
from air3d.models.unrolled import Draw, Unrolled
from air3d.models.views import SeenView, ViewHead

DOUBT = 0.01
"""A step that is less probable to be reached than this is not looked at for the mode."""


@dataclass(frozen=True)
class Observation:
    """What is looked at.

    Attributes:
        images: [B, C, H, W].
        seen: from where and under which light they were taken; None in 2D.
    """

    images: Float[Tensor, "batch channel height width"]
    seen: SeenView | None = None

    def __getitem__(self, rows: Int[Tensor, " row"]) -> "Observation":
        """Return some of the images, as often as they are named."""
        return Observation(rows_of(self.images, rows), self.seen and self.seen[rows])


@dataclass(frozen=True)
class Look:
    """What a step sees before it chooses its object.

    Attributes:
        state: the guide's recurrent state [B, S].
        evidence: of whether there is a further object [B, E], beside the state.
    """

    state: Float[Tensor, "batch state"]
    evidence: Float[Tensor, "batch evidence"]

    def __getitem__(self, rows: Int[Tensor, " row"]) -> "Look":
        """Return the looks at some of the images."""
        return Look(self.state[rows], self.evidence[rows])


class Head(nn.Module):
    """What finds one object, given the recurrent state: patches in 2D, poses in 3D.

    Attributes:
        num_memory: width of its latents' ``memory``.
        num_evidence: E, width of its looks' ``evidence``.
    """

    num_memory: int
    num_evidence: int

    def blank(self, observation: Observation) -> Canvas | None:
        """Return canvases with no object painted; None where nobody looks at them."""
        raise NotImplementedError

    def paint(self, canvas: Canvas, found: Latents, row: Tensor) -> None:
        """Paint the objects that were found in some of the images, where there are canvases."""
        raise NotImplementedError

    def look(self, places: Tensor | None, left_over: Tensor | None, state: Tensor) -> Look:
        """Look round for the next object in the encoder's map and in what is left of the image."""
        raise NotImplementedError

    def sample(self, observation: Observation, look: Look) -> Latents:
        """Draw the object's latents from q; gradients as the reparameterisation gives them."""
        raise NotImplementedError

    def mode(self, observation: Observation, look: Look) -> Latents:
        """Take the object's most probable latents."""
        raise NotImplementedError


class Guide(nn.Module):
    """Encode the image once, say from where it was taken, then find one object per step.

    Each step updates a recurrent state from the image's features and the last step's latents and
    hands it to the head of the mode at hand (patches in 2D, poses in 3D), which looks round for
    the next object; says how probable there is one; and lets the head draw it. In 3D the head
    looks, too, at what is left of the image beside the objects that were found, rendered (DAIR,
    as the paper calls it, has the residual alone); no gradients go that way.

    Args:
        encoder: images [B, C, H, W] -> :class:`~air3d.models.encoder.Encoded`.
        num_features: F.
        viewer: draws the view from the features; None in 2D.
        head: draws one object.
        state_size: width of the recurrent state.
        max_steps: N.
        presence_bias: initial logit of z_pres; 2 starts with objects nearly always present.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_features: int,
        viewer: ViewHead | None,
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
        self.viewer = viewer
        self.head = head
        self.cell = nn.LSTMCell(num_features + head.num_memory, state_size)
        self.presence = nn.Linear(state_size + head.num_evidence, 1)
        self.max_steps = max_steps
        nn.init.zeros_(self.presence.weight)
        nn.init.constant_(self.presence.bias, presence_bias)

    def sample(self, images: Float[Tensor, "batch channel height width"]) -> Unrolled:
        """Take all N steps, drawing the view and every object."""
        return self.sample_often(images, 1, self.head.sample)

    def sample_often(
        self,
        images: Float[Tensor, "batch channel height width"],
        draws: int,
        draw: Callable[[Observation, Any], Draw],
    ) -> Unrolled[Draw]:
        """Draw the view and every object several times; an image's draws are neighbouring rows.

        Args:
            images: each is encoded once.
            draws: how often.
            draw: what draws an object; it is given the head's own kind of look.
        """
        row = torch.arange(len(images), device=images.device).repeat_interleave(draws)
        encoded, images = self.encoder(images)[row], rows_of(images, row)
        seen = self.viewer.sample(encoded.features) if self.viewer else None
        return self._unroll(encoded, Observation(images, seen), draw)

    def mode(self, images: Float[Tensor, "batch channel height width"]) -> Unrolled:
        """Take each step's mode given the view's mode and the objects before it.

        An image's steps end where a further object is less probable than ``DOUBT``. The canvas
        keeps what an image looks like after as many steps as are most probable.
        """
        encoded = self.encoder(images)
        seen = self.viewer.mode(encoded.features) if self.viewer else None
        observation = Observation(images, seen)
        return self._unroll(encoded, observation, self.head.mode, DOUBT)

    def states(
        self,
        features: Float[Tensor, "batch feature"],
        memories: Float[Tensor, "batch object memory"],
    ) -> Float[Tensor, "batch step state"]:
        """Return the states of the steps, each of which is told of the objects before it.

        There are N, or one more than objects where that is fewer.
        """
        nothing = memories.new_zeros(len(memories), 1, memories.shape[2])
        state = None
        states = []
        for memory in torch.cat([nothing, memories], dim=1)[:, : self.max_steps].unbind(dim=1):
            state = self.cell(torch.cat([features, memory], dim=1), state)
            states.append(state[0])
        return torch.stack(states, dim=1)

    def presence_logits(self, look: Look) -> Float[Tensor, " batch"]:
        """Return the logits of q(z_pres = 1) of a step."""
        return self.presence(torch.cat([look.state, look.evidence], dim=1))[:, 0]

    def _unroll(
        self,
        encoded: Encoded,
        observation: Observation,
        draw: Callable[[Observation, Look], Draw],
        doubt: float = 0.0,
    ) -> Unrolled[Draw]:
        """Look for as many objects as there are with a probability of at least ``doubt``.

        Beyond them presence is ruled out, and the latents are those of the step before.
        """
        features = encoded.features
        every = torch.arange(len(features), device=features.device)
        reached = torch.ones_like(features[:, 0])
        memory = features.new_zeros(len(features), self.head.num_memory)
        canvas = self.head.blank(observation)
        state = None
        logits, draws = [], []
        for _ in range(self.max_steps):
            state = self.cell(torch.cat([features, memory], dim=1), state)
            row = every[reached >= doubt]
            left_over = None if canvas is None else canvas.left_over(row)
            look = self.head.look(encoded[row].map, left_over, state[0][row])
            ruled_out = torch.full_like(reached, -math.inf)
            logits.append(ruled_out.index_copy(0, row, self.presence_logits(look)))
            going_on = logits[-1].sigmoid()
            ended, reached = reached * (1 - going_on), reached * going_on
            there = (reached[row] >= doubt).nonzero()[:, 0]
            if not draws:
                draws.append(draw(observation, look))
            elif len(there):
                found = draw(observation[row[there]], look[there])
                draws.append(replace_rows(draws[-1], row[there], found))
            else:
                draws.append(draws[-1])
            memory = draws[-1].memory
            if canvas is not None and len(there):
                if doubt:
                    canvas.keep(_may_have_ended(row[there], ended, reached, self.max_steps))
                self.head.paint(canvas, draws[-1], row[there])
        return Unrolled(torch.stack(logits, dim=1), stack_steps(draws), observation.seen, canvas)


def _may_have_ended(
    row: Int[Tensor, " row"],
    ended: Float[Tensor, " batch"],
    reached: Float[Tensor, " batch"],
    max_steps: int,
) -> Int[Tensor, " some"]:
    """Return the rows whose most probable count may be what is painted so far.

    Later counts are at most ``max_steps``, so the most probable one of them has at least that share
    of ``reached``; twice as many leave room for rounding.
    """
    return row[2 * max_steps * ended[row] >= reached[row]]
