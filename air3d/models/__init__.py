"""The models: AIR's guide and decoders, for patches on a canvas and for meshes in a scene."""

from air3d.models.air import Air, GlimpseConfig, SceneConfig, build_air

__all__ = ["Air", "GlimpseConfig", "SceneConfig", "build_air"]
