"""trimesh's own annotations name base classes that lack what is used; take it as untyped."""

from typing import Any

def __getattr__(name: str) -> Any: ...
