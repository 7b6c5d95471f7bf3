"""What inference says of an image: the dataclasses that scripts, metrics and viewers share."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from air3d.geometry import Camera
from air3d.scene import Light


@dataclass(frozen=True)
class ObjectEstimate:
    """One object found in 3D.

    Attributes:
        name: of the mesh.
        identity: index of the mesh in the scene file.
        identity_probability: q(identity | x) of that mesh.
        presence_probability: that there are at least this many objects, q(n >= i | x) of the i-th,
            by the same probabilities as ``SceneEstimate.count_probability``.
        object_to_world: pose [4, 4].
        scale: factor of the mesh's size.
        colour: multiplies the mesh's own [3].
        position_covariance: of x and y on the plane, square metres [2, 2]: of q(z | x), or after
            refinement of Laplace's approximation of p(z | x); 0 from methods that claim none.
    """

    name: str
    identity: int
    identity_probability: float
    presence_probability: float
    object_to_world: Float[Tensor, "4 4"]
    scale: float
    colour: Float[Tensor, "3"]
    position_covariance: Float[Tensor, "2 2"]

    @property
    def position_std(self) -> Float[Tensor, "2"]:
        """Standard deviations of x and of y, metres."""
        return self.position_covariance.diagonal().sqrt()


@dataclass(frozen=True)
class PatchEstimate:
    """One patch found in 2D: a square window of the image, in pixels.

    Attributes:
        presence_probability: that there are at least this many patches, q(n >= i | x) of the i-th.
        centre: (u, v) of the window.
        side: its width and height.
    """

    presence_probability: float
    centre: tuple[float, float]
    side: float


@dataclass(frozen=True)
class SceneEstimate:
    """The posterior mode of one image.

    Attributes:
        count: most probable number of objects, or as many as a search found.
        count_probability: q(n | x), n = 0, 1, ..., max_steps; after a search, what the guide says
            when it is told the objects that were found.
        objects: ``count`` objects, all of them 3D or all of them 2D.
        camera: the camera (a batch of one); None in 2D.
        light: the light (a batch of one); None in 2D.
        reconstruction: the decoder's image of the mode [C, H, W], values in [0, 1].
        log_likelihood: log p(x | mode), nats.
    """

    count: int
    count_probability: tuple[float, ...]
    objects: tuple[ObjectEstimate, ...] | tuple[PatchEstimate, ...]
    camera: Camera | None
    light: Light | None
    reconstruction: Float[Tensor, "channel height width"]
    log_likelihood: float
