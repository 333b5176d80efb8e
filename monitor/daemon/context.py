"""What a job is, and what the jobs work with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from monitor.alerts.channels import Channel, configured
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

    def __post_init__(self) -> None:
        self.channels = configured(self.settings)


@dataclass(frozen=True, slots=True)
class Job:
    """One thing done again and again: `function(context, now)` does what is undone and returns how much that was."""

    name: str
    every: timedelta
    function: Callable[[Context, datetime], int]
    help: str
    local: bool = False
    """Done by every process for itself; any other job is done once a turn, by whichever process comes first."""
    needs_contracts: bool = False
    """Without contracts it has nothing to do, and must not take the turn from a process that has some."""
    after: str = ""
    """The job that feeds it: while that one fails, it waits."""
