"""How many objects refinement brings home from afar, one way to look in each row."""

from collections.abc import Sequence

from air3d.evaluation.results.markdown import table
from air3d.evaluation.tables import percent


def pull_in_table(rows: Sequence[dict]) -> str:
    """Return shares of objects that come home; columns are starts (distance, angle).

    Of a start that was measured twice, by distance and by angle, the first counts.
    """
    starts = sorted({(row["distance"], row["angle"]) for row in rows})
    shares: dict[tuple, float] = {}
    for row in rows:
        shares.setdefault((row["way"], row["distance"], row["angle"]), row["share_home"])
    ways = dict.fromkeys(row["way"] for row in rows)
    head = ["way", *(f"{distance:g}, {angle:g}" for distance, angle in starts)]
    return table(
        head, [[way, *(percent(shares.get((way, *start))) for start in starts)] for way in ways]
    )
