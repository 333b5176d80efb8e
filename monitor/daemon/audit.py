"""The auditor: looks whether the rest does its work. What it finds stands in a table until it is found no more.

It makes no daemon "not ready": a silent camera is no reason to send records elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from monitor.daemon.context import Job
from monitor.ingest import audit as recounting
from monitor.ingest.audit import Task
from monitor.records import EPOCH, Window
from monitor.spec.load import LoadedContract
from monitor.store import deadman, findings, jobs, workers
from monitor.store.database import Connection, Database
from monitor.upkeep import CHECKS, Finding

CONTRACTS = "contracts"
"""The check of the contracts folder; its subject is the faulty file, or nothing where no contract is in force."""
ROLLUPS = "rollups"
"""The check that recounts have a job of their own for; all the others are seen to at once."""
FREQUENT = timedelta(minutes=1)
"""A job that has its turn as often as this has been done once before all is said to be well."""
UNTAKEN = timedelta(minutes=15)
"""So long a message may wait for its receiver to take it."""
_HOUR = timedelta(hours=1)
_AGAIN = 5
"""Hours that differed and are recounted once more, at most so many a turn."""


def run(
    database: Database,
    contracts: Mapping[str, LoadedContract],
    watched: Sequence[Job],
    now: datetime,
    *,
    signal: bool,
    complaints: Mapping[Path, str] | None = None,
) -> int:
    """Look at everything; returns how much is wrong. With `signal`, and if nothing is, the dead-man is told so.

    `complaints` are those of the contracts folder, by file: what was in force stays so meanwhile, so that a slip of
    the pen keeps nothing from the dead-man.
    """
    with database.begin() as conn:
        found = [
            *_contracts(contracts, complaints or {}),
            *_jobs(conn, watched, now),
            *_outbox(conn, now),
            *_sources(conn, now),
            *_golden(conn, contracts),
        ]
        findings.replace(conn, [check for check in CHECKS if check != ROLLUPS], found, now)
        standing = findings.standing(conn)
        if signal and all(one.check == CONTRACTS and one.subject for one in standing):
            deadman.push(conn, now)
    return len(standing)


def recount(database: Database, contracts: Mapping[str, LoadedContract], now: datetime) -> int:
    """Recount an hour of roll-ups from the frames, model by model in turn, and what differed before.

    Returns how many rows differ. Nothing is repaired: that is a person's to decide.
    """
    with database.begin() as conn:
        before = findings.standing(conn, ROLLUPS)
    places = [one for one in map(_place, before[:_AGAIN]) if one[0] in contracts]
    models = sorted(contracts)
    hour = now.replace(minute=0, second=0, microsecond=0) - 2 * _HOUR
    if models:
        places.append((models[(hour - EPOCH) // _HOUR % len(models)], hour))
    found = {one.subject: one for one in before[_AGAIN:]}
    differing = 0
    # A recount only reads, and takes its snapshot before the first query, which the fence's would be.
    unfenced = database.fenced(None)
    for model, start in dict.fromkeys(places):
        report = recounting.run(unfenced, Task(Window(start, start + _HOUR), model), now)
        differing += report.differing
        if report.differing:
            sentence = (
                f"{report.differing:,} of {report.compared:,} roll-up rows of {model} differ from their frames in the"
                f" hour from {start:%Y-%m-%d %H:%M} UTC; look with `monitor rollups audit --from"
                f" {start:%Y-%m-%dT%H:%MZ}`, put them right with --repair"
            )
            found[_subject(model, start)] = Finding(ROLLUPS, _subject(model, start), sentence)
    with database.begin() as conn:
        findings.replace(conn, [ROLLUPS], found.values(), now)
    return differing


def _subject(model: str, start: datetime) -> str:
    return f"{start:%Y-%m-%dT%H:%M%z} {model}"


def _place(finding: Finding) -> tuple[str, datetime]:
    start, _, model = finding.subject.partition(" ")
    return model, datetime.fromisoformat(start)


def _contracts(contracts: Mapping[str, LoadedContract], complaints: Mapping[Path, str]) -> Iterator[Finding]:
    if not contracts:
        yield Finding(CONTRACTS, "", "no contract is in force; put one TOML file a model into the contracts folder")
    for path, said in complaints.items():
        # The faults themselves, which may be many, stand in the log and in what `spec check` says.
        first, *others = said.splitlines()
        kept = f"; {others[-1]}. `monitor spec check` names each fault" if others else ""
        yield Finding(CONTRACTS, str(path), f"{first}{kept}")


def _jobs(conn: Connection, watched: Sequence[Job], now: datetime) -> Iterator[Finding]:
    for job, one in zip(watched, jobs.health(conn, [job.name for job in watched]), strict=True):
        if one.overdue(job.every, now, job.may_take):
            yield Finding(
                "jobs", one.job, f"{one.job} was last done {one.done_at:%Y-%m-%d %H:%M:%S} UTC; see the log"
            )
        elif one.done_at is None and (one.failed_at is not None or job.every <= FREQUENT):
            said = f"and failed: {one.error}" if one.error else "yet; see the log"
            yield Finding("jobs", one.job, f"{one.job} has never been done {said}")
    grace = 3 * next(job.every for job in watched if job.name == "intake") + jobs.SLACK
    for worker in workers.alive(conn):
        if worker.through is not None and now - worker.through > grace:
            yield Finding(
                "jobs",
                f"intake {worker.name}",
                f"the intake of {worker.name} that last came to its end began {worker.through:%Y-%m-%d %H:%M:%S} UTC;"
                f" see the log there{f' ({worker.error})' if worker.error else ''}",
            )


def _outbox(conn: Connection, now: datetime) -> Iterator[Finding]:
    for one in findings.untaken(conn, now - UNTAKEN):
        yield Finding(
            "outbox",
            one.channel,
            f"{one.messages:,} messages to {one.channel} are not taken, one since {one.since:%Y-%m-%d %H:%M} UTC"
            f" ({one.error or 'it was not tried'}); see to the receiver",
        )


def _sources(conn: Connection, now: datetime) -> Iterator[Finding]:
    for one in findings.silent(conn, now):
        yield Finding(
            "sources",
            one.source,
            f"{one.source} last sent {one.last_at:%Y-%m-%d %H:%M} UTC, and never paused longer than"
            f" {one.longest_pause / _HOUR:.0f} h in the two weeks before; see whether it runs",
        )


def _golden(conn: Connection, contracts: Mapping[str, LoadedContract]) -> Iterator[Finding]:
    """Of the versions in use and their sets: that a candidate fails is the gate's answer to whoever asked."""
    in_use = set()
    for model, loaded in contracts.items():
        said = loaded.contract.golden
        in_use |= {(model, "golden", said.version)} if said.manifest else set()
        in_use |= {(model, "challenge", said.version)} if said.challenge_manifest else set()
    for one in findings.golden_trouble(conn):
        if (one.model, one.kind, one.version) not in in_use:
            continue
        yield Finding(
            "golden",
            f"{one.model} {one.kind}",
            f"the {one.kind} run of {one.model} of {one.at:%Y-%m-%d %H:%M} UTC is {one.status}: {one.reason}",
        )
