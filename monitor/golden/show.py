"""The numbers of a golden set as text that a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.golden.compare import Comparison
from monitor.golden.frames import Frame
from monitor.golden.report import Changes, Report
from monitor.golden.thresholds import Choice, Step

ABSENT = "-"
KINDS = {
    "Cls": "wrong class",
    "Loc": "badly placed",
    "Both": "both of these",
    "Dupe": "duplicate",
    "Bkg": "background",
    "Miss": "missed",
}


def figure(value: float | None, digits: int = 3) -> str:
    """A number, or a dash for what was not computed."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def between(value: float | None, low: float | None, high: float | None) -> str:
    """A number with its bounds: 0.912 [0.880, 0.938]."""
    if value is None:
        return ABSENT
    return figure(value) + ("" if low is None or high is None else f" [{figure(low)}, {figure(high)}]")


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Rows of cells as aligned lines; the first `left` columns are words, the others numbers."""
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = (
        [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=True))]
        for row in rows
    )
    return ["  ".join(row).rstrip() for row in padded]


def evaluation(numbers: dict[str, Any]) -> str:
    """What `evaluate` found: headline, classes, thresholds, errors, calibration, slices."""
    parts = [_headline(numbers), _classes(numbers), _grid(numbers), _errors(numbers), _slices(numbers)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _headline(numbers: dict[str, Any]) -> list[str]:
    stats, bounds = numbers["stats"], numbers["intervals"] or {}
    lines = [
        f"{numbers['images']:,} images, {numbers['objects']:,} objects, {numbers['ignored_objects']:,} more ignored, "
        f"{numbers['detections']:,} detections"
    ]
    lines += [f"set aside: {sentence}" for sentence in numbers["set_aside"]]
    for name in ("AP", "AP50"):
        low, high = bounds.get(name, (None, None))
        lines.append(f"{name:<6} {between(stats[name], low, high)}")
    lines.append("       " + "  ".join(f"{name} {figure(value)}" for name, value in list(stats.items())[2:]))
    if bounds and not bounds["reliable"]:
        lines.append("       intervals of AP from fewer than 300 images with objects are too short to rely on")
    return lines


def _classes(numbers: dict[str, Any]) -> list[str]:
    bounds = (numbers["intervals"] or {}).get("per_class", {})
    at = numbers["operating_points"]
    rows: list[tuple[str, ...]] = [
        ("class", "AP", "AP50", "threshold", "right", "wrong", "missed", "precision", "recall", "F1", "oLRP")
    ]
    for key, values in numbers["per_class"].items():
        point = at["per_class"][key]
        ap = between(values["AP"], *bounds.get(key, {}).get("AP", (None, None)))
        last = (figure(point["f1"]), figure(numbers["lrp"]["per_class"][key]["oLRP"]))
        rows.append((values["name"], ap, figure(values["AP50"]), f"{point['threshold']:.2f}", *_point(point), *last))
    rows.append(("all", "", "", "", *_point(at["all"]), figure(at["all"]["f1"]), figure(numbers["lrp"]["oLRP"])))
    return [f"at production thresholds, IoU {at['iou']:g}, bounds one-sided {at['confidence']:.0%}", *columns(rows)]


def _point(of: dict[str, Any]) -> tuple[str, ...]:
    bounds = (between(of[name], of[f"{name}_low"], of[f"{name}_high"]) for name in ("precision", "recall"))
    return (str(of["tp"]), str(of["fp"]), str(of["fn"]), *bounds)


def _grid(numbers: dict[str, Any]) -> list[str]:
    rows = [("threshold", "precision", "recall", "F1", "wrong", "missed")]
    for step in numbers["operating_points"]["table"]:
        of = step["all"]
        values = (figure(of["precision"]), figure(of["recall"]), figure(of["f1"]), str(of["fp"]), str(of["fn"]))
        rows.append((f"{step['threshold']:.2f}", *values))
    return ["all classes, by threshold", *columns(rows)]


def _errors(numbers: dict[str, Any]) -> list[str]:
    every, acted = numbers["taxonomy"], numbers["taxonomy"]["production"]
    rows = [("errors", "all", "at thresholds")]
    rows += [(word, str(every[kind]), str(acted[kind])) for kind, word in KINDS.items()]
    lines = columns(rows)
    for name, where in (
        ("floor", f"from score {numbers['calibration']['score_floor']:g}"),
        ("production", "acted on"),
    ):
        of = numbers["calibration"][name]
        lines.append(
            f"calibration, {where}: D-ECE {figure(of['d_ece'])}, LaECE {figure(of['la_ece'])}, n {of['n']:,}"
        )
    return lines


def _slices(numbers: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("slice", "images", "AP", "AP50", "right", "wrong", "missed", "precision", "recall")
    ]
    for name, values in numbers["slices"].items():
        for value, of in values.items():
            images = str(of["images"]) if "images" in of else ABSENT
            averages = (figure(of.get("AP")), figure(of.get("AP50")))
            rows.append((f"{name}={value}", images, *averages, *_point(of["all"])))
    return columns(rows)


def comparison(of: Comparison) -> str:
    """The table of a comparison and its verdict."""
    rows = [("measure", "before", "after", "difference", "p", "images", "verdict")]
    for row in of.rows:
        d = row.difference
        name = row.measure + (f" of {row.class_name}" if row.class_name else "")
        moved = ABSENT if d is None else f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
        said = row.verdict + (f", {row.settles_at:,} images would settle it" if row.settles_at else "")
        rows.append((name, figure(row.before), figure(row.after), moved, f"{row.p:.2g}", str(row.images), said))
    head = (
        f"paired over {of.times:,} resamples, margin {of.margin:g}, bounds one-sided {of.confidence:.0%}, p by Holm"
    )
    return "\n".join([head, *columns(rows), f"verdict: {of.verdict}"])


def bound(at_least: float | None, at_most: float | None) -> str:
    """What a criterion asks: ">= 0.95"."""
    return f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"


def ruling(of: Mapping[str, Any]) -> str:
    """A ruling, as `monitor.golden.ruling.plain` gives it: its cells, its comparisons, and every cell that failed."""
    rows = [("criterion", "cell", "bound", "value", "n", "verdict")]
    for cell in of["criteria"]:
        asked = bound(cell["at_least"], cell["at_most"])
        word = cell["verdict"] + (f", {cell['settles_at']:,} would settle it" if cell["settles_at"] else "")
        word += f" ({cell['note']})" if cell["note"] else ""
        value = between(cell["value"], cell["low"], cell["high"])
        rows.append((cell["name"], cell["cell"], asked, value, str(cell["n"]), word))
    lines = columns(rows, left=2)
    for name, one in of["comparisons"].items():
        moved = one["rows"][0]["difference"]
        said = f"{moved['value']:+.3f} [{moved['low']:+.3f}, {moved['high']:+.3f}]" if moved else ABSENT
        lines.append(f"against the {name}: map50_95 {said}, margin {one['margin']:g}: {one['verdict']}")
    lines += [f"failed: {name}" for name in of["failed"]]
    return "\n".join([*lines, f"verdict: {of['verdict']}"])


def steps(of: Sequence[Step]) -> str:
    """The table of what every threshold would come to, class by class."""
    rows: list[tuple[str, ...]] = [("class", "threshold", "precision", "recall", "F1", "wrong", "missed", "cost")]
    for one in of:
        shares = (figure(share) for share in (one.precision, one.recall, one.f1))
        rows.append(
            (one.class_name, f"{one.threshold:.2f}", *shares, str(one.wrong), str(one.missed), f"{one.cost:g}")
        )
    return "\n".join(columns(rows))


def choices(of: Sequence[Choice]) -> str:
    """The table of thresholds chosen and verified."""
    rows = [("class", "in use", "cheapest", "cost in use", "cost cheapest", "saved", "proposed")]
    for one in of:
        saved = f"{one.saved:+g} [{one.low:+.3g}, {one.high:+.3g}]"
        costs = (f"{one.cost_in_use:g}", f"{one.cost_chosen:g}")
        rows.append((one.class_name, f"{one.in_use:.2f}", f"{one.chosen:.2f}", *costs, saved, f"{one.proposed:.2f}"))
    return "\n".join(columns(rows))


def frames(of: Sequence[Frame]) -> str:
    """The table of the frames that cost most."""
    rows = [("worst frames", "file", "missed", "wrong", "cost")]
    rows += [(str(one.image), one.file or ABSENT, str(one.missed), str(one.wrong), f"{one.cost:g}") for one in of]
    return "\n".join(columns(rows, left=2))


def changes(of: Changes) -> str:
    """What is otherwise than last time."""
    lines = [f"{name}: {then}, now {now}" for name, then, now in of.cells]
    lines += [
        f"{one.name}: {figure(one.before)}, now {between(one.now, one.low, one.high)}" for one in (*of.fell, *of.rose)
    ]
    lines.append(f"objects found before and missed now: {of.lost:,}; the other way round: {of.won:,}")
    return "\n".join([comparison(of.comparison), *lines])


def report(of: Report) -> str:
    """The whole report."""
    parts = [of.name + (f": {of.ruling['verdict']}" if of.ruling else "")]
    parts += [ruling(of.ruling)] if of.ruling else []
    parts += ["since last time\n" + changes(of.changes)] if of.changes else []
    return "\n\n".join([*parts, evaluation(of.numbers), frames(of.frames)])
