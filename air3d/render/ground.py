"""The plane that objects stand on, without a mesh: where each pixel's ray meets it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import Camera, invert_rigid, pixel_rays
from air3d.geometry.tensors import constant
from air3d.render import reference_ground
from air3d.render.backends import fast_backend
from air3d.render.checks import check_batches, check_dull, check_kind, check_not_nan
from air3d.render.ground_view import TINY, GroundView
from air3d.render.layers import Layers
from air3d.scene.lights import Light
from air3d.scene.spec import RenderSpec

Colour = Sequence[float] | Float[Tensor, "*ground 3"]


@dataclass(frozen=True)
class Ground:
    """A horizontal plane, one per scene or one for all, seen from both sides.

    Gradients reach colours and height.

    Attributes:
        colour: of the plane, or of the square of a checkerboard whose corner (x, y >= 0) is the
            world's origin.
        height: the world's z of the plane (metres).
        second_colour: of the neighbouring squares; None for a plane of one colour.
        square: side of a checkerboard's squares (metres).
        half_extents: half the sides (metres, x and y) of a rectangle beyond which there is
            nothing; None for a plane that ends at the horizon.
        centre: of that rectangle (metres, x and y).
    """

    colour: Float[Tensor, "ground 3"]
    height: Float[Tensor, " ground"]
    second_colour: Float[Tensor, "ground 3"] | None = None
    square: float = 1.0
    half_extents: tuple[float, float] | None = None
    centre: tuple[float, float] = (0.0, 0.0)

    def __len__(self) -> int:
        return len(self.colour)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        """Return the same plane on another device or in another precision."""
        second = self.second_colour
        return replace(
            self,
            colour=self.colour.to(device, dtype, non_blocking=True),
            height=self.height.to(device, dtype, non_blocking=True),
            second_colour=None if second is None else second.to(device, dtype, non_blocking=True),
        )


def plain_ground(
    colour: Colour,
    *,
    height: float | Float[Tensor, "*ground"] = 0.0,
    half_extents: tuple[float, float] | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Ground:
    """Return a plane of one colour, [3] or one per scene; tensors keep their gradients.

    Raises:
        ValueError: an extent is not positive, or colours and heights are not as many.
    """
    colours = _rows(colour)
    heights = torch.atleast_1d(torch.as_tensor(height).to(colours))
    batch = check_batches("plain_ground", colour=len(colours), height=len(heights))
    _check_extents("plain_ground", half_extents)
    return Ground(
        colours.expand(batch, 3), heights.expand(batch), half_extents=half_extents, centre=centre
    )


def checkerboard(
    colour: Colour,
    second_colour: Colour,
    square: float,
    *,
    height: float | Float[Tensor, "*ground"] = 0.0,
    half_extents: tuple[float, float] | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Ground:
    """Return a checkerboard, by which a camera's azimuth can be told; arguments as of ``Ground``.

    Raises:
        ValueError: ``square`` or an extent is not positive, or colours and heights are not as
            many.
    """
    if not square > 0.0:
        raise ValueError(f"checkerboard: square must be a positive length (metres), got {square}")
    _check_extents("checkerboard", half_extents)
    plane = plain_ground(colour, height=height, half_extents=half_extents, centre=centre)
    second = _rows(second_colour).to(plane.colour)
    batch = check_batches("checkerboard", colour=len(plane), second_colour=len(second))
    return replace(
        plane,
        colour=plane.colour.expand(batch, 3),
        height=plane.height.expand(batch),
        second_colour=second.expand(batch, 3),
        square=square,
    )


def ground_layer(ground: Ground, camera: Camera, light: Light, softness: RenderSpec) -> Layers:
    """Return the plane as the camera sees it, as a layer [B, 1, H, W] to :func:`join` with others.

    A pixel's depth is where its ray meets the plane, and its log-weight what a face there has.
    Its coverage is sigmoid(d |d| / sigma) as of a face, d being the pixel's signed distance (NDC)
    to the nearest edge in the image: the horizon's line, or the lines of a rectangle's sides. So
    edges are as soft as those of meshes, and inside the plane hides all behind it. Rays that run
    up, or past the rectangle, hit nothing beyond the edge's blur.

    The plane is lit as meshes are (ambient and diffuse light, on its upper side), and a
    checkerboard's colours are averaged over each pixel's footprint (over its bounding rectangle
    on the plane), which also gives its edges a gradient. Gradients reach the camera's extrinsics
    and intrinsics, the colours, the height and the light.

    Merged with objects, the plane hides those that sink into it, and shows through their lowest
    parts as gamma has it. But as it covers every pixel, objects over it look wider by the blur and
    lose their silhouettes' gradients, as everything does before something else. Where all objects
    stand on the plane, better put its image behind them::

        plane = composite(ground_layer(...), torch.tensor([[0]]), background).rgb[:, 0]
        images = composite(layers, selection, plane)

    Of 18 gradients of a squared error by where an object stands, 1 to 6 cm off, 6 had the wrong
    sign with the plane merged and none with its image behind; compositing is also quicker.

    Raises:
        ValueError: grounds, cameras and lights do not fit together in number, precision or
            device, the light has highlights, or camera or light hold NaN.
    """
    check_batches("ground_layer", ground=len(ground), camera=len(camera), light=len(light))
    matrices = {"camera": camera.world_to_camera, "intrinsics": camera.intrinsics}
    others = {"ground": ground.colour, "light": light.source}
    check_kind("ground_layer", "camera", camera.world_to_camera, **matrices, **others)
    check_dull("ground_layer", light)
    check_not_nan("ground_layer", **matrices, light=light.source)
    check_not_nan("ground_layer", ambient=light.ambient, diffuse=light.diffuse)
    view = view_ground(ground, camera, light)
    backend = fast_backend("ground_layer", "auto", view.drop.device) or reference_ground
    layers = backend.trace_ground(view, softness)
    return layers.unflatten(len(view.drop), 1)


def view_ground(ground: Ground, camera: Camera, light: Light) -> GroundView:
    """Put the plane before every camera and under every light; gradients reach all three."""
    batch = check_batches("ground", ground=len(ground), camera=len(camera), light=len(light))
    eye = invert_rigid(camera.world_to_camera)[:, :3, 3]
    above = (eye[:, 2] - ground.height)[:, None]
    drop = above.abs()
    rays = _rays(camera)
    descent = torch.where(above >= 0.0, -rays[:, 2], rays[:, 2])
    x = eye[:, :1] * descent + drop * rays[:, 0]
    y = eye[:, 1:2] * descent + drop * rays[:, 1]
    lines = _end_lines(ground, descent, x, y)
    slope = (lines[..., 1:].square().sum(dim=-1, keepdim=True) + TINY).sqrt()
    lamp_height = light.source[:, 2] - light.source[:, 3] * ground.height

    def every(part: Tensor) -> Tensor:
        return part.expand(batch, *part.shape[1:])

    return GroundView(
        coordinates=every(torch.stack([descent, x, y], dim=1)),
        edges=every(lines / slope),
        drop=every(drop[:, 0]),
        lamp=torch.cat(
            [every(light.source[:, :2]), every(lamp_height)[:, None], every(light.source[:, 3:])],
            dim=1,
        ),
        shades=every(_shades(ground, light)),
        squares=0.0 if ground.second_colour is None else 1.0 / ground.square,
        image_size=camera.image_size,
    )


def _rays(camera: Camera) -> Float[Tensor, "camera axis 3"]:
    """Return :func:`pixel_rays` as an affine function of the place in the image."""
    height, width = camera.image_size
    unit = 0.5 * min(height, width)
    centre = constant([0.5 * width, 0.5 * height], camera.intrinsics)
    offsets = constant([[0.0, 0.0], [-unit, 0.0], [0.0, -unit]], camera.intrinsics)
    places = (centre + offsets).expand(len(camera), 3, 2)
    middle, left, up = pixel_rays(camera, places).unbind(dim=1)
    return torch.stack([middle, left - middle, up - middle], dim=-1)


def _end_lines(ground: Ground, descent: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return functions [batch, edge, 3] that are 0 where the plane ends and positive inside.

    A point is beyond the side x = a where x / descent > a, with both sides affine in the image.
    """
    if ground.half_extents is None:
        return descent[:, None]
    half_x, half_y = ground.half_extents
    x, y = x - ground.centre[0] * descent, y - ground.centre[1] * descent
    sides = [half_x * descent - x, half_x * descent + x, half_y * descent - y, half_y * descent + y]
    return torch.stack([descent, *sides], dim=1)


def _shades(ground: Ground, light: Light) -> Float[Tensor, "batch 4 3"]:
    """Return the lit colours: mean and contrast of the squares, under both kinds of light."""
    second = ground.colour if ground.second_colour is None else ground.second_colour
    mean, contrast = 0.5 * (ground.colour + second), 0.5 * (ground.colour - second)
    pairs = [(light.ambient, mean), (light.diffuse, mean)]
    pairs += [(light.ambient, contrast), (light.diffuse, contrast)]
    return torch.stack([strength * colour for strength, colour in pairs], dim=1)


def _rows(colour: Colour) -> Float[Tensor, "ground 3"]:
    """Return colours as rows of a tensor."""
    kept = isinstance(colour, Tensor)
    return torch.atleast_2d(torch.as_tensor(colour, dtype=None if kept else torch.float32))


def _check_extents(verb: str, half_extents: tuple[float, float] | None) -> None:
    """Refuse a rectangle without an area."""
    if half_extents is not None and not min(half_extents) > 0.0:
        raise ValueError(
            f"{verb}: half_extents must be two positive lengths (metres), got {half_extents}; "
            "give None for a plane that ends at the horizon"
        )
