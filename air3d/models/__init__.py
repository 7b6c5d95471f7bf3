"""The models: AIR's guide and decoders, for patches on a canvas and for meshes in a scene."""

from air3d.models.air import Air, GlimpseConfig, SceneConfig, build_air
from air3d.models.encoder import compute_convolutions_in

__all__ = ["Air", "GlimpseConfig", "SceneConfig", "build_air", "compute_convolutions_in"]
