"""The ways to an image that are compared: one function each, from scenes to a tensor."""

import importlib.util
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from air3d.benchmarks.workloads import SOFTNESS, BenchmarkScenes
from air3d.render import (
    composite,
    gouraud_shading,
    pack_instances,
    prefix_selection,
    project_faces,
    rasterize,
    render,
    render_layers,
    softmax_alpha_blend,
)
from air3d.render.layers import blur_radius

BACKGROUND = torch.zeros(3)
BLUR_RADIUS = blur_radius(SOFTNESS.sigma)

PYTORCH3D = "PyTorch3D"
RASTERIZER = "rasterize alone"
PYTORCH3D_RASTERIZER = "PyTorch3D's rasterizer alone"

Way = Callable[[BenchmarkScenes], Tensor]


def fused(scenes: BenchmarkScenes) -> Tensor:
    """Render all objects by layers; every face counts."""
    return render(
        scenes.bank,
        scenes.instances,
        scenes.camera,
        light=scenes.light,
        softness=SOFTNESS,
        background=BACKGROUND,
    )


def fused_prefixes(scenes: BenchmarkScenes) -> Tensor:
    """Render the first n objects of every scene, for all n at once."""
    layers = render_layers(
        scenes.bank, scenes.instances, scenes.camera, light=scenes.light, softness=SOFTNESS
    )
    selection = prefix_selection(scenes.instances.identity.shape[1])
    return composite(layers, selection, BACKGROUND).rgb


def fragments(scenes: BenchmarkScenes, faces_per_pixel: int) -> Tensor:
    """Rasterize into lists of fragments, light the vertices and blend, as PyTorch3D does."""
    surfaces = pack_instances(scenes.bank, scenes.instances)
    found = rasterize(
        project_faces(surfaces, scenes.camera),
        surfaces.first_face,
        surfaces.num_faces,
        image_size=scenes.camera.image_size,
        blur_radius=BLUR_RADIUS,
        faces_per_pixel=faces_per_pixel,
    )
    colours = gouraud_shading(found, surfaces, scenes.camera, scenes.light)
    return softmax_alpha_blend(colours, found, softness=SOFTNESS, background=BACKGROUND)


def fragments_alone(scenes: BenchmarkScenes, faces_per_pixel: int, backend: str) -> Tensor:
    """Rasterize without shading; a sum of what has gradients, so that there is one output."""
    surfaces = pack_instances(scenes.bank, scenes.instances)
    found = rasterize(
        project_faces(surfaces, scenes.camera),
        surfaces.first_face,
        surfaces.num_faces,
        image_size=scenes.camera.image_size,
        blur_radius=BLUR_RADIUS,
        faces_per_pixel=faces_per_pixel,
        backend=backend,
    )
    return found.zbuf + found.dists + found.bary_coords.sum(dim=-1)


def pytorch3d(scenes: BenchmarkScenes, faces_per_pixel: int) -> Tensor:
    """Render by PyTorch3D's own renderer, from the same vertices in the world."""
    from pytorch3d.renderer import (
        BlendParams,
        MeshRasterizer,
        MeshRenderer,
        RasterizationSettings,
        SoftGouraudShader,
    )

    from air3d.render.pytorch3d import (
        cameras_to_pytorch3d,
        lights_to_pytorch3d,
        meshes_to_pytorch3d,
    )

    cameras = cameras_to_pytorch3d(scenes.camera)
    settings = RasterizationSettings(
        image_size=scenes.camera.image_size,
        blur_radius=BLUR_RADIUS,
        faces_per_pixel=faces_per_pixel,
        perspective_correct=True,
        clip_barycentric_coords=True,
    )
    blending = BlendParams(SOFTNESS.sigma, SOFTNESS.gamma, BACKGROUND)
    lights = lights_to_pytorch3d(scenes.light)
    renderer = MeshRenderer(
        MeshRasterizer(cameras, settings),
        SoftGouraudShader(cameras=cameras, lights=lights, blend_params=blending),
    )
    return renderer(meshes_to_pytorch3d(pack_instances(scenes.bank, scenes.instances)))


def whole_paths(faces_per_pixel: int) -> dict[str, Way]:
    """Return the ways from poses to an image, by name; PyTorch3D's only where it is installed."""
    paths: dict[str, Way] = {
        "fused": fused,
        "fused, all prefixes": fused_prefixes,
        f"fragments, K={faces_per_pixel}": partial(fragments, faces_per_pixel=faces_per_pixel),
    }
    if has_pytorch3d():
        paths[PYTORCH3D] = partial(pytorch3d, faces_per_pixel=faces_per_pixel)
    return paths


def rasterizers(faces_per_pixel: int) -> dict[str, Way]:
    """Return the ways from poses to fragments, by name; PyTorch3D's only where it is installed."""
    paths: dict[str, Way] = {
        RASTERIZER: partial(fragments_alone, faces_per_pixel=faces_per_pixel, backend="cpu")
    }
    if has_pytorch3d():
        paths[PYTORCH3D_RASTERIZER] = partial(
            fragments_alone, faces_per_pixel=faces_per_pixel, backend="pytorch3d"
        )
    return paths


def has_pytorch3d() -> bool:
    """Tell whether PyTorch3D can be imported, without importing it."""
    return importlib.util.find_spec("pytorch3d") is not None
