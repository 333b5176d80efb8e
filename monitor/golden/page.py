"""A report as one HTML page that holds all it shows: no script, nothing fetched, light and dark."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from monitor.golden import charts, show
from monitor.golden.frames import MISSED, WRONG, Frame
from monitor.golden.pictures import Folder, Picture
from monitor.golden.report import Report
from monitor.stats.intervals import FAIL, INSUFFICIENT, PASS

WORDS = {PASS: "pass", FAIL: "fail", INSUFFICIENT: "not enough data"}
TONES = {PASS: "well", FAIL: "bad", INSUFFICIENT: "watch", "drop": "bad", "held": "well"}


def page(of: Report, title: str, images: Folder | None = None) -> str:
    """The page; frames have their pictures where `images` has them."""
    templates = Environment(
        loader=PackageLoader("monitor", "golden/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(figure=show.figure, thousands=lambda n: f"{n:,}", percent=lambda v: f"{v:.0%}")
    shown = charts.shown(of.curves)
    keys = list(of.numbers["per_class"])
    said = {
        "of": of,
        "title": title,
        "numbers": of.numbers,
        "classes": [(keys[k], of.curves[k]) for k in shown],
        "left_out": sum(curve.ap50 is not None for curve in of.curves) - len(shown),
        "confusion": charts.confusion(of.numbers["confusion"]),
        "bars": charts.error_bars(of.numbers["taxonomy"]),
        "frames": [(frame, _picture(frame, images)) for frame in of.frames],
        "counts": counts(of.ruling),
    }
    words = {
        "words": WORDS,
        "tones": TONES,
        "charts": charts,
        "between": show.between,
        "bound": show.bound,
        "caption": caption,
    }
    return templates.get_template("report.html").render(**said, **words)


def _picture(frame: Frame, images: Folder | None) -> Picture:
    found = images.picture(frame) if images else None
    if found:
        return found
    # Without the image the boxes are drawn on a field that holds them all.
    ends = [(box[0] + box[2], box[1] + box[3]) for box in (mark.box for mark in frame.marks)]
    return Picture("", *(math.ceil(max(end) * 1.02) for end in zip(*ends, strict=True)))


def caption(of: Frame) -> str:
    """What is missed and wrong in a frame, by class: "missed 2 dent, 1 scratch; wrong 1 dent"."""
    parts = []
    for kind in (MISSED, WRONG):
        said = Counter(mark.class_name for mark in of.marks if mark.kind == kind)
        if said:
            parts.append(f"{kind} " + ", ".join(f"{n} {name}" for name, n in said.most_common()))
    return "; ".join(parts)


def counts(ruling: Mapping[str, Any] | None) -> list[tuple[str, int]]:
    """How many cells of a ruling have each verdict, the worst first; without those of none."""
    said = [cell["verdict"] for cell in (ruling or {"criteria": ()})["criteria"]]
    return [(verdict, said.count(verdict)) for verdict in (FAIL, INSUFFICIENT, PASS) if verdict in said]
