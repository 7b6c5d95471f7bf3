"""The public verbs: a scene's objects, camera and light to layers and to an image."""

from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera
from air3d.render import reference
from air3d.render.backends import fast_backend
from air3d.render.composite import composite
from air3d.render.images import Background
from air3d.render.instances import Instances, check_inputs, place
from air3d.render.layers import Composite, Layers
from air3d.scene.assets import MeshBank
from air3d.scene.lights import Light
from air3d.scene.spec import RenderSpec


def render_layers(
    bank: MeshBank,
    instances: Instances,
    camera: Camera,
    *,
    light: Light,
    softness: RenderSpec,
    with_depth: bool = False,
    backend: str = "auto",
) -> Layers:
    """Rasterize every object once, softly, into a layer of its own.

    An absent object (identity -1), or one behind the camera, gives an empty layer and zero
    gradients. Vertices are lit (ambient and diffuse light), then colours interpolated. Gradients
    reach the instances' poses, scales and colours, the camera, the light, and the bank's
    vertices, colours, uvs, textures and normals (normals do not follow vertices).

    Args:
        bank: the meshes; on the same device and of the same precision as the poses.
        instances: which mesh each object is, and where. One scene goes with many cameras.
        camera: one camera per scene, or one for all.
        light: one per scene, or one for all; without highlights.
        softness: sigma, gamma and the depths they refer to.
        with_depth: whether layers hold their mean depth too, which costs a little more.
        backend: ``cpu`` (Numba), ``cuda`` (Triton), ``reference`` (plain torch, any device,
            slow), or ``auto``: that of the poses' device.

    On a GPU nothing is read back by the host, so values are not looked at there: NaN, or an
    identity that names no mesh, gives an empty layer.

    Raises:
        ValueError: shapes, precisions or devices do not fit together, no backend fits them, an
            identity names no mesh, the light has highlights, or the pose, scale or colour of an
            object that is there, the camera or the light hold NaN.
    """
    check_inputs(bank, instances, camera, light)
    rasterizer = _choose(backend, instances.object_to_world)
    placement = place(instances, camera, light)
    projected = rasterizer.project(bank, placement)
    layers = rasterizer.rasterize_layers(projected, softness, with_depth=with_depth)
    return layers.unflatten(*placement.shape)


def render(
    bank: MeshBank,
    instances: Instances,
    camera: Camera,
    *,
    light: Light,
    softness: RenderSpec,
    background: Background,
    backend: str = "auto",
) -> Float[Tensor, "batch height width 3"]:
    """Render whole scenes: all their objects over the background.

    Arguments and errors as of :func:`render_layers`; the background as of :func:`composite`.
    Gradients reach all that :func:`render_layers` names, and ``background``.
    """
    layers = render_layers(bank, instances, camera, light=light, softness=softness, backend=backend)
    return composite(layers, _everything(instances), background, backend=backend).rgb[:, 0]


def render_with_depth(
    bank: MeshBank,
    instances: Instances,
    camera: Camera,
    *,
    light: Light,
    softness: RenderSpec,
    background: Background,
    backend: str = "auto",
) -> Composite:
    """Render whole scenes with their alpha and their soft depth.

    Arguments and errors as of :func:`render_layers`; the background as of :func:`composite`.

    The depth at a pixel is the mean of its faces' depths (metres), weighted as their colours are:
    it belongs to the objects alone, however little they cover, and is 0 where there are none.
    Gradients reach what :func:`render` names (depth and alpha tell nothing of colours and light).
    :func:`air3d.render.render_depth` is the crisp depth, without gradients.
    """
    layers = render_layers(
        bank,
        instances,
        camera,
        light=light,
        softness=softness,
        with_depth=True,
        backend=backend,
    )
    images = composite(layers, _everything(instances), background, backend=backend)
    assert images.depth is not None
    return Composite(images.rgb[:, 0], images.alpha[:, 0], images.depth[:, 0])


def _everything(instances: Instances) -> Int[Tensor, "1 object"]:
    """Return the selection of one image of all objects."""
    return torch.arange(instances.identity.shape[1])[None]


def _choose(backend: str, like: Tensor) -> ModuleType:
    """Return the module that renders these poses; the slow one only where it is asked for."""
    fast = fast_backend("render", backend, like.device)
    if fast is None and backend == "auto":
        raise ValueError(
            f"render: no fast backend renders on {like.device}; move bank, poses and camera to the "
            "CPU or a CUDA device, or choose backend='reference' (slow)"
        )
    return fast or reference
