"""Where to look for the next object: a mixture over the places of the image's map."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import Normal

from air3d.models.encoder import Convolutions, cell_centres, halved, halvings, rectifier


@dataclass(frozen=True)
class PlaceMixture:
    """A density of a place in the image, one component for each of C places of the map.

    Attributes:
        log_weight: normalised [B, C].
        offset: where a component's mean lies from its place's middle, before it is bounded by the
            side of a place [B, C, 2].
        spread: of each component, before it is made a standard deviation [B, C, 2].
        centres: middles of the places, normalised pixels [C, 2].
        cell: sides of a place, normalised pixels [2].
    """

    log_weight: Float[Tensor, "batch cell"]
    offset: Float[Tensor, "batch cell 2"]
    spread: Float[Tensor, "batch cell 2"]
    centres: Float[Tensor, "cell 2"]
    cell: Float[Tensor, "2"]

    def __getitem__(self, rows: Shaped[Tensor, " row"]) -> "PlaceMixture":
        """Return the mixtures of some of the images."""
        parts = self.log_weight[rows], self.offset[rows], self.spread[rows]
        return PlaceMixture(*parts, self.centres, self.cell)

    @property
    def mean(self) -> Float[Tensor, "batch cell 2"]:
        """Means of all components, normalised pixels."""
        return self.centres + self.cell * self.offset.tanh()

    @property
    def std(self) -> Float[Tensor, "batch cell 2"]:
        """Standard deviations of all components, normalised pixels."""
        return self.cell * (0.02 + self.spread.sigmoid())

    def joint_log_prob(self, place: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch cell"]:
        """Return log q(component, place); gradients reach all but ``place``."""
        normal = Normal(self.mean, self.std, validate_args=False)
        return self.log_weight + normal.log_prob(place[:, None]).sum(dim=-1)

    def log_prob(self, place: Float[Tensor, "batch 2"]) -> Float[Tensor, " batch"]:
        """Return log q(place); gradients reach all but ``place``."""
        return self.joint_log_prob(place).logsumexp(dim=1)

    def at(self, component: Int[Tensor, " batch"]) -> Float[Tensor, "batch 2"]:
        """Return the means of one component each."""
        offset = self.offset[torch.arange(len(component), device=component.device), component]
        return self.centres[component] + self.cell * offset.tanh()

    def mode(self) -> Int[Tensor, " batch"]:
        """Return the likeliest components."""
        return self.log_weight.argmax(dim=1)

    def sample(self) -> Int[Tensor, " batch"]:
        """Draw components."""
        return torch.multinomial(self.log_weight.detach().exp(), 1)[:, 0]


class Search(nn.Module):
    """Weigh the places of a map by what the guide wants next, and by what is not explained yet.

    What is left of the image when the objects found so far are taken out shows whether there is a
    further one, however close to them it stands: objects behind one another share a place of the
    map.

    Args:
        state_size: width of the guide's recurrent state.
        map_channels: of the map, and of the search's hidden layers.
        image_channels: of what is left of an image.
        image_size: (height, width).
        channels: of the layers that look at what is left; as many as the image's own encoder
            needs for its map.
    """

    centres: Tensor
    cell: Tensor

    def __init__(
        self,
        state_size: int,
        map_channels: int,
        image_channels: int,
        image_size: tuple[int, int],
        channels: tuple[int, ...],
    ):
        super().__init__()
        map_size = halved(image_size, len(channels))
        self.num_evidence = map_channels
        self.want = nn.Linear(state_size, map_channels)
        last = channels[-1] if channels else image_channels
        self.remains = Convolutions(
            *halvings(image_channels, channels), nn.Conv2d(last, map_channels, 1)
        )
        mix = nn.Conv2d(map_channels, map_channels, 3, padding=1)
        self.compare = Convolutions(rectifier(), mix, rectifier())
        self.point = nn.Conv2d(map_channels, 5, 1)
        self.register_buffer("centres", cell_centres(*map_size), persistent=False)
        self.register_buffer("cell", 2.0 / torch.tensor(map_size[::-1]), persistent=False)

    def forward(
        self,
        places: Float[Tensor, "batch channel height width"],
        left_over: Float[Tensor, "batch colour rows columns"],
        state: Float[Tensor, "batch state"],
    ) -> tuple[PlaceMixture, Float[Tensor, "batch evidence"]]:
        """Return where the next object may be, and evidence of whether there is one.

        Args:
            places: the image's map.
            left_over: the image less what earlier steps have found.
            state: the guide's.
        """
        wanted = self.want(state)[:, :, None, None]
        hidden = self.compare(places + self.remains(left_over) + wanted)
        out = self.point(hidden).flatten(2).movedim(1, 2)
        log_weight = out[..., 0].log_softmax(dim=1)
        mixture = PlaceMixture(log_weight, out[..., 1:3], out[..., 3:5], self.centres, self.cell)
        return mixture, hidden.flatten(2).amax(dim=2)
