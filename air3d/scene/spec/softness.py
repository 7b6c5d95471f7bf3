"""What a scene file says of the renderer: how soft it is, and how refinement pulls in."""

from pydantic import Field, model_validator

from air3d.scene.spec.base import Strict


class RenderSpec(Strict):
    """Softness of the renderer, with PyTorch3D's meanings.

    Attributes:
        sigma: width of a face's soft edge, in squared NDC units.
        gamma: sharpness of the choice between faces at different depths.
        near, far: the depths (metres) between which gamma discriminates; geometry that
            crosses the camera's plane is dropped.
    """

    sigma: float = Field(default=1e-4, gt=0.0, le=0.1)
    gamma: float = Field(default=1e-3, gt=0.0, le=1.0)
    near: float = Field(default=1.0, gt=0.0)
    far: float = Field(default=10.0, gt=0.0)

    @model_validator(mode="after")
    def _ordered(self):
        if not self.near < self.far:
            raise ValueError(f"near ({self.near}) must be less than far ({self.far})")
        return self


class PullInSpec(Strict):
    """How refinement sees objects that lie far from where it looks for them.

    The renderer's gradient reaches no farther than an edge's blur. So for the first ``fraction``
    of its steps refinement renders softly and compares images of few pixels, both ever sharper,
    until it goes by ``render`` and the full image. The defaults are those that brought most objects
    home (``scripts/pull_in.py``).

    Attributes:
        sigma, gamma: softness at the start; it falls geometrically to that of ``render``, and
            stays there if that is softer.
        coarsest: shorter side (pixels) of the images that are compared at the start; each of the
            image pyramid's levels doubles it. ``image_size``'s own shorter side: no pyramid.
        fraction: share of the steps; 0 goes without all of this.
        pace: length of the first step in diameters of the largest mesh; the last is a fifteenth of
            it. A network's estimates are near, and need less than the default.
    """

    sigma: float = Field(default=1e-3, gt=0.0, le=0.1)
    gamma: float = Field(default=0.1, gt=0.0, le=1.0)
    coarsest: int = Field(default=4, ge=1)
    fraction: float = Field(default=0.75, ge=0.0, le=0.9)
    pace: float = Field(default=0.15, gt=0.0, le=1.0)
