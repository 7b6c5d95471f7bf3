"""One self-contained HTML page about what was inferred: figures, pictures and scenes to turn.

A page is a list of sections, each made by one function here; :func:`write_report` puts them
together. Pictures and viewers are embedded, so the file can be mailed and opened offline.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import PIL.Image
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.files import write_atomically
from air3d.inspection.exhibit import exhibit_of
from air3d.inspection.glb import build_scene, scene_html
from air3d.inspection.panels import colour_of_kind, count_text, overlay, to_picture
from air3d.inspection.placement import WHITE, camera_position, colour_of, percent
from air3d.inspection.style import STYLE
from air3d.inspection.turns import turn_text
from air3d.scene import Light, Mesh
from air3d.scene.spec import TableSpec


@dataclass(frozen=True)
class Seen:
    """One image with what was inferred from it.

    Attributes:
        name: what to call the image.
        image: values in [0, 1].
        estimate: what was inferred.
        remark: a sentence below it, such as how far off it is; may be empty.
    """

    name: str
    image: Float[Tensor, "channel height width"]
    estimate: SceneEstimate
    remark: str = ""


def write_report(
    path: Path, *, title: str, lead: str, sections: Sequence[str], footer: str
) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: it cannot be written there.
    """
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<p class="brand">air3d</p>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
</header>
{"".join(sections)}
<footer>{escape(footer)}</footer>
</main>
</body>
</html>
"""
    try:
        write_atomically(path, page.encode("utf-8"))
    except OSError as error:
        reason = f"cannot be written ({error.strerror}); choose another place"
        raise OSError(f"{path}: {reason}") from error


def figures_section(heading: str, figures: Mapping[str, str], note: str) -> str:
    """Show figures as a row of tiles: label -> value."""
    tiles = "".join(
        f"<div class='tile'><b>{escape(value)}</b><span>{escape(label)}</span></div>"
        for label, value in figures.items()
    )
    return _section(heading, note, f"<div class='tiles'>{tiles}</div>")


def scenes_section(
    heading: str,
    seen: Sequence[Seen],
    meshes: Sequence[Mesh],
    note: str,
    *,
    table: TableSpec | None = None,
) -> str:
    """Show input, reconstruction and overlay of each 3D scene, and its poses in words."""
    return _section(heading, note, "".join(_scene_card(each, meshes, table) for each in seen))


def viewers_section(
    heading: str,
    seen: Sequence[Seen],
    meshes: Sequence[Mesh],
    note: str,
    *,
    table: TableSpec | None = None,
) -> str:
    """Show 3D scenes, on the scene file's table, to turn with the mouse; about 1 MB each."""
    frames = []
    for each in seen:
        exhibit = exhibit_of(each.estimate, meshes, table)
        scene = build_scene(exhibit, image=to_picture(each.image))
        frames.append(
            f"<figure class='viewer'><iframe title='{escape(each.name)}' "
            f'srcdoc="{escape(scene_html(scene))}"></iframe>'
            f"<figcaption>{escape(each.name)}</figcaption></figure>"
        )
    return _section(heading, note, f"<div class='viewers'>{''.join(frames)}</div>")


def patches_section(heading: str, seen: Sequence[Seen], note: str) -> str:
    """Show 2D canvases with the boxes found on them."""
    tiles = "".join(
        _figure(overlay(each.image, each.estimate), f"{each.name}\n{count_text(each.estimate)}")
        for each in seen
    )
    return _section(heading, note, f"<div class='sheet'>{tiles}</div>")


def _section(heading: str, note: str, body: str) -> str:
    remark = f"<p class='note'>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(heading)}</h2>{remark}{body}</section>\n"


def _scene_card(seen: Seen, meshes: Sequence[Mesh], table: TableSpec | None) -> str:
    figures = (
        _figure(to_picture(seen.image), "input", pixels=True),
        _figure(to_picture(seen.estimate.reconstruction), "reconstruction", pixels=True),
        _figure(overlay(seen.image, seen.estimate, meshes, table=table), "inferred"),
    )
    remark = f"<p class='remark'>{escape(seen.remark)}</p>" if seen.remark else ""
    poses = _poses(seen.estimate, meshes)
    beside, below = (poses, "") if len(seen.estimate.objects) < 2 else ("", poses)
    return (
        f"<article><div class='pictures'>{''.join(figures)}</div><div class='words'>"
        f"<h3>{escape(seen.name)}</h3><p>{escape(count_text(seen.estimate))}</p>"
        f"<p>{_view(seen.estimate)}</p>{beside}{remark}</div>{below}</article>"
    )


def _poses(estimate: SceneEstimate, meshes: Sequence[Mesh]) -> str:
    tables = []
    for found in estimate.objects:
        if not isinstance(found, ObjectEstimate):
            continue
        x, y, z = (float(value) for value in found.object_to_world[:3, 3])
        std_x, std_y = (1000 * float(value) for value in found.position_std)
        colour = colour_of_kind(found.identity)
        tables.append(
            f"<table><tr><th colspan='2'><i style='background:{colour}'></i>{escape(found.name)}"
            f"<em>{escape(percent(found.identity_probability))}</em></th></tr>"
            f"<tr><td>x</td><td>{x:+.4f} m &plusmn; {std_x:.1f} mm</td></tr>"
            f"<tr><td>y</td><td>{y:+.4f} m &plusmn; {std_y:.1f} mm</td></tr>"
            f"<tr><td>z</td><td>{z:+.4f} m</td></tr>"
            f"<tr>{_turn(found, meshes[found.identity])}</tr>"
            f"{_size_and_colour(found)}</table>"
        )
    return f"<div class='poses'>{''.join(tables)}</div>"


def _turn(found: ObjectEstimate, mesh: Mesh) -> str:
    name = "yaw" if mesh.symmetry is None else "turn"
    text = turn_text(found.object_to_world, mesh).replace(" deg", "&deg;")
    return f"<td>{name}</td><td>{text}</td>"


def _size_and_colour(found: ObjectEstimate) -> str:
    """Say how an object differs from its mesh; nothing where it does not."""
    rows = ""
    if found.scale != 1.0:
        rows += f"<tr><td>scale</td><td>{found.scale:.3f}</td></tr>"
    colour = colour_of(found.colour)
    if colour != WHITE:
        swatch = "#" + "".join(f"{round(255 * min(max(part, 0.0), 1.0)):02x}" for part in colour)
        words = ", ".join(f"{part:.2f}" for part in colour)
        rows += (
            f"<tr><td>colour</td><td><i class='swatch' style='background:{swatch}'></i>{words}</td>"
            "</tr>"
        )
    return rows


def _view(estimate: SceneEstimate) -> str:
    """Say from where the picture was taken, and what the light is like."""
    parts = []
    if estimate.camera is not None:
        x, y, z = (round(place, 3) + 0.0 for place in camera_position(estimate.camera))
        parts.append(f"camera at ({x:+.3f}, {y:+.3f}, {z:+.3f}) m")
    if estimate.light is not None:
        parts.append(_light(estimate.light))
    return "; ".join(parts)


def _light(light: Light) -> str:
    x, y, z = (float(value) for value in light.source[0, :3])
    azimuth, elevation = math.atan2(y, x), math.atan2(z, math.hypot(x, y))
    ambient, diffuse = float(light.ambient.mean()), float(light.diffuse.mean())
    return (
        f"light from {round(math.degrees(azimuth)):+d}&deg;, {math.degrees(elevation):.0f}&deg; "
        f"up, ambient {ambient:.2f}, diffuse {diffuse:.2f}"
    )


def _figure(picture: PIL.Image.Image, caption: str, *, pixels: bool = False) -> str:
    """Embed a picture; ``pixels``: keep its pixels visible when the browser enlarges it."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    look = " class='pixels'" if pixels else ""
    words = "<br>".join(escape(line) for line in caption.splitlines())
    return (
        f"<figure><img{look} alt='{escape(caption)}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{words}</figcaption></figure>"
    )
