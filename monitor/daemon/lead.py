"""Which process leads: this one keeps its lease, or stands by until that of another has run out."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from monitor.errors import TryAgain
from monitor.store import lease, workers
from monitor.store.database import Database

_log = logging.getLogger(__name__)

_LONGEST_LOOK = timedelta(seconds=3)


def worker_name() -> str:
    """What this process is called on the record: its host and number."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass
class Lead:
    """This process's part in the lease. Whether a write is kept decides the fence, not what is remembered here.

    Attributes:
        length: how long a lease lasts from each renewal; another process leads after that and a look at the latest.
        stopwatch: seconds that go on while the process is stopped.
    """

    database: Database
    length: timedelta
    worker: str = field(default_factory=worker_name)
    stopwatch: Callable[[], float] = time.monotonic
    _epoch: int | None = None
    _renewed: float = 0.0

    @property
    def look(self) -> timedelta:
        """How often to keep the lease, or to look whether it is free."""
        return min(self.length / 3, _LONGEST_LOOK)

    def keep(self) -> bool:
        """Renew the lease, or take it if it is free; returns whether this process has come to lead just now.

        Raises:
            DependencyAway: the database is away; the lease may run out.
        """
        began = self.stopwatch()
        with self.database.begin() as conn:
            workers.see(conn, self.worker)
            if self._epoch is not None and lease.renew(conn, self._epoch, self.length):
                self._renewed = began
                return False
            before = lease.standing(conn)
        if self._epoch is not None:
            _log.warning("another process leads now (%s); this one stands by", before.holder if before else "unknown")
        self._epoch = None
        if before is not None and before.in_force:
            return False
        return self._take(began, before)

    def database_of_leader(self) -> Database | None:
        """The database behind the fence of this process's epoch; None: it does not lead, as far as it knows."""
        epoch = self._epoch
        if epoch is None or self.stopwatch() - self._renewed > self.length.total_seconds():
            return None
        return self.database.fenced(partial(lease.fence, epoch=epoch))

    def database_to_hold(self) -> Database:
        """The database for a transaction that holds a lock for the leader and writes nothing."""
        return self.database.fenced(partial(lease.mark, epoch=self._epoch or 0))

    def wait(self, stopping: threading.Event) -> bool:
        """Keep the lease; where another holds it, wait until it is free or renewed. Returns whether this one leads.

        For a run by hand: a daemon that is alive goes on leading, and one that was killed is waited for.
        """
        if self.keep() or self.database_of_leader() is not None:
            return True
        until = self.stopwatch() + self.length.total_seconds() + self.look.total_seconds()
        first = self._standing()
        while self.stopwatch() < until and not stopping.wait(self.look.total_seconds() / 4):
            if self.keep():
                return True
            if (now := self._standing()) is None or first is None or now.until != first.until:
                return False
        return False

    def leave(self) -> None:
        """Give the lease back, and be waited for no more."""
        epoch, self._epoch = self._epoch, None
        with self.database.begin() as conn:
            workers.leave(conn, self.worker)
            if epoch is not None:
                lease.release(conn, epoch)

    def _take(self, began: float, before: lease.Leader | None) -> bool:
        try:
            with self.database.begin() as conn:
                ended = lease.end_sessions(conn)
            with self.database.begin() as conn:
                epoch = lease.take(conn, self.worker, self.length)
        except TryAgain as error:
            _log.warning("the leader before still has work open, which is being ended: %s", error)
            return False
        if epoch is None:
            return False
        self._epoch, self._renewed = epoch, began
        cut = f", whose {ended} open sessions were ended" if ended else ""
        after = f", after {before.holder}{cut}" if before is not None else ""
        _log.info("this process leads now, in epoch %d%s", epoch, after)
        return True

    def _standing(self) -> lease.Leader | None:
        with self.database.begin() as conn:
            return lease.standing(conn)
