"""air3d turns an image into the 3D scene that made it."""

__version__ = "0.1.0"
