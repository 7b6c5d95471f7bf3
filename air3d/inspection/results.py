"""The files that say what was inferred from one image: a picture, a scene in 3D, a record."""

from io import BytesIO

import PIL.Image
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import SceneEstimate
from air3d.inspection.exhibit import exhibit_of
from air3d.inspection.glb import build_scene
from air3d.inspection.panels import to_picture, triptych
from air3d.inspection.records import Record
from air3d.models import Air
from air3d.scene import SceneSpec


def result_files(
    image: Float[Tensor, "channel height width"],
    estimate: SceneEstimate,
    record: Record,
    model: Air,
    *more: PIL.Image.Image,
) -> dict[str, bytes]:
    """Make the contents of an image's files, by their endings; the JSON file comes last.

    ``more`` are further panels of its picture.
    """
    picture = BytesIO()
    table = model.spec.table if isinstance(model.spec, SceneSpec) else None
    triptych(image, estimate, model.meshes, table, *more).save(picture, format="PNG")
    files = {".png": picture.getvalue()}
    if estimate.camera is not None:
        exhibit = exhibit_of(estimate, model.meshes, table)
        scene = build_scene(exhibit, image=to_picture(image))
        files[".glb"] = bytes(scene.export(file_type="glb"))
    return files | {".json": record.to_json().encode("utf-8")}
