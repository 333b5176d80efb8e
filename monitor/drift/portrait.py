"""The picture of an explanation: a stream against its ordinary days, its sums against their limit, what moved.

One SVG that stands alone and may be embedded in a page with a strict content policy: no script, no style, nothing
fetched; text takes the colour of its surroundings, and a title and a description say what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from monitor.drift.explain import Explanation, amount, in_words
from monitor.records import Floats

WIDTH, NARROW, HEIGHT = 640, 360, 420
"""Widths for a desk and for a telephone, at the same size of the letters."""
_LEFT, _RIGHT = 64, 8
_PANELS = ((24, 130), (174, 100), (298, 96))
"""Top and height of each panel."""
NOW, BEFORE = "#2f6fb2", "#b3471d"
_MOST_DAYS = 120
_BAR = 46
"""Room that a bar of the last panel has at least."""


def portrait(said: Explanation, wide: int = WIDTH) -> str:
    """The picture as SVG text, `wide` units across."""
    what = f"{said.lane.name}{f' of class {said.class_name}' if said.class_name else ''} on {said.camera}"
    described = " ".join(in_words(said).split("What moved")[0].split())
    body = [_stream(said, wide), _sums(said, wide), _parts(said, wide)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {HEIGHT}" role="img" font-size="11" '
        f'font-family="system-ui, sans-serif" fill="currentColor"><title>{escape(what)}, {said.day}</title>'
        f"<desc>{escape(described)}</desc>{''.join(body)}</svg>\n"
    )


def _x(count: int, wide: int) -> Floats:
    """The middles of `count` days across the field."""
    return _LEFT + (np.arange(count) + 0.5) / max(count, 1) * (wide - _LEFT - _RIGHT)


class _Scale:
    """Values to heights within one panel."""

    def __init__(self, panel: int, values: Sequence[float]) -> None:
        self.top, self.height = _PANELS[panel]
        known = [v for v in values if np.isfinite(v)] or [0.0]
        low, high = min(0.0, *known), max(0.0, *known)
        self.low, self.span = low, (high - low) or 1.0

    def __call__(self, value: float) -> float:
        return round(self.top + self.height * (1 - (value - self.low) / self.span), 1)


def _text(x: float, y: float, said: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}>{escape(said)}</text>'


def _line(xs: Floats, ys: Sequence[float], colour: str) -> str:
    """A line through what is known; a gap breaks it, a lone value is a dot."""
    runs: list[list[str]] = [[]]
    for x, y in zip(xs.tolist(), ys, strict=True):
        if np.isfinite(y):
            runs[-1].append(f"{x:.1f},{y:g}")
        else:
            runs.append([])
    path = "".join("M" + "L".join(run if len(run) > 1 else run * 2) for run in runs if run)
    style = 'stroke-width="2" stroke-linejoin="round" stroke-linecap="round"'
    return f'<path d="{path}" fill="none" stroke="{colour}" {style}/>' if path else ""


def _level(y: float, wide: int, colour: str = "currentColor", dash: str = "4 3") -> str:
    return f'<path d="M{_LEFT},{y:g}H{wide - _RIGHT}" stroke="{colour}" stroke-dasharray="{dash}" fill="none"/>'


def _shown(said: Explanation) -> slice:
    return slice(max(0, len(said.path.days) - _MOST_DAYS), None)


def _onset(said: Explanation, xs: Floats, panel: int) -> str:
    days = said.path.days[_shown(said)]
    if said.began not in days or said.onset.size == 0:
        return ""
    x, (top, height) = xs[days.index(said.began)], _PANELS[panel]
    return f'<path d="M{x:.1f},{top}v{height}" stroke="{BEFORE}" stroke-dasharray="2 2" fill="none"/>' + (
        _text(x + 3, top + 10, f"began {said.began}") if panel == 0 else ""
    )


def _alarms(said: Explanation, xs: Floats, ys: Sequence[float]) -> str:
    marks = zip(xs.tolist(), ys, said.path.alarm[_shown(said)].tolist(), strict=True)
    return "".join(
        f'<circle cx="{x:.1f}" cy="{y:g}" r="4" fill="{BEFORE}"/>'
        for x, y, alarm in marks
        if alarm and np.isfinite(y)
    )


def _stream(said: Explanation, wide: int) -> str:
    path, chosen, lane = said.path, _shown(said), said.lane
    effect, xs = path.effect[chosen], _x(len(path.days[chosen]), wide)
    scale = _Scale(0, [*effect.tolist(), said.band.low, said.band.high])
    season = ", against its season" if wide >= WIDTH else ""
    parts = [_text(_LEFT, 14, said.lane.help + season, bold=True)]
    if np.isfinite(said.band.high):
        high, low = scale(said.band.high), scale(said.band.low)
        parts.append(
            f'<rect x="{_LEFT}" y="{high:g}" width="{wide - _LEFT - _RIGHT}" height="{max(low - high, 1):g}" '
            f'fill="{NOW}" fill-opacity="0.15"/>'
        )
        parts.append(_text(_LEFT - 4, high + 4, amount(said.band.high, lane), "end"))
        parts += [_text(_LEFT - 4, low + 4, amount(said.band.low, lane), "end")] if said.band.low < 0 else []
    ys = [scale(v) if np.isfinite(v) else float("nan") for v in effect.tolist()]
    parts += [_level(scale(0.0), wide, dash="1 3"), _line(xs, ys, NOW), _alarms(said, xs, ys), _onset(said, xs, 0)]
    if path.days:
        parts += [_text(_LEFT, 168, str(path.days[chosen][0])), _text(wide - _RIGHT, 168, str(said.day), "end")]
    return "".join(parts)


def _sums(said: Explanation, wide: int) -> str:
    path, chosen = said.path, _shown(said)
    up, down, xs = path.up[chosen], path.down[chosen], _x(len(path.days[chosen]), wide)
    scale = _Scale(1, [*up.tolist(), *down.tolist(), said.limit])
    lines = [[scale(v) for v in values.tolist()] for values in (down, up)]
    larger = [min(pair) for pair in zip(*lines, strict=True)]
    return "".join(
        [
            _level(scale(said.limit), wide, BEFORE),
            _text(_LEFT - 4, scale(said.limit) + 4, f"limit {said.limit:.1f}", "end"),
            _line(xs, lines[0], BEFORE),
            _line(xs, lines[1], NOW),
            _alarms(said, xs, larger),
            _onset(said, xs, 1),
            _text(_LEFT, 290, "sums: blue up, brown down; a dot is an alarm"),
        ]
    )


def _brief(name: str, width: float) -> str:
    """A bar's name as short as it can be said."""
    short = name.replace(" to ", "–").removeprefix("under ").removesuffix(" and over")
    sign = "<" if name.startswith("under ") else "≥" if name.endswith(" and over") else ""
    return (sign + short)[: max(3, int(width / 6))]


def _parts(said: Explanation, wide: int) -> str:
    chosen = sorted(said.parts, key=lambda part: -abs(part.now - part.before))[: (wide - _LEFT - _RIGHT) // _BAR]
    shown = [part for part in said.parts if part in chosen]
    if not shown:
        return ""
    top, height = _PANELS[2]
    most = max(max(part.before, part.now) for part in shown) or 1.0
    step = (wide - _LEFT - _RIGHT) / len(shown)
    bars = [_text(_LEFT - 4, top + 10, f"{most:.0%}", "end"), _text(_LEFT - 4, top + height, "0", "end")]
    for i, part in enumerate(shown):
        x = _LEFT + i * step
        for place, (share, colour) in enumerate(((part.before, BEFORE), (part.now, NOW))):
            tall = height * share / most
            bars.append(
                f'<rect x="{x + (0.1 + 0.4 * place) * step:.1f}" y="{top + height - tall:.1f}" '
                f'width="{0.38 * step:.1f}" height="{tall:.1f}" fill="{colour}"/>'
            )
        bars.append(_text(x + step / 2, top + height + 12, _brief(part.name, step), "middle"))
    bars.append(_text(wide - _RIGHT, top + 10, f"brown: the season; blue: since {said.began}", "end"))
    return "".join(bars)
