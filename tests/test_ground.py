"""The ground: what a mesh of it would show, without its seams, and with a gradient everywhere."""

import io
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from render_cases import (
    SOFT,
    camera,
    coarse_meshes,
    mesh,
    one_thread,  # noqa: F401 (a fixture)
)
from torch import Tensor

from air3d.geometry import (
    Camera,
    look_at,
    pinhole_intrinsics,
    project,
    rigid_transform,
    yaw_rotation,
)
from air3d.render import (
    Instances,
    Layers,
    Light,
    ambient_light,
    composite,
    cpu,
    directional_light,
    point_light,
    reference_ground,
    render_layers,
)
from air3d.render.composite import join, visibility
from air3d.render.cpu import ground_kernels
from air3d.render.ground import Ground, checkerboard, ground_layer, plain_ground, view_ground
from air3d.render.layers import blur_radius
from air3d.scene import MeshBank
from air3d.scene.spec import RenderSpec

pytestmark = pytest.mark.usefixtures("one_thread")
LIGHT, DARK = (0.9, 0.8, 0.7), (0.1, 0.3, 0.2)
WIDE = RenderSpec(sigma=1e-3, gamma=1e-2, near=1.0, far=10.0)
STRENGTHS = {"ambient": (0.3, 0.4, 0.5), "diffuse": (0.7, 0.5, 0.6)}
SUN = directional_light((0.5, -0.4, 0.8), **STRENGTHS).to(dtype=torch.float64)
LAMP = point_light((0.6, -0.8, 0.7), **STRENGTHS).to(dtype=torch.float64)
BLACK = torch.zeros(3).double()
LIGHTS = {"sun": SUN, "lamp": LAMP}
GROUNDS = {
    "plain": plain_ground(LIGHT, height=0.1).to(dtype=torch.float64),
    "board": checkerboard(LIGHT, DARK, 0.3, height=-0.05).to(dtype=torch.float64),
    "table": checkerboard(LIGHT, DARK, 0.3, half_extents=(0.7, 0.5)).to(dtype=torch.float64),
}


def view_from(
    eye: tuple[float, ...],
    target: tuple[float, ...],
    size: tuple[int, int] = (12, 16),
    field_of_view: float = 0.8,
) -> Camera:
    """Return a camera in float64."""
    world_to_camera = look_at(torch.tensor(eye).double(), torch.tensor(target).double())
    intrinsics = pinhole_intrinsics(field_of_view, size).double()
    return Camera(world_to_camera[None], intrinsics[None], size)


VIEWS = {
    "down": view_from((0.3, -2.6, 1.9), (0.0, 0.1, 0.1)),
    "horizon": view_from((1.0, -2.6, 0.6), (0.1, 0.0, 0.5), (14, 10)),
    "from below": view_from((1.0, -2.6, -0.6), (0.1, 0.0, -0.3)),
    "both": Camera(
        look_at(torch.tensor([[1.0, 2.0, 3.0], [-2.0, 1.0, 1.0]]), torch.zeros(2, 3)).double(),
        pinhole_intrinsics(0.5, (9, 9)).double()[None].expand(2, 3, 3),
        (9, 9),
    ),
}


def maps_of(layers: Layers) -> list[Tensor]:
    """Return all maps, with 0 where the log-weight says that there is nothing."""
    weight = torch.where(layers.log_weight.isfinite(), layers.log_weight, 0.0)
    return [layers.colour, weight, layers.log_transmittance, layers.depth]


def random_loss(parts: list[Tensor]) -> Tensor:
    """Weigh every value by a random number, the same in every precision."""
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parts]
    losses = [(part * weight.to(part)).sum() for part, weight in zip(parts, weights, strict=True)]
    return torch.stack(losses).sum()


def leaves_of(ground: Ground, view: Camera, light: Light) -> dict[str, Tensor]:
    """Return all that gets gradients, by name, in float64."""
    parts = {
        "world_to_camera": view.world_to_camera,
        "intrinsics": view.intrinsics,
        "colour": ground.colour,
        "height": ground.height,
        "second_colour": ground.second_colour,
        "source": light.source,
        "ambient": light.ambient,
        "diffuse": light.diffuse,
    }
    return {
        name: part.detach().double().requires_grad_()
        for name, part in parts.items()
        if part is not None
    }


def traced(ground: Ground, view: Camera, leaves: dict[str, Tensor], specular: Tensor) -> Layers:
    """Return the ground's layer made from leaves."""
    ground = replace(
        ground,
        colour=leaves["colour"],
        height=leaves["height"],
        second_colour=leaves.get("second_colour"),
    )
    view = Camera(leaves["world_to_camera"], leaves["intrinsics"], view.image_size)
    light = Light(leaves["source"], leaves["ambient"], leaves["diffuse"], specular)
    return ground_layer(ground, view, light, WIDE)


@pytest.mark.parametrize(
    ("ground", "light"), [("plain", "sun"), ("board", "sun"), ("board", "lamp"), ("table", "lamp")]
)
@pytest.mark.parametrize("view", ["down", "horizon"])
def test_gradients_are_those_of_finite_differences(ground, view, light):
    leaves = leaves_of(GROUNDS[ground], VIEWS[view], LIGHTS[light])
    for name, value in leaves.items():

        def outputs(value: Tensor, name: str = name) -> tuple[Tensor, ...]:
            inputs = leaves | {name: value}
            specular = torch.zeros(1, 3).double()
            return tuple(maps_of(traced(GROUNDS[ground], VIEWS[view], inputs, specular)))

        assert torch.autograd.gradcheck(outputs, value, eps=1e-7, atol=1e-4, fast_mode=True), name


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_fast_path_agrees_with_the_reference(ground, view, light, dtype, tolerance):
    """Values and gradients by everything that a view holds."""

    def evaluate(tracer: Callable, dtype: torch.dtype) -> list[Tensor]:
        inputs = GROUNDS[ground], VIEWS[view], LIGHTS[light]
        seen = view_ground(*(part.to(dtype=dtype) for part in inputs))
        names = ("coordinates", "edges", "drop", "lamp", "shades")
        leaves = {n: getattr(seen, n).detach().clone().requires_grad_() for n in names}
        maps = maps_of(tracer(replace(seen, **leaves), WIDE))
        assert all(part.dtype == dtype for part in maps)
        return [*maps, *torch.autograd.grad(random_loss(maps), list(leaves.values()))]

    truth = evaluate(reference_ground.trace_ground, torch.float64)
    for place, part in enumerate(evaluate(cpu.trace_ground, dtype)):
        error = (part.detach().double() - truth[place].detach()).abs().max()
        assert float(error) < tolerance * float(truth[place].detach().abs().max()), place


def quad_layers(view: Camera, half: tuple[float, float], height: float, light: Light) -> Layers:
    """Return a rectangle of two triangles, rasterized."""
    x, y = half
    corners = torch.tensor([[-x, -y, height], [x, -y, height], [x, y, height], [-x, y, height]])
    faces, up = torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor([[0.0, 0.0, 1.0]])
    bank = MeshBank.pack(
        [mesh(corners, faces, torch.tensor([LIGHT]).expand(4, 3), up.expand(4, 3))]
    )
    return render_layers(
        bank.to(dtype=torch.float64),
        Instances(torch.zeros(1, 1, dtype=torch.int64), torch.eye(4).double()[None, None]),
        view,
        light=light.to(dtype=torch.float64),
        softness=SOFT,
    )


def ndc_distance(view: Camera, start: tuple[float, ...], end: tuple[float, ...]) -> Tensor:
    """Return each pixel's distance to the line through two projected points."""
    height, width = view.image_size
    points = project(view, torch.tensor([[start, end]]).double()).pixels[0]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    offset = torch.stack([columns, rows], dim=-1) + 0.5 - points[0]
    along = torch.nn.functional.normalize(points[1] - points[0], dim=0)
    across = offset[..., 0] * along[1] - offset[..., 1] * along[0]
    return across.abs() * 2.0 / min(height, width)


def test_a_rectangle_is_what_its_mesh_shows():
    """Colour, depth, log-weight and coverage, at its soft sides too, but not at the mesh's seam."""
    view, (x, y), z = view_from((0.4, -2.6, 1.9), (0.0, 0.1, 0.1), (96, 80), 0.6), (0.7, 0.5), 0.1
    truth = quad_layers(view, (x, y), z, SUN)
    ground = plain_ground(LIGHT, height=z, half_extents=(x, y)).to(dtype=torch.float64)
    layers = ground_layer(ground, view, SUN, SOFT)
    corners = [(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)]
    reach = math.sqrt(blur_radius(SOFT.sigma))
    sides = zip(corners, corners[1:] + corners[:1], strict=True)
    near = torch.stack([ndc_distance(view, *side) < reach for side in sides])
    off_seam = ndc_distance(view, corners[0], corners[2]) > reach
    inside = (truth.log_weight > -math.inf)[0, 0] & (near.sum(dim=0) == 0) & off_seam
    assert inside.sum() > 1000
    # Half a seam is 1e-4 of the coverage where the blur ends.
    for part, true_part in zip(maps_of(layers)[:2], maps_of(truth)[:2], strict=True):
        torch.testing.assert_close(part[0, 0][inside], true_part[0, 0][inside], rtol=0, atol=2e-4)
    # A mesh is as soft across a side as the plane is; corners are round, the plane's are not.
    side = (near.sum(dim=0) == 1) & off_seam
    alpha, true_alpha = (1.0 - part.log_transmittance[0, 0].exp() for part in (layers, truth))
    assert side.sum() > 100 and 0.1 < true_alpha[side].mean() < 0.9
    torch.testing.assert_close(alpha[side], true_alpha[side], rtol=0, atol=1e-6)


def test_depth_is_that_of_the_plane():
    view = VIEWS["horizon"]
    layers = ground_layer(GROUNDS["plain"], view, SUN, WIDE)
    depth = layers.depth[0, 0]
    rows, columns = torch.nonzero((depth > 0) & (depth < 50), as_tuple=True)
    pixels = torch.stack([columns, rows, torch.full_like(rows, 1)], dim=1).double()
    pixels[:, :2] += 0.5
    in_camera = (pixels @ torch.linalg.inv(view.intrinsics[0]).T) * depth[rows, columns, None]
    to_world = torch.linalg.inv(view.world_to_camera[0])
    heights = in_camera @ to_world[2, :3] + to_world[2, 3]
    assert len(heights) > 20
    torch.testing.assert_close(heights, torch.full_like(heights, 0.1), rtol=0.0, atol=1e-7)


def test_nothing_is_seen_above_the_horizon():
    view = view_from((0.0, -2.0, 0.5), (0.0, 0.0, 0.5), (16, 16))
    layers = ground_layer(plain_ground(LIGHT).to(dtype=torch.float64), view, SUN, SOFT)
    assert (layers.log_weight[0, 0, :7] == -math.inf).all()
    assert not layers.colour[0, 0, :7].any() and not layers.depth[0, 0, :7].any()
    assert (layers.log_transmittance[0, 0, 9:] < -30).all()


def test_squares_lie_where_they_are_said_to():
    """The square in the quadrant of positive x and y is of the first colour, its neighbours not."""
    view = view_from((0.0, -1e-3, 3.0), (0.0, 0.0, 0.0), (64, 64), 0.3)
    board = checkerboard(LIGHT, DARK, 0.2).to(dtype=torch.float64)
    light = ambient_light().to(dtype=torch.float64)
    colour = ground_layer(board, view, light, SOFT).colour[0, 0]
    points = torch.tensor([[0.1, 0.1], [0.1, -0.1], [-0.1, -0.1], [-0.1, 0.1], [0.3, 0.1]])
    seen = project(view, torch.cat([points, torch.zeros(5, 1)], dim=1).double()[None]).pixels[0]
    found = colour[seen[:, 1].long(), seen[:, 0].long()]
    expected = torch.tensor([LIGHT, DARK, LIGHT, DARK, DARK]).double()
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-6)


def test_a_checkerboard_is_averaged_over_pixels():
    """A small image is what a 16 times finer one averages to, also where squares are too small."""
    small, fine = (
        ground_layer(
            checkerboard((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 0.1).to(dtype=torch.float64),
            view_from((0.3, -1.0, 0.5), (0.0, 0.2, 0.1), (size, size)),
            ambient_light().to(dtype=torch.float64),
            SOFT,
        ).colour[0, 0, ..., 0]
        for size in (32, 512)
    )
    averaged = torch.nn.functional.avg_pool2d(fine[None, None], 16)[0, 0]
    aliased = fine[8::16, 8::16]
    error, aliasing = ((part - averaged).abs()[12:].mean() for part in (small, aliased))
    assert error < 0.06 < 0.3 * aliasing


@pytest.mark.parametrize("ground", ["plain", "board"])
def test_a_checkerboard_tells_the_azimuth(ground):
    """Turned about the vertical, a plain plane looks the same and a checkerboard does not."""
    light = directional_light((0.0, 0.0, 1.0)).to(dtype=torch.float64)
    colours = []
    for azimuth in (0.3, 1.3):
        eye = (2.0 * math.sin(azimuth), -2.0 * math.cos(azimuth), 1.5)
        view = view_from(eye, (0.0, 0.0, 0.0))
        colours.append(ground_layer(GROUNDS[ground], view, light, SOFT).colour)
    assert torch.allclose(*colours, atol=1e-9) == (ground == "plain")


def on_the_table(view: Camera) -> Layers:
    """Return the shipped meshes, standing, and then the plane that they stand on."""
    meshes = coarse_meshes()
    heights = [kind.rest_height for kind in meshes]
    where = torch.tensor([[-0.5, 0.0, 0.0], [0.05, -0.35, 0.0], [0.5, 0.15, 0.0]])
    where[:, 2] = torch.tensor(heights)
    poses = rigid_transform(yaw_rotation(torch.tensor([0.5, 0.0, 1.0])), where)[None].double()
    bank, light = MeshBank.pack(meshes).to(dtype=torch.float64), SUN.to(dtype=torch.float64)
    objects = render_layers(
        bank, Instances(torch.tensor([[0, 1, 2]]), poses), view, light=light, softness=SOFT
    )
    return join([objects, ground_layer(GROUNDS["table"], view, light, SOFT)])


def test_the_plane_does_not_swallow_what_stands_on_it():
    """Where an object covers a pixel and the plane lies well behind, the plane does not show.

    Well behind: by ten times the depth by which gamma takes a factor e from a weight.
    """
    layers = on_the_table(camera((64, 64)).to(dtype=torch.float64))
    visible = visibility(layers, torch.tensor([[0, 1, 2, 3]]))[0, 0]
    alpha = composite(layers, torch.tensor([[0, 1, 2]]), BLACK).alpha[0, 0]
    # The objects' depth, from their log-weight.
    blur = SOFT.gamma * (SOFT.far - SOFT.near)
    ahead = (layers.log_weight[0, :3].amax(dim=0) - layers.log_weight[0, 3]) * blur
    covered = alpha > 0.9
    assert covered.sum() > 300
    assert visible[3][covered & (ahead > 10 * blur)].max() < 1e-3
    # What is left is the foot: a few pixels, at which the objects still are.
    foot = covered & (ahead < 2 * blur)
    assert foot.sum() < 0.05 * covered.sum() and (ahead[covered] > -blur).all()


def test_the_plane_behind_objects_may_be_their_background():
    """Its image as background gives the same picture but for the objects' soft edges."""
    layers = on_the_table(camera((64, 64)).to(dtype=torch.float64))
    merged = composite(layers, torch.tensor([[0, 1, 2, 3], [3, -1, -1, -1]]), BLACK).rgb
    over = composite(layers, torch.tensor([[0, 1, 2]]), merged[:, 1]).rgb[0, 0]
    alpha = composite(layers, torch.tensor([[0, 1, 2]]), BLACK).alpha[0, 0]
    crisp = (alpha == 0) | (alpha > 0.99)
    difference = (over - merged[0, 0]).abs().amax(dim=-1)[crisp]
    assert crisp.double().mean() > 0.9 and (difference < 0.02).double().mean() > 0.98


def looking_down() -> Camera:
    """Return a camera that looks straight down, for which the plane has no horizon."""
    world_to_camera = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    world_to_camera[2, 3] = 2.0
    return replace(VIEWS["down"], world_to_camera=world_to_camera.double()[None])


@pytest.mark.parametrize("case", ["in the plane", "straight down", "lamp on it", "close"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tracer", [cpu, reference_ground], ids=["cpu", "reference"])
def test_nothing_makes_nan_or_infinity(case, dtype, tracer):
    view, light = VIEWS["horizon"], LAMP
    if case == "in the plane":
        view = view_from((1.0, -2.0, 0.0), (0.0, 0.0, 0.0))
    elif case == "straight down":
        view = looking_down()
    elif case == "close":
        view = view_from((1.0, -2.0, 1e-6), (0.0, 0.0, 0.0))
    else:
        light = point_light((0.1, 0.2, 0.0))
    leaves = leaves_of(GROUNDS["table"], view, light)
    leaves = {name: leaf.detach().to(dtype).requires_grad_() for name, leaf in leaves.items()}
    ground = replace(
        GROUNDS["table"], **{n: leaves[n] for n in ("colour", "height", "second_colour")}
    )
    view = Camera(leaves["world_to_camera"], leaves["intrinsics"], view.image_size)
    light = Light(*(leaves[n] for n in ("source", "ambient", "diffuse")), leaves["diffuse"])
    maps = maps_of(tracer.trace_ground(view_ground(ground, view, light), SOFT))
    gradients = torch.autograd.grad(random_loss(maps), list(leaves.values()))
    assert all(part.isfinite().all() for part in (*maps, *gradients))


def test_results_do_not_depend_on_threads():
    before, results = torch.get_num_threads(), []
    view = view_from((0.3, -2.6, 1.9), (0.0, 0.1, 0.1), (96, 80)).to(dtype=torch.float32)
    leaves = leaves_of(GROUNDS["table"], view, LAMP)
    leaves = {name: leaf.detach().float().requires_grad_() for name, leaf in leaves.items()}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            maps = maps_of(traced(GROUNDS["table"], view, leaves, torch.zeros(1, 3)))
            gradients = torch.autograd.grad(random_loss(maps), list(leaves.values()))
            results.append([*maps, *gradients])
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *results))


def test_float32_stays_float32():
    parts = (part.to(dtype=torch.float32) for part in (GROUNDS["table"], VIEWS["down"], LAMP))
    ground_layer(*parts, SOFT)
    signatures = [s for s in ground_kernels.trace.signatures if "float64" not in str(s)]
    assert signatures
    for signature in signatures:
        types = io.StringIO()
        ground_kernels.trace.inspect_types(types, signature=signature)
        assert "float32" in types.getvalue() and "float64" not in types.getvalue()


def test_operation_obeys_torch():
    params = torch.rand(2, 26 + 3).requires_grad_()
    settings = [1e3, 0.1, 10.0, 1.0, 0.2, 3.0]
    torch.library.opcheck(torch.ops.air3d.trace_ground.default, (params, [4, 5], settings))


def test_a_second_colour_makes_a_batch():
    """One first colour goes with many second ones, as it does with many heights."""
    seconds = torch.rand(2, 3)
    board = checkerboard(LIGHT, seconds, 0.3)
    assert len(board) == 2 and board.height.shape == (2,)
    every = ground_layer(board.to(dtype=torch.float64), VIEWS["down"], SUN, SOFT)
    one = checkerboard(LIGHT, seconds[1], 0.3).to(dtype=torch.float64)
    alone = ground_layer(one, VIEWS["down"], SUN, SOFT)
    assert torch.equal(every.colour[1], alone.colour[0])


def test_no_cameras_see_no_planes():
    """As an empty batch of scenes has no layers."""
    nobody = VIEWS["down"][:0]
    leaf = nobody.world_to_camera.detach().requires_grad_()
    view = Camera(leaf, nobody.intrinsics, nobody.image_size)
    layers = ground_layer(GROUNDS["table"], view, SUN, SOFT)
    assert layers.colour.shape == (0, 1, 12, 16, 3)
    assert torch.autograd.grad(layers.colour.sum(), leaf)[0].shape == (0, 4, 4)


def nan_in(tensor: Tensor) -> Tensor:
    """Return it with its first number NaN."""
    changed = tensor.detach().clone()
    changed.view(-1)[0] = torch.nan
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ground": GROUNDS["plain"].to(dtype=torch.float32)}, "ground is torch.float32 on cpu"),
        ({"light": SUN.to(dtype=torch.float32)}, "light is torch.float32 on cpu"),
        ({"light": replace(SUN, specular=SUN.diffuse)}, "light must have no specular part"),
        ({"light": replace(SUN, source=nan_in(SUN.source))}, "light must hold numbers, got NaN"),
        (
            {"view": replace(VIEWS["down"], intrinsics=nan_in(VIEWS["down"].intrinsics))},
            "intrinsics must hold numbers, got NaN",
        ),
    ],
)
def test_what_the_plane_refuses(change, message):
    arguments = {"ground": GROUNDS["plain"], "view": VIEWS["down"], "light": SUN} | change
    with pytest.raises(ValueError, match=f"ground_layer: {message}"):
        ground_layer(*arguments.values(), SOFT)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="square must be a positive length .* got 0"):
        checkerboard(LIGHT, DARK, 0.0)
    with pytest.raises(
        ValueError, match=r"plain_ground: half_extents must be .* got \(1.0, -1.0\)"
    ):
        plain_ground(LIGHT, half_extents=(1.0, -1.0))
    three = plain_ground(torch.rand(3, 3).double())
    with pytest.raises(ValueError, match="camera must hold 1 or 3 rows .* got 2"):
        ground_layer(three, VIEWS["both"], SUN, SOFT)
