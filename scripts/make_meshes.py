"""Make the meshes in assets/meshes: a red cube, a blue sphere, a striped cylinder, and crockery.

Sizes are in metres, z points up, the origin is the centre; that of crockery lies on the axis of
its body at half the height, wherever its handle is. Vertices are split wherever the surface has
an edge or the colour a border, so that neither lighting nor colour bleeds over.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from crockery import CROCKERY
from vessels import make_vessel

from air3d.cli import run
from air3d.files import write_atomically

RED = (214, 32, 28)
BLUE = (36, 84, 222)

SEGMENTS = 36
# Width in segments and colour of each stripe: no turn short of a full one maps them to themselves.
STRIPES = (
    (3, (250, 250, 245)),
    (5, (24, 150, 60)),
    (4, (255, 214, 20)),
    (7, (120, 20, 150)),
    (6, (255, 120, 10)),
    (11, (20, 190, 205)),
)


@dataclass(frozen=True)
class Arguments:
    """Make the meshes in assets/meshes."""

    out: Path = Path(__file__).resolve().parent.parent / "assets" / "meshes"
    """Folder to write to."""


def red_cube(side: float = 0.36) -> trimesh.Trimesh:
    """Return a cube whose six sides share no vertices, so that each is lit flatly."""
    box = trimesh.creation.box(extents=(side, side, side))
    sides = []
    for normal in np.concatenate([np.eye(3), -np.eye(3)]):
        chosen = np.flatnonzero(box.face_normals @ normal > 0.5)
        sides.append(box.submesh([chosen], append=True))
    return _paint(trimesh.util.concatenate(sides), RED)


def blue_sphere(radius: float = 0.2) -> trimesh.Trimesh:
    """Return an icosphere of 1,280 faces, too many for its edges to be found by refinement."""
    return _paint(trimesh.creation.icosphere(subdivisions=3, radius=radius), BLUE)


def striped_cylinder(radius: float = 0.18, height: float = 0.42) -> trimesh.Trimesh:
    """Return a closed cylinder with vertical stripes that go on as sectors over both caps."""
    parts, start = [], 0
    for width, colour in STRIPES:
        angles = 2 * np.pi * np.arange(start, start + width + 1) / SEGMENTS
        parts += [_paint(part, colour) for part in _stripe(angles, radius, 0.5 * height)]
        start += width
    return trimesh.util.concatenate(parts)


def _stripe(angles: np.ndarray, radius: float, top: float) -> list[trimesh.Trimesh]:
    """Return one stripe's side strip, its sector of the upper cap and that of the lower cap."""
    rim = radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    up = np.array([0.0, 0.0, top])
    here = np.arange(len(angles) - 1)
    after, above = here + 1, len(angles)
    strip = np.concatenate(
        [
            np.stack([here, after, after + above], axis=1),
            np.stack([here, after + above, here + above], axis=1),
        ]
    )
    centre = np.full_like(here, len(angles))
    fan = np.stack([here, after, centre], axis=1)
    return [
        trimesh.Trimesh(np.concatenate([rim - up, rim + up]), strip, process=False),
        trimesh.Trimesh(np.concatenate([rim + up, [up]]), fan, process=False),
        trimesh.Trimesh(np.concatenate([rim - up, [-up]]), fan[:, ::-1], process=False),
    ]


def _paint(mesh: trimesh.Trimesh, colour: tuple[int, int, int]) -> trimesh.Trimesh:
    """Return the mesh's geometry alone, every vertex of one colour."""
    colours = np.tile(np.array([*colour, 255], dtype=np.uint8), (len(mesh.vertices), 1))
    return trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=colours, process=False)


def main(arguments: Arguments) -> None:
    """Write the files; each appears whole or not at all."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    meshes = {make.__name__: make() for make in (red_cube, blue_sphere, striped_cylinder)}
    meshes |= {name: make_vessel(vessel) for name, vessel in CROCKERY.items()}
    for name, mesh in meshes.items():
        path = arguments.out / f"{name}.ply"
        write_atomically(path, mesh.export(file_type="ply", vertex_normal=False))
        print(f"{path}: {len(mesh.vertices)} vertices, {len(mesh.faces)} faces")


if __name__ == "__main__":
    run(main, Arguments, __doc__)
