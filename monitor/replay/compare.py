"""Settings side by side: what each would have told people, as a table and as one self-contained page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from monitor.records import Window
from monitor.replay.backtest import Finding, Labelled, Page, Score

DAY = timedelta(days=1)
MOST_ROWS = 60
"""Cameras that the picture has a row for: those that were paged or labelled, the most paged first."""
_WIDTH, _LEFT, _ROW = 900, 150, 22
_COLOURS = ("#2f6fb2", "#b3471d")


@dataclass(frozen=True, slots=True)
class Setting:
    """One way of being told, and what it would have meant."""

    name: str
    score: Score


def table(settings: Sequence[Setting]) -> str:
    """One column a setting, a line a figure, then what became of each labelled incident."""
    rows = [("", [one.name for one in settings]), *_figures(settings)]
    width = max(12, *(len(one.name) for one in settings))
    lines = [f"{name:<34}" + "".join(f"  {said:>{width}}" for said in values) for name, values in rows]
    findings = list(zip(*(one.score.findings for one in settings), strict=True))
    if findings:
        lines += ["", "labelled incidents:"]
        lines += [
            f"  {_labelled(one[0].labelled):<32}" + "".join(f"  {_outcome(finding):>{width}}" for finding in one)
            for one in findings
        ]
    return "\n".join(lines)


def _figures(settings: Sequence[Setting]) -> list[tuple[str, list[str]]]:
    scores = [one.score for one in settings]
    rows = [
        ("pages", [str(len(score.pages)) for score in scores]),
        ("pages a camera-month", [_rate(len(score.pages), score) for score in scores]),
        ("cameras named", [str(score.paged) for score in scores]),
    ]
    if any(score.findings for score in scores):
        rows += [
            ("labelled incidents found", [f"{score.found} of {len(score.findings)}" for score in scores]),
            ("median delay, days", [_days(score.median_delay) for score in scores]),
            ("pages of no labelled incident", [str(len(score.false)) for score in scores]),
            ("the same a camera-month", [_rate(len(score.false), score) for score in scores]),
        ]
    return rows


def _rate(count: int, score: Score) -> str:
    return f"{count / score.camera_months:.3f}" if score.camera_months else "-"


def _days(delay: timedelta | None) -> str:
    return "-" if delay is None else f"{delay / DAY:.1f}"


def _labelled(one: Labelled) -> str:
    return f"{one.start:%Y-%m-%d} {one.camera or 'all cameras'} {one.cause}".strip()[:32]


def _outcome(finding: Finding) -> str:
    return "missed" if finding.page is None else f"{_days(finding.delay)} d"


def told(page: Page, frames: Sequence[str] = ()) -> str:
    """A page as lines of text: when, where, what, since when, and the frames by event id."""
    until = f" until {page.until:%Y-%m-%d %H:%M}" if page.until else ""
    lines = [f"{page.at:%Y-%m-%d %H:%M}{until}  {page.where}: {page.subject}", f"    {page.reason}"]
    if page.since:
        lines.append(f"    since {page.since:%Y-%m-%d %H:%M}")
    if len(page.cameras) > 1:
        lines.append(f"    {', '.join(page.cameras)}")
    return "\n".join([*lines, *(f"    frame {name}" for name in frames)])


def document(
    title: str,
    settings: Sequence[Setting],
    labelled: Sequence[Labelled],
    period: Window,
    frames: Mapping[Page, Sequence[tuple[str, str]]],
) -> str:
    """The comparison as one HTML file that needs nothing else: table, timeline, every page with its frames.

    `frames` holds (event id, address) of the frames behind a page; only http addresses become links.
    """
    head = "".join(f"<th>{escape(one.name)}</th>" for one in settings)
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(said)}</td>' for said in values)}</tr>"
        for name, values in _figures(settings)
    )
    items = [(one.name, "".join(_item(page, frames.get(page, ())) for page in one.score.pages)) for one in settings]
    lists = "".join(f"<h2>{escape(name)}</h2><ol>{inner}</ol>" for name, inner in items)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}, UTC</p>"
        f"<table><tr><th></th>{head}</tr>{body}</table>{timeline(settings, labelled, period)}{lists}</html>\n"
    )


_STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;max-width:960px;margin:24px auto;"
    "padding:0 16px}th{text-align:left;font-weight:400}td{text-align:right}th,td{padding:2px 14px 2px 0}"
    "li{margin-bottom:6px}code{font-size:13px}svg{width:100%;height:auto}"
)


def _item(page: Page, frames: Iterable[tuple[str, str]]) -> str:
    lines = escape(told(page)).replace("\n", "<br>")
    return f"<li>{lines}{''.join(f'<br>{_frame(*frame)}' for frame in frames)}</li>"


def _frame(event_id: str, address: str) -> str:
    name = f"<code>{escape(event_id)}</code>"
    linked = address.startswith(("http://", "https://"))
    return f'<a href="{escape(address)}">{name}</a>' if linked else f"{name} {escape(address)}"


def timeline(settings: Sequence[Setting], labelled: Sequence[Labelled], period: Window) -> str:
    """A row a camera: shaded what was labelled, a mark a page, the first setting's above the second's."""
    pages = [page for one in settings for page in one.score.pages]
    rows = _rows(pages, labelled)
    if not rows:
        return "<p>No page and no labelled incident.</p>"
    height = 20 + _ROW * len(rows)
    marks = []
    for place, name in enumerate(rows):
        y = 20 + _ROW * place
        marks.append(f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        marks.append(f'<path d="M{_LEFT},{y + _ROW}H{_WIDTH}" stroke="currentColor" stroke-opacity="0.2"/>')
        marks += [_shade(one, y, period) for one in labelled if one.camera in ("", name)]
        for which, one in enumerate(settings):
            own = [page for page in one.score.pages if name in (page.cameras or (page.where,))]
            marks += [_mark(page, y, which, period) for page in own]
    legend = "; ".join(f"{('blue', 'brown')[i % 2]}: {one.name}" for i, one in enumerate(settings))
    shown = f"{legend}; grey: labelled incidents"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" font-size="12" fill="currentColor">'
        f"<title>Pages by camera and day. {escape(shown)}</title>"
        f'<text x="{_LEFT}" y="13">{escape(shown)}</text>{"".join(marks)}</svg>'
    )


def _rows(pages: Sequence[Page], labelled: Sequence[Labelled]) -> list[str]:
    counted: dict[str, int] = {one.camera: 0 for one in labelled if one.camera}
    for page in pages:
        for name in page.cameras or (page.where,):
            counted[name] = counted.get(name, 0) + 1
    return sorted(counted, key=lambda name: (-counted[name], name))[:MOST_ROWS]


def _x(at: datetime, period: Window) -> float:
    share = (at - period.start) / (period.end - period.start)
    return round(_LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - 4), 1)


def _shade(one: Labelled, y: float, period: Window) -> str:
    start, end = _x(one.start, period), _x(one.end or period.end, period)
    return (
        f'<rect x="{start}" y="{y + 2}" width="{max(end - start, 2):.1f}" height="{_ROW - 4}" fill="#888" '
        f'fill-opacity="0.35"><title>{escape(one.cause)}</title></rect>'
    )


def _mark(page: Page, y: float, which: int, period: Window) -> str:
    colour, top = _COLOURS[which % 2], y + 3 + (which % 2) * (_ROW / 2 - 2)
    start, end = _x(page.at, period), _x(page.until or period.end, period)
    title = f"<title>{escape(told(page))}</title>"
    bar = f'<rect x="{start}" y="{top + 3:g}" width="{max(end - start, 1):.1f}" height="2" fill="{colour}"/>'
    return f'<g>{title}{bar}<circle cx="{start}" cy="{top + 4:g}" r="4" fill="{colour}"/></g>'
