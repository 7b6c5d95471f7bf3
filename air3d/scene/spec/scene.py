"""A scene file whose images show meshes before a camera."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from air3d.scene.spec.base import Colour, ImageSize, Name, Strict
from air3d.scene.spec.objects import ObjectsSpec
from air3d.scene.spec.softness import PullInSpec, RenderSpec
from air3d.scene.spec.view import CameraSpec, LightSpec, TableSpec


class SceneSpec(Strict):
    """A generative model whose decoder is the mesh renderer.

    Attributes:
        table: what objects stand on; None: nothing.
        noise_std: standard deviation of the Gaussian pixel noise, colours in [0, 1].
        folder: where mesh paths start from; set by :func:`load_scene`.
    """

    decoder: Literal["scene"]
    name: Name
    image_size: ImageSize
    objects: ObjectsSpec
    camera: CameraSpec
    light: LightSpec = LightSpec()
    table: TableSpec | None = None
    background: Colour = (0.0, 0.0, 0.0)
    render: RenderSpec = RenderSpec()
    pull_in: PullInSpec = PullInSpec()
    noise_std: float = Field(default=0.02, gt=0.0, le=1.0)
    folder: Path = Field(default=Path(), exclude=True)

    @property
    def count(self) -> tuple[float, ...]:
        """Probability of n objects, n = 0, 1, ..."""
        return self.objects.count

    @property
    def num_channels(self) -> int:
        return 3

    @property
    def mesh_paths(self) -> tuple[Path, ...]:
        """The mesh files, in the order of ``objects.types``."""
        return tuple(self.folder / kind.mesh for kind in self.objects.types)
