"""Evaluations in 3D: one table for each test set, then each one's further figures."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from air3d.evaluation.results.markdown import median_and_mean, number, table
from air3d.evaluation.results.read import Result
from air3d.evaluation.tables import percent
from air3d.inference import Effort

_HEAD = (
    "method",
    "refined",
    "images",
    "count",
    "identity",
    "position, diameters",
    "rotation, degrees",
    "above 10",
    "all right",
    "and turned",
    "AP (BOP24)",
    "ADD(-S)",
    "images/s",
)


def scene_tables(results: Sequence[Result]) -> Iterator[str]:
    """Yield the tables of every test set, methods beside one another."""
    for source in dict.fromkeys(_test_set(result) for result in results):
        yield f"### {source}"
        yield table(_HEAD, [_row(result) for result in results if _test_set(result) == source])


def scene_details(result: Result) -> Iterator[str]:
    """Yield what else is known of an evaluation; old files know less."""
    metrics, content = result.content["metrics"], result.content
    yield f"#### {result.name}"
    yield "Count, true (rows) against said (columns):"
    yield _confusion(metrics["count"]["confusion"])
    if lines := list(_sentences(metrics, content)):
        yield "\n".join(f"* {line}" for line in lines)
    if content.get("splits"):
        yield _image_groups(content["splits"])
        if content["splits"]["by_occlusion"] is not None:
            yield _object_groups(content["splits"]["by_occlusion"])
    yield _types(metrics["per_type"], content.get("detection"))


def _test_set(result: Result) -> str:
    return result.content["source"]


def _row(result: Result) -> list[str]:
    content, metrics = result.content, result.content["metrics"]
    turn = _rotation(metrics)
    detection, distances = content.get("detection"), content.get("average_distances")
    # Until there was the stricter figure, "all right" asked for yaws too.
    strict = metrics.get("all_right_and_turned", metrics["all_right"])
    return [
        result.method,
        _effort(content),
        f"{content['images']:,}",
        percent(metrics["count"]["accuracy"]),
        percent(metrics["identity_accuracy"]),
        median_and_mean(metrics["position_in_diameters"], 4),
        median_and_mean(turn, 2),
        percent(turn["share_bad"]) if turn else "-",
        percent(metrics["all_right"] if "all_right_and_turned" in metrics else None),
        percent(strict),
        number(detection["bop24"]["mean"], 3) if detection else "-",
        percent(distances["add_or_s"]["recall"]) if distances else "-",
        number(content["images_per_second"], 1),
    ]


def _effort(content: dict) -> str:
    """Return what was done for each image: a rival's own words, or a model's effort in words."""
    known = {field.name: content.get(field.name, 0) for field in fields(Effort)}
    return content.get("effort") or str(Effort(**known))


def _rotation(figures: dict) -> dict | None:
    """Return errors of rotation; files from when there were upright objects only have yaws."""
    return figures["rotation_degrees"] if "rotation_degrees" in figures else figures["yaw_degrees"]


def _confusion(confusion: Sequence[Sequence[int]]) -> str:
    head = ["", *(str(said) for said in range(len(confusion)))]
    return table(head, [[str(n), *map(str, row)] for n, row in enumerate(confusion)])


def _sentences(metrics: dict, content: dict) -> Iterator[str]:
    """Say, one by one, what has no table; errors are median / mean."""
    yield from _rivalry(content)
    if metrics.get("scale"):
        yield f"scale, relative: {median_and_mean(metrics['scale'], 4)}"
    if metrics.get("colour"):
        yield f"colour, per channel: {median_and_mean(metrics['colour'], 4)}"
    for thing in ("camera", "light"):
        for name, errors in (metrics.get(thing) or {}).items():
            yield f"{thing}, {name.replace('_', ' ')}: {median_and_mean(errors, 3)}"
    if content.get("detection"):
        yield from _detection(content["detection"])
    if content.get("average_distances"):
        for name, errors in content["average_distances"].items():
            found = f"{percent(errors['recall'])} of all objects below 0.1"
            yield f"{name.replace('_', ' ')}, diameters: {median_and_mean(errors, 4)}; {found}"
    if content.get("fit"):
        yield from _fit(content["fit"])
    if content.get("calibration"):
        yield from _calibration(content["calibration"])


def _rivalry(content: dict) -> Iterator[str]:
    """Say how a rival was trained, and how it stands against a model on the same images."""
    if made := content.get("training"):
        yield (
            f"trained by labels: {made['iterations']:,} iterations in {made['seconds']} s "
            f"({made['processor_seconds']} s of a processor), {made['weights']:,} weights"
        )
    if against := content.get("against"):
        metrics, turn = against["metrics"], against["metrics"]["rotation_degrees"]
        yield (
            f"{content['processor_seconds']:.2f} s of a processor for an image, "
            f"{against['times_faster']:.1f} times as long as {against['checkpoint']} "
            f"({against['effort']}), which has, in turn on the same images: position "
            f"{median_and_mean(metrics['position_in_diameters'], 4)}, rotation "
            f"{median_and_mean(turn, 2)}, above 10 {percent(turn['share_bad'])}, all right "
            f"{percent(metrics['all_right'])}"
        )


def _detection(detection: dict) -> Iterator[str]:
    for name, words in (("bop24", "BOP24"), ("strict", "with kinds not shown taken for wrong")):
        values = detection[name]
        figures = ", ".join(f"{number(values[key], 3)} {key}" for key in ("mssd", "mspd", "mean"))
        yield f"average precision, {words}: {figures}, of {detection['targets']} targets"


def _fit(fit: dict) -> Iterator[str]:
    yield f"reconstruction, absolute error of pixels: {median_and_mean(fit['absolute_error'], 4)}"
    yield f"reconstruction, PSNR: {median_and_mean(fit['psnr'], 2)} dB"
    yield f"log p(x given the mode): {median_and_mean(fit['log_likelihood'], 1)} nats"
    yield f"ELBO: {median_and_mean(fit['elbo'], 1)} nats"


def _calibration(calibration: dict) -> Iterator[str]:
    for name in ("count", "identity"):
        known = calibration[name]
        yield (
            f"{name}: expected calibration error {number(known['expected_error'], 4)}, "
            f"mean probability {percent(known['mean'])}, right {percent(known['accuracy'])}"
        )
    for region in calibration["position"]:
        yield (
            f"position: the {100 * region['probability']:.0f} % region of q holds "
            f"{percent(region['covered'])} of {region['number']} truths"
        )


def _image_groups(splits: dict) -> str:
    head = ["images", "number", "count", "identity", "position", "rotation", "all right", "turned"]
    groups = [(f"of {group['name']}", group) for group in splits["by_count"]]
    groups += [(f"with {group['name']}", group) for group in splits["by_repeats"]]
    several = splits.get("by_count_and_repeats", ())  # older files know less
    groups += [(f"of {group['name']}", group) for group in several]
    return table(
        head,
        [
            [
                name,
                str(group["images"]),
                percent(group["count_accuracy"]),
                percent(group["identity_accuracy"]),
                median_and_mean(group["position_in_diameters"], 4),
                median_and_mean(group["rotation_degrees"], 2),
                percent(group["all_right"]),
                percent(group["all_right_and_turned"]),
            ]
            for name, group in groups
        ],
    )


def _object_groups(groups: Sequence[dict]) -> str:
    head = ["objects", "number", "matched", "in place", "identity", "position", "rotation"]
    return table(
        head,
        [
            [
                group["name"],
                str(group["objects"]),
                percent(group["matched"]),
                percent(group["in_place"]),
                percent(group["identity_accuracy"]),
                median_and_mean(group["position_in_diameters"], 4),
                median_and_mean(group["rotation_degrees"], 2),
            ]
            for group in groups
        ],
    )


def _types(kinds: Sequence[dict], detection: dict | None) -> str:
    precisions = {
        kind["name"]: kind["bop24"]["mean"] for kind in (detection or {}).get("per_type", ())
    }
    head = ["kind", "number", "identity", "position", "rotation", "AP (BOP24)"]
    return table(
        head,
        [
            [
                kind["name"],
                str(kind["objects"]),
                percent(kind["identity_accuracy"]),
                median_and_mean(kind["position_in_diameters"], 4),
                median_and_mean(_rotation(kind), 2),
                number(precisions.get(kind["name"]), 3),
            ]
            for kind in kinds
        ],
    )
