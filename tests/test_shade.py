"""Shading and blending fragments: exact gradients, parity of paths, edges, errors."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from render_cases import SOFT as SCENE_SOFT
from render_cases import mesh, one_thread, random_scene  # noqa: F401 (a fixture)
from shade_cases import SOFT, Shot, inputs, plain, shot
from torch import Tensor

from air3d.geometry import (
    Camera,
    look_at,
    pinhole_intrinsics,
    project,
    rigid_transform,
    yaw_rotation,
)
from air3d.render import Light, ambient_light, directional_light, point_light, render
from air3d.render.blend import (
    coverage,
    hard_depth,
    hard_rgb_blend,
    sigmoid_alpha_blend,
    soft_depth,
    softmax_alpha_blend,
    softmax_rgb_blend,
)
from air3d.render.checks import check_colour
from air3d.render.fragments import Fragments
from air3d.render.mixing import mix_rows, mix_rows_reference
from air3d.render.shade import gouraud_shading, interpolate, phong_shading, texels
from air3d.render.surfaces import pack_instances, pack_meshes, project_faces, with_texture
from air3d.scene import MeshBank

pytestmark = pytest.mark.usefixtures("one_thread")


def softly(shading, blend, view: Shot) -> Tensor:
    """Shade and blend; the fragments are all there are."""
    fragments = view.fragments()
    colours = shading(fragments, view.surfaces, view.camera, view.light, shininess=3.0)
    return blend(colours, fragments, softness=SOFT, background=view.background)


def depths(view: Shot) -> Tensor:
    fragments = view.fragments()
    soft = soft_depth(fragments, sigma=SOFT.sigma, background=9.0)
    return torch.cat([soft, hard_depth(fragments, background=9.0)], dim=-1)


def hard(view: Shot) -> Tensor:
    fragments = view.fragments()
    colours = phong_shading(fragments, view.surfaces, view.camera, view.light)
    return hard_rgb_blend(colours, fragments, background=view.background)


def silhouette(view: Shot) -> Tensor:
    fragments = view.fragments()
    return sigmoid_alpha_blend(texels(fragments, view.surfaces), fragments, sigma=SOFT.sigma)


PICTURES = {
    "gouraud": partial(softly, gouraud_shading, softmax_alpha_blend),
    "phong": partial(softly, phong_shading, softmax_rgb_blend),
    "hard": hard,
    "silhouette": silhouette,
    "depths": depths,
}


def check_gradients(picture: str, *names: str, textured: bool = True) -> None:
    """Compare with finite differences along two random directions of each of the inputs.

    Of the picture, four random weightings of all its pixels are looked at.
    """
    values = inputs()
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = random(4, 2 * 12 * 16 * 4)
    directions = {name: random(2, *values[name].shape) for name in names}

    def probes(*steps: Tensor) -> Tensor:
        moved = {
            name: values[name] + torch.tensordot(step, directions[name], dims=1)
            for name, step in zip(names, steps, strict=True)
        }
        view = shot({**values, **moved})
        image = PICTURES[picture](view if textured else plain(view)).flatten()
        return weights[:, : len(image)] @ image

    steps = [torch.zeros(2, dtype=torch.float64, requires_grad=True) for _ in names]
    assert torch.autograd.gradcheck(probes, steps, eps=1e-7, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", inputs())
@pytest.mark.parametrize("picture", ["gouraud", "phong"])
def test_gradients_of_every_input(picture, name):
    """From what the user gives to pixels, through rasterizing, a texture, light and blending."""
    check_gradients(picture, name)


@pytest.mark.parametrize("picture", ["hard", "silhouette", "depths"])
def test_gradients_of_other_pictures(picture):
    check_gradients(picture, "vertices", "intrinsics")


def test_gradients_without_texture():
    check_gradients("gouraud", "vertices", "colours", textured=False)


def test_the_shot_that_the_tests_share_is_worth_it():
    """Both meshes are large in the picture, with highlights, and beyond the border of textures."""
    view = shot(inputs())
    fragments = view.fragments()
    assert (coverage(fragments, sigma=SOFT.sigma).mean(dim=(1, 2, 3)) > 0.2).all()
    dull = replace(view.light, specular=torch.zeros_like(view.light.specular))
    for shading in (gouraud_shading, phong_shading):
        shine = shading(fragments, view.surfaces, view.camera, view.light, shininess=3.0)
        shine = shine - shading(fragments, view.surfaces, view.camera, dull)
        assert shine.max() > 0.02, shading.__name__
    uvs = view.surfaces.texture.verts_uvs
    assert uvs.min() < 0.0 and uvs.max() > 1.0


@pytest.mark.parametrize("textured", [False, True])
def test_the_path_of_fragments_shows_what_the_path_of_layers_shows(textured):
    """Two ways that share no code, for scenes with scaled, tinted, turned and absent objects."""
    scene = random_scene(4, 2, 3, (20, 28))
    scene.identity[1, 2] = -1
    bank = textures_for(scene.bank) if textured else scene.bank
    softness = SCENE_SOFT
    light = replace(scene.light, specular=torch.zeros_like(scene.light.specular))
    expected = render(
        bank,
        scene.instances,
        scene.camera,
        light=light,
        softness=softness,
        background=scene.background,
        backend="reference",
    )
    surfaces = pack_instances(bank, scene.instances)
    view = Shot(surfaces, scene.camera, light, scene.background)
    fragments = view.fragments(faces_per_pixel=60, softness=softness)
    assert (fragments.pix_to_face[..., -1] < 0).all(), "all faces must have room"
    colours = gouraud_shading(fragments, surfaces, scene.camera, light)
    rgba = softmax_alpha_blend(colours, fragments, softness=softness, background=scene.background)
    # The bank's normals were rounded to float32.
    torch.testing.assert_close(rgba[..., :3], expected, rtol=0.0, atol=1e-6)


def textures_for(bank: MeshBank) -> MeshBank:
    """Give the first two meshes textures of different sizes."""
    generator = torch.Generator().manual_seed(1)
    meshes = list(bank.meshes)
    for number, size in enumerate([(5, 9), (8, 3)]):
        uvs = 1.4 * torch.rand(len(meshes[number].vertices), 2, generator=generator) - 0.2
        texture = torch.rand(*size, 3, generator=generator)
        meshes[number] = replace(meshes[number], uvs=uvs, texture=texture)
    return MeshBank.pack(meshes).to(dtype=bank.vertices.dtype)


def test_gradients_reach_instances():
    scene = random_scene(2, 2, 2, (16, 16))
    scene.identity[0, 1] = -1
    bank = textures_for(scene.bank)
    textures = bank.textures.requires_grad_()
    surfaces = pack_instances(replace(scene.bank, **vars(bank)), scene.instances)
    view = Shot(surfaces, scene.camera, scene.light, scene.background)
    image = PICTURES["phong"](view)
    leaves = [scene.poses, scene.scale, scene.tint, scene.light.specular, textures]
    gradients = torch.autograd.grad(image.square().sum(), leaves)
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
    assert all((gradient[0, 1] == 0.0).all() for gradient in gradients[:3]), "absent"


def random_mixture(mixtures: int, parts: int, channels: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(parts)
    table = torch.rand(50, channels, generator=generator, dtype=dtype)
    index = torch.randint(-1, 50, (mixtures, parts), generator=generator)
    weights = torch.randn(mixtures, parts, generator=generator, dtype=dtype)
    upstream = torch.randn(mixtures, channels, generator=generator, dtype=dtype)
    return table.requires_grad_(), index, weights.requires_grad_(), upstream


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
@pytest.mark.parametrize("shape", [(400, 3, 3), (100, 4, 2), (7, 1, 1), (0, 3, 3)])
def test_fast_mixtures_equal_plain_ones(shape, dtype, tolerance):
    table, index, weights, upstream = random_mixture(*shape, dtype)
    answers = []
    for mix in (mix_rows, mix_rows_reference):
        mixed = mix(table, index, weights)
        gradients = torch.autograd.grad(mixed, (table, weights), upstream)
        assert mixed.dtype == dtype and all(g.dtype == dtype for g in gradients)
        answers.append([mixed, *gradients])
    for fast, plainly in zip(*answers, strict=True):
        torch.testing.assert_close(fast, plainly, rtol=0.0, atol=tolerance)


def test_mixtures_are_a_proper_operator():
    table, index, weights, _ = random_mixture(6, 3, 2, torch.float64)
    torch.library.opcheck(torch.ops.air3d.mix_rows.default, (table, index, weights))


def test_mixtures_do_not_depend_on_threads():
    table, index, weights, upstream = random_mixture(3000, 3, 3, torch.float32)
    answers = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            mixed = mix_rows(table, index, weights)
            answers.append([mixed, *torch.autograd.grad(mixed, (table, weights), upstream)])
        finally:
            torch.set_num_threads(1)
    assert all(torch.equal(one, three) for one, three in zip(*answers, strict=True))


def test_interpolation_is_the_sum_over_corners():
    fragments = shot(inputs()).fragments()
    attributes = torch.rand(8, 3, 5, dtype=torch.float64)
    at_corners = attributes[fragments.pix_to_face.clamp(min=0)]
    expected = (fragments.bary_coords[..., None] * at_corners).sum(dim=-2)
    expected[fragments.pix_to_face < 0] = 0.0
    torch.testing.assert_close(interpolate(fragments, attributes), expected)


def test_interpolated_positions_lie_where_pixels_look():
    """Project a fragment's point in the world: it lands on its pixel's centre."""
    view = shot(inputs())
    fragments = view.fragments(softness=replace_sigma(1e-9))
    corners = view.surfaces.vertices[view.surfaces.faces]
    points = interpolate(fragments, corners)[:, :, :, 0]
    hit = fragments.pix_to_face[..., 0] >= 0
    projection = project(view.camera, points.flatten(1, 2))
    row, column = torch.meshgrid(torch.arange(12), torch.arange(16), indexing="ij")
    centres = torch.stack([column, row], dim=-1) + 0.5
    pixels = projection.pixels.unflatten(1, (12, 16))[hit]
    torch.testing.assert_close(pixels, centres.expand(2, 12, 16, 2)[hit].double())
    depth = projection.depth.unflatten(1, (12, 16))[hit]
    torch.testing.assert_close(depth, fragments.zbuf[..., 0][hit])


def replace_sigma(sigma: float):
    return SOFT.model_copy(update={"sigma": sigma})


@pytest.mark.parametrize("picture", ["gouraud", "phong", "hard"])
def test_pictures_do_not_depend_on_where_the_world_is(picture):
    """Move meshes, cameras and lamp together."""
    values = inputs()
    turn = yaw_rotation(torch.tensor(0.7, dtype=torch.float64))
    shift = torch.tensor([0.4, -1.3, 2.1], dtype=torch.float64)
    moved = {
        **values,
        "vertices": values["vertices"] @ turn.T + shift,
        "world_to_camera": values["world_to_camera"]
        @ torch.linalg.inv(rigid_transform(turn, shift)),
        "source": torch.cat([values["source"][:, :3] @ turn.T + shift, torch.ones(1, 1)], dim=1),
    }
    before, after = (PICTURES[picture](shot(given)) for given in (values, moved))
    torch.testing.assert_close(after, before, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("picture", PICTURES)
def test_images_of_a_batch_are_independent(picture):
    """Each image alone shows what it shows in the batch."""
    values = inputs()
    together = PICTURES[picture](shot(values))
    swapped = {
        name: value.flip(0) if name in ("vertices", "colours", "maps", "world_to_camera") else value
        for name, value in values.items()
    }
    torch.testing.assert_close(PICTURES[picture](shot(swapped)).flip(0), together)


def test_one_light_or_one_for_each_image():
    view = shot(inputs())
    rows = replace(
        view, light=Light(*(field.expand(2, -1).clone() for field in vars(view.light).values()))
    )
    for name in ("gouraud", "phong"):
        torch.testing.assert_close(PICTURES[name](rows), PICTURES[name](view))


def test_a_lamp_far_away_shines_as_from_a_direction():
    view = shot(inputs())
    strengths = {"ambient": 0.3, "diffuse": 0.5, "specular": 0.4}
    direction = torch.tensor([0.2, -0.7, 0.6], dtype=torch.float64)
    lamps = directional_light(direction, **strengths), point_light(1e8 * direction, **strengths)
    far, near = (PICTURES["phong"](replace(view, light=lamp)) for lamp in lamps)
    torch.testing.assert_close(far, near, rtol=0.0, atol=1e-6)


def test_light_from_everywhere_shows_the_texels():
    view = shot(inputs())
    fragments = view.fragments()
    light = ambient_light().to(dtype=torch.float64)
    for shading in (gouraud_shading, phong_shading):
        colours = shading(fragments, view.surfaces, view.camera, light)
        torch.testing.assert_close(colours, texels(fragments, view.surfaces))


@pytest.mark.parametrize("shading", [gouraud_shading, phong_shading])
def test_a_lamp_behind_the_surface_makes_no_highlight(shading):
    """Not even where the mirrored ray, which goes through the surface, meets the eye."""
    triangle = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double()
    surfaces = pack_meshes([triangle], [torch.tensor([[0, 1, 2]])])
    eye, centre = torch.tensor([[-3.0, 0.3, 0.2]]), torch.tensor([[0.3, 0.3, 0.0]])
    matrices = look_at(eye, centre).double(), pinhole_intrinsics(0.6, (1, 1)).double()[None]
    light = directional_light((1.0, 0.0, -0.05), ambient=0.25, diffuse=0.5, specular=0.5)
    fragments = Fragments(
        torch.zeros(1, 1, 1, 1, dtype=torch.int64),
        torch.ones(1, 1, 1, 1).double(),
        torch.full((1, 1, 1, 1, 3), 1 / 3).double(),
        -torch.ones(1, 1, 1, 1).double(),
    )
    dark = light.to(dtype=torch.float64)
    bright = replace(dark, source=dark.source * torch.tensor([1.0, 1.0, -1.0, 1.0]))
    shown, mirrored = (
        shading(fragments, surfaces, Camera(*matrices, (1, 1)), lamp) for lamp in (dark, bright)
    )
    assert (shown - 0.25).abs().max() < 1e-7 and (mirrored > 0.3).all()


def test_normals_of_a_sphere_point_outwards_and_those_of_no_face_nowhere():
    scene = random_scene(0, 1, 1, (8, 8))
    sphere = scene.bank.meshes[1]
    vertices = torch.cat([sphere.vertices, torch.zeros(1, 3)])
    surfaces = pack_meshes([vertices], [sphere.faces])
    outwards = torch.nn.functional.normalize(sphere.vertices - sphere.vertices.mean(dim=0), dim=1)
    assert ((surfaces.normals[:-1] * outwards).sum(dim=1) > 0.99).all()
    assert (surfaces.normals[-1] == 0.0).all()
    torch.testing.assert_close(surfaces.normals[:-1], sphere.normals, rtol=0.0, atol=1e-5)


def test_texels_show_where_they_lie_and_the_border_goes_on():
    """Fragments that lie on single vertices show single texels."""
    maps = torch.rand(1, 3, 4, 3, dtype=torch.float64)
    column, row = torch.meshgrid(torch.arange(-1, 5), torch.arange(-1, 4), indexing="ij")
    verts_uvs = torch.stack([column / 3.0, 1.0 - row / 2.0], dim=-1).flatten(0, 1).double()
    count = len(verts_uvs)
    numbers = torch.arange(count)
    fragments = Fragments(
        pix_to_face=numbers.view(1, 5, 6, 1),
        zbuf=torch.ones(1, 5, 6, 1, dtype=torch.float64),
        bary_coords=torch.tensor([0.0, 1.0, 0.0]).double().expand(1, 5, 6, 1, 3),
        dists=-torch.ones(1, 5, 6, 1, dtype=torch.float64),
    )
    faces = numbers[:, None].expand(count, 3)
    vertices = torch.rand(count, 3, dtype=torch.float64)
    surfaces = with_texture(pack_meshes([vertices], [faces]), maps, verts_uvs, faces)
    expected = maps[0][row.clamp(0, 2), column.clamp(0, 3)]
    shown = texels(fragments, surfaces).view(6, 5, 3)
    torch.testing.assert_close(shown, expected)


def manual_fragments(**changes: Tensor) -> Fragments:
    """Return two pixels: one with two faces, one without any; what is not there holds rubbish."""
    maps = {
        "pix_to_face": torch.tensor([[0, 1, -1], [-1, -1, -1]]),
        "zbuf": torch.tensor([[2.0, 2.5, -1.0], [-1.0, -1.0, -1.0]]),
        "bary_coords": torch.tensor([[0.2, 0.3, 0.5]] * 6).view(2, 3, 3),
        "dists": torch.tensor([[1e-3, -2e-3, -1.0], [-1.0, -1.0, -1.0]]),
    }
    maps = {**maps, **changes}
    return Fragments(
        *(
            part[None, None].double() if part.is_floating_point() else part[None, None]
            for part in maps.values()
        )
    )


COLOURS = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.8, 0.4], [0.0, 0.0, 0.0]]).double()
BACKGROUND = torch.tensor([0.2, 0.3, 0.6]).double()


def test_blends_by_hand():
    """One pixel of two faces, by the formulas as they are written."""
    fragments = manual_fragments()
    colours = COLOURS.expand(1, 1, 2, 3, 3)
    prob = torch.sigmoid(-fragments.dists[0, 0, 0, :2] / SOFT.sigma)
    alpha = 1.0 - (1.0 - prob).prod()
    weight = prob * torch.exp(-(fragments.zbuf[0, 0, 0, :2] - 2.0) / 9.0 / SOFT.gamma)
    mean = (weight[:, None] * COLOURS[:2]).sum(dim=0) / weight.sum()
    rgba = softmax_alpha_blend(colours, fragments, softness=SOFT, background=BACKGROUND)[0, 0]
    torch.testing.assert_close(rgba[0, :3], mean * alpha + BACKGROUND * (1.0 - alpha))
    torch.testing.assert_close(rgba[0, 3], alpha)
    behind = torch.tensor(1e-10).double()
    total = (weight[:, None] * COLOURS[:2]).sum(dim=0) + behind * BACKGROUND
    rgba = softmax_rgb_blend(colours, fragments, softness=SOFT, background=BACKGROUND)[0, 0]
    torch.testing.assert_close(rgba[0, :3], total / (weight.sum() + behind))
    hard_rgba = hard_rgb_blend(colours, fragments, background=BACKGROUND)[0, 0]
    torch.testing.assert_close(hard_rgba[0], torch.tensor([0.9, 0.2, 0.1, 1.0]).double())
    for image in (rgba, hard_rgba):
        torch.testing.assert_close(image[1], torch.cat([BACKGROUND, torch.zeros(1).double()]))
    soft = soft_depth(fragments, sigma=SOFT.sigma, background=7.0)[0, 0, :, 0]
    second = (prob[0] + prob[1]).clamp(max=1.0) - prob[0]
    expected = prob[0] * 2.0 + second * 2.5 + (1.0 - prob[0] - second) * 7.0
    torch.testing.assert_close(soft, torch.stack([expected, torch.tensor(7.0).double()]))
    crisp = hard_depth(fragments, background=7.0)[0, 0, :, 0]
    torch.testing.assert_close(crisp, torch.tensor([2.0, 7.0]).double())


def test_the_background_is_nearer_than_faces_beyond_far():
    """It counts at ``far``: its weight is 1 there and the faces' are less."""
    fragments = manual_fragments(zbuf=torch.tensor([[10.01, 10.02, -1.0], [-1.0, -1.0, -1.0]]))
    rgba = softmax_rgb_blend(
        COLOURS.expand(1, 1, 2, 3, 3), fragments, softness=SOFT, background=BACKGROUND
    )
    prob = torch.sigmoid(-fragments.dists[0, 0, 0, :2] / SOFT.sigma)
    weight = prob * torch.exp((10.0 - fragments.zbuf[0, 0, 0, :2]) / 9.0 / SOFT.gamma)
    total = (weight[:, None] * COLOURS[:2]).sum(dim=0) + BACKGROUND
    torch.testing.assert_close(rgba[0, 0, 0, :3], total / (weight.sum() + 1.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_extreme_gives_nan(dtype):
    """Far beyond sigma and far, on an edge, all inside: values and gradients stay finite."""
    extremes = torch.tensor([0.0, 1e-30, -1e-30, 5.0, -5.0, 1e6, -1e6, 0.1, -0.1])
    depths = torch.tensor([1e-6, 1.0, 1.0, 2.0, 99.0, 100.0, 1e5, 1e5, 1e30])
    # Every pixel begins at another depth.
    depths = depths[(torch.arange(9) + torch.arange(9)[:, None]).clamp(max=8)][None, None]
    fragments = Fragments(
        torch.arange(9).view(1, 1, 1, 9).expand(1, 1, 9, 9),
        depths.to(dtype).requires_grad_(),
        torch.full((1, 1, 9, 9, 3), 1 / 3, dtype=dtype).requires_grad_(),
        torch.stack([extremes.roll(k) for k in range(9)])[None, None].to(dtype).requires_grad_(),
    )
    colours = torch.rand(1, 1, 9, 9, 3).to(dtype).requires_grad_()
    softness = SOFT.model_copy(update={"sigma": 1e-4, "gamma": 1e-4})
    background = BACKGROUND.to(dtype)
    for blend in (softmax_alpha_blend, softmax_rgb_blend):
        rgba = blend(colours, fragments, softness=softness, background=background)
        depth = soft_depth(fragments, sigma=1e-4, background=1e3)
        leaves = (colours, fragments.zbuf, fragments.dists)
        gradients = torch.autograd.grad(rgba.sum() + depth.sum(), leaves)
        assert rgba.isfinite().all() and rgba.min() >= 0.0 and rgba.max() <= 1.0 + 1e-6
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("picture", PICTURES)
def test_what_is_behind_the_camera_is_background_without_gradient(picture):
    """Also on the camera's plane, and where the eye is in a vertex."""
    values = {name: value.clone().requires_grad_() for name, value in inputs().items()}
    view = shot(values)
    eyes = -torch.linalg.inv(view.camera.world_to_camera)[:, :3, 2]
    behind = view.surfaces.vertices.unflatten(0, (2, 4)) + 6.0 * eyes[:, None].detach()
    behind = torch.where(torch.arange(4)[:, None] == 0, eye_of(view.camera)[:, None], behind)
    image = PICTURES[picture](shot({**values, "vertices": behind}))
    empty = 9.0 if picture == "depths" else 0.0
    background = view.background if picture not in ("depths", "silhouette") else empty
    assert (image[..., :3] == background).all()
    gradients = torch.autograd.grad(image.sum(), list(values.values()), allow_unused=True)
    for name, gradient in zip(values, gradients, strict=True):
        if name != "background" and gradient is not None:
            assert (gradient == 0.0).all(), name


def matrices(camera: Camera) -> tuple[Tensor, Tensor]:
    return camera.world_to_camera, camera.intrinsics


def eye_of(camera: Camera) -> Tensor:
    return torch.linalg.inv(camera.world_to_camera)[:, :3, 3].detach()


@pytest.mark.parametrize("images", [0, 2])
def test_images_without_faces(images):
    """All is background, and gradients are zeros."""
    background = BACKGROUND.clone().requires_grad_()
    bank = MeshBank.pack(random_scene(0, 1, 1, (8, 8)).bank.meshes).to(dtype=torch.float64)
    scene = random_scene(0, images, 0, (6, 8)) if images else random_scene(0, 0, 2, (6, 8))
    for name, picture in PICTURES.items():
        surfaces = pack_instances(bank, scene.instances)
        image = picture(Shot(surfaces, scene.camera, scene.light, background))
        assert image.shape[:3] == (images, 6, 8) and image.isfinite().all()
        if name in ("gouraud", "phong", "hard"):
            assert (image[..., :3] == BACKGROUND).all() and (image[..., 3] == 0.0).all()
            leaves = (background, scene.poses, scene.light.source)
            gradients = torch.autograd.grad(image.sum(), leaves, allow_unused=True)
            assert (gradients[0] == 48.0 * images).all()
            assert all(g is None or not g.any() for g in gradients[1:])


def test_float32_stays_float32():
    view = shot({name: value.float() for name, value in inputs().items()})
    for name, picture in PICTURES.items():
        image, precise = picture(view), picture(shot(inputs()))
        assert image.dtype == torch.float32
        torch.testing.assert_close(image.double(), precise, rtol=0.0, atol=2e-4, msg=name)


def test_coverage_is_one_inside_and_falls_to_the_blur():
    view = shot(inputs())
    alpha = coverage(view.fragments(), sigma=SOFT.sigma)
    crisp = view.fragments(softness=replace_sigma(1e-9)).pix_to_face[..., :1] >= 0
    assert alpha.shape == (2, 12, 16, 1)
    assert (alpha[crisp] > 0.5).all() and (alpha[~crisp] < 0.95).all()
    assert ((alpha >= 0.0) & (alpha <= 1.0)).all()


def test_errors_say_what_is_wanted():
    view = shot(inputs())
    fragments = view.fragments()
    colours = texels(fragments, view.surfaces)
    three = Camera(*(part[[0, 1, 0]] for part in matrices(view.camera)), (12, 16))
    with pytest.raises(ValueError, match=r"camera must hold 1 or 2 rows \(the number of images\)"):
        project_faces(view.surfaces, three)
    with pytest.raises(ValueError, match="camera must hold 1 or 2 rows"):
        phong_shading(fragments, view.surfaces, three, view.light)
    with pytest.raises(ValueError, match="shininess must be more than 0, got -1"):
        phong_shading(fragments, view.surfaces, view.camera, view.light, shininess=-1.0)
    one = pack_meshes([torch.rand(3, 3)], [torch.tensor([[0, 1, 2]])])
    with pytest.raises(ValueError, match="fragments must be of the 1 images that surfaces hold"):
        texels(fragments, one)
    with pytest.raises(ValueError, match="face_attributes must hold all faces .* got 3 faces"):
        interpolate(fragments, torch.rand(3, 3, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"float32 on cpu, but the fragments are torch\.float64"):
        interpolate(fragments, torch.rand(8, 3, 2))
    with pytest.raises(ValueError, match=r"colours must be \[2, 12, 16, 8, 3\], one per fragment"):
        hard_rgb_blend(colours[:, :, :, :4], fragments, background=view.background)
    face = torch.tensor([[0, 1, 2]])
    with pytest.raises(ValueError, match="one per image and at least one, got 2 and 1"):
        pack_meshes([torch.rand(3, 3)] * 2, [face])
    with pytest.raises(ValueError, match=r"colours must be shaped as vertices, \[\[3, 3\]\], got"):
        pack_meshes([torch.rand(3, 3)], [face], [torch.rand(4, 3)])
    with pytest.raises(ValueError, match="maps must hold 1 or 2 rows"):
        with_texture(view.surfaces, torch.rand(3, 2, 2, 3), torch.rand(3, 2), view.surfaces.faces)
    with pytest.raises(ValueError, match="faces_uvs must have a row for each of the 8"):
        with_texture(view.surfaces, torch.rand(1, 2, 2, 3), torch.rand(3, 2), one.faces)
    uvs = torch.rand(3, 2).double()
    beyond = view.surfaces.faces.clone().fill_(3)
    for number in (3, -1):
        with pytest.raises(ValueError, match=rf"faces_uvs must name the 3 rows .* 0, got {number}"):
            with_texture(view.surfaces, torch.rand(1, 2, 2, 3), uvs, beyond.fill_(number))
    with pytest.raises(ValueError, match="faces must name the 5 rows of what they interp.* got 5"):
        mix_rows(torch.rand(5, 3), torch.tensor([[0, 5]]), torch.rand(1, 2))
    single = view.light.to(dtype=torch.float32)
    for shading in (gouraud_shading, phong_shading):
        with pytest.raises(ValueError, match="light is torch.float32 on cpu but surfaces is"):
            shading(fragments, view.surfaces, view.camera, single)
    with pytest.raises(ValueError, match="camera is torch.float32 on cpu but surfaces is"):
        project_faces(view.surfaces, view.camera.to(dtype=torch.float32))
    lost = replace(view.camera, intrinsics=torch.full_like(view.camera.intrinsics, torch.nan))
    with pytest.raises(ValueError, match="intrinsics must hold numbers, got NaN"):
        project_faces(view.surfaces, lost)
    with pytest.raises(ValueError, match="background is torch.float32 on cpu but colours is"):
        softmax_alpha_blend(colours, fragments, softness=SOFT, background=torch.zeros(3))
    for size in ((), (1,), (4,)):
        # By a check of its own, as these tests check the shapes of the verbs' arguments.
        with pytest.raises(ValueError, match=r"blend: background must be one colour \[3\], got"):
            check_colour("blend", torch.zeros(size).double(), "colours", colours)
    uneven = point_light((0.0, 0.0, 1.0))
    for name in ("ambient", "diffuse"):
        object.__setattr__(uneven, name, torch.rand(2, 3))
    with pytest.raises(ValueError, match="must hold as many rows, got 1, 2, 2, 1"):
        uneven.__post_init__()
    with pytest.raises(ValueError, match="identity must lie between"):
        scene = random_scene(0, 1, 1, (8, 8))
        pack_instances(scene.bank, replace(scene.instances, identity=torch.tensor([[7]])))
