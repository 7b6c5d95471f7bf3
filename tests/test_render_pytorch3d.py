"""The adapter to PyTorch3D, and whole pictures by its own renderer, where it is installed."""

import sys
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
import torch
from render_cases import one_thread  # noqa: F401 (a fixture)
from shade_cases import SOFT, Shot, clamped, inputs, plain, shot
from torch import Tensor

from air3d.render import Light, directional_light, point_light
from air3d.render.blend import (
    hard_depth,
    hard_rgb_blend,
    sigmoid_alpha_blend,
    soft_depth,
    softmax_rgb_blend,
)
from air3d.render.fragments import Fragments, RasterSettings
from air3d.render.layers import blur_radius
from air3d.render.pytorch3d import (
    cameras_to_pytorch3d,
    lights_to_pytorch3d,
    meshes_to_pytorch3d,
)
from air3d.render.pytorch3d import rasterize as rasterize_by_pytorch3d
from air3d.render.rasterize import rasterize
from air3d.render.shade import gouraud_shading, phong_shading
from air3d.render.surfaces import project_faces

pytestmark = pytest.mark.usefixtures("one_thread")
# PyTorch3D's shaders have these depths built in.
SOFTNESS = SOFT.model_copy(update={"near": 1.0, "far": 100.0})
SHADERS = (
    "HardPhongShader",
    "HardGouraudShader",
    "HardDepthShader",
    "SoftPhongShader",
    "SoftGouraudShader",
    "SoftSilhouetteShader",
    "SoftDepthShader",
)


@pytest.fixture
def pytorch3d():
    pytest.importorskip("pytorch3d.renderer")
    pytest.importorskip("pytorch3d.utils")
    return sys.modules["pytorch3d"]


@dataclass(frozen=True)
class Single:
    """The shared shot in float32, and its inputs, which ask for gradients."""

    view: Shot
    leaves: dict[str, Tensor]

    def gradients(self, picture: Tensor, upstream: Tensor) -> dict[str, Tensor]:
        """Return the gradients of all inputs that the picture shows."""
        found = torch.autograd.grad(
            picture, list(self.leaves.values()), upstream, retain_graph=True, allow_unused=True
        )
        pairs = zip(self.leaves, found, strict=True)
        return {name: gradient for name, gradient in pairs if gradient is not None}


def single(textured: bool = False, far: bool = False) -> Single:
    """Return the shot with or without its texture, under a lamp far away or nearby."""
    values = inputs()
    if textured:  # PyTorch3D has no colours beside the texture
        values["colours"] = torch.ones_like(values["colours"])
    if far:
        values["source"][:, 3] = 0.0
    leaves = {name: value.float().requires_grad_() for name, value in values.items()}
    view = shot(leaves)
    return Single(view if textured else plain(view), leaves)


def fragments_of(view: Shot, blur: float, backend: str = "auto") -> Fragments:
    return rasterize(
        project_faces(view.surfaces, view.camera),
        view.surfaces.first_face,
        view.surfaces.num_faces,
        image_size=view.camera.image_size,
        blur_radius=blur,
        faces_per_pixel=8,
        backend=backend,
    )


def ours(shader: str, view: Shot, fragments: Fragments) -> Tensor:
    """Draw what PyTorch3D's shader of that name draws."""
    if shader == "SoftSilhouetteShader":
        white = torch.ones_like(fragments.bary_coords)
        return sigmoid_alpha_blend(white, fragments, sigma=SOFTNESS.sigma)
    if shader == "SoftDepthShader":
        return soft_depth(fragments, sigma=SOFTNESS.sigma, background=100.0)
    if shader == "HardDepthShader":
        return hard_depth(fragments, background=100.0)
    shading = gouraud_shading if "Gouraud" in shader else phong_shading
    colours = shading(fragments, view.surfaces, view.camera, view.light)
    if shader.startswith("Hard"):
        return hard_rgb_blend(colours, fragments, background=view.background)
    return softmax_rgb_blend(colours, fragments, softness=SOFTNESS, background=view.background)


def theirs(shader: str, view: Shot, blur: float, renderer: ModuleType) -> Tensor:
    cameras = cameras_to_pytorch3d(view.camera)
    settings = renderer.RasterizationSettings(
        image_size=view.camera.image_size, blur_radius=blur, faces_per_pixel=8
    )
    blending = renderer.BlendParams(SOFTNESS.sigma, SOFTNESS.gamma, view.background)
    makes = getattr(renderer.mesh.shader, shader)
    if shader == "SoftSilhouetteShader":
        shade = makes(blend_params=blending)
    else:
        lights = lights_to_pytorch3d(view.light)
        shade = makes(cameras=cameras, lights=lights, blend_params=blending)
    rasterizer = renderer.MeshRasterizer(cameras=cameras, raster_settings=settings)
    return renderer.MeshRenderer(rasterizer, shade)(meshes_to_pytorch3d(view.surfaces))


@pytest.mark.parametrize("shader", SHADERS)
def test_whole_pictures_and_gradients_equal_pytorch3ds(pytorch3d, shader):
    check_against_pytorch3d(shader, pytorch3d.renderer)


@pytest.mark.parametrize("shader", ["SoftPhongShader", "HardPhongShader"])
def test_textured_pictures_and_gradients_equal_pytorch3ds(pytorch3d, shader):
    check_against_pytorch3d(shader, pytorch3d.renderer, textured=True)


@pytest.mark.parametrize("shader", ["SoftPhongShader", "SoftGouraudShader"])
def test_pictures_under_a_lamp_far_away_equal_pytorch3ds(pytorch3d, shader):
    check_against_pytorch3d(shader, pytorch3d.renderer, far=True)


def check_against_pytorch3d(shader: str, renderer: ModuleType, **kind: bool) -> None:
    """Draw by its own renderer from its own cameras, lights and meshes: equal but for rounding.

    Upstream gradients are zero at the few pixels where PyTorch3D makes noise of gradients.
    """
    blur = 0.0 if shader.startswith("Hard") else blur_radius(SOFTNESS.sigma)
    mine, other = single(**kind), single(**kind)
    fragments = fragments_of(mine.view, blur)
    picture = ours(shader, mine.view, fragments)
    their_picture = theirs(shader, other.view, blur, renderer)
    torch.testing.assert_close(picture, their_picture, rtol=1e-6, atol=2e-6)
    face_verts = project_faces(mine.view.surfaces, mine.view.camera)
    sane = ~clamped(face_verts, fragments).any(dim=-1, keepdim=True)
    assert sane.float().mean() > 0.9
    upstream = sane * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    gradients = mine.gradients(picture, upstream)
    for name, truth in other.gradients(their_picture, upstream).items():
        gradient = gradients[name]
        if name == "intrinsics":  # of which PyTorch3D's cameras hold these alone
            gradient, truth = (part[:, (0, 1, 0, 1), (0, 1, 2, 2)] for part in (gradient, truth))
        if name == "source":  # a direction has three coordinates there
            gradient, truth = gradient[:, :3], truth[:, :3]
        assert (gradient - truth).abs().max() <= 1e-4 * truth.abs().max() + 1e-6, name


def test_cameras_are_those_that_pytorch3d_makes_of_opencv_ones(pytorch3d):
    """Not square, off centre, of different focal lengths."""
    camera = single().view.camera
    camera = replace(camera, intrinsics=camera.intrinsics * torch.tensor([[1.3], [1.0], [1.0]]))
    made = cameras_to_pytorch3d(camera)
    size = torch.tensor([camera.image_size]).expand(2, 2)
    expected = pytorch3d.utils.cameras_from_opencv_projection(
        camera.world_to_camera[:, :3, :3], camera.world_to_camera[:, :3, 3], camera.intrinsics, size
    )
    for name in ("R", "T", "focal_length", "principal_point", "image_size"):
        torch.testing.assert_close(getattr(made, name), getattr(expected, name), msg=name)
    surfaces = replace(single().view.surfaces)
    corners = surfaces.vertices[surfaces.faces].flatten(0, 1).view(2, 12, 3)
    ndc = made.transform_points(corners).view(8, 3, 3)
    faces = project_faces(surfaces, camera)
    torch.testing.assert_close(faces[..., :2], ndc[..., :2], rtol=0.0, atol=1e-6)


def test_meshes_have_the_normals_that_pytorch3d_finds(pytorch3d):
    surfaces = single().view.surfaces
    meshes = meshes_to_pytorch3d(surfaces)
    assert torch.equal(meshes.verts_normals_packed(), surfaces.normals)
    anew = type(meshes)(meshes.verts_list(), meshes.faces_list()).verts_normals_packed()
    torch.testing.assert_close(surfaces.normals, anew, rtol=0.0, atol=2e-7)
    assert torch.equal(meshes.faces_packed(), surfaces.faces)


@pytest.mark.parametrize("z_clip", [None, 2.0])
def test_the_backend_finds_the_same_fragments(pytorch3d, z_clip):
    """Also where the near plane cuts faces, of which both halves must not be shown."""
    view = single().view
    face_verts = project_faces(view.surfaces, view.camera).detach()
    answers = [
        rasterize(
            face_verts,
            view.surfaces.first_face,
            view.surfaces.num_faces,
            image_size=(12, 16),
            blur_radius=blur_radius(SOFTNESS.sigma),
            faces_per_pixel=5,
            z_clip=z_clip,
            backend=backend,
        )
        for backend in ("cpu", "pytorch3d")
    ]
    if z_clip is not None:
        assert (face_verts[..., 2].amin(dim=1) < z_clip).any()
        assert (face_verts[..., 2].amax(dim=1) > z_clip).any()
    for name, mine in vars(answers[0]).items():
        assert torch.equal(mine, getattr(answers[1], name)), name


def test_no_faces_are_no_fragments(pytorch3d):
    settings = RasterSettings((4, 6), 0.0, 2, True, False, False)
    none = torch.zeros(3, dtype=torch.int64)
    fragments = rasterize_by_pytorch3d(torch.zeros(0, 3, 3), none, none, none[:0], settings)
    assert fragments.pix_to_face.shape == (3, 4, 6, 2) and (fragments.pix_to_face == -1).all()


def test_what_pytorch3d_cannot_hold_is_refused(pytorch3d):
    view = single(textured=True).view
    settings = RasterSettings((4, 6), 0.0, 2, True, False, False)
    one = torch.ones(1, dtype=torch.int64)
    with pytest.raises(
        ValueError, match=r"must be torch\.float32 for PyTorch3D, got torch\.float64"
    ):
        rasterize_by_pytorch3d(torch.zeros(1, 3, 3).double(), 0 * one, one, -one, settings)
    with pytest.raises(ValueError, match="of the 1 packed faces"):
        rasterize_by_pytorch3d(torch.zeros(1, 3, 3), one, one, -one, settings)
    skewed = view.camera.intrinsics + torch.tensor([[0.0, 1.0, 0.0], [0.0] * 3, [0.0] * 3])
    with pytest.raises(ValueError, match="intrinsics must be"):
        cameras_to_pytorch3d(replace(view.camera, intrinsics=skewed))
    with pytest.raises(ValueError, match="must be one image of one size"):
        meshes_to_pytorch3d(replace(view.surfaces, colours=0.5 * view.surfaces.colours))
    texture = replace(view.surfaces.texture, faces_map=torch.arange(8) % 2)
    with pytest.raises(ValueError, match="must be one image of one size"):
        meshes_to_pytorch3d(replace(view.surfaces, texture=texture))
    lamps = [directional_light((0.0, 0.0, 1.0)), point_light((0.0, 0.0, 1.0))]
    mixed = Light(*(torch.cat(fields) for fields in zip(*map(fields_of, lamps), strict=True)))
    with pytest.raises(ValueError, match="must hold lamps of one kind"):
        lights_to_pytorch3d(mixed)


def fields_of(light: Light) -> list[Tensor]:
    return list(vars(light).values())


def test_without_pytorch3d_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    settings = RasterSettings((4, 6), 0.0, 2, True, False, False)
    none = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ImportError, match="PyTorch3D is needed here .* install it as"):
        rasterize_by_pytorch3d(torch.zeros(0, 3, 3), none, none, none[:0], settings)
    with pytest.raises(ImportError, match="PyTorch3D is needed here"):
        cameras_to_pytorch3d(single().view.camera)
