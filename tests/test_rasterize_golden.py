"""The rasterizers against fragments that PyTorch3D 0.7.9 gave, on its inputs."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from render_cases import one_thread  # noqa: F401 (a fixture)
from run_pytorch3d_tests import is_missing
from torch import Tensor

from air3d.render.fragments import Fragments, pixel_centres
from air3d.render.rasterize import rasterize

CASES = (
    "hard_box",
    "ortho_noclip",
    "rect_cull",
    "soft_ico_k8",
    "soft_torus_wide_blur_k16",
)
MAPS = ("zbuf", "bary_coords", "dists")
pytestmark = pytest.mark.usefixtures("one_thread")


def recorded(name: str) -> dict[str, Tensor]:
    with np.load(ROOT / "tests" / "golden" / f"raster_{name}.npz") as arrays:
        return {key: torch.tensor(arrays[key]) for key in arrays}


def fragments(golden: dict[str, Tensor], face_verts: Tensor, backend: str) -> Fragments:
    height, width = golden["image_size"].tolist()
    return rasterize(
        face_verts,
        golden["first_face"],
        golden["num_faces"],
        image_size=(height, width),
        blur_radius=golden["blur_radius"].item(),
        faces_per_pixel=int(golden["faces_per_pixel"]),
        perspective_correct=bool(golden["perspective_correct"]),
        clip_barycentric_coords=bool(golden["clip_barycentric_coords"]),
        cull_backfaces=bool(golden["cull_backfaces"]),
        backend=backend,
    )


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", CASES)
def test_fragments_are_equal_to_the_bit(name, backend):
    golden = recorded(name)
    found = fragments(golden, golden["face_verts"], backend)
    assert (found.pix_to_face >= 0).sum() > 200
    for field in ("pix_to_face", *MAPS):
        assert torch.equal(getattr(found, field), golden[field]), field


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [("cpu", torch.float32), ("cpu", torch.float64), ("reference", torch.float64)],
)
@pytest.mark.parametrize("name", CASES)
def test_gradients_where_those_of_pytorch3d_are_sound(name, backend, dtype):
    """Face by face, but for faces whose perspective denominator it clamps somewhere."""
    golden = recorded(name)
    face_verts = golden["face_verts"].to(dtype).requires_grad_()
    found = fragments(golden, face_verts, backend)
    upstream = [golden[key].to(dtype) for key in ("grad_zbuf", "grad_bary", "grad_dists")]
    outputs = [getattr(found, field) for field in MAPS]
    (gradient,) = torch.autograd.grad(outputs, face_verts, upstream)
    truth = golden["grad_face_verts"].to(dtype)
    sound = ~has_clamped_fragment(golden)
    assert sound.double().mean() > 0.9
    error = (gradient - truth).abs().amax(dim=(1, 2))
    assert (error <= 4e-5 * truth.abs().amax(dim=(1, 2)))[sound].all()


def has_clamped_fragment(golden: dict[str, Tensor]) -> Tensor:
    """Return which faces have a fragment whose perspective denominator is clamped, [F]."""
    height, width = golden["image_size"].tolist()
    x = pixel_centres(width, height, torch.float64)[:, None]
    y = pixel_centres(height, width, torch.float64)[:, None, None]
    shown = golden["pix_to_face"]
    corners = golden["face_verts"].double()[shown.clamp(min=0)]
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = (c.unbind(-1) for c in corners.unbind(-2))
    area = (x2 - x0) * (y1 - y0) - (y2 - y0) * (x1 - x0)
    e0 = (x - x1) * (y2 - y1) - (y - y1) * (x2 - x1)
    e1 = (x - x2) * (y0 - y2) - (y - y2) * (x0 - x2)
    e2 = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)
    denominator = (e0 * z1 * z2 + e1 * z0 * z2 + e2 * z0 * z1) / area
    clamped = (denominator <= 1e-8) & (shown >= 0) & golden["perspective_correct"]
    faces = torch.zeros(len(golden["face_verts"]), dtype=torch.bool)
    faces[shown[clamped]] = True
    return faces


def test_only_what_is_not_here_is_missing_from_pytorch3ds_tests():
    """A failure that happens to name something with _C in it is a failure."""
    assert is_missing("AttributeError: module 'pytorch3d._C' has no attribute 'knn_points_idx'")
    assert is_missing("RuntimeError: Found no NVIDIA driver on your system.")
    assert not is_missing("AssertionError: MAX_COLOUR and BLUR_CLIP differ")
