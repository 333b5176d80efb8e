"""Where a reader stands: the model, version, stage, camera and moment that a page is of; and the door to the data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from monitor.errors import MonitorError, TryAgain
from monitor.ingest.workers import Workers
from monitor.records import ALL, Window
from monitor.spec.load import LoadedContract
from monitor.store import findings, reporting
from monitor.store.database import Connection, Database
from monitor.store.jobs import JobHealth, health
from monitor.upkeep import Finding

LIVE = timedelta(days=1)
"""Data younger than this are watched live; older data are shown as of their own end."""
DAY = timedelta(days=1)
SPANS = (1, 7, 30, 98)
"""Days that a page can look back."""
TONES = ("bad", "watch", "well", "quiet")
"""How something stands, the gravest first."""
READERS = 4
"""Pages that are read from the database at once; the jobs need the other connections."""
PATIENCE_S = 10.0
"""How long a page waits for its turn."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages need of their surroundings. `jobs` maps each job to its turn."""

    database: Database
    contracts: Callable[[], Mapping[str, LoadedContract]]
    jobs: Mapping[str, timedelta]
    clock: Callable[[], datetime]
    spool_dir: str
    longest: Mapping[str, timedelta] = field(default_factory=dict)
    """How long a run of a job may last before the job is overdue by it; nothing where it is not named."""
    workers: Workers | None = None
    """Processes that read what is posted; None: it is read in this one."""
    leads: Callable[[], bool] = lambda: True
    """Whether this process leads, as far as it knows."""
    turns: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(READERS))

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A bounded, read-only transaction, for READERS at a time.

        Raises:
            DependencyAway: the database is away.
            TryAgain: too many are reading, or a statement took too long.
        """
        if not self.turns.acquire(timeout=PATIENCE_S):
            raise TryAgain("too many pages are being read at once; load this one again in a moment")
        try:
            with self.database.begin() as conn:
                reporting.bound(conn)
                yield conn
        finally:
            self.turns.release()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the reader chose; empty: whatever has the newest frames. `version` and `stage` go together; `days` None:
    what the page looks back by itself."""

    model: str = ""
    version: str = ""
    stage: str | None = None
    camera: str = ALL
    at: datetime | None = None
    days: int | None = None


class NotThere(MonitorError):
    """The page asked for does not exist."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every page shows: the jobs and the contracts."""

    now: datetime
    jobs: tuple[tuple[JobHealth, timedelta], ...]
    late: tuple[str, ...]
    """The jobs that are overdue."""
    contracts: tuple[LoadedContract, ...]
    spool_dir: str
    found: tuple[Finding, ...]
    """What the auditor found wrong with the monitor itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reader stands. `window` is the newest measured one, or the last 24 hours where none was measured."""

    around: Surroundings
    of: reporting.Produced
    choices: tuple[reporting.Produced, ...]
    camera: str
    at: datetime
    mode: Literal["live", "end", "asked"]
    """Whether `at` is the clock's now, the end of older data, or what the reader asked for."""
    window: Window
    measured: bool
    cameras: tuple[reporting.CameraFrames, ...]
    days: int | None
    """How far the reader wants to look back; None: as far as the page does by itself."""

    @property
    def loaded(self) -> LoadedContract | None:
        """The contract in force for the model."""
        return next((one for one in self.around.contracts if one.model == self.of.model), None)

    @property
    def stages(self) -> tuple[reporting.Produced, ...]:
        """The stages of the version, in the order of the pipeline."""
        return tuple(one for one in self.choices if _of_version(one) == _of_version(self.of))

    @property
    def versions(self) -> tuple[reporting.Produced, ...]:
        """Every version of every model, at the stage that the page is of where it has that, else at its first."""
        found: dict[tuple[str, str], reporting.Produced] = {}
        for one in self.choices:
            if one.stage == self.of.stage or _of_version(one) not in found:
                found[_of_version(one)] = one
        return tuple(found.values())

    @property
    def late(self) -> tuple[str, ...]:
        """The jobs that are overdue; of old data nobody can say."""
        return self.around.late if self.mode == "live" else ()

    def back(self, days: int) -> Window:
        """So many days up to the moment."""
        return Window(self.at - timedelta(days=days), self.at)


def surroundings(conn: Connection, site: Site, now: datetime) -> Surroundings:
    """The jobs and contracts as they are now."""
    jobs = tuple((one, site.jobs[one.job]) for one in health(conn, list(site.jobs)))
    nothing = timedelta(0)
    late = tuple(one.job for one, every in jobs if one.overdue(every, now, site.longest.get(one.job, nothing)))
    contracts = tuple(loaded for _, loaded in sorted(site.contracts().items()))
    return Surroundings(now, jobs, late, contracts, site.spool_dir, tuple(findings.standing(conn)))


def place(conn: Connection, site: Site, asked: Asked) -> Place | Surroundings:
    """Where the reader stands; only the surroundings where no frame has come in yet.

    Raises:
        NotThere: the model, version, stage or camera asked for has no frames.
    """
    now = site.clock()
    around = surroundings(conn, site, now)
    choices = _in_order(reporting.produced(conn), around.contracts)
    if not choices and not asked.model:
        return around
    of = _chosen(choices, asked)
    mode, at = _moment(conn, of, asked, now)
    found_window = reporting.last_window(conn, of, at)
    hour = at.replace(minute=0, second=0, microsecond=0)
    window = found_window or Window(hour - DAY, hour + timedelta(hours=1))
    cameras = reporting.camera_frames(conn, of, at, window)
    if asked.camera and asked.camera not in {one.camera for one in cameras}:
        raise NotThere(f"no camera is called {asked.camera!r} here; choose one of the page's list")
    return Place(
        around=around,
        of=of,
        choices=tuple(choices),
        camera=asked.camera,
        at=at,
        mode=mode,
        window=window,
        measured=found_window is not None,
        cameras=tuple(cameras),
        days=asked.days,
    )


def _moment(
    conn: Connection, of: reporting.Produced, asked: Asked, now: datetime
) -> tuple[Literal["live", "end", "asked"], datetime]:
    """The moment that the page shows: the one asked for, else now, else (old data) the data's own end.

    That end is the end of the newest hour with frames, or of the measured window which that hour lies in.
    """
    if asked.at is not None:
        return "asked", asked.at
    if now - of.last_at < LIVE:
        return "live", now
    newest = reporting.last_window(conn, of, datetime.max.replace(tzinfo=UTC))
    return "end", newest.end if newest is not None and newest.start < of.last_at <= newest.end else of.last_at


def _in_order(choices: list[reporting.Produced], contracts: tuple[LoadedContract, ...]) -> list[reporting.Produced]:
    """Versions as they were, the stages of each in the order of the pipeline; those not declared come last."""
    versions = list(dict.fromkeys(map(_of_version, choices)))
    places = {(loaded.model, stage): i for loaded in contracts for i, stage in enumerate(loaded.stages)}

    def place_of(one: reporting.Produced) -> tuple[int, int]:
        return versions.index(_of_version(one)), places.get((one.model, one.stage), len(places))

    return sorted(choices, key=place_of)


def _of_version(one: reporting.Produced) -> tuple[str, str]:
    return one.model, one.version


def _chosen(choices: list[reporting.Produced], asked: Asked) -> reporting.Produced:
    for one in choices:
        if (
            asked.model in ("", one.model)
            and asked.version in ("", one.version)
            and (asked.stage is None or asked.stage == one.stage)
        ):
            return one
    named = " ".join(part for part in (asked.model, asked.version, asked.stage) if part)
    raise NotThere(f"no live frame of {named!r} has come in; see / for the models that have frames")
