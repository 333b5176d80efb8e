"""Why a lane alarmed on a camera, or did not: the explanation in parts that a page can set, and its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from monitor.drift import aside, past
from monitor.drift.explain import in_words
from monitor.drift.portrait import NARROW, portrait
from monitor.drift.why import Asked, explained
from monitor.records import Window
from monitor.spec.load import LoadedContract
from monitor.store import measurements
from monitor.store.database import Connection
from monitor.watch import APART
from monitor.web import pictures


@dataclass(frozen=True, slots=True)
class Block:
    """A part of an explanation: sentences, or columns that are set as they stand."""

    said: str
    is_columns: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """One camera's lane explained. The portraits are SVG that escapes what it is given; a lane with a way of its own
    has a chart in their place."""

    camera: str
    lane: str
    day: date | None
    blocks: tuple[Block, ...]
    wide: str = ""
    narrow: str = ""
    chart: pictures.Chart | None = None


def stream(conn: Connection, loaded: LoadedContract, version: str, asked: Asked) -> Stream:
    """The stream that was asked for, explained.

    Raises:
        UsageError: the version has no baseline from logs, it knows no such stream, or the day is none after it.
    """
    baseline = past.baseline_of(conn, loaded.model, version)
    if asked.lane in APART:
        said = aside.stored(conn, baseline, asked.camera, asked.lane, asked.day, asked.stage, loaded.stages)
        chart = _apart(conn, loaded, version, asked)
        return Stream(asked.camera, asked.lane, asked.day, blocks(said), chart=chart)
    why = explained(conn, loaded, baseline, asked)
    return Stream(asked.camera, asked.lane, why.day, blocks(in_words(why)), portrait(why), portrait(why, NARROW))


def blocks(said: str) -> tuple[Block, ...]:
    """The paragraphs of an explanation: lines that are indented are columns, others are sentences that flow."""
    found: list[Block] = []
    for paragraph in said.split("\n\n"):
        sentences = [line for line in paragraph.splitlines() if not line.startswith("  ")]
        columns = [line[2:] for line in paragraph.splitlines() if line.startswith("  ")]
        if sentences:
            found.append(Block(" ".join(sentences), is_columns=False))
        if columns:
            found.append(Block("\n".join(columns), is_columns=len(columns) > 1))
    return tuple(found)


def _apart(conn: Connection, loaded: LoadedContract, version: str, asked: Asked) -> pictures.Chart | None:
    """The decisive number of such a lane, day by day, and its limit."""
    found = [
        one
        for one in measurements.read(
            conn, loaded.model, version=version, camera=asked.camera, signal=asked.lane, slice_name=""
        )
        if one.measure == aside.DECIDES[asked.lane]
    ]
    stages = (one.key.scope.stage for one in found)
    where = past.first_of(stages, loaded.stages) if asked.stage is None else asked.stage
    found = [one for one in found if one.key.scope.stage == where]
    if not found:
        return None
    found.sort(key=lambda one: one.window.end)
    period = Window(found[0].window.start, found[-1].window.end + timedelta(hours=1))
    told = [(one.window.end, one.value) for one in found]
    limit = [(one.window.end, one.noise) for one in found]
    return pictures.chart([(asked.lane, "now", told), ("limit", "threshold", limit)], period)
