"""Fragments: the backends agree, gradients are right, edge cases are empty, errors are named."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from render_cases import one_thread  # noqa: F401 (a fixture)
from torch import Tensor

from air3d.render import near_plane
from air3d.render.cpu import fragments as cpu_fragments
from air3d.render.cpu import near_plane as cpu_near_plane
from air3d.render.fragments import Fragments, pixel_centres
from air3d.render.rasterize import _check_faces, rasterize

pytestmark = pytest.mark.usefixtures("one_thread")
BACKENDS = ("cpu", "reference")
MAPS = ("zbuf", "bary_coords", "dists")
FLAGS = [(True, True), (True, False), (False, True), (False, False)]
SIZE = (12, 17)


def soup(seed: int, count: int = 24) -> Tensor:
    """Return faces at random, some reaching nearer than 0.6 and some behind the camera; float64."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 3, 3, generator=generator, dtype=torch.float64)
    return corners * torch.tensor([2.8, 2.4, 3.0]) - torch.tensor([1.4, 1.2, 0.3])


def slivers(seed: int) -> Tensor:
    """Return faces whose third corner lies almost on the line through the others."""
    faces = soup(seed).float().double()
    generator = torch.Generator().manual_seed(seed)
    along = 1.5 * torch.rand(len(faces), 1, generator=generator)
    off = torch.randn(len(faces), 2, generator=generator) * 10 ** (-7 + 6 * along)
    faces[:, 2, :2] = faces[:, 0, :2] + along * (faces[:, 1, :2] - faces[:, 0, :2]) + off
    return faces


def on_centres(seed: int) -> Tensor:
    """Return faces with all corners on pixel centres, some of them without area."""
    faces = soup(seed)
    generator = torch.Generator().manual_seed(seed)
    column = torch.randint(SIZE[1], faces.shape[:2], generator=generator)
    row = torch.randint(SIZE[0], faces.shape[:2], generator=generator)
    faces[..., 0] = pixel_centres(SIZE[1], SIZE[0], torch.float32)[column].double()
    faces[..., 1] = pixel_centres(SIZE[0], SIZE[1], torch.float32)[row].double()
    return faces


def in_two_images(faces: Tensor, **options) -> Fragments:
    """Rasterize faces into a first image of ten, a second of the others, a third of none."""
    first, count = torch.tensor([0, 10, 3]), torch.tensor([10, len(faces) - 10, 0])
    return rasterize(faces, first, count, **{"image_size": SIZE, "blur_radius": 1e-2, **options})


def random_gradient(fragments: Fragments, faces: Tensor, seed: int = 0) -> Tensor:
    """Return the gradient of faces for random upstream gradients of all maps."""
    generator = torch.Generator().manual_seed(seed)
    maps = [getattr(fragments, name) for name in MAPS]
    upstream = [torch.randn(m.shape, generator=generator, dtype=torch.float64) for m in maps]
    return torch.autograd.grad(maps, faces, [u.to(faces.dtype) for u in upstream])[0]


def assert_same(found: Fragments, truth: Fragments) -> None:
    for name in ("pix_to_face", *MAPS):
        value, true_value = getattr(found, name), getattr(truth, name)
        torch.testing.assert_close(value, true_value, rtol=1e-6, atol=0.0, msg=name)


@pytest.mark.parametrize(("z_clip", "faces_per_pixel"), [(None, 3), (0.6, 1), (0.6, 30)])
@pytest.mark.parametrize(("perspective", "clip"), FLAGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("faces", [soup(0), soup(1), slivers(0), on_centres(0)])
def test_cpu_agrees_with_the_reference(faces, dtype, perspective, clip, z_clip, faces_per_pixel):
    """Values in both precisions; gradients where rounding leaves them any digits."""
    found, gradients = [], []
    for backend in BACKENDS:
        leaf = faces.to(dtype).requires_grad_()
        fragments = in_two_images(
            leaf,
            faces_per_pixel=faces_per_pixel,
            perspective_correct=perspective,
            clip_barycentric_coords=clip,
            z_clip=z_clip,
            backend=backend,
        )
        found.append(fragments)
        gradients.append(random_gradient(fragments, leaf))
    assert_same(*found)
    assert (found[0].pix_to_face >= 0).sum() > 100
    if dtype == torch.float64:
        error = (gradients[0] - gradients[1]).abs().amax(dim=(1, 2))
        assert (error <= 1e-7 * gradients[1].abs().amax(dim=(1, 2)) + 1e-12).all()


@pytest.mark.parametrize(("z_clip", "blur_radius"), [(None, 0.03), (0.5, 0.0)])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("perspective", "clip"), FLAGS)
def test_gradients_are_those_of_finite_differences(backend, perspective, clip, z_clip, blur_radius):
    """Among the faces are one so steep that its denominator is clamped, and two that are cut.

    Cut faces without blur: of two halves that are equally near, rounding chooses the one to keep.
    """
    faces = torch.tensor(
        [
            [[-0.91, -0.72, 1.1], [0.83, -0.64, 1.4], [0.12, 0.75, 0.9]],
            [[0.05, 0.11, 0.6], [0.21, 0.56, 9.0], [-0.24, 0.53, 8.0]],
            [[-0.62, 0.31, 0.2], [0.43, 0.52, 1.2], [-0.34, -0.83, 1.7]],
            [[0.74, 0.61, 0.3], [-0.52, 0.42, 0.4], [0.23, -0.94, 2.0]],
        ],
        dtype=torch.float64,
    ).requires_grad_()
    ranges = torch.tensor([0, 1]), torch.tensor([3, 3])

    def maps(faces: Tensor) -> tuple[Tensor, ...]:
        fragments = rasterize(
            faces,
            *ranges,
            image_size=(7, 6),
            blur_radius=blur_radius,
            faces_per_pixel=3,
            perspective_correct=perspective,
            clip_barycentric_coords=clip,
            z_clip=z_clip,
            backend=backend,
        )
        assert {0, 2, 3} <= set(fragments.pix_to_face.flatten().tolist())
        if blur_radius > 0.0 and perspective and not clip:
            steep = fragments.bary_coords[fragments.pix_to_face == 1]
            assert (steep.sum(dim=-1) < 0.0).any()
        return tuple(getattr(fragments, name) for name in MAPS)

    assert torch.autograd.gradcheck(maps, faces, eps=1e-7, atol=2e-4, fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fragment_projects_back_to_its_pixel(backend):
    """Cut or not: its point on the whole face lies behind the plane, on the pixel's ray."""
    faces = soup(3, count=40)
    fragments = in_two_images(
        faces, z_clip=0.6, blur_radius=0.0, faces_per_pixel=12, backend=backend
    )
    image, row, column, _ = (shown := fragments.pix_to_face >= 0).nonzero().unbind(dim=1)
    corners, weights = faces[fragments.pix_to_face[shown]], fragments.bary_coords[shown]
    assert (corners[..., 2] < 0.6).any(dim=1).sum() > 100
    in_space = torch.cat([corners[..., :2] * corners[..., 2:], corners[..., 2:]], dim=-1)
    point = (weights[..., None] * in_space).sum(dim=1)
    x = pixel_centres(SIZE[1], SIZE[0], torch.float64)[column]
    y = pixel_centres(SIZE[0], SIZE[1], torch.float64)[row]
    # Not exact, as PyTorch3D adds 1e-8 to the faces' area.
    torch.testing.assert_close(point[:, 0] / point[:, 2], x, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(point[:, 1] / point[:, 2], y, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(point[:, 2], fragments.zbuf[shown], rtol=1e-6, atol=0.0)
    assert (point[:, 2] > 0.6 - 1e-6).all() and (weights > -1e-6).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_halves_of_a_face_are_one_fragment(backend):
    """Even where the blur of both reaches; uncut, where the plane is nearer, it shows whole."""
    face = torch.tensor([[[-0.7, -0.6, 0.2], [0.8, -0.5, 1.0], [0.1, 0.7, 1.3]]])
    alone = torch.tensor([0]), torch.tensor([1])
    options = {"image_size": (24, 24), "blur_radius": 0.04, "backend": backend}
    cut = near_plane.cut_faces(face, 0.5, True)
    assert cut.neighbour.tolist() == [1, 0]
    halves = rasterize(cut.face_verts, *(2 * part for part in alone), faces_per_pixel=4, **options)
    assert (halves.pix_to_face[..., 1] >= 0).any()
    whole = rasterize(face, *alone, z_clip=0.5, faces_per_pixel=4, **options)
    assert set(whole.pix_to_face.flatten().tolist()) == {-1, 0}
    assert (whole.pix_to_face[..., 1] < 0).all()
    assert torch.equal(whole.pix_to_face[..., 0] >= 0, halves.pix_to_face[..., 0] >= 0)
    assert (rasterize(face, *alone, z_clip=0.1, **options).pix_to_face >= 0).any()
    assert (rasterize(face, *alone, **options).pix_to_face >= 0).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_fragments_are_sorted_by_depth_then_index(backend):
    """Of faces at the same depth the first comes first, and what K leaves out is the last."""
    face = soup(4, 4)
    face[..., 2] = face[..., 2].abs() + 0.5
    faces = torch.cat([face, face, face])
    everything = in_two_images(faces, faces_per_pixel=20, backend=backend)
    pairs = everything.pix_to_face[..., :-1], everything.pix_to_face[..., 1:]
    deeper = everything.zbuf[..., :-1] < everything.zbuf[..., 1:]
    tied = everything.zbuf[..., :-1] == everything.zbuf[..., 1:]
    both = pairs[1] >= 0
    assert (tied & both).any() and (deeper & both).any()
    assert (deeper | (tied & (pairs[0] < pairs[1])))[both].all()
    assert (everything.pix_to_face[..., 12:] == -1).all()
    for name in MAPS:
        assert (getattr(everything, name)[everything.pix_to_face < 0] == -1.0).all()
    few = in_two_images(faces, faces_per_pixel=3, backend=backend)
    assert torch.equal(few.pix_to_face, everything.pix_to_face[..., :3])
    assert torch.equal(few.zbuf, everything.zbuf[..., :3])


@pytest.mark.parametrize("backend", BACKENDS)
def test_faces_that_run_clockwise_are_culled(backend):
    """On the image, where x points left; without culling both ways round give the same."""
    faces = soup(5)
    faces[..., 2] = faces[..., 2].abs() + 0.5
    turned = faces.flip(1)
    kept = [in_two_images(f, cull_backfaces=True, backend=backend) for f in (faces, turned)]
    for one, other in (kept, kept[::-1]):
        left, right = (set(f.pix_to_face[0].flatten().tolist()) for f in (one, other))
        assert left & right == {-1} and len(left) > 1
    both = [in_two_images(f, backend=backend) for f in (faces, turned)]
    assert torch.equal(both[0].pix_to_face, both[1].pix_to_face)
    # From the left (x points there) over the right to the top is counter-clockwise.
    counter = torch.tensor([[[0.9, -0.8, 1.0], [-0.9, -0.8, 1.0], [0.0, 0.9, 1.0]]])
    ranges = torch.tensor([0]), torch.tensor([1])
    for face, hit in ((counter, True), (counter.flip(1), False)):
        fragments = rasterize(face, *ranges, image_size=(9, 9), cull_backfaces=True)
        assert bool((fragments.pix_to_face >= 0).any()) == hit


@pytest.mark.parametrize("z_clip", [None, 0.1])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", ["behind", "outside", "no area", "no faces", "no images"])
def test_what_is_not_seen_leaves_nothing(case, backend, z_clip):
    faces = soup(6)
    if case == "behind":
        faces[..., 2] -= 4.0
    elif case == "outside":
        faces[..., 1] += 9.0
    elif case == "no area":
        faces[:, 2] = faces[:, 1]
    count = 0 if case == "no images" else 2
    faces = faces[:0] if case == "no faces" else faces
    leaf = faces.requires_grad_()
    fragments = rasterize(
        leaf,
        torch.zeros(count, dtype=torch.int64),
        torch.full((count,), len(faces)),
        image_size=(5, 8),
        blur_radius=0.01,
        faces_per_pixel=2,
        z_clip=z_clip,
        backend=backend,
    )
    assert fragments.pix_to_face.shape == (count, 5, 8, 2)
    assert fragments.bary_coords.shape == (count, 5, 8, 2, 3)
    for name in ("pix_to_face", *MAPS):
        assert (getattr(fragments, name) == -1).all(), name
    gradient = random_gradient(fragments, leaf)
    assert gradient.shape == faces.shape and not gradient.any()


def test_results_do_not_depend_on_threads():
    """The same bits from one thread, from two and three, and from two again."""
    faces = soup(7, count=60).float()
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            leaf = faces.clone().requires_grad_()
            fragments = in_two_images(leaf, image_size=(150, 40), faces_per_pixel=4, z_clip=0.6)
            maps = [getattr(fragments, name) for name in ("pix_to_face", *MAPS)]
            results.append([*maps, random_gradient(fragments, leaf)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@pytest.mark.parametrize("backend", BACKENDS)
def test_faces_may_be_shared_by_images(backend):
    """Their gradients add up; images see what they would see alone."""
    faces = soup(8)
    leaf = faces.clone().requires_grad_()
    first, count = torch.tensor([0, 4, 0]), torch.tensor([24, 20, 24])
    options = {"image_size": SIZE, "blur_radius": 0.01, "backend": backend}
    together = rasterize(leaf, first, count, **options)
    assert torch.equal(together.pix_to_face[0], together.pix_to_face[2])
    gradient = random_gradient(together, leaf)
    total = torch.zeros_like(faces)
    for image in range(3):
        alone = rasterize(leaf, first, count, **options)
        maps = [getattr(alone, name)[image] for name in MAPS]
        generator = torch.Generator().manual_seed(0)
        upstream = [
            torch.randn(getattr(alone, n).shape, generator=generator, dtype=torch.float64)[image]
            for n in MAPS
        ]
        total += torch.autograd.grad(maps, leaf, upstream)[0]
    torch.testing.assert_close(gradient, total)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("z_clip", [None, 0.6])
@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_from_above_is_not_hidden(backend, z_clip, name):
    """Who sees no NaN in a gradient should be sure that there was none."""
    leaf = soup(7).requires_grad_()
    fragments = in_two_images(leaf, z_clip=z_clip, backend=backend)
    part = getattr(fragments, name)
    upstream = torch.ones_like(part)
    hit = fragments.pix_to_face >= 0
    upstream[hit.nonzero()[0].tolist()[0]] = torch.nan
    assert torch.autograd.grad(part, leaf, upstream)[0].isnan().any()


def test_clipping_goes_with_blur():
    """Unless it is said otherwise."""
    for blur_radius in (0.0, 1e-2):
        chosen = in_two_images(soup(9), blur_radius=blur_radius)
        said = in_two_images(
            soup(9), blur_radius=blur_radius, clip_barycentric_coords=blur_radius > 0.0
        )
        assert_same(chosen, said)
    blurred = in_two_images(soup(9))
    assert (blurred.bary_coords[blurred.pix_to_face >= 0] >= 0.0).all()
    unclipped = in_two_images(soup(9), clip_barycentric_coords=False)
    assert (unclipped.bary_coords[unclipped.pix_to_face >= 0] < 0.0).any()


ANY_FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
CORNERS = st.one_of(
    st.floats(-2.0, 2.0, width=32), st.sampled_from([0.0, 1e-8, 1e-4, 0.5, 1e18]), ANY_FLOAT
)


@settings(max_examples=60)
@given(
    faces=hnp.arrays(np.float32, (4, 3, 3), elements=CORNERS),
    flags=st.sampled_from(FLAGS),
    blur_radius=st.sampled_from([0.0, 1e-3, 0.3, 1e6]),
    z_clip=st.sampled_from([None, 1e-3, 0.5]),
)
def test_whatever_the_faces_all_is_finite(faces, flags, blur_radius, z_clip):
    """And the same from both backends."""
    found = []
    for backend in BACKENDS:
        leaf = torch.from_numpy(faces.copy()).requires_grad_()
        fragments = rasterize(
            leaf,
            torch.tensor([0]),
            torch.tensor([4]),
            image_size=(4, 5),
            blur_radius=blur_radius,
            faces_per_pixel=3,
            perspective_correct=flags[0],
            clip_barycentric_coords=flags[1],
            z_clip=z_clip,
            backend=backend,
        )
        maps = [getattr(fragments, name) for name in MAPS]
        assert all(m.isfinite().all() for m in maps)
        gradient = torch.autograd.grad(maps, leaf, [torch.ones_like(m) for m in maps])[0]
        assert gradient.isfinite().all()
        found.append(fragments)
    assert_same(*found)


def test_operations_obey_torch():
    faces = soup(0, 6).float().requires_grad_()
    packed = faces, torch.tensor([0, 3]), torch.tensor([3, 3])
    arguments = (*packed, torch.full((6,), -1), [6, 5], 0.01, 2, True, True, False)
    torch.library.opcheck(cpu_fragments._rasterize, arguments)
    zbuf, bary_coords, _, pix_to_face = cpu_fragments._rasterize(*arguments)
    packed = faces.detach(), *packed[1:]
    arguments = (*packed, True, True, pix_to_face, zbuf.detach(), None, None)
    torch.library.opcheck(cpu_fragments._rasterize_backward, arguments)
    bary_coords = bary_coords.detach().requires_grad_()
    on_face = torch.rand(6, 3, 3).requires_grad_()
    torch.library.opcheck(cpu_near_plane._to_whole_faces, (pix_to_face, bary_coords, on_face))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_faces": torch.tensor([1, 2]).int()}, "num_faces must be torch.int64 on cpu"),
        ({"num_faces": torch.tensor([1, 4])}, "the 4 packed faces, but image 1 asks for 4 from 1"),
        ({"first_face": torch.tensor([-1, 0])}, "but image 0 asks for 1 from -1 on"),
        ({"image_size": (0, 4)}, r"image_size must be \(height, width\), .* got \(0, 4\)"),
        ({"blur_radius": -0.1}, "blur_radius must be a squared distance, 0 or more, got -0.1"),
        ({"blur_radius": float("nan")}, "blur_radius must be .* got nan"),
        ({"faces_per_pixel": 0}, "faces_per_pixel must be 1 or more, got 0"),
        ({"z_clip": 0.0}, "z_clip must be a depth in front of the camera, above 0, got 0.0"),
        ({"backend": "fast"}, "one of auto, cpu, reference, pytorch3d, got 'fast'"),
        ({"face_verts": torch.zeros(4, 3, 3).half()}, "float32 or float64, got torch.float16"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {
        "face_verts": torch.zeros(4, 3, 3),
        "first_face": torch.tensor([0, 1]),
        "num_faces": torch.tensor([1, 3]),
        "image_size": (4, 4),
        **change,
    }
    packed = [arguments.pop(name) for name in ("face_verts", "first_face", "num_faces")]
    with pytest.raises(ValueError, match=message):
        rasterize(*packed, **arguments)
    if "asks for" in message:
        with pytest.raises(ValueError, match=message):
            rasterize(*packed, **arguments, backend="reference")


@pytest.mark.parametrize(
    ("face_verts", "num_faces", "message"),
    [
        (torch.zeros(4, 9), torch.ones(2), r"face_verts must be .* got \[4, 9\]"),
        (torch.zeros(4, 3, 3), torch.ones(3), r"both be \[image\], got \[2\] and \[3\]"),
    ],
)
def test_wrong_shapes_are_named(face_verts, num_faces, message):
    """By a check of its own, as these tests check the shapes of the verb's arguments themselves."""
    with pytest.raises(ValueError, match=message):
        _check_faces(face_verts, torch.ones(2), num_faces)
