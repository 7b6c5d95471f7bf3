"""Vessels as meshes: a profile is revolved, tubes grow out of its wall as handles and spouts.

A tube starts at an opening cut into the wall and shares that opening's vertices. So a vessel is
one closed surface without hidden faces, and needs no boolean operation of solids.
"""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int

SEGMENTS = 24
SIDES = 6
"""Of a tube: as many as an opening of two cells by one has corners and midpoints around it."""

MOUTH_SHADE = 0.3
"""Of what closes a spout, as if one looked into it."""


@dataclass(frozen=True)
class Band:
    """A stretch of a profile, from where the last one ended; the surface has an edge between them.

    Attributes:
        shade: colour of the surface, 0 (black) to 1.
        points: radius and height of each point (metres).
    """

    shade: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Opening:
    """Cells of the wall that give way to a tube, two by one of them.

    Attributes:
        columns: first and last meridian; number 0 has its angle at +x, and they count turnwise.
        heights: of its lower and its upper border, both points of the profile.
    """

    columns: tuple[int, int]
    heights: tuple[float, float]


@dataclass(frozen=True)
class Station:
    """Where a tube passes (metres), and how thick it is there: half its width, half its height.

    The width lies along the tube's ``across``, the height at right angles to that and to its path.
    """

    at: tuple[float, float, float]
    width: float
    height: float


@dataclass(frozen=True)
class Tube:
    """A handle from one opening to another, or a spout, which ends in a dark mouth.

    Attributes:
        shade: colour; where it is the wall's, tube and wall are one smooth surface.
        across: direction of its width, along which its openings have two cells.
        start, end: its openings; no end for a spout.
        path: where it passes in between.
        turns: meridians to which it is turned about z; a tube at each.
    """

    shade: float
    across: tuple[float, float, float]
    start: Opening
    path: tuple[Station, ...]
    end: Opening | None = None
    turns: tuple[int, ...] = (0,)

    @property
    def openings(self) -> tuple[Opening, ...]:
        """The start and, if there is one, the end."""
        return (self.start,) if self.end is None else (self.start, self.end)


@dataclass(frozen=True)
class Vessel:
    """A solid of revolution, from the centre of its base outwards, up, and back to the axis."""

    bands: tuple[Band, ...]
    tubes: tuple[Tube, ...] = ()

    @property
    def profile(self) -> Float[np.ndarray, "row 2"]:
        """Radius and height of all points."""
        return np.array([point for band in self.bands for point in band.points])


@dataclass(frozen=True)
class Surface:
    """Faces and what they look like.

    Attributes:
        places: [P, 3]; some may be of no face.
        faces: [F, 3], indices of places.
        groups: [F]; faces of one group are smooth where they meet, between groups is an edge.
        shades: [F], the same throughout a group.
    """

    places: Float[np.ndarray, "place 3"]
    faces: Int[np.ndarray, "face 3"]
    groups: Int[np.ndarray, " face"]
    shades: Float[np.ndarray, " face"]


def make_vessel(vessel: Vessel) -> trimesh.Trimesh:
    """Return a vessel as a mesh whose origin is on its axis, at half its height."""
    surface = _revolve(vessel)
    for tube in vessel.tubes:
        for turn in tube.turns:
            surface = _grow(surface, vessel, tube, turn)
    return _split(surface)


def _revolve(vessel: Vessel) -> Surface:
    """Return the wall without what its openings take away."""
    profile = vessel.profile
    angles = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    circle = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    places = profile[:, None, :1] * circle + profile[:, None, 1:] * np.array([0.0, 0.0, 1.0])
    faces = _strip(_grid(profile))
    band_of_row = np.repeat(np.arange(len(vessel.bands)), [len(b.points) for b in vessel.bands])[1:]
    whole = (np.diff(np.sort(faces), axis=-1) > 0).all(axis=-1)  # not so at the axis
    kept = whole & ~_is_open(vessel)[..., None]
    groups = np.broadcast_to(band_of_row[:, None, None], kept.shape)[kept]
    shades = np.array([band.shade for band in vessel.bands])[groups]
    return Surface(places.reshape(-1, 3), faces[kept], groups, shades)


def _grow(surface: Surface, vessel: Vessel, tube: Tube, turn: int) -> Surface:
    """Add a tube that is turned by some meridians."""
    matrix = trimesh.transformations.rotation_matrix(2 * np.pi * turn / SEGMENTS, [0, 0, 1])
    corners = _rings(surface, vessel, tube).reshape(-1, 3) @ matrix[:3, :3].T
    places = np.concatenate([surface.places, corners])
    loops = list(np.arange(len(surface.places), len(places)).reshape(-1, SIDES))
    loops.insert(0, _nearest(places, _border(vessel, tube.start, turn), loops[0]))
    if tube.end is not None:
        loops.append(_nearest(places, _border(vessel, tube.end, turn)[::-1], loops[-1]))
    faces = _strip(np.array(loops)).reshape(-1, 3)
    grown = _add(surface, places, faces, tube.shade, _group_at(surface, vessel, tube))
    return grown if tube.end is not None else _close(grown, loops[-1])


def _close(surface: Surface, loop: Int[np.ndarray, " side"]) -> Surface:
    """Close a tube with its mouth."""
    centre = np.full_like(loop, len(surface.places))
    places = np.concatenate([surface.places, surface.places[loop].mean(axis=0, keepdims=True)])
    fan = np.stack([loop, np.roll(loop, -1), centre], axis=1)
    return _add(surface, places, fan, MOUTH_SHADE, surface.groups.max() + 1)


def _add(
    surface: Surface,
    places: Float[np.ndarray, "place 3"],
    faces: Int[np.ndarray, "face 3"],
    shade: float,
    group: int,
) -> Surface:
    return Surface(
        places,
        np.concatenate([surface.faces, faces]),
        np.append(surface.groups, np.full(len(faces), group)),
        np.append(surface.shades, np.full(len(faces), shade)),
    )


def _group_at(surface: Surface, vessel: Vessel, tube: Tube) -> int:
    """Return the wall's group where a tube starts, or a new one for another shade."""
    ends = np.cumsum([len(band.points) for band in vessel.bands])
    band = int(np.searchsorted(ends, _rows(vessel, tube.start)[0] + 1, side="right"))
    return band if vessel.bands[band].shade == tube.shade else int(surface.groups.max()) + 1


def _rings(surface: Surface, vessel: Vessel, tube: Tube) -> Float[np.ndarray, "station side 3"]:
    """Return a tube's corners at each station, counter-clockwise about its path."""
    ends = [surface.places[_border(vessel, one, 0)].mean(axis=0) for one in tube.openings]
    path = np.array([station.at for station in tube.path])
    along = np.gradient(np.vstack([ends[0], path, *ends[1:]]), axis=0)[1 : len(path) + 1]
    upwards = np.cross(along, tube.across)
    upwards /= np.linalg.norm(upwards, axis=1, keepdims=True)
    angles = 2 * np.pi * (np.arange(SIDES) + 0.5) / SIDES
    widths = np.array([s.width for s in tube.path])[:, None] * np.cos(angles)
    heights = np.array([s.height for s in tube.path])[:, None] * np.sin(angles)
    ring = widths[..., None] * np.array(tube.across) + heights[..., None] * upwards[:, None]
    return path[:, None] + ring


def _border(vessel: Vessel, opening: Opening, turn: int) -> Int[np.ndarray, " side"]:
    """Return the places around an opening, counter-clockwise seen from outside."""
    (low, high), (left, right) = _rows(vessel, opening), opening.columns
    cells = [(low, column) for column in range(left, right)]
    cells += [(row, right) for row in range(low, high)]
    cells += [(high, column) for column in range(right, left, -1)]
    cells += [(row, left) for row in range(high, low, -1)]
    return np.array([row * SEGMENTS + (column + turn) % SEGMENTS for row, column in cells])


def _nearest(
    places: Float[np.ndarray, "place 3"],
    loop: Int[np.ndarray, " side"],
    ring: Int[np.ndarray, " side"],
) -> Int[np.ndarray, " side"]:
    """Return a loop begun where its places are nearest to those of a ring."""
    begun = [np.roll(loop, shift) for shift in range(SIDES)]
    return min(begun, key=lambda one: np.square(places[one] - places[ring]).sum())


def _rows(vessel: Vessel, opening: Opening) -> tuple[int, int]:
    """Return an opening's lower and upper row: the first at those heights are the outer wall's."""
    heights = vessel.profile[:, 1].tolist()
    return heights.index(opening.heights[0]), heights.index(opening.heights[1])


def _is_open(vessel: Vessel) -> Bool[np.ndarray, "row column"]:
    """Return which cells of the wall the openings take away."""
    taken = np.zeros((len(vessel.profile) - 1, SEGMENTS), dtype=bool)
    for tube in vessel.tubes:
        for opening in tube.openings:
            for turn in tube.turns:
                columns = (np.arange(*opening.columns) + turn) % SEGMENTS
                taken[slice(*_rows(vessel, opening)), columns] = True
    return taken


def _grid(profile: Float[np.ndarray, "row 2"]) -> Int[np.ndarray, "row column"]:
    """Return the place of each row and meridian: all meridians meet on the axis."""
    grid = np.arange(len(profile) * SEGMENTS).reshape(-1, SEGMENTS)
    return np.where(profile[:, :1] > 0.0, grid, grid[:, :1])


def _strip(rows: Int[np.ndarray, "row side"]) -> Int[np.ndarray, "gap side 2 3"]:
    """Return two triangles for each cell between closed rows of places."""
    here, above = rows[:-1], rows[1:]
    after, beyond = np.roll(here, -1, axis=1), np.roll(above, -1, axis=1)
    lower = np.stack([here, after, beyond], axis=-1)
    return np.stack([lower, np.stack([here, beyond, above], axis=-1)], axis=-2)


def _split(surface: Surface) -> trimesh.Trimesh:
    """Return a mesh with a vertex for each group at a place, its origin at half the height."""
    corners = np.stack([surface.faces, np.tile(surface.groups[:, None], 3)], axis=-1).reshape(-1, 2)
    vertices, first, faces = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    points = surface.places[vertices[:, 0]]
    points[:, 2] -= 0.5 * (points[:, 2].min() + points[:, 2].max())
    shades = np.round(255 * surface.shades[first // 3]).astype(np.uint8)
    colours = np.column_stack([shades, shades, shades, np.full_like(shades, 255)])
    return trimesh.Trimesh(points, faces.reshape(-1, 3), vertex_colors=colours, process=False)
