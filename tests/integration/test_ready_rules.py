"""Every ready rule through the daemon's own jobs: what makes it fire, what clears it, and what is too little to say.

A plant of hours: each camera of the model `line` is a case of one rule that is judged by camera; the rules that are
judged over all cameras have a model for each case. A week is the baseline, four days follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hourly import write

from monitor.daemon.context import Context
from monitor.daemon.run import run_once
from monitor.drift import baseline
from monitor.feedback import EventRecord, ReviewRecord, SettledReview, Verdict
from monitor.records import Alert, Ints, Measurement, Window
from monitor.review.overrides import count
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.spec.load import Shelf
from monitor.spec.rules import READY
from monitor.store import alerts, business, measurements, migrate, overrides, reviews
from monitor.store.database import Connection, open_database

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BASELINE_DAYS, DAYS = 7, 11
FREEZE = START + BASELINE_DAYS * DAY
NOW = START + DAYS * DAY + 2 * HOUR
CASES = ("fires", "clears", "few")
"""Off from the first day after the baseline on; off for two days and then well again; off, on too few frames."""
BY_CAMERA = [name for name, rule in READY.items() if rule.scope == "camera"]
OF_MODEL = [name for name, rule in READY.items() if rule.scope == "model"]
EXPECTED = {"fires": ("firing",), "clears": ("resolved", "ok"), "few": ("undecided",)}


def test_the_table_covers_every_ready_rule() -> None:
    assert set(BY_CAMERA) | set(OF_MODEL) == set(READY)


def contract(model: str) -> str:
    return (
        f'[model]\nname = "{model}"\n[cameras]\npolicy = "open"\n[[classes]]\nname = "carton"\n'
        '[[classes]]\nname = "pouch"\n[drift]\n'
        'signals = ["latency_ms", "queue_depth", "confidence", "class_share"]\n'
    )


@dataclass
class Camera:
    """What a camera does in each hour: values that all of its frames have."""

    frames: Ints
    """[hours]"""
    latency: Ints
    errors: Ints
    queue: Ints
    confidence: dict[str, Ints]
    """Percent, [hours] by class."""
    cartons: Ints
    """Percent of the detections, one a frame."""


def off_days(case: str) -> list[int]:
    return [BASELINE_DAYS, BASELINE_DAYS + 1] if case == "clears" else list(range(BASELINE_DAYS, DAYS))


def camera(rule: str, case: str) -> Camera:
    hours = DAYS * 24
    many = (1 if rule == "camera-silent" else 3) if case == "few" else 20
    flat = lambda value: np.full(hours, value, dtype=np.int64)  # noqa: E731
    one = Camera(flat(many), flat(40), flat(0), flat(2), {"carton": flat(90), "pouch": flat(80)}, flat(50))
    if rule in READY:
        spoil(one, rule, [day * 24 + hour for day in off_days(case) for hour in range(24)])
    return one


def swinging() -> Camera:
    """A camera whose mix of classes goes up and down by a fifth from day to day, in the baseline and after it."""
    one = camera("", "fires")
    for day, share in enumerate((40, 40, 60, 60, 40, 60, 50, 60, 60, 60, 40)):
        one.cartons[day * 24 : (day + 1) * 24] = share
    return one


def spoil(one: Camera, rule: str, at: list[int]) -> None:
    """Make these hours what the rule is there for."""
    if rule == "latency-high":
        one.latency[at] = 100
    elif rule == "error-rate":
        one.errors[at] = np.maximum(1, one.frames[at] // 10)
    elif rule == "queue-growing":
        one.queue[at] = 30
    elif rule == "camera-silent":
        one.frames[[hour for hour in at if 8 <= hour % 24 < 13]] = 0
    elif rule == "class-share-shift":
        one.cartons[at] = 75
    elif rule == "confidence-drop":
        one.confidence["carton"][at] = 70
    elif rule == "low-confidence-spike":
        one.confidence["pouch"][at] = 40


def counts(one: Camera, name: str) -> dict[tuple[str, str, str], Ints]:
    """The camera's roll-ups by the hour; of the detections of an hour as many as the mix says are cartons."""

    def spread(signal: str, values: Ints, n: Ints) -> Ints:
        edges = SIGNALS[signal].edges
        rows = np.zeros((len(n), edges.count + 2), dtype=np.int64)
        rows[np.arange(len(n)), edges.bin_of(values.astype(np.float64))] = n
        return rows

    # Rounded to whole detections over the day, not by the hour.
    dealt = np.floor(np.cumsum(one.frames * one.cartons) / 100).astype(np.int64)
    cartons = np.diff(dealt, prepend=0)
    shares = {"carton": cartons, "pouch": one.frames - cartons}
    by_class = {c: spread("confidence", one.confidence[c] / 100 + 0.005, shares[c]) for c in shares}
    status = {"": one.frames, "ok": one.frames - one.errors, "timeout": one.errors}
    return {
        **{(name, "status", kind): np.stack([n * 0, n, n * 0], axis=1) for kind, n in status.items()},
        (name, "latency_ms", ""): spread("latency_ms", one.latency, one.frames),
        (name, "queue_depth", ""): spread("queue_depth", one.queue, one.frames),
        (name, "confidence", ""): by_class["carton"] + by_class["pouch"],
        **{(name, "confidence", c): rows for c, rows in by_class.items()},
    }


def quarters(one: Camera, name: str) -> dict[tuple[str, str, str], Ints]:
    """The queue by the quarter of an hour: all frames of an hour in its first one."""
    hourly = counts(one, name)[name, "queue_depth", ""]
    rows = np.zeros((len(hourly) * 4, hourly.shape[1]), dtype=np.int64)
    rows[::4] = hourly
    return {(name, "queue_depth", ""): rows}


def fill(conn: Connection, model: str, cameras: dict[str, Camera]) -> None:
    for name, one in cameras.items():
        write(conn, model, "v1", START, counts(one, name))
        write(conn, model, "v1", START, quarters(one, name), minutes=15)


def review_all(conn: Connection, model: str, case: str) -> None:
    """Reviews by the hour: 5 % corrected, and 40 % on days that are off. Few: fewer than any rule asks for."""
    said = []
    for day in range(DAYS):
        at = START + day * DAY + 10 * HOUR
        many = 10 if case == "few" else 100
        wrong = many * (40 if day in off_days(case) else 5) // 100
        for of_class, confidence in (("carton", 0.9), ("pouch", 0.8)):
            for i in range(many):
                name = f"{of_class}-{day}-{i}"
                who = (
                    model,
                    name,
                    model,
                    name,
                    "ada",
                    at + HOUR,
                    False,
                    0.5,
                    at,
                    model,
                    "v1",
                    "",
                    "cam-1",
                    False,
                    (),
                )
                verdict: Verdict = "false_positive" if i < wrong else "confirmed"
                said.append(SettledReview(*who, (0,), (of_class,), (confidence,), (verdict,), ()))
    records = [ReviewRecord(one.review_id, one.event_id, "ada", one.finished_at, review_prob=0.5) for one in said]
    reviews.insert(conn, 1, model, records, [one.review_id.encode() for one in said])
    reviews.settle(conn, said)
    overrides.replace(conn, {(model, "v1", one.captured_at) for one in said}, count(said))


def tell_business(conn: Connection, model: str, case: str) -> None:
    """Twelve work orders a day and twelve false alarms of ten minutes; thrice of both on days that are off."""
    records = []
    for day in range(DAYS):
        off = day in off_days(case)
        for i in range(36 if off else 12):
            at = START + day * DAY + timedelta(minutes=30 * i)
            records.append(EventRecord(f"o-{day}-{i}", "work_order", at, model, camera="cam-1"))
        for i in range(5 if case == "few" else 12):
            minutes = (30 if off else 10) + i % 3
            at = START + day * DAY + timedelta(minutes=40 * i)
            records.append(EventRecord(f"f-{day}-{i}", "false_alarm", at, model, minutes=minutes))
    went_live = FREEZE - 3 * HOUR
    records.append(EventRecord("live", "deployment", went_live, model, version="v1", note="new runtime"))
    digests = [msgspec.json.encode(record)[:16] for record in records]
    business.insert(conn, None, model, records, digests)


@dataclass
class Seen:
    standing: dict[tuple[str, str], Alert]
    """By (rule, case)."""
    told: dict[tuple[str, str], list[str]]
    why: dict[tuple[str, str], dict[str, Any]]
    """The evidence of the first event."""
    swings: list[Alert]
    """Of the camera whose days differ."""
    measured: list[Measurement]


@pytest.fixture(scope="module")
def seen(admin, migrated_template, tmp_path_factory) -> Iterator[Seen]:  # type: ignore[no-untyped-def]
    from conftest import new_database, opened

    folder: Path = tmp_path_factory.mktemp("ready")
    models = ["line", *CASES]
    for model in models:
        (folder / f"{model}.toml").write_text(contract(model), encoding="utf-8")
    with new_database(admin, f"ready_{folder.name}".replace("-", "_"), migrated_template) as url:
        settings = Settings(state_dir=folder / "state", contracts_dir=folder, database_url=opened(url).database_url)
        with open_database(settings) as database:
            migrate.require_current(database.engine)
            with database.begin() as conn:
                of_line = {f"{rule}:{case}": camera(rule, case) for rule in BY_CAMERA for case in CASES}
                fill(conn, "line", of_line | {"swings": swinging()})
                tell_business(conn, "line", "few")
                for case in CASES:
                    fill(conn, case, {"cam-1": camera("", case)})
                    review_all(conn, case, case)
                    tell_business(conn, case, case)
            context = Context(settings, database, Shelf(folder))
            context.shelf.refresh({})
            for model in models:
                baseline.from_logs(
                    database, context.shelf.contracts[model], "v1", Window(START, FREEZE), NOW, "a week"
                )
            run_once(context, NOW)
            run_once(context, NOW + timedelta(minutes=1))
            yield read(database)


def read(database) -> Seen:  # type: ignore[no-untyped-def]
    standing: dict[tuple[str, str], Alert] = {}
    told: dict[tuple[str, str], list[str]] = {}
    why: dict[tuple[str, str], dict[str, Any]] = {}
    swings: list[Alert] = []
    with database.begin() as conn:
        for alert in alerts.read(conn):
            scope, of_line = alert.series.scope, alert.series.scope.model == "line"
            rule, _, case = scope.camera.partition(":") if of_line else (alert.rule, "", scope.model)
            if scope.camera == "swings":
                swings.append(alert)
            if alert.rule != rule or (rule in BY_CAMERA) != of_line:
                continue
            known = alerts.events(conn, alert.key)[::-1]
            events = [event.to_state for event in known]
            # Of a rule by class the class that turned speaks for it.
            if events or (rule, case) not in standing:
                standing[rule, case], told[rule, case] = alert, events
                why[rule, case] = known[0].evidence if known else {}
        measured = [m for model in ("line", *CASES) for m in measurements.read(conn, model)]
    return Seen(standing, told, why, swings, measured)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rule", READY)
def test_a_ready_rule(seen: Seen, rule: str, case: str) -> None:
    alert = seen.standing[rule, case]
    assert alert.state in EXPECTED[case], alert.reason
    assert seen.told[rule, case] == {"fires": ["firing"], "clears": ["firing", "resolved"], "few": []}[case]


@pytest.mark.parametrize("rule", READY)
def test_the_evidence_of_a_ready_rule(seen: Seen, rule: str) -> None:
    """Everything that somebody on call asks for, in the text and beside it."""
    said = seen.why[rule, "fires"]
    for part in (
        " (",
        "since 2026-03-09 00:00 UTC",
        "How sure: ",
        "Last deployment: v1 at 2026-03-08 21:00",
        "First: ",
    ):
        assert part in said["sentence"], said["sentence"]
    assert said["threshold"]["origin"].startswith(f"ready rule {rule}, contract ")
    assert said["current"]["n"] >= READY[rule].min_n
    assert said["deployment"]["hours_before"] == 3.0
    assert said["runbook"] == f"dashboards/runbooks/{rule}.md"
    assert said["panel"].startswith("http://127.0.0.1:8080/?model=")
    if READY[rule].relative_to:
        assert said["baseline"]["value"] is not None
        assert said["baseline"]["n"] >= READY[rule].min_n


def test_what_moved_most_is_named(seen: Seen) -> None:
    mix = seen.why["class-share-shift", "fires"]["moved_most"]
    assert {(one["part"], round(one["then"], 2), round(one["now"], 2)) for one in mix} == {
        ("carton", 0.5, 0.75),
        ("pouch", 0.5, 0.25),
    }
    outcomes = {one["part"]: round(one["now"], 2) for one in seen.why["error-rate", "fires"]["moved_most"]}
    assert outcomes == {"ok": 0.9, "timeout": 0.1}
    (unsure, *_) = seen.why["low-confidence-spike", "fires"]["moved_most"]
    assert round(abs(unsure["now"] - unsure["then"]), 2) == 0.5


@pytest.mark.parametrize("rule", ["latency-high", "error-rate", "queue-growing"])
def test_what_ails_the_service_is_the_service_or_the_deployment_before_it(seen: Seen, rule: str) -> None:
    causes = [one["name"] for one in seen.why[rule, "fires"]["causes"]]
    assert causes[0] in ("service", "deployment")


def test_what_days_ordinarily_differ_by_is_no_alert(seen: Seen) -> None:
    """A fifth more of a class on 480 frames a day is beyond chance, and no more than the baseline's own days do."""
    mix = [alert for alert in seen.swings if alert.rule == "class-share-shift"]
    assert {alert.series.class_name for alert in mix} == {"carton", "pouch"}
    assert {alert.episode for alert in mix} == {0}
    (share,) = {
        m.value
        for m in seen.measured
        if m.key.scope.camera == "swings" and m.key.signal == "class_share" and m.key.class_name == "carton"
        if m.measure == "mean" and m.window.start == FREEZE
    }
    assert share == pytest.approx(0.6, abs=0.01)
