"""Where to look for the next object: a mixture over the places of the image's map."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal

from air3d.models.encoder import Convolutions, cell_centres


@dataclass(frozen=True)
class PlaceMixture:
    """A density of a place in the image, one component for each of C places of the map.

    Attributes:
        log_weight: normalised [B, C].
        mean: of each component, normalised pixels [B, C, 2].
        std: of each component, normalised pixels [B, C, 2].
    """

    log_weight: Float[Tensor, "batch cell"]
    mean: Float[Tensor, "batch cell 2"]
    std: Float[Tensor, "batch cell 2"]

    def joint_log_prob(self, place: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch cell"]:
        """Return log q(component, place); gradients reach all but ``place``."""
        normal = Normal(self.mean, self.std, validate_args=False)
        return self.log_weight + normal.log_prob(place[:, None]).sum(dim=-1)

    def at(self, component: Int[Tensor, " batch"]) -> Float[Tensor, "batch 2"]:
        """Return the means of one component each."""
        return self.mean[torch.arange(len(component), device=component.device), component]

    def mode(self) -> Int[Tensor, " batch"]:
        """Return the likeliest components."""
        return self.log_weight.argmax(dim=1)

    def sample(self) -> Int[Tensor, " batch"]:
        """Draw components."""
        return torch.multinomial(self.log_weight.detach().exp(), 1)[:, 0]


class Search(nn.Module):
    """Weigh the places of a map by what the guide wants next.

    Args:
        state_size: width of the guide's recurrent state.
        map_channels: of the map, and of the search's hidden layers.
        map_size: (height, width) of the map.
    """

    centres: Tensor

    def __init__(self, state_size: int, map_channels: int, map_size: tuple[int, int]):
        super().__init__()
        self.map_size = map_size
        self.num_evidence = map_channels
        self.want = nn.Linear(state_size, map_channels)
        self.mark = nn.Conv2d(1, map_channels, 1, bias=False)
        mix = nn.Conv2d(map_channels, map_channels, 3, padding=1)
        self.compare = Convolutions(nn.ReLU(), mix, nn.ReLU())
        self.point = nn.Conv2d(map_channels, 5, 1)
        self.register_buffer("centres", cell_centres(*map_size), persistent=False)

    def forward(
        self,
        places: Float[Tensor, "batch channel height width"],
        found: Float[Tensor, "batch height width"],
        state: Float[Tensor, "batch state"],
    ) -> tuple[PlaceMixture, Float[Tensor, "batch evidence"]]:
        """Return where the next object may be, and evidence of whether there is one.

        Args:
            places: the image's map.
            found: how much of each place earlier steps have explained (:meth:`trace`).
            state: the guide's.
        """
        wanted = self.want(state)[:, :, None, None]
        hidden = self.compare(places + self.mark(found[:, None]) + wanted)
        out = self.point(hidden).flatten(2).movedim(1, 2)
        cell = 2.0 / self.centres.new_tensor(self.map_size[::-1])
        mixture = PlaceMixture(
            log_weight=out[..., 0].log_softmax(dim=1),
            mean=self.centres + cell * torch.tanh(out[..., 1:3]),
            std=cell * (0.02 + torch.sigmoid(out[..., 3:5])),
        )
        return mixture, hidden.flatten(2).amax(dim=2)

    def trace(self, place: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch height width"]:
        """Return a bump of a map's size around a place that was found (normalised pixels)."""
        cell = 2.0 / self.centres.new_tensor(self.map_size[::-1])
        away = (place[..., None, :] - self.centres) / cell
        return (-0.5 * away.square().sum(dim=-1)).exp().unflatten(-1, self.map_size)
