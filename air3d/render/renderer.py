"""The public verb: a scene's objects, camera and light to an image."""

from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera
from air3d.render import reference
from air3d.render.composite import composite
from air3d.render.layers import Layers, check_inputs, place
from air3d.scene.assets import MeshBank
from air3d.scene.prior import Scenes
from air3d.scene.spec import LightSpec, RenderSpec, SceneSpec


def render_layers(
    bank: MeshBank,
    identity: Int[Tensor, "batch object"],
    object_to_world: Float[Tensor, "batch object 4 4"],
    camera: Camera,
    *,
    light: LightSpec,
    softness: RenderSpec,
    backend: str = "auto",
) -> Layers:
    """Rasterise every object once, softly, into a layer of its own.

    An absent object (identity -1), or one behind the camera, gives an empty layer and zero
    gradients. Vertices are lit (ambient plus one directional light), then colours interpolated.
    Gradients reach ``object_to_world``, the camera, and the bank's vertices, colours and normals
    (normals do not follow vertices).

    Args:
        bank: the meshes; on the same device and of the same precision as the poses.
        identity: which mesh each object is.
        object_to_world: the poses.
        camera: one camera per scene, or one for all.
        light: strengths and direction of the light.
        softness: sigma, gamma and the depths they refer to.
        backend: ``cpu`` (Numba), ``reference`` (plain torch), or ``auto``: ``cpu`` for CPU tensors.

    Raises:
        ValueError: shapes, precisions or devices do not fit together, or no backend fits them.
    """
    check_inputs(bank, identity, object_to_world, camera)
    rasteriser = _choose(backend, object_to_world)
    instances = place(identity, object_to_world, camera, light)
    layers = rasteriser.rasterise(rasteriser.project(bank, instances, light), softness)
    return layers.unflatten(*identity.shape)


def render(
    bank: MeshBank,
    identity: Int[Tensor, "batch object"],
    object_to_world: Float[Tensor, "batch object 4 4"],
    camera: Camera,
    *,
    light: LightSpec,
    softness: RenderSpec,
    background: Float[Tensor, "3"],
    backend: str = "auto",
) -> Float[Tensor, "batch height width 3"]:
    """Render whole scenes: all their objects over the background; arguments as above.

    Gradients reach all that :func:`render_layers` names, and ``background``.
    """
    layers = render_layers(
        bank, identity, object_to_world, camera, light=light, softness=softness, backend=backend
    )
    everything = torch.arange(identity.shape[1])[None]
    return composite(layers, everything, background).rgb[:, 0]


def render_scenes(
    spec: SceneSpec, bank: MeshBank, camera: Camera, scenes: Scenes
) -> Float[Tensor, "batch 3 height width"]:
    """Render scenes with a scene file's light, softness and background; channels come first.

    Gradients reach the scenes' positions and yaws.
    """
    rgb = render(
        bank,
        scenes.identity,
        scenes.object_to_world,
        camera,
        light=spec.light,
        softness=spec.render,
        background=torch.tensor(spec.background),
    )
    return rgb.movedim(-1, 1)


def _choose(backend: str, like: Tensor) -> ModuleType:
    """Return the backend's module, loading Numba only when it is used."""
    if backend not in ("auto", "cpu", "reference"):
        raise ValueError(f"render: backend must be auto, cpu or reference, got {backend!r}")
    if backend == "reference":
        return reference
    if like.device.type != "cpu":
        raise ValueError(
            f"render: no fast backend renders on {like.device} yet; move bank, poses and camera to "
            "the CPU, or choose backend='reference' (slow)"
        )
    if like.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"render: the CPU backend needs float32 or float64, got {like.dtype}")
    from air3d.render import cpu  # loads Numba, so only when it is used

    return cpu
