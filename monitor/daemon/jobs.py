"""The jobs: each asks the database what is undone, and does it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby

from monitor.alerts import deadman, deliver, gather, life
from monitor.alerts import stage as alerts
from monitor.alerts.channels import told
from monitor.alerts.links import Links
from monitor.daemon import audit
from monitor.daemon.context import CatchUp, Context, Job
from monitor.drift import baseline, watch
from monitor.drift import stage as drift
from monitor.errors import DependencyAway, MonitorError, NotLeading
from monitor.golden import stage as golden
from monitor.ingest import retention
from monitor.ingest import stage as ingest
from monitor.records import EPOCH
from monitor.review import impact
from monitor.review import stage as review
from monitor.spec.load import LoadedContract
from monitor.store import contracts, days, frames, workers
from monitor.store.alerts import active_models

_log = logging.getLogger(__name__)

DAYS_AT_ONCE = 5000
"""Days of cameras that are looked up at a time, to be merged."""
DAYS_AHEAD = 7
"""Daily partitions are there this long before their day."""


def _take_up_contracts(context: Context, now: datetime) -> int:
    shelf = context.shelf
    with context.database.begin() as conn:
        news = shelf.refresh(contracts.in_force(conn))
    wrong = set(shelf.complaints.values())
    for sentence in news:
        _log.log(logging.WARNING if sentence in wrong else logging.INFO, "%s", sentence)
    taken = [loaded for _, loaded in sorted(shelf.contracts.items())]
    led = context.leading()
    with (led or context).database.begin() as conn:
        # Who leads says what is in force: the folder of one that stands by may be another, or empty.
        if led is not None:
            contracts.take_up(conn, taken, now)
        else:
            for loaded in taken:
                contracts.keep(conn, loaded, now)
    return len(news)


def _make_days(context: Context, now: datetime) -> int:
    with context.database.begin() as conn:
        return frames.make_days(conn, [now.date() + timedelta(days=day) for day in range(-1, DAYS_AHEAD + 1)])


def _take_in(context: Context, now: datetime) -> int:
    spool, contracts = context.settings.spool_dir, context.shelf.contracts
    return ingest.run(context.database, spool, contracts, now, workers=context.workers)


def _compare(context: Context, now: datetime) -> int:
    # After an outage files lie in the spool whose windows have closed long ago: only what was closed when an intake
    # that has come to its end began is measured, for that intake took in whatever was there.
    with context.database.begin() as conn:
        through = workers.intake(conn).through
    if through is None:
        return 0
    until = min(now, through)
    return _for_each_model(context, lambda loaded: drift.run(context.database, loaded, until))


def _watch(context: Context, now: datetime) -> int:
    with context.database.begin() as conn:
        through = workers.intake(conn).through
    if through is None:
        return 0
    until = min(now, through)
    return _for_each_model(context, lambda loaded: _watch_model(context, loaded, until))


def _watch_model(context: Context, loaded: LoadedContract, until: datetime) -> int:
    # First what has its baseline: days that cannot be learnt from must not keep the other versions unwatched.
    did = watch.run(context.database, loaded, until)
    for frozen in baseline.finish_learning(context.database, loaded, until):
        _log.info("baseline %d of %s is frozen from the days that were accepted", frozen.baseline.id, loaded.model)
    return did


def _review(context: Context, now: datetime) -> int:
    settled = review.settle(context.database)
    return settled + _for_each_model(
        context,
        lambda loaded: review.run(context.database, loaded, now) + impact.run(context.database, loaded, now),
    )


def _judge(context: Context, now: datetime) -> int:
    names, links = told(context.channels), _links(context)
    return _end_models(context, now) + _for_each_model(
        context, lambda loaded: alerts.run(context.database, loaded, now, channels=names, links=links)
    )


def _end_models(context: Context, now: datetime) -> int:
    """Resolve what is on of models whose contract is in force no more: nobody would ever judge it again.

    Where no contract is in force at all, the folder is likelier to be another than the plant to be gone.
    """
    did = 0
    if not context.shelf.contracts:
        return did
    with context.database.begin() as conn:
        gone = [model for model in active_models(conn) if model not in context.shelf.contracts]
        for one in (one for model in gone for one in life.standing(conn, now, model) if one.is_active):
            note = f"no contract of {one.facts['model']} is in force any more, so that nobody watches it"
            life.resolve(conn, one.key, life.Who("monitor", "the daemon"), note, now)
            did += 1
    return did


def _gather(context: Context, now: datetime) -> int:
    names, links = told(context.channels), _links(context)
    return _for_each_model(
        context, lambda loaded: gather.run(context.database, loaded, now, channels=names, links=links)
    )


def _links(context: Context) -> Links:
    return Links(context.settings.page_url, context.settings.grafana_url or "")


def _score(context: Context, now: datetime) -> int:
    names = told(context.channels)
    return _for_each_model(
        context,
        lambda loaded: golden.run(context.database, loaded, now, channels=names, stopping=context.stopping),
    )


def _deliver(context: Context, now: datetime) -> int:
    did = deliver.run(context.database, context.channels, now)
    return did + (deadman.run(context.database, context.deadman_url, now) if context.deadman_url else 0)


def _refresh_metrics(context: Context, now: datetime) -> int:
    return context.metrics.refresh(context.database, context.shelf.contracts, turns(), now, longest())


def _merge_days(context: Context, now: datetime) -> int:
    done = 0
    while not context.stopping.is_set():
        with context.database.begin() as conn:
            due = days.undone(conn, now, DAYS_AT_ONCE)
        by_day = [list(cameras) for _, cameras in groupby(due, key=lambda one: one.day)]
        # A day that is cut off by the limit comes whole next time round.
        for cameras in by_day if len(due) < DAYS_AT_ONCE or len(by_day) == 1 else by_day[:-1]:
            with context.database.begin() as conn:
                days.merge(conn, cameras)
            done += len(cameras)
        if len(due) < DAYS_AT_ONCE:
            break
    return done


def _take_away(context: Context, now: datetime) -> int:
    taken = retention.run(context.database, context.shelf.contracts, now).total
    with context.database.begin() as conn:
        return taken + days.take_away(conn)


def _recount(context: Context, now: datetime) -> int:
    return audit.recount(context.database, context.shelf.contracts, now)


def _audit(context: Context, now: datetime) -> int:
    others = [job for job in JOBS if job.name != "audit"]
    signal = context.deadman_url is not None
    shelf = context.shelf
    return audit.run(context.database, shelf.contracts, others, now, signal=signal, complaints=shelf.complaints)


def _for_each_model(context: Context, function: Callable[[LoadedContract], int]) -> int:
    """Sum over the models; one that fails does not stop the others, and all failures are raised at the end.

    Raises:
        MonitorError: what failed are things that the product says itself; one line a model.
        ExceptionGroup: something else is among them.
    """
    did = 0
    failures: list[Exception] = []
    for model, loaded in sorted(context.shelf.contracts.items()):
        try:
            did += function(loaded)
        except (DependencyAway, NotLeading):
            raise
        except Exception as error:  # noqa: BLE001 - raised below, when every model has had its turn
            error.add_note(f"model {model}")
            failures.append(error)
    if not failures:
        return did
    sentences = [f"{', '.join(one.__notes__)}: {one}" for one in failures]
    if all(isinstance(one, MonitorError) for one in failures):
        raise MonitorError("\n".join(sentences))
    raise ExceptionGroup("; ".join(sentences), failures)


JOBS = (
    Job("contracts", timedelta(seconds=10), _take_up_contracts, "takes up new and changed contracts", local=True),
    Job("partitions", timedelta(hours=1), _make_days, "makes the daily partitions some days ahead"),
    # Short: a file waits for the next turn whatever happens, also one that is dropped as the server comes back.
    Job("intake", timedelta(seconds=2), _take_in, "takes files in from the spool", local=True, needs_contracts=True),
    Job(
        "drift",
        timedelta(seconds=60),
        _compare,
        "measures the windows that are closed and settled",
        needs_contracts=True,
        after_intake=True,
    ),
    Job(
        "reviews",
        timedelta(seconds=60),
        _review,
        "counts what people and the business say, and measures those windows",
        needs_contracts=True,
        after_intake=True,
    ),
    Job(
        "watch",
        timedelta(seconds=60),
        _watch,
        "watches each camera's days against what is ordinary for it",
        needs_contracts=True,
        after_intake=True,
    ),
    Job(
        "alerts",
        timedelta(seconds=60),
        _judge,
        "judges new measurements by the rules of the contract",
        needs_contracts=True,
        after_intake=True,
    ),
    Job(
        "incidents",
        timedelta(seconds=60),
        _gather,
        "gathers the alarms of the watch into incidents",
        needs_contracts=True,
        after_intake=True,
    ),
    Job(
        "golden",
        timedelta(seconds=60),
        _score,
        "scores golden and challenge sets, each night at the contract's time",
        needs_contracts=True,
        may_take=timedelta(hours=3),
    ),
    Job("days", timedelta(minutes=10), _merge_days, "makes one row of every series of a day that is over"),
    Job("deliver", timedelta(seconds=10), _deliver, "sends what is in the outbox", prompt=True),
    Job("metrics", timedelta(seconds=15), _refresh_metrics, "reads what /metrics shows", local=True, prompt=True),
    Job("retention", timedelta(days=1), _take_away, "takes away what has outlived its period", needs_contracts=True),
    Job(
        "recount",
        timedelta(hours=1),
        _recount,
        "recounts an hour of roll-ups from its frames",
        needs_contracts=True,
        catch_up=CatchUp.EVERY,
    ),
    Job(
        "audit",
        timedelta(seconds=60),
        _audit,
        "looks whether the rest does its work, and says so outside",
        catch_up=CatchUp.NONE,
        prompt=True,
    ),
)
"""In the order in which one feeds the next."""


def turns() -> dict[str, timedelta]:
    """How often each job has its turn."""
    return {job.name: job.every for job in JOBS}


def longest() -> dict[str, timedelta]:
    """How long a run of each job may last before the job is overdue by it."""
    return {job.name: job.may_take for job in JOBS}


def turn_of(now: datetime, every: timedelta) -> datetime:
    """The turn that `now` belongs to: turns are counted from 1970-01-01 UTC."""
    return EPOCH + (now - EPOCH) // every * every
