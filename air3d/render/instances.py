"""Which mesh stands where: instances of a scene, and their place before the camera."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera
from air3d.geometry.tensors import constant
from air3d.render.checks import check_batches, check_dull, check_kind, check_not_nan, may_look
from air3d.render.layers import ProjectedMeshes
from air3d.scene.assets import MeshBank
from air3d.scene.lights import Light

MIN_DEPTH = 1e-3
"""A face with a vertex nearer than this to the camera's plane (metres) is dropped.

PyTorch3D's 1e-8 admits faces whose projection is 1e8 images wide, where float32 has no digits
left for their edges.
"""

MAX_DEPTH = 1e6
"""A face with a vertex farther than this (metres) is dropped: products of depths stay finite."""

LARGEST = 1e6
"""Poses and cameras with an entry beyond this (metres, pixels) show nothing, nor get gradients.

So does an instance that is scaled down below the inverse of it. No finite input can overflow then.
NaN is refused (``check_inputs``), but for a compiled function, in which it shows nothing either.
"""


@dataclass(frozen=True)
class Instances:
    """The objects of a batch of scenes: each names a mesh, which is never copied.

    Attributes:
        identity: which mesh of the bank each object is; -1 where there is none.
        object_to_world: its pose; may hold a uniform scale of its own (a similarity).
        scale: uniform scale about the object's origin; 1 if not given.
        colour: multiplies the mesh's own colours, per channel; 1 if not given.
    """

    identity: Int[Tensor, "batch object"]
    object_to_world: Float[Tensor, "batch object 4 4"]
    scale: Float[Tensor, "batch object"] | None = None
    colour: Float[Tensor, "batch object 3"] | None = None


@dataclass(frozen=True)
class Placement:
    """Every instance before its camera and under its light, as one list of layers.

    Attributes:
        mesh: index into the bank; -1 for an empty layer.
        to_ndc: from the object's frame to homogeneous NDC, whose third coordinate is the depth.
        source: the lamp in the object's frame, homogeneous.
        ambient, diffuse: strengths of light times the instance's colour.
        image_size: (height, width).
        shape: (batch, objects), whose product is the number of layers.
    """

    mesh: Int[Tensor, " layer"]
    to_ndc: Float[Tensor, "layer 3 4"]
    source: Float[Tensor, "layer 4"]
    ambient: Float[Tensor, "layer 3"]
    diffuse: Float[Tensor, "layer 3"]
    image_size: tuple[int, int]
    shape: tuple[int, int]


def check_inputs(bank: MeshBank, instances: Instances, camera: Camera, light: Light) -> None:
    """Refuse what cannot be rendered.

    Raises:
        ValueError: shapes, precisions or devices do not fit together, an identity names no mesh,
            the light has highlights, or NaN is in the pose, scale or colour of an object that is
            there, in the camera or in the light; the message says which in one sentence.
    """
    check_instances(bank, instances)
    identity, poses = instances.identity, instances.object_to_world
    check_batches("render", identity=len(identity), camera=len(camera), light=len(light))
    extrinsics, intrinsics = camera.world_to_camera, camera.intrinsics
    check_kind("render", "object_to_world", poses, camera=extrinsics, light=light.source)
    check_kind("render", "camera.world_to_camera", extrinsics, **{"camera.intrinsics": intrinsics})
    check_dull("render", light)
    check_not_nan("render", camera=extrinsics, intrinsics=intrinsics)
    check_not_nan("render", light=light.source, ambient=light.ambient, diffuse=light.diffuse)


def check_instances(bank: MeshBank, instances: Instances) -> None:
    """Refuse instances that are malformed or whose meshes the bank does not hold.

    Raises:
        ValueError: as :func:`check_inputs`.
    """
    identity, poses = instances.identity, instances.object_to_world
    if poses.shape != (*identity.shape, 4, 4) or identity.dim() != 2:
        raise ValueError(
            "render: identity must be [batch, object] and object_to_world [batch, object, 4, 4], "
            f"got {tuple(identity.shape)} and {tuple(poses.shape)}"
        )
    for name, tail in (("scale", ()), ("colour", (3,))):
        value = getattr(instances, name)
        if value is not None and value.shape != (*identity.shape, *tail):
            raise ValueError(
                f"render: {name} must be {[*identity.shape, *tail]}, one per object, got "
                f"{list(value.shape)}"
            )
    scale, colour = instances.scale, instances.colour
    check_kind("render", "object_to_world", poses, bank=bank.vertices, scale=scale, colour=colour)
    if not may_look(identity):  # the operations on the CPU do, and those on a GPU show nothing
        return
    check_identity(identity, len(bank.meshes))
    there = {"object_to_world": poses, "scale": scale, "colour": colour}
    there = {name: part[identity >= 0] for name, part in there.items() if part is not None}
    check_not_nan("render", **there)


def check_identity(identity: Int[Tensor, "*object"], num_meshes: int) -> None:
    """Refuse an identity that names no mesh.

    Raises:
        ValueError: there is one; on the CPU alone, see :mod:`~air3d.render.checks`.
    """
    if not may_look(identity) or not identity.numel():
        return
    if not -1 <= int(identity.min()) <= int(identity.max()) < num_meshes:
        raise ValueError(
            f"render: identity must lie between -1 (absent) and {num_meshes - 1} (the last "
            f"mesh), got {int(identity.min())} to {int(identity.max())}"
        )


def place(instances: Instances, camera: Camera, light: Light) -> Placement:
    """Put every object before its camera and under its light.

    A batch of one scene, camera or light goes with any number of the others, without copies of
    meshes. Gradients reach the poses, scales, colours, camera and light. An absent object passes
    no gradient, whatever its pose holds; nor does one that cannot be seen (``LARGEST``).
    """
    identity = instances.identity
    batch = check_batches("render", identity=len(identity), camera=len(camera), light=len(light))
    poses, seen = scaled_poses(instances)
    camera, sees = seeing_cameras(camera)
    world_to_ndc = ndc_intrinsics(camera) @ camera.world_to_camera[:, :3]
    colour = torch.ones_like(poses[..., 0, :3])
    if instances.colour is not None:
        colour = torch.where(seen[..., None], instances.colour, 1.0)

    def flat(tensor: Tensor) -> Tensor:
        return tensor.expand(batch, *tensor.shape[1:]).flatten(0, 1)

    return Placement(
        mesh=flat(identity.masked_fill(~(seen & sees[:, None]), -1)),
        to_ndc=flat(world_to_ndc[:, None] @ poses),
        source=flat(_lamp_in_object(light.source[:, None], poses)),
        ambient=flat(light.ambient[:, None] * colour),
        diffuse=flat(light.diffuse[:, None] * colour),
        image_size=camera.image_size,
        shape=(batch, identity.shape[1]),
    )


def placed_meshes(
    vertices: Tensor, colours: Tensor, bank: MeshBank, placement: Placement
) -> ProjectedMeshes:
    """Put each layer's projected vertices and lit colours together with the mesh they are of."""
    return ProjectedMeshes(
        vertices=vertices,
        colours=colours,
        faces=bank.faces,
        num_faces=bank.num_faces,
        uvs=bank.uvs,
        textures=bank.textures,
        texture_sizes=bank.texture_sizes,
        mesh=placement.mesh,
        image_size=placement.image_size,
    )


def exact_centres(image_size: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the NDC coordinates of the pixel centres along the image's width and its height.

    In the precision and on the device of ``like``. They fall, since NDC's x points left and its y
    up. Layers take these, which are rounded once; fragments, which must equal PyTorch3D's to the
    bit, take :func:`air3d.render.fragments.pixel_centres`, whose every step is rounded.
    """
    height, width = image_size

    def centres(size: int) -> Tensor:
        return constant([(size - 1 - 2 * i) / min(height, width) for i in range(size)], like)

    return centres(width), centres(height)


def seeing_cameras(camera: Camera) -> tuple[Camera, Tensor]:
    """Return the cameras and which of them see anything [B].

    The others' matrices are all 0, so that no gradient meets what they hold.
    """
    intrinsics, extrinsics = camera.intrinsics, camera.world_to_camera
    sees = (intrinsics.abs() <= LARGEST).all(dim=-1).all(dim=-1)
    sees = sees & (extrinsics.abs() <= LARGEST).all(dim=-1).all(dim=-1)
    intrinsics = torch.where(sees[:, None, None], intrinsics, 0.0)
    extrinsics = torch.where(sees[:, None, None], extrinsics, 0.0)
    return Camera(extrinsics, intrinsics, camera.image_size), sees


def ndc_intrinsics(camera: Camera) -> Float[Tensor, "batch 3 3"]:
    """Return the projections from the cameras' frames to homogeneous NDC.

    The third coordinate is the depth.
    """
    height, width = camera.image_size
    shorter = min(height, width)
    pixels_to_ndc = constant(
        [[-2.0, 0.0, width], [0.0, -2.0, height], [0.0, 0.0, shorter]], camera.intrinsics
    )
    return pixels_to_ndc @ camera.intrinsics / shorter


def scaled_poses(instances: Instances) -> tuple[Tensor, Tensor]:
    """Return the poses, scaled, [B, N, 4, 4], and which objects can be seen [B, N].

    The others get the identity, so that no gradient meets what their pose holds.
    """
    poses, scale = instances.object_to_world, instances.scale
    seen = (instances.identity >= 0) & (poses.abs() <= LARGEST).all(dim=-1).all(dim=-1)
    if scale is not None:
        seen = seen & (scale.abs() <= LARGEST)
        grow = torch.where(seen, scale, 1.0)[..., None, None]
        poses = torch.cat([poses[..., :3] * grow, poses[..., 3:]], dim=-1)
    seen = seen & (poses[..., :3, 0].abs().amax(dim=-1) >= 1 / LARGEST)
    nowhere = torch.eye(4, dtype=poses.dtype, device=poses.device)
    return torch.where(seen[..., None, None], poses, nowhere), seen


def _lamp_in_object(
    source: Float[Tensor, "light 1 4"], poses: Float[Tensor, "batch object 4 4"]
) -> Float[Tensor, "instance object 4"]:
    """Bring the lamp to the object's frame, which is cheaper than its normals to the world's.

    The frame's scale s is undone: R^T (lamp - w t) / s for a pose (s R, t) and a lamp (xyz, w).
    """
    turn, offset = poses[..., :3, :3], poses[..., :3, 3]
    weight = source[..., 3:]
    from_origin = (source[..., :3] - weight * offset)[..., None]
    squared_scale = turn[..., 0].square().sum(dim=-1, keepdim=True)
    xyz = (turn.mT @ from_origin)[..., 0] / squared_scale
    return torch.cat([xyz, weight.expand(*xyz.shape[:-1], 1)], dim=-1)
