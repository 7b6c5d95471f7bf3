"""BOP's conventions: what leaves for a data set is converted here, and what comes back.

BOP counts in millimetres, gives poses as ``model to camera``, numbers objects from 1 and puts
pixel centres at whole numbers; air3d uses metres, ``object_to_world``, identities from 0, and
pixel centres at halves. Masks are COCO's uncompressed run lengths, column by column.
Source: docs/bop_datasets_format.md of the BOP toolkit.
"""

import io
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from air3d.data.errors import DataError
from air3d.geometry import Camera, invert_rigid
from air3d.scene import Light, Scenes, ambient_light

MILLIMETRES = 1000.0  # per metre
DEPTH_SCALE = 1.0  # millimetres per unit of the 16-bit depth image, which then ends at 65 m
_SCALE, _COLOUR, _LIGHT = "air3d_scale", "air3d_colour", "air3d_light"
_LIGHT_FIELDS = ("source", "ambient", "diffuse", "specular")
_NOT_VISIBLE = (-1, -1, -1, -1)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image with all that BOP wants to know of it; n objects, none of them absent.

    Attributes:
        rgb: [H, W, 3].
        depth: of the nearest surface, metres [H, W]; inf where there is none.
        scene: a batch of one, of n objects.
        silhouettes: [n, 3H, 3W]; what each object would cover if it were alone, on a canvas
            that reaches one image beyond each border.
        visible: [n, H, W]; where each object is the nearest.
    """

    rgb: UInt8[ndarray, "height width 3"]
    depth: Float[ndarray, "height width"]
    scene: Scenes
    silhouettes: Bool[ndarray, "object large_height large_width"]
    visible: Bool[ndarray, "object height width"]

    @property
    def masks(self) -> Bool[ndarray, "object height width"]:
        """The part of each silhouette that lies in the image."""
        height, width = self.depth.shape
        return self.silhouettes[:, height : 2 * height, width : 2 * width]


def camera_to_bop(camera: Camera, light: Light) -> dict:
    """Return BOP's camera entry of batches of one, and the light under a key of our own."""
    intrinsics = camera.intrinsics[0].double().clone()
    intrinsics[:2, 2] -= 0.5
    world_to_camera = camera.world_to_camera[0].double()
    return {
        "cam_K": intrinsics.flatten().tolist(),
        "depth_scale": DEPTH_SCALE,
        "cam_R_w2c": world_to_camera[:3, :3].flatten().tolist(),
        "cam_t_w2c": (world_to_camera[:3, 3] * MILLIMETRES).tolist(),
        _LIGHT: {name: getattr(light, name)[0].tolist() for name in _LIGHT_FIELDS},
    }


def camera_from_bop(entry: dict, image_size: tuple[int, int]) -> Camera:
    """Return the camera of a BOP entry; ``KeyError`` or ``ValueError`` if it is not one."""
    intrinsics = _matrix(entry["cam_K"])
    intrinsics[:2, 2] += 0.5
    world_to_camera = _rigid(entry["cam_R_w2c"], entry["cam_t_w2c"])
    return Camera(world_to_camera.float()[None], intrinsics.float()[None], image_size)


def light_from_bop(entry: dict) -> Light:
    """Return the light of a BOP camera entry: where another made it, one from everywhere."""
    if _LIGHT not in entry:
        return ambient_light()
    return Light(*(torch.tensor(entry[_LIGHT][name])[None] for name in _LIGHT_FIELDS))


def poses_to_bop(scene: Scenes) -> list[dict]:
    """Return BOP's list of ground-truth poses of a batch of one.

    BOP knows neither an object's scale nor its colour; they have keys of our own.
    """
    world_to_camera = scene.camera.world_to_camera[0].double()
    object_to_camera = world_to_camera @ scene.object_to_world[0].double()
    millimetres = object_to_camera[:, :3, 3] * MILLIMETRES
    return [
        {
            "cam_R_m2c": rotation,
            "cam_t_m2c": translation,
            "obj_id": identity + 1,
            _SCALE: scale,
            _COLOUR: colour,
        }
        for rotation, translation, identity, scale, colour in zip(
            object_to_camera[:, :3, :3].flatten(1).tolist(),
            millimetres.tolist(),
            scene.identity[0].tolist(),
            scene.scale[0].tolist(),
            scene.colour[0].tolist(),
            strict=True,
        )
    ]


def pose_from_bop(pose: dict, camera: dict) -> Float[Tensor, "4 4"]:
    """Return ``object_to_world`` of a BOP pose, given the BOP camera entry of its image."""
    world_to_camera = _rigid(camera["cam_R_w2c"], camera["cam_t_w2c"])
    object_to_camera = _rigid(pose["cam_R_m2c"], pose["cam_t_m2c"])
    return (invert_rigid(world_to_camera) @ object_to_camera).float()


def scale_from_bop(pose: dict) -> float:
    """Return the factor of the object's size, 1 where another made the data set."""
    return float(pose.get(_SCALE, 1.0))


def colour_from_bop(pose: dict) -> Float[Tensor, "3"]:
    """Return the colour that multiplies the mesh's own, white where another made the data set."""
    return torch.tensor(pose.get(_COLOUR, (1.0, 1.0, 1.0)), dtype=torch.float32)


def info_to_bop(image: AnnotatedImage) -> list[dict]:
    """Return BOP's list of areas, boxes and visible fractions, counted as its toolkit does.

    The silhouette and its box include the part beyond the image's border. A box is
    (left, top, right - left, bottom - top) of the outermost pixels, all -1 if nothing is
    visible.
    """
    height, width = image.depth.shape
    entries = []
    for silhouette, mask, visible in zip(
        image.silhouettes, image.masks, image.visible, strict=True
    ):
        everything, seen = int(np.count_nonzero(silhouette)), int(np.count_nonzero(visible))
        entries.append(
            {
                "bbox_obj": _box(silhouette, -width, -height) if seen else list(_NOT_VISIBLE),
                "bbox_visib": _box(visible, 0, 0) if seen else list(_NOT_VISIBLE),
                "px_count_all": everything,
                "px_count_valid": int(np.count_nonzero(mask)),
                "px_count_visib": seen,
                "visib_fract": seen / everything if everything else 0.0,
            }
        )
    return entries


def mask_to_rle(mask: Bool[ndarray, "height width"]) -> dict:
    """Return COCO's uncompressed run lengths: of 0, of 1, of 0, ..., column by column."""
    column_major = mask.ravel(order="F")
    borders = np.flatnonzero(column_major[1:] != column_major[:-1]) + 1
    counts = np.diff(np.concatenate([[0], borders, [column_major.size]])).tolist()
    starts_with_one = column_major.size > 0 and bool(column_major[0])
    return {"counts": [0, *counts] if starts_with_one else counts, "size": list(mask.shape)}


def depth_to_bop(depth: Float[ndarray, "height width"]) -> ndarray:
    """Return a depth image in BOP's 16-bit units, 0 where there is nothing.

    Raises:
        DataError: a depth lies beyond what 16 bits hold.
    """
    units = np.where(np.isfinite(depth), depth * (MILLIMETRES / DEPTH_SCALE), 0.0).round()
    if units.max(initial=0.0) > np.iinfo(np.uint16).max:
        raise DataError(
            f"depth reaches {units.max() * DEPTH_SCALE / MILLIMETRES:.1f} m, a BOP depth image "
            f"ends at {np.iinfo(np.uint16).max * DEPTH_SCALE / MILLIMETRES:.1f} m; "
            "move the camera closer"
        )
    return units.astype(np.uint16)


def to_png(pixels: ndarray) -> bytes:
    """Encode an 8-bit colour or grey or 16-bit grey image, with fixed settings.

    Noise repeats nothing, and nothing repeats itself more often than its own neighbour: to look for
    longer repeats, as zlib does by default, takes up to twice as long and saves next to nothing.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=4, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def to_uint8(image: Float[Tensor, "3 height width"]) -> UInt8[ndarray, "height width 3"]:
    """Round an image in [0, 1] to 8 bits, channels last; what lies outside is clamped."""
    rounded = (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(1, 2, 0).numpy())


def _box(mask: Bool[ndarray, "height width"], shift_x: int, shift_y: int) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left + shift_x, top + shift_y, int(columns[-1]) - left, int(rows[-1]) - top]


def _matrix(values: list[float]) -> Float[Tensor, "3 3"]:
    return torch.tensor(values, dtype=torch.float64).reshape(3, 3)


def _rigid(rotation: list[float], millimetres: list[float]) -> Float[Tensor, "4 4"]:
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] = _matrix(rotation)
    transform[:3, 3] = torch.tensor(millimetres, dtype=torch.float64) / MILLIMETRES
    return transform
