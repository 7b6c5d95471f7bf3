"""Rasterize packed faces into fragments: PyTorch3D's contract, behind it a choice of backends."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render import near_plane, reference_fragments
from air3d.render.checks import check_kind
from air3d.render.fragments import Fragments, RasterSettings

BACKENDS = ("auto", "cpu", "reference", "pytorch3d")


def rasterize(
    face_verts: Float[Tensor, "face 3 3"],
    first_face: Int[Tensor, " image"],
    num_faces: Int[Tensor, " image"],
    *,
    image_size: tuple[int, int],
    blur_radius: float = 0.0,
    faces_per_pixel: int = 1,
    perspective_correct: bool = True,
    clip_barycentric_coords: bool | None = None,
    cull_backfaces: bool = False,
    z_clip: float | None = None,
    backend: str = "auto",
) -> Fragments:
    """Find the nearest faces at every pixel of a batch of images.

    Values are PyTorch3D's, element by element; a fragment whose values would not be finite is
    left out. A face with a corner nearer than 1e-8 is left out as well, unless ``z_clip`` cuts it
    before. Gradients reach ``face_verts`` and are finite unless what comes from above is NaN; they
    are the derivatives of the values, but nothing passes through what is clamped: there
    PyTorch3D's are numerical noise.

    Args:
        face_verts: the corners of all images' faces, in float32 or float64: x and y in NDC (+x
            left, +y up, the short image side spans [-1, 1]) and the view depth z.
        first_face: index of each image's first face.
        num_faces: how many faces each image shows, from its first one on.
        image_size: (height, width) in pixels.
        blur_radius: squared NDC distance up to which a face reaches beyond its edges.
        faces_per_pixel: how many fragments a pixel keeps; there is no limit.
        perspective_correct: whether barycentric coordinates are corrected for perspective.
        clip_barycentric_coords: whether those of a pixel outside a face move to its border; None
            for yes if there is any blur.
        cull_backfaces: whether to leave out faces whose corners run clockwise on the image.
        z_clip: depth at which to cut faces; fragments still name the whole faces.
        backend: ``cpu`` (Numba), ``reference`` (plain torch, any device, slow), ``pytorch3d``
            (where that is installed), or ``auto``: ``cpu`` for CPU tensors.

    Raises:
        ValueError: an argument is malformed, or no backend fits the tensors.
        ImportError: ``pytorch3d`` is asked for and cannot be imported.

    Source: the contract and the order of operations are those of PyTorch3D 0.7.9.
    """
    _check_faces(face_verts, first_face, num_faces)
    clip = blur_radius > 0.0 if clip_barycentric_coords is None else clip_barycentric_coords
    settings = RasterSettings(
        image_size, blur_radius, faces_per_pixel, perspective_correct, clip, cull_backfaces
    )
    _check_options(settings, z_clip)
    _check_backend(backend, face_verts)
    face_verts, witness = _FiniteGradient.apply(face_verts)
    # A compiler may not look whether there is anything to cut.
    look = not torch.compiler.is_compiling()
    if z_clip is None or (look and not near_plane.any_behind(face_verts, z_clip)):
        fragments = _dispatch(face_verts, first_face, num_faces, None, settings, backend)
        return _watched(fragments, witness)
    cut = near_plane.cut_faces(face_verts, z_clip, perspective_correct)
    fragments = _dispatch(
        cut.face_verts, 2 * first_face, 2 * num_faces, cut.neighbour, settings, backend
    )
    return _watched(_to_whole_faces(fragments, cut, backend), witness)


class _FiniteGradient(torch.autograd.Function):
    """Let no inf or NaN out of a backward pass into which no NaN came.

    Coordinates of 1e30 overflow in some product, whatever the formula. But NaN from above is
    another's mistake, which must not be hidden: ``witness``, a number whose gradient is made by
    ``_Watch``, tells of it.
    """

    @staticmethod
    def forward(ctx, face_verts):
        return face_verts.view_as(face_verts), face_verts.new_zeros(())

    @staticmethod
    def backward(ctx, gradient, witness):
        return torch.where(witness > 0, gradient, gradient.nan_to_num())


class _Watch(torch.autograd.Function):
    """Return a map as it is; backward, tell the witness whether NaN comes from above."""

    @staticmethod
    def forward(ctx, part, witness):
        return part.view_as(part)

    @staticmethod
    def backward(ctx, gradient):
        # The largest is NaN if any is, and is found far faster than all that are.
        largest = gradient.amax() if gradient.numel() else gradient.sum()
        return gradient, largest.isnan().to(gradient)


def _watched(fragments: Fragments, witness: Float[Tensor, ""]) -> Fragments:
    """Watch the gradients of all that has them."""
    maps = fragments.zbuf, fragments.bary_coords, fragments.dists
    return Fragments(fragments.pix_to_face, *(_Watch.apply(part, witness) for part in maps))


def _dispatch(
    face_verts: Float[Tensor, "face 3 3"],
    first_face: Int[Tensor, " image"],
    num_faces: Int[Tensor, " image"],
    neighbour: Int[Tensor, " face"] | None,
    settings: RasterSettings,
    backend: str,
) -> Fragments:
    """Call a backend; ``neighbour`` names the other half of a face that was cut in two."""
    if neighbour is None:
        neighbour = torch.full_like(face_verts[:, 0, 0], -1, dtype=torch.int64)
    if backend == "pytorch3d":
        from air3d.render import pytorch3d  # may not be installed

        rasterize_on = pytorch3d.rasterize
    elif backend == "reference":
        rasterize_on = reference_fragments.rasterize
    else:
        from air3d.render.cpu import fragments  # loads Numba, so only when it is used

        rasterize_on = fragments.rasterize
    return rasterize_on(face_verts, first_face, num_faces, neighbour, settings)


def _to_whole_faces(fragments: Fragments, cut: near_plane.CutFaces, backend: str) -> Fragments:
    """Undo the cut, fast where the backend is."""
    if backend in ("reference", "pytorch3d"):
        return near_plane.to_whole_faces(fragments, cut)
    from air3d.render.cpu import near_plane as cpu_near_plane  # loads Numba

    return cpu_near_plane.to_whole_faces(fragments, cut)


def _check_faces(face_verts: Tensor, first_face: Tensor, num_faces: Tensor) -> None:
    """Refuse tensors that do not fit together."""
    if face_verts.dim() != 3 or face_verts.shape[1:] != (3, 3):
        raise ValueError(
            "rasterize: face_verts must be [face, corner, xyz] = [F, 3, 3], got "
            f"{list(face_verts.shape)}; index the projected vertices by the faces"
        )
    check_kind("rasterize", "face_verts", face_verts)
    if first_face.dim() != 1 or first_face.shape != num_faces.shape:
        raise ValueError(
            "rasterize: first_face and num_faces must both be [image], got "
            f"{list(first_face.shape)} and {list(num_faces.shape)}"
        )
    for name, tensor in (("first_face", first_face), ("num_faces", num_faces)):
        if tensor.dtype != torch.int64 or tensor.device != face_verts.device:
            raise ValueError(
                f"rasterize: {name} must be torch.int64 on {face_verts.device} as face_verts, got "
                f"{tensor.dtype} on {tensor.device}; convert it by .to()"
            )


def _check_options(settings: RasterSettings, z_clip: float | None) -> None:
    """Refuse options without a meaning."""
    if len(settings.image_size) != 2 or min(settings.image_size) < 1:
        raise ValueError(
            "rasterize: image_size must be (height, width), at least 1 pixel each, got "
            f"{settings.image_size}"
        )
    if not 0.0 <= settings.blur_radius < math.inf:
        raise ValueError(
            "rasterize: blur_radius must be a squared distance, 0 or more, got "
            f"{settings.blur_radius}"
        )
    if settings.faces_per_pixel < 1:
        raise ValueError(
            f"rasterize: faces_per_pixel must be 1 or more, got {settings.faces_per_pixel}"
        )
    if z_clip is not None and not 0.0 < z_clip < math.inf:
        raise ValueError(
            f"rasterize: z_clip must be a depth in front of the camera, above 0, got {z_clip}; "
            "None cuts no faces"
        )


def _check_backend(backend: str, face_verts: Tensor) -> None:
    """Refuse an unknown backend, and the fast one for tensors that it cannot take."""
    if backend not in BACKENDS:
        raise ValueError(
            f"rasterize: backend must be one of {', '.join(BACKENDS)}, got {backend!r}"
        )
    if backend in ("reference", "pytorch3d"):
        return
    if face_verts.device.type != "cpu":
        raise ValueError(
            f"rasterize: no fast backend makes fragments on {face_verts.device}; move the tensors "
            "to the CPU, or choose backend='reference' (slow)"
        )
