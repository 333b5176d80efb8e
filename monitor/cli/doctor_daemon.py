"""What the doctor says of the daemon: who leads, which jobs are late, what the auditor found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from monitor.daemon.jobs import JOBS
from monitor.store import findings, jobs, lease, workers
from monitor.store.database import Connection

Mark = Literal["well", "note", "wrong", "away"]


_NAMED = 5
"""Late jobs that are named; where more are, no daemon works."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how it stands, about what, and a sentence that says what to do where something is to be done."""

    mark: Mark
    about: str
    sentence: str


def of_daemon(conn: Connection, now: datetime) -> Iterator[Finding]:
    """Everything about the daemon."""
    yield from _leader(lease.standing(conn), workers.alive(conn))
    yield from _jobs(jobs.health(conn, [job.name for job in JOBS]), now)
    for one in findings.standing(conn):
        since = f", since {one.since:%Y-%m-%d %H:%M} UTC" if one.since is not None else ""
        yield Finding("wrong", "audit", f"{one.check}: {one.sentence} (found by the daemon{since})")


def _leader(leader: lease.Leader | None, there: list[workers.Worker]) -> Iterator[Finding]:
    if leader is None:
        return
    if leader.in_force:
        beside = sorted(one.name for one in there if one.name != leader.holder)
        others = f"; beside it: {', '.join(beside)}" if beside else ""
        yield Finding("well", "leader", f"{leader.holder} since {leader.since:%Y-%m-%d %H:%M} UTC{others}")
    else:
        yield Finding("note", "leader", f"nobody leads; {leader.holder} did until {leader.until:%Y-%m-%d %H:%M} UTC")


def _jobs(health: list[jobs.JobHealth], now: datetime) -> Iterator[Finding]:
    if all(one.done_at is None and one.failed_at is None for one in health):
        yield Finding("note", "jobs", "none has run yet; start `monitor daemon`")
        return
    by_name = {job.name: job for job in JOBS}
    late = [one for one in health if one.overdue(by_name[one.job].every, now, by_name[one.job].may_take)]
    if late:
        said = ", ".join(f"{one.job} ({one.done_at:%Y-%m-%d %H:%M})" for one in late)
        if len(late) > _NAMED:
            newest = max(one.done_at for one in late if one.done_at is not None)
            said = f"{len(late)} of {len(health)}, none since {newest:%Y-%m-%d %H:%M}"
        yield Finding("wrong", "jobs", f"late, last done (UTC) {said}; is `monitor daemon` running?")
    failed = [one for one in health if one.failed_at and (one.done_at is None or one.failed_at > one.done_at)]
    for one in failed:
        yield Finding("wrong", "jobs", f"{one.job} failed when it last ran: {one.error}")
    if not late and not failed:
        yield Finding("well", "jobs", "every job was done in its turn")
