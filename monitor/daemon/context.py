"""What a job is, and what the jobs work with.

A turn of a job has one row and one final state: done, failed, or skipped with the reason; of what every process does
for itself, turns with nothing to do share a row. What becomes of missed turns stands with the job: the newest alone
(nearly all, for they ask what is undone), each one (the recount), none (the audit: it speaks of now). Turns are
counted from 1970 in UTC, so that no clock change moves one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum

from monitor.alerts import deadman
from monitor.alerts.channels import Channel, configured
from monitor.daemon.lead import Lead, worker_name
from monitor.ingest.workers import Workers
from monitor.settings import Settings
from monitor.spec.load import Shelf
from monitor.store.database import Database
from monitor.web.metrics import Metrics


@dataclass
class Context:
    """What the jobs work with."""

    settings: Settings
    database: Database
    shelf: Shelf
    workers: Workers | None = None
    """Processes that read lines; None: they are read in this one."""
    lead: Lead | None = None
    """This process's part in the lease; None: it is taken to be alone, as a run by hand in a test is."""
    metrics: Metrics = field(default_factory=Metrics)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    stopping: threading.Event = field(default_factory=threading.Event)
    running: set[str] = field(default_factory=set)
    away: bool = False
    """Whether the database was away when a job last looked."""
    cut_off: set[str] = field(default_factory=set)
    """Jobs that the database's absence cut off: they come again soon, and their turn counts as not done."""
    said: dict[str, str] = field(default_factory=dict)
    """What each job complained of last, so that it says the same but once."""
    channels: Sequence[Channel] = field(init=False)
    """Where alerts are told, as the settings say."""
    deadman_url: str | None = field(init=False)
    """Where it is told that all is well."""

    def __post_init__(self) -> None:
        self.channels = configured(self.settings)
        self.deadman_url = deadman.address(self.settings)

    @property
    def worker(self) -> str:
        """What this process is called on the record."""
        return worker_name() if self.lead is None else self.lead.worker

    def leading(self) -> Context | None:
        """The same, with a database that lets through what the leader writes; None: another process leads."""
        if self.lead is None:
            return self
        database = self.lead.database_of_leader()
        if database is None:
            return None
        led = copy(self)
        led.database = database
        return led


class CatchUp(Enum):
    """What becomes of turns that went by while nobody ran them."""

    LATEST = "the newest is run at once, and does what the others left"
    EVERY = "each is run, oldest first, as of its own time; the newest 48 of them"
    NONE = "none is made up for: the next one comes in its time"


@dataclass(frozen=True, slots=True)
class Job:
    """One thing done again and again: `function(context, now)` does what is undone and returns how much that was."""

    name: str
    every: timedelta
    function: Callable[[Context, datetime], int]
    help: str
    local: bool = False
    """Done by every process for itself; any other job is done once a turn, by the process that leads."""
    catch_up: CatchUp = CatchUp.LATEST
    needs_contracts: bool = False
    """Without contracts it has nothing to do, and must not take the turn from a process that has some."""
    may_take: timedelta = timedelta(0)
    """A run that lasts no longer makes the job not overdue."""
    after_intake: bool = False
    """The intake feeds it: while that fails, it waits."""
    prompt: bool = False
    """It waits for no job that takes hours: threads are kept for such as these."""
