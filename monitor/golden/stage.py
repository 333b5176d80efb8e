"""Scores what is due: each night every set of every contract, once; and what somebody asks for.

A run is entered before it begins and closed in one transaction with its artifacts, measurements and alerts. One that
a kill cut off is begun again the same night, three times at most; one that ended in an error is told of and waits for
the next night.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from monitor.client.proof import FILE
from monitor.golden import alarms, job, ruling
from monitor.golden.digest import changed
from monitor.golden.job import Job, Outcome
from monitor.golden.measured import differing, measured, window_of
from monitor.golden.parity import parity
from monitor.golden.run import Interrupted, Limits, Result, score
from monitor.imaging.preprocess import Preprocess
from monitor.records import Alert, AlertEvent, Measurement
from monitor.scoring import ACCURACY_RULE, OWN_RULES, SCORED, Kind, ScoringRun
from monitor.spec.load import LoadedContract
from monitor.store import alerts, outbox, scorings
from monitor.store.database import Connection, Database

LOGGED = ("log",)
DAY = timedelta(days=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be scored: which set, and which file as which version."""

    kind: Kind
    version: str
    model: Path
    model_sha256: str
    manifest: Path
    images: Path


def asked(loaded: LoadedContract, kind: Kind, model: Path | None = None, version: str = "") -> Asked | None:
    """What the contract names for a set; None: it names no such set. `model` and `version` stand in for its own."""
    said = loaded.contract.golden
    manifest, images = said.manifest, said.images
    if kind == "challenge":
        manifest, images = said.challenge_manifest, said.challenge_images
    if not manifest:
        return None
    folder = loaded.path.absolute().parent
    there = folder / manifest
    # A file that is given by hand is scored as it is; the contract's own has to be the one that it names.
    path, sha256 = (folder / said.model, said.model_sha256) if model is None else (model, _sha256(model))
    return Asked(kind, version or said.version, path, sha256, there, folder / images if images else there.parent)


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def due(at: str, now: datetime) -> datetime:
    """The last moment, at or before `now`, that was `at` ("02:00") o'clock UTC."""
    hour, minute = map(int, at.split(":"))
    tonight = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return tonight if tonight <= now else tonight - DAY


def run(
    database: Database,
    loaded: LoadedContract,
    now: datetime,
    *,
    channels: Sequence[str] = LOGGED,
    stopping: threading.Event | None = None,
) -> int:
    """Score every set whose night has come and is not done; returns how many runs came to their end."""
    did = 0
    _lay_to_rest(database, loaded, now)
    for kind in SCORED:
        what = asked(loaded, kind)
        if what is None:
            continue
        night = due(loaded.contract.golden.at, now)
        with database.begin() as conn:
            last = scorings.done_nights(conn, loaded.model, kind)
        if last is not None and last >= night:
            continue
        entered = begun(loaded, what, now, night)
        with database.begin() as conn:
            run_id = scorings.begin(conn, entered)
            if run_id is None:
                did += _give_up(conn, loaded, entered, channels)
                continue
        try:
            _carry_out(database, loaded, what, replace(entered, id=run_id), channels, stopping or threading.Event())
        except Interrupted:
            _log.info("scoring of %s is cut off by the stop; the next start does it", loaded.model)
            return did
        did += 1
    return did


def score_now(
    database: Database,
    loaded: LoadedContract,
    what: Asked,
    now: datetime,
    *,
    channels: Sequence[str] = LOGGED,
    tell: Callable[[str], None] = lambda line: None,
    limits: Limits | None = None,
) -> tuple[ScoringRun, Result]:
    """Score because somebody asks, and keep how it ended."""
    with database.begin() as conn:
        run_id = scorings.begin(conn, begun(loaded, what, now))
    if run_id is None:
        raise AssertionError("a run that is due at no night is always entered")
    entered = replace(begun(loaded, what, now), id=run_id)
    return _carry_out(database, loaded, what, entered, channels, threading.Event(), tell, limits)


def _carry_out(
    database: Database,
    loaded: LoadedContract,
    what: Asked,
    entered: ScoringRun,
    channels: Sequence[str],
    stopping: threading.Event,
    tell: Callable[[str], None] = lambda line: None,
    limits: Limits | None = None,
) -> tuple[ScoringRun, Result]:
    """Score what was entered; raises Interrupted when `stopping` is set, and leaves the run open."""
    now = entered.started_at
    with database.begin() as conn:
        last, before = _before(conn, loaded, what)
    result = score(job_of(loaded, what), limits or limits_of(loaded), before, stopping=stopping, tell=tell)
    with database.begin() as conn:
        result = _of_its_version(conn, loaded, what, result)
    over = ended(entered, result, last, now)
    with database.begin() as conn:
        _close(conn, loaded, over, result, channels, now, held_against=last)
    level = logging.INFO if over.status == "done" else logging.WARNING
    _log.log(level, "%s set of %s %s: %s %s", what.kind, loaded.model, what.version, over.status, over.reason)
    return over, result


def _of_its_version(conn: Connection, loaded: LoadedContract, what: Asked, result: Result) -> Result:
    """The result, or an error where another set was called what this one is: an easier one must not pass for it."""
    of = result.outcome
    if of.status == "error":
        return result
    other = scorings.other_content(conn, loaded.model, what.kind, of.set_name, of.set_version, of.manifest_sha256)
    if other is None:
        return result
    reason = (
        f"{what.manifest.name} is called {of.set_name} {of.set_version}, and in run {other.id} that was another set"
        " (its SHA-256 is another); restore it, or make the manifest anew under a new version"
    )
    return replace(result, outcome=Outcome("error", reason), artifacts={})


def _give_up(conn: Connection, loaded: LoadedContract, entered: ScoringRun, channels: Sequence[str]) -> int:
    """Close the run of a night that was cut off as often as it is tried; returns how many there were."""
    left = scorings.newest(conn, loaded.model, kind=entered.kind, status="running")
    tired = [one for one in left if one.due_at == entered.due_at]
    for one in tired:
        reason = (
            f"its process was cut off {scorings.ATTEMPTS} times; see why the daemon ends, then `monitor golden run`"
        )
        over = replace(one, status="error", reason=reason, finished_at=entered.started_at)
        _close(conn, loaded, over, Result(Outcome("error", reason)), channels, entered.started_at)
    return len(tired)


def begun(loaded: LoadedContract, what: Asked, now: datetime, due_at: datetime | None = None) -> ScoringRun:
    """A run that begins."""
    return ScoringRun(loaded.model, what.version, what.kind, loaded.hash, now, due_at)


def job_of(loaded: LoadedContract, what: Asked) -> Job:
    """What the process that scores is told."""
    files = (str(what.manifest), str(what.images), str(what.model))
    return Job(loaded.text, *files, what.model_sha256, judged=what.kind == "golden")


def limits_of(loaded: LoadedContract) -> Limits:
    """The limits that a contract gives."""
    said = loaded.contract.golden
    return Limits(said.time_limit.total_seconds(), said.memory_limit_mib)


def _before(conn: Connection, loaded: LoadedContract, what: Asked) -> tuple[ScoringRun | None, dict[str, bytes]]:
    """The version's run before this one (while a fall in accuracy is told of, that before the fall), and the
    detections to compare with by name."""
    manifest = _sha256(what.manifest)
    versions = {ruling.LAST: what.version, ruling.ACTIVE: loaded.contract.golden.version}
    if what.version == versions[ruling.ACTIVE]:
        del versions[ruling.ACTIVE]
    last, files = None, {}
    for name, version in versions.items():
        newest = partial(
            scorings.newest,
            conn,
            loaded.model,
            kind=what.kind,
            version=version,
            status="done",
            manifest_sha256=manifest,
        )
        fell_in = _fell_in(conn, loaded.model, what) if name == ruling.LAST else None
        found = (newest(before=fell_in) if fell_in is not None else []) or newest()
        body = scorings.artifact(conn, found[0].id, job.DETECTIONS) if found else None
        if body is not None:
            files[name] = body
            last = found[0] if name == ruling.LAST else last
    return last, files


def _fell_in(conn: Connection, model: str, what: Asked) -> int | None:
    """The run in which accuracy fell, while that is told of: a fall is over when what was before is back, and not as
    soon as there are two runs after it."""
    for alert in alerts.read(conn, model, rule=ACCURACY_RULE.format(what.kind), version=what.version):
        if alert.state == "firing":
            opening = next(e for e in alerts.events(conn, alert.key) if e.to_state == "firing")
            return int(opening.evidence["run"])
    return None


def ended(run: ScoringRun, result: Result, last: ScoringRun | None, now: datetime) -> ScoringRun:
    """How a run ended, against the one before it on the same images, if there is one."""
    of = result.outcome
    return replace(
        run,
        finished_at=now + timedelta(seconds=result.seconds),
        status=of.status,
        reason=of.reason[:2000],
        verdict=of.verdict if of.status == "done" else "",
        digest=of.digest,
        deterministic=of.deterministic,
        sameness=of.sameness if of.status == "done" and last is not None else "",
        changed=tuple(changed(last.environment, of.environment)) if last is not None and of.environment else (),
        set_name=of.set_name,
        set_version=of.set_version,
        manifest_sha256=of.manifest_sha256,
        images=of.images,
        decoded=of.decoded,
        seconds=of.seconds,
        run_seconds=of.run_seconds,
        environment=of.environment,
    )


def _close(
    conn: Connection,
    loaded: LoadedContract,
    run: ScoringRun,
    result: Result,
    channels: Sequence[str],
    now: datetime,
    held_against: ScoringRun | None = None,
) -> None:
    """Keep how a run ended, with its artifacts and measurements, and tell people what it shows."""
    scorings.finish(conn, run, result.artifacts, 0 if held_against is None else held_against.id)
    window = window_of(run, loaded.contract.drift.window)
    found = measured(run, window, _plain(result.artifacts, job.EVALUATION))
    scorings.measure(conn, found)
    # A candidate that fails is the gate's answer to whoever asked, and no alarm.
    if run.version != loaded.contract.golden.version:
        return
    told = [*alarms.alarms(run, _plain(result.artifacts, job.RULING))]
    told += _hold_inputs(conn, loaded, run, result, found) if run.kind == "golden" else []
    for alarm in told:
        tell_people(conn, run, alarm, found, channels, now, loaded.contract.model.owner)


def _lay_to_rest(database: Database, loaded: LoadedContract, now: datetime) -> None:
    """Resolve what no run will speak of any more: of another version than the one in use, of a set that is gone."""
    with database.begin() as conn:
        for alert in alerts.read(conn, loaded.model):
            if alert.rule not in OWN_RULES or alert.state != "firing" or (why := _why_over(alert, loaded)) is None:
                continue
            over = replace(alert, state="resolved", breaches=0, clears=0, reason=why)
            opening = next(e for e in alerts.events(conn, alert.key) if e.to_state == "firing")
            if alerts.save(conn, over):
                said = f"{alert.rule} of {loaded.model} {alert.series.scope.version} is no longer looked at: {why}."
                evidence = {**opening.evidence, "sentence": said, "reason": why, "first": ""}
                event = replace(
                    opening, from_state=alert.state, to_state="resolved", decided_at=now, evidence=evidence
                )
                outbox.add(conn, alerts.add_event(conn, event), event, outbox.told_through(conn, opening.id), now)


def _why_over(alert: Alert, loaded: LoadedContract) -> str | None:
    said, version, kind = loaded.contract.golden, alert.series.scope.version, alert.series.signal
    if not (said.manifest if kind == "golden" else said.challenge_manifest):
        return f"the contract names no {kind} set any more"
    return None if version == said.version else f"{said.version} is the version in use now"


def _hold_inputs(
    conn: Connection, loaded: LoadedContract, run: ScoringRun, result: Result, found: list[Measurement]
) -> list[alarms.Alarm]:
    """Compare what production logged of its inputs since the night before with this run's."""
    kept = _plain(result.artifacts, job.INPUTS)
    if kept is None or run.status != "done":
        return []
    proofs = scorings.proofs(conn, run.model, run.version, FILE, run.started_at - DAY)
    block = Preprocess(**loaded.contract.input.model_dump())
    said = parity(block, kept["inputs"], proofs)
    if not said.compared:
        return []
    found.append(differing(run, found[0].window, said.differing, said.compared))
    scorings.measure(conn, found[-1:])
    return [alarms.input_alarm(run, said.differences)]


def _plain(artifacts: Mapping[str, bytes], name: str) -> dict[str, Any] | None:
    return json.loads(artifacts[name]) if name in artifacts else None


def tell_people(
    conn: Connection,
    run: ScoringRun,
    alarm: alarms.Alarm,
    found: Sequence[Measurement],
    channels: Sequence[str],
    now: datetime,
    owner: str = "",
) -> None:
    """Bring an alarm's alert up to date, and write to people where it turned."""
    known = alerts.read(conn, run.model, rule=alarm.rule, version=run.version)
    own = next((m for m in found if m.measure == alarm.measure and not m.key.class_name), None)
    value = own.value if own is not None and own.value is not None else float(alarm.holds)
    n, window = own.n if own is not None else run.images, found[0].window
    turn = alarms.turn(run, known[0] if known else None, alarm, window, value, n, owner)
    if not alerts.save(conn, turn.alert) or turn.left is None:
        return
    alert = turn.alert
    event = AlertEvent(
        alert.key,
        alert.episode,
        turn.left,
        alert.state,
        window,
        now,
        alert.value,
        alert.threshold,
        alert.n,
        turn.evidence,
    )
    outbox.add(conn, alerts.add_event(conn, event), event, channels, now)
