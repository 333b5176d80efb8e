"""The alerts stage on real Postgres: every window once, whoever is killed and whoever works beside it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import event, text

from monitor.alerts import stage
from monitor.records import Alert, AlertEvent, Baseline, Measurement, Scope, SeriesKey, Window
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store import alerts, baselines, measurements, outbox
from monitor.store.database import Database, open_database
from monitor.store.measurements import MeasuredWindow

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 400 * DAY
MODEL = "packaging-line"
CONTRACT = """
[model]
name = "packaging-line"
[[classes]]
name = "carton"
[cameras]
policy = "open"
[[alerts]]
name = "brightness-drift"
signal = "brightness"
measure = "psi"
above = 0.2
[[alerts]]
name = "sharpness-drift"
signal = "sharpness"
measure = "psi"
above = 0.2
for_windows = 3
"""
KEY = "packaging-line/brightness-drift/v1/cam-1/-/-"
Values = Mapping[tuple[str, str], float | None]
"""(camera, signal) → PSI; None: no frame gave a value."""


def loaded(text_of: str = CONTRACT) -> LoadedContract:
    return LoadedContract(parse_contract(text_of), text_of, "c0ffee", Path("packaging-line.toml"))


def freeze(database: Database, until: datetime | None = None, version: str = "v1") -> int:
    start = None if until is None else until - 28 * DAY
    baseline = Baseline(0, MODEL, version, "logs" if until else "images", start, until, 5040, "ab", "c0", START)
    with database.begin() as conn:
        return baselines.save(conn, baseline, {}).id


def window(day: int) -> Window:
    return Window(START + day * DAY, START + (day + 1) * DAY)


def measure(database: Database, day: int, values: Values, baseline: int | None, version: str = "v1") -> None:
    """Write one window as drift does. With a baseline the allowance for chance is 0.3: a breach is above 0.5."""
    found = []
    for (camera, watched), value in values.items():
        state = "no_data" if value is None else "ok" if baseline else "no_baseline"
        key = SeriesKey(Scope(MODEL, version, camera=camera), watched, recipe="full")
        facts: dict[str, Any] = {"noise": 0.3, "now_mean": 118.4, "baseline_mean": 131.2} if state == "ok" else {}
        frames = 0 if value is None else 60
        number = value if state == "ok" else None
        found.append(Measurement(key, "psi", window(day), number, state, frames, 1680, baseline, "c0ffee", **facts))
    with database.begin() as conn:
        done = MeasuredWindow(window(day), 60 * len(values), baseline, "c0ffee")
        measurements.claim_window(conn, MODEL, version, done)
        measurements.save(conn, found)


def brightness(*values: float | None) -> dict[tuple[str, str], float | None]:
    """PSI of brightness of cam-1, cam-2, ..."""
    return {(f"cam-{number}", "brightness"): value for number, value in enumerate(values, 1)}


def judge(database: Database, contract: LoadedContract | None = None, now: datetime = NOW) -> int:
    return stage.run(database, contract or loaded(), now, channels=["log", "webhook"])


def standing(database: Database) -> dict[str, Alert]:
    with database.begin() as conn:
        return {alert.key: alert for alert in alerts.read(conn)}


def told(database: Database) -> list[AlertEvent]:
    """All events in the order of deciding."""
    with database.begin() as conn:
        events = [event for alert in alerts.read(conn) for event in alerts.events(conn, alert.key)]
    return sorted(events, key=lambda event: event.id)


def turns(database: Database) -> list[tuple[str, str, int]]:
    """(alert, state, day of the window) of all events."""
    return [(e.alert_key, e.to_state, (e.window.start - START) // DAY) for e in told(database)]


def messages(database: Database) -> list[tuple[str, str, str]]:
    with database.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT e.alert_key, e.to_state, o.channel FROM outbox o JOIN alert_event e USING (event_id)"
                " ORDER BY 1, 2, 3"
            )
        )
        return [(row[0], row[1], row[2]) for row in rows]


def test_a_life_from_ok_to_resolved(database: Database) -> None:
    number = freeze(database)
    for day, value in enumerate((0.1, 0.6, 0.7, 0.6, 0.1, 0.1)):
        measure(database, day, brightness(value, 0.05), number)
    assert judge(database) == 12
    assert turns(database) == [(KEY, "firing", 2), (KEY, "resolved", 5)]
    assert standing(database)[KEY].state == "resolved"
    assert standing(database)[KEY.replace("cam-1", "cam-2")].state == "ok"
    assert messages(database) == [(KEY, s, c) for s in ("firing", "resolved") for c in ("log", "webhook")]
    fired = told(database)[0]
    assert (fired.value, fired.n, fired.decided_at) == (0.7, 60, NOW)
    assert fired.threshold == pytest.approx(0.5)
    assert fired.evidence["since"] == (START + DAY).isoformat()
    assert fired.evidence["baseline"]["id"] == number
    assert [w["value"] for w in fired.evidence["windows"]] == [0.1, 0.6, 0.7]


def test_what_a_window_is_judged_by_is_read_between_two_bounds(database: Database) -> None:
    """However long the history before and after it is: both bounds stand in the condition on the primary key."""
    number = freeze(database)
    for day, value in enumerate((0.1, 0.6, 0.7)):
        measure(database, day, brightness(value), number)
    read: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if "FROM measurement WHERE" in statement:
            read.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    judge(database)
    event.remove(database.engine, "before_cursor_execute", note)
    assert len(read) == len(loaded().contract.rules) * 3 + 2, (
        "each rule its windows; the one that fires its recent windows and its neighbours"
    )
    with database.begin() as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, parameters in read:
            plan = "\n".join(conn.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", parameters).scalars())
            (bounds,) = re.findall("Index Cond: (.*)", plan)
            assert "window_start >= " in bounds
            assert "window_start < " in bounds


def test_a_second_run_does_nothing(database: Database) -> None:
    number = freeze(database)
    for day in range(3):
        measure(database, day, brightness(0.6), number)
    judge(database)
    before = (standing(database), told(database), messages(database))
    assert judge(database, now=NOW + DAY) == 0
    assert (standing(database), told(database), messages(database)) == before


def test_day_by_day_is_the_same_as_all_at_once(database: Database) -> None:
    number = freeze(database)
    days = [
        brightness(v, w) for v, w in zip((0.6, 0.6, 0.1, None, 0.6, 0.1), (0.1, 0.6, 0.6, 0.6, 0.1, 0.1), strict=True)
    ]
    for day, values in enumerate(days):
        measure(database, day, values, number)
        judge(database)
    by_day = (standing(database), [replace(e, id=0) for e in told(database)])
    with database.begin() as conn:
        conn.execute(text("TRUNCATE outbox, alert_event, alert, judged"))
    judge(database)
    assert (standing(database), [replace(e, id=0) for e in told(database)]) == by_day


def test_windows_of_the_baselines_own_period_are_not_judged(database: Database) -> None:
    number = freeze(database, until=START + 3 * DAY)
    for day in range(5):
        measure(database, day, brightness(0.9), number)
    assert judge(database) == 2
    assert turns(database) == [(KEY, "firing", 4)]
    assert standing(database)[KEY].since == START + 3 * DAY


def test_without_a_baseline_nothing_is_judged_and_nothing_is_missed_later(database: Database) -> None:
    for day in range(3):
        measure(database, day, brightness(0.9), None)
    assert judge(database) == 0
    number = freeze(database)
    # Drift has not come to these windows yet: they are waited for.
    assert judge(database) == 0
    measure(database, 2, brightness(0.9), number)
    assert judge(database) == 0
    for day in range(2):
        measure(database, day, brightness(0.9), number)
    assert judge(database) == 3
    assert turns(database) == [(KEY, "firing", 1)]


def test_a_revised_window_is_not_opened_again(database: Database) -> None:
    number = freeze(database)
    for day in range(2):
        measure(database, day, brightness(0.1), number)
    judge(database)
    for day in range(2):
        measure(database, day, brightness(0.9), number)
    assert judge(database) == 0
    assert standing(database)[KEY].state == "ok"


def test_silence_keeps_a_firing_alert(database: Database) -> None:
    number = freeze(database)
    for day, value in enumerate((0.9, 0.9, None)):
        measure(database, day, brightness(value), number)
    # cam-1 is not even mentioned any more.
    measure(database, 3, {("cam-2", "brightness"): 0.1}, number)
    judge(database)
    alert = standing(database)[KEY]
    assert alert.state == "firing"
    assert alert.reason == "still firing: no frame gave a value in this window"
    assert alert.window_end == window(3).end


def test_signals_that_moved_together_are_named(database: Database) -> None:
    number = freeze(database)
    for day in range(2):
        both = {("cam-1", "brightness"): 0.9, ("cam-1", "sharpness"): 1.4, ("cam-2", "sharpness"): 1.4}
        measure(database, day, both, number)
    judge(database)
    [event] = told(database)
    assert [(o["signal"], o["value"]) for o in event.evidence["moved_together"]] == [("sharpness", 1.4)]


def test_a_rule_that_is_removed_resolves_what_it_fired(database: Database) -> None:
    number = freeze(database)
    for day in range(2):
        measure(database, day, {("cam-1", "brightness"): 0.9, ("cam-1", "sharpness"): 0.9}, number)
    judge(database)
    bare = loaded(CONTRACT.split("[[alerts]]")[0])
    assert judge(database, bare) == 2
    assert judge(database, bare) == 0
    assert turns(database) == [(KEY, "firing", 1), (KEY, "resolved", 1)]
    states = {a.rule: (a.state, a.reason) for a in standing(database).values()}
    gone = "rule removed from the contract"
    assert states == {"brightness-drift": ("resolved", gone), "sharpness-drift": ("ok", gone)}
    assert told(database)[-1].evidence["sentence"].endswith("it had been firing since 2026-03-01 00:00 UTC.")


def test_a_rule_that_watches_something_else_now_starts_afresh(database: Database) -> None:
    number = freeze(database)
    for day in range(2):
        measure(database, day, brightness(0.9), number)
    judge(database)
    changed = loaded(CONTRACT.replace('signal = "brightness"', 'signal = "contrast"'))
    for day in (2, 3):
        measure(database, day, {("cam-1", "contrast"): 0.9}, number)
    judge(database, changed)
    assert turns(database) == [(KEY, "firing", 1), (KEY, "resolved", 1), (KEY, "firing", 3)]
    assert (standing(database)[KEY].series.signal, standing(database)[KEY].episode) == ("contrast", 2)


def test_a_version_that_was_replaced_does_not_fire_for_ever(database: Database) -> None:
    number = freeze(database)
    for day in range(2):
        measure(database, day, brightness(0.9), number)
    for day in range(2, 12):
        measure(database, day, brightness(0.1), freeze(database, version="v2"), version="v2")
    judge(database)
    # Drift has measured two days of v1 and no frame is left of it: nothing will judge it again.
    assert turns(database) == [(KEY, "firing", 1)]
    assert judge(database) == 1
    assert turns(database)[-1] == (KEY, "resolved", 1)
    assert "version v1 sent nothing for a week" in standing(database)[KEY].reason


def test_a_rule_that_is_new_judges_the_windows_since_the_baseline(database: Database) -> None:
    number = freeze(database)
    without = loaded(CONTRACT.rsplit("[[alerts]]", 1)[0])
    for day in range(4):
        measure(database, day, {("cam-1", "sharpness"): 0.9}, number)
        judge(database, without)
    assert turns(database) == []
    judge(database)
    assert [(state, day) for _, state, day in turns(database)] == [("firing", 2)]


def test_of_two_writers_of_one_alert_the_second_loses(database: Database) -> None:
    number = freeze(database)
    measure(database, 0, brightness(0.1), number)
    judge(database)
    with database.begin() as one, database.begin() as other:
        [mine], [theirs] = alerts.read(one), alerts.read(other)
        assert alerts.save(one, replace(mine, reason="first"))
        one.commit()
        assert not alerts.save(other, replace(theirs, reason="second"))
        assert not alerts.save(other, replace(theirs, revision=0, reason="new"))
    assert (standing(database)[KEY].reason, standing(database)[KEY].revision) == ("first", mine.revision + 1)


def test_workers_side_by_side_tell_everything_once(database: Database) -> None:
    number = freeze(database)
    cameras = 4
    for day in range(24):
        measure(database, day, brightness(*[0.9 if day % 14 < 4 else 0.1] * cameras), number)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            list(pool.map(lambda _: judge(database), range(4)))
    expected = {("firing", 1), ("resolved", 5), ("firing", 15), ("resolved", 19)}
    by_camera = [{(s, d) for k, s, d in turns(database) if f"cam-{c}/" in k} for c in range(1, cameras + 1)]
    assert by_camera == [expected] * cameras
    assert len(turns(database)) == 4 * cameras
    assert len(messages(database)) == 2 * 4 * cameras


def dies_at(settings: Settings, room: ModuleType, name: str, calls: int) -> None:
    """Judge in a child process that is killed as it makes its `calls`-th call of a function of the store."""
    child = os.fork()
    if child == 0:
        try:
            real, made = getattr(room, name), count(1)

            def deadly(*args: Any, **kwargs: Any) -> Any:
                if next(made) == calls:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            setattr(room, name, deadly)
            with open_database(settings) as own:
                judge(own)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_kills_anywhere_change_nothing(database: Database, settings: Settings) -> None:
    number = freeze(database)
    for day, value in enumerate((0.9, 0.9, 0.1, 0.1)):
        measure(database, day, brightness(value, value), number)
    # Two cameras: a window is one advance, two saves, and two events where it turns.
    early = [(alerts, "advance", 1), (alerts, "save", 2), (alerts, "advance", 2), (alerts, "add_event", 1)]
    late = [(outbox, "add", 2), (alerts, "save", 3), (alerts, "add_event", 2), (outbox, "add", 1)]
    for room, name, calls in early + late:
        dies_at(settings, room, name, calls)
    judge(database)
    other = KEY.replace("cam-1", "cam-2")
    assert sorted(turns(database)) == [
        (KEY, "firing", 1), (KEY, "resolved", 3), (other, "firing", 1), (other, "resolved", 3)
    ]  # fmt: skip
    assert len(messages(database)) == 8
    assert {alert.revision for alert in standing(database).values()} == {4}


def test_windows_that_had_nothing_to_say_are_judged_when_they_have(database: Database) -> None:
    number = freeze(database)
    for day, value in enumerate((0.1, None, None, None)):
        measure(database, day, brightness(value), number)
    judge(database)
    assert standing(database)[KEY].state == "no-data"
    measure(database, 1, brightness(0.9), number)
    judge(database)
    assert (standing(database)[KEY].state, standing(database)[KEY].window_end) == ("pending", window(3).end)
    measure(database, 2, brightness(0.9), number)
    judge(database)
    assert turns(database) == [(KEY, "firing", 2)]
    assert judge(database) == 0


def test_silence_before_a_verdict_is_not_opened_again(database: Database) -> None:
    number = freeze(database)
    for day, value in enumerate((None, None, 0.1)):
        measure(database, day, brightness(value), number)
    judge(database)
    for day in range(2):
        measure(database, day, brightness(0.9), number)
    assert judge(database) == 0
    assert standing(database)[KEY].state == "ok"
