"""The observables of a board, asked of Postgres and made ready to be drawn: the same questions as in Grafana."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from monitor.panels.expand import View, expand
from monitor.panels.observable import BASELINE, THRESHOLD, Board, N, Observable, Query
from monitor.records import Window
from monitor.store import business, reporting
from monitor.store.database import Connection
from monitor.web import pictures
from monitor.web.view import Place
from monitor.web.wording import amount, number, when

TIME = "time"
STAGE = "stage"
"""The column that tells the stages of a pipeline apart; a page is of one."""
BESIDE = (N, BASELINE, THRESHOLD)
"""Columns that say what a value rests on or is held against."""
_COLOURS = {"red": "bad", "orange": "watch", "yellow": "watch", "green": "well", "blue": "quiet", "text": "quiet"}
_DAYS = {"now-24h": 1, "now-7d": 7, "now-30d": 30, "30d": 30}
MOST_CURVES = 12
NOTHING = "–"
FRAMES = "frames"
"""The column that names frames, as a JSON list of what is known of each."""
SAID_ALREADY = {"alerts-told": ("likely cause", "do first")}
"""Columns of a panel that its sentence says too, which a page has no room for."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a table: what stands there, its tone (as a tag) if it has one, the camera it leads to."""

    said: str
    is_number: bool = False
    tone: str = ""
    camera: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A value of a bar chart, and its share of the longest bar, 0 to 100."""

    name: str
    said: str
    length: float
    kind: str


@dataclass(frozen=True, slots=True)
class Stat:
    """One number, what it is held against, and how it stands (a tone; empty: nothing judges it)."""

    said: str
    beside: tuple[tuple[str, str], ...]
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """An observable with its answer; where every part is None its `no_value` is what there is to say."""

    of: Observable
    window: Window
    n: int | None = None
    chart: pictures.Chart | None = None
    stat: Stat | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    bars: tuple[tuple[str, tuple[Bar, ...]], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.chart or self.stat or self.rows or self.bars)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A board as it stands: its panels, how far they look back, and the deployments that are marked in them."""

    board: Board
    panels: tuple[Panel, ...]
    days: int
    elsewhere: tuple[Observable, ...]
    """Observables of Prometheus, which this page does not ask."""

    def of_kind(self, *kinds: str) -> tuple[Panel, ...]:
        """The panels that are drawn in one of these ways."""
        return tuple(one for one in self.panels if one.of.kind in kinds)

    def named(self, name: str) -> Panel | None:
        """The panel of an observable."""
        return next((one for one in self.panels if one.of.name == name), None)


def draw(conn: Connection, board: Board, place: Place) -> Drawn:
    """Every panel of a board for the place, over the days that the reader chose or else the board's own."""
    days = place.days or _DAYS.get(board.start, 1)
    widest = place.back(max(days, max(_DAYS.values())))
    deployed = business.deployments(conn, place.of.model, widest.start, widest.end)
    marks = [(one.at, one.version) for one in deployed]
    panels = []
    for one in board.observables:
        if one.source == "postgres":
            panels.append(_panel(conn, one, place, _window(one, place, days), marks))
    elsewhere = tuple(one for one in board.observables if one.source != "postgres")
    return Drawn(board, tuple(panels), days, elsewhere)


def over_a_month(board: Board) -> Board:
    """The board with what it draws over time drawn over 30 days: a slow change shows on no single one."""
    slow = [replace(one, period="30d") if one.kind == "timeseries" else one for one in board.observables]
    return replace(board, observables=tuple(slow))


def _window(one: Observable, place: Place, days: int) -> Window:
    """The panel's own period if it has one; never less than what it needs to show anything."""
    own = _DAYS.get(one.period, days)
    return place.back(max(own, -(-one.smallest // timedelta(days=1))))


def _panel(
    conn: Connection, one: Observable, place: Place, window: Window, marks: Sequence[tuple[datetime, str]]
) -> Panel:
    view = View(window.start, window.end, _chosen(place))
    answers = [_of_one_stage(one, _ask(conn, query, view), place.of.stage) for query in one.queries]
    answer = answers[0]
    threshold = None
    if one.threshold is not None and one.threshold.source == "postgres":
        threshold = _first(_ask(conn, one.threshold, view), THRESHOLD)
    n = next((total for said in answers if (total := _total(said)) is not None), None)
    if not answer.rows:
        return Panel(one, window, n)
    if one.kind == "timeseries":
        return Panel(one, window, n, chart=_chart(one, answers, window, threshold, marks))
    if one.kind == "stat":
        return Panel(one, window, n, stat=_stat(one, answer, threshold))
    if one.kind in ("barchart", "bargauge"):
        return Panel(one, window, n, bars=tuple(_bars(one, answer)))
    return _table(one, answer, Panel(one, window, n), {camera.camera for camera in place.cameras})


def _chosen(place: Place) -> Mapping[str, str | Sequence[str]]:
    """What the panels' variables stand for: the place's model, version, stage and cameras; all classes, no slice."""
    cameras = [place.camera] if place.camera else [one.camera for one in place.cameras]
    classes = [one.name for one in place.loaded.contract.classes] if place.loaded else []
    return {
        "model": [place.of.model],
        "version": [place.of.version],
        "stage": [place.of.stage],
        "camera": cameras or [""],
        "class": ["", *classes],
        "slice": ["all"],
    }


def _ask(conn: Connection, query: Query, view: View) -> reporting.Answer:
    return reporting.answer(conn, expand(query.text, view, {}))


def _of_one_stage(one: Observable, answer: reporting.Answer, stage: str) -> reporting.Answer:
    """The answer without the name of the stage, which the page says already: neither as a column nor behind names."""
    kept = [i for i, name in enumerate(answer.columns) if name != STAGE or one.kind not in ("timeseries", "stat")]
    named = f" / {stage}" if stage else ""
    rows = [[row[i] for i in kept] for row in answer.rows]
    bare = [[cell.removesuffix(named) if isinstance(cell, str) else cell for cell in row] for row in rows]
    return reporting.Answer(tuple(answer.columns[i] for i in kept), tuple(map(tuple, bare)))


def _first(answer: reporting.Answer, column: str) -> float | None:
    if not answer.rows or column not in answer.columns:
        return None
    return _float(answer.rows[0][answer.columns.index(column)])


def _total(answer: reporting.Answer) -> int | None:
    """What the numbers of a panel rest on together."""
    if N not in answer.columns:
        return None
    place = answer.columns.index(N)
    return int(sum(_float(row[place]) or 0.0 for row in answer.rows))


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromtimestamp(float(value), UTC)


def _chart(
    one: Observable,
    answers: Sequence[reporting.Answer],
    window: Window,
    threshold: float | None,
    marks: Sequence[tuple[datetime, str]],
) -> pictures.Chart | None:
    """Lines over time; a baseline and a threshold, which do not change, go across the whole field."""
    lines: dict[str, list[tuple[datetime, float | None]]] = {}
    for answer in answers:
        for at, name, value in _points(answer):
            lines.setdefault(name, []).append((at, value))
    across = {BASELINE: _last(lines.pop(BASELINE, ())), THRESHOLD: _last(lines.pop(THRESHOLD, ()))}
    across[THRESHOLD] = threshold if across[THRESHOLD] is None else across[THRESHOLD]
    told = {name: points for name, points in lines.items() if name != N and _last(points) is not None}
    named = [(name, "now", sorted(points)) for name, points in told.items()][:MOST_CURVES]
    if not named:
        return None
    ends = [window.start, window.end]
    for name, level in across.items():
        if level is not None:
            named.append((name, name, [(at, level) for at in ends]))
    return pictures.chart(named, window, marks)


def _points(answer: reporting.Answer) -> Iterator[tuple[datetime, str, float | None]]:
    """(time, name of the line, value); a column of words names the lines of the columns beside it."""
    columns = answer.columns
    at = columns.index(TIME) if TIME in columns else 0
    words = {i for i in range(len(columns)) if any(isinstance(row[i], str) for row in answer.rows)}
    for row in answer.rows:
        named = " ".join(str(row[i]) for i in sorted(words))
        for i, column in enumerate(columns):
            if i != at and i not in words:
                is_beside = column in BESIDE or not named
                yield _moment(row[at]), column if is_beside else named, _float(row[i])


def _last(points: Sequence[tuple[datetime, float | None]]) -> float | None:
    return next((value for _, value in reversed(points) if value is not None), None)


def _stat(one: Observable, answer: reporting.Answer, threshold: float | None) -> Stat | None:
    row = dict(zip(answer.columns, answer.rows[0], strict=True))
    values = {name: _float(value) for name, value in row.items() if name not in BESIDE}
    first = next(iter(values))
    if values[first] is None:
        return None
    bound = _float(row.get(THRESHOLD)) if threshold is None else threshold
    beside = [(name, amount(value, one.units.get(name, one.unit))) for name, value in list(values.items())[1:]]
    for name, value in ((BASELINE, _float(row.get(BASELINE))), (THRESHOLD, bound)):
        if value is not None:
            beside.append((name, amount(value, one.unit)))
    return Stat(amount(values[first], one.units.get(first, one.unit)), tuple(beside), _tone(one, values, bound))


def _tone(one: Observable, values: Mapping[str, float | None], bound: float | None) -> str:
    """Bad beyond the contract's bound, well within it, nothing where there is none."""
    judged = [value for name, value in values.items() if name in one.judged and value is not None]
    if bound is None or not judged:
        return ""
    is_floor = one.threshold is not None and "(below)" in one.threshold.text
    return "bad" if any((value < bound) if is_floor else (value > bound) for value in judged) else "well"


def _bars(one: Observable, answer: reporting.Answer) -> Iterator[tuple[str, tuple[Bar, ...]]]:
    """Rows of bars: the first column names the row, the others that are numbers are bars beside each other."""
    columns = [(i, name) for i, name in enumerate(answer.columns) if i and name != N]
    longest = max((abs(_float(row[i]) or 0.0) for row in answer.rows for i, _ in columns), default=0.0) or 1.0
    for row in answer.rows:
        bars = []
        for i, name in columns:
            if (value := _float(row[i])) is not None:
                kind = name if name in BESIDE else "now"
                bars.append(Bar(name, amount(value, one.units.get(name, one.unit)), 100 * abs(value) / longest, kind))
        yield str(row[0]), tuple(bars)


def _table(one: Observable, answer: reporting.Answer, panel: Panel, cameras: set[str]) -> Panel:
    """The panel with its rows; a column in which nothing stands is left out, and all of it without what is judged."""
    rows = [list(_cells(one, answer.columns, row, cameras)) for row in answer.rows]
    shown = [i for i, name in enumerate(answer.columns) if name not in SAID_ALREADY.get(one.name, ())]
    kept = [i for i in shown if any(row[i].said != NOTHING for row in rows)]
    columns = tuple(answer.columns[i] for i in kept)
    if one.judged and not set(one.judged) & set(columns):
        return panel
    return replace(panel, columns=columns, rows=tuple(tuple(row[i] for i in kept) for row in rows))


def _cells(one: Observable, columns: Sequence[str], row: Sequence[Any], cameras: set[str]) -> Iterator[Cell]:
    for name, value in zip(columns, row, strict=True):
        if isinstance(value, datetime | date):
            yield Cell(when(value))
        elif (known := _float(value)) is not None:
            unit = one.units.get(name, "short" if isinstance(value, int) else one.unit)
            yield Cell(number(known) if name == N else amount(known, unit), is_number=True)
        elif value in (None, "", "[]"):
            yield Cell(NOTHING)
        else:
            said = _frames(value) if name == FRAMES else str(value)
            yield Cell(said, tone=_COLOURS.get(one.words.get(said, ""), ""), camera=said if said in cameras else "")


def _frames(said: Any) -> str:
    """The frames' own names, in the place of all that is known of them; anything else as it stands."""
    try:
        return ", ".join(str(frame["event_id"]) for frame in json.loads(said))
    except (TypeError, ValueError, KeyError):
        return str(said)
