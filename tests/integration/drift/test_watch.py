"""The calibrated lanes through Postgres: the pure code's numbers, each day once, whatever is killed or late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hourly import write
from killing import killed_everywhere
from seven_cameras import (
    BASELINE,
    CAMERAS,
    DAY,
    DAYS,
    NORTH,
    ORDINARY,
    RAMP,
    START,
    Counts,
    Line,
    line,
    plant,
)
from sqlalchemy import text

from monitor.alerts import gather, life
from monitor.alerts.labels import labels_of
from monitor.cli.main import main
from monitor.drift import baseline, history, lanes, watch
from monitor.errors import GateRefused, UsageError
from monitor.records import Window
from monitor.settings import Settings
from monitor.signals import SIGNALS
from monitor.store import acceptances, alerts, baselines, incidents, measurements, outbox, watched
from monitor.store.database import Database
from monitor.watch import LANES, Incident, Z


@pytest.fixture
def drifting(database: Database, tmp_path: Path) -> Line:
    """cam-2 gets brighter from day 20 on, and the north's latencies jump on day 24."""
    jump = np.where(np.arange(DAYS) >= 24, 2.5, 0.0)
    moved = {("cam-2", "brightness"): RAMP} | {(camera, "latency_ms"): jump for camera in NORTH}
    return line(database, tmp_path, plant(5, moved))


def _series(counts: Counts) -> dict[str, lanes.Series]:
    shape = (DAYS, 24, -1)
    found = {
        signal: lanes.Series(
            np.stack([counts[camera, signal, ""].reshape(shape) for camera in CAMERAS]),
            SIGNALS[signal].edges.middles(),
        )
        for signal in ORDINARY
    }
    mix = [
        np.stack([counts[camera, "confidence", name].sum(axis=1).reshape(DAYS, 24) for name in ("carton", "pouch")])
        for camera in CAMERAS
    ]
    return found | {"class_share": lanes.Series(np.moveaxis(np.stack(mix), 1, -1), np.zeros(2), ("carton", "pouch"))}


def test_the_daemon_measures_what_the_pure_code_says_of_the_whole_history(drifting: Line) -> None:
    drifting.write(BASELINE, DAYS)
    for day in (18, 19, 25, DAYS - 1):  # ticks that were missed in between
        drifting.tick(day)
    found = lanes.streams(_series(drifting.counts), history.calendar(START.date(), DAYS, BASELINE))
    limit = lanes.limits(found, with_override=False)
    with drifting.database.begin() as conn:
        read = {
            (m.key.scope.camera, m.key.signal, m.key.class_name, m.measure, (m.window.start - START).days): m
            for m in measurements.read(conn, "line", version="v1")
        }
    alarms = 0
    for stream in found:
        verdict = lanes.decide(stream, limit, BASELINE)
        for c, camera in enumerate(CAMERAS):
            for day in range(BASELINE, DAYS):
                key = (camera, stream.lane.name, stream.class_name)
                assert read[*key, Z, day].value == pytest.approx(stream.z[c, day], rel=1e-9, abs=1e-9)
                up, effect = read[*key, "cusum_up", day], read[*key, "effect", day]
                assert up.value == pytest.approx(verdict.path.up[c, day], rel=1e-9, abs=1e-8)
                assert up.noise == pytest.approx(limit[c])
                assert effect.value == pytest.approx(stream.effect[c, day], rel=1e-9, abs=1e-9)
                told = read.get((*key, "alarm", day))
                assert (told.value if told else 0) == verdict.alarm[c, day]
                alarms += int(verdict.alarm[c, day] != 0)
                if stream.fast is not None:
                    extreme = np.abs(np.nan_to_num(stream.fast[c, day])).max()
                    assert abs(read[*key, "fast", day].value or 0.0) == pytest.approx(extreme, rel=1e-9)
    assert alarms >= 3


def test_incidents_are_told_once_with_their_onset_and_the_group_speaks_for_its_cameras(drifting: Line) -> None:
    drifting.write(BASELINE, DAYS)
    assert drifting.tick(DAYS - 1) == (DAYS - BASELINE, DAYS - BASELINE)
    with drifting.database.begin() as conn:
        known = {one.key: one.incident for one in incidents.read(conn, open_only=True)}
        closed = [one.incident for one in incidents.read(conn) if one.incident.closed_on is not None]
        due = START + DAYS * DAY
        sent = []
        while (parcel := outbox.claim(conn, ["log"], due + DAY, due + 9 * DAY)) is not None:
            sent += [delivery.event for delivery in parcel.deliveries]
            outbox.mark_sent(conn, [delivery.key for delivery in parcel.deliveries], due)
    assert set(known) == {"line/incident/v1/north / cam-2/optics", "line/incident/v1/north/service"}
    optics, service = (known[key] for key in sorted(known))
    assert abs((optics.onset - START.date()).days - 20) <= 5
    assert service.onset == (START + 24 * DAY).date()
    assert {member[-1] for member in service.members} >= {"north", "cam-1", "cam-2", "cam-3"}
    # Two cameras alone on the first day, then the third: their incidents go into that of the site.
    assert {incident.closed_because for incident in closed} == {"part of a wider incident"}
    told = {event.alert_key: event.evidence for event in sent if event.to_state == "firing"}
    assert len(sent) == len(told) + len(closed)
    assert "Service of north (line v1) moved, most likely since 2026-03-26" in told[sorted(known)[1]]["sentence"]
    # What brightens cam-2 alone is not held against the latencies of the site.
    assert [cause["name"] for cause in told[sorted(known)[1]]["causes"]] == ["service"]
    stream = told[sorted(known)[0]]["streams"][0]
    assert stream["lane"] == "brightness_mean"
    assert stream["current"]["level"] > stream["baseline"]["level"]
    assert len(stream["scores"]) >= 4


def test_a_stream_with_sums_and_no_score_is_judged_and_not_learnt(database: Database, tmp_path: Path) -> None:
    quiet = line(database, tmp_path, plant(7, {}))
    quiet.write(BASELINE, DAYS)
    quiet.tick(DAYS - 1)
    with database.begin() as conn:
        before = watched.progress(conn, "line", "v1")
        assert before is not None
        sums = [
            replace(one, key=replace(one.key, signal="override"))
            for one in measurements.read(conn, "line", signal="brightness_mean", measure="cusum_up")
            if one.key.scope.camera and one.window.start == START + (DAYS - 1) * DAY
        ]
        assert len(sums) == len(CAMERAS)
        measurements.save(conn, sums)
        after = watched.progress(conn, "line", "v1")
    assert after == replace(before, judged=before.judged + len(CAMERAS))


def test_what_somebody_has_seen_to_is_not_opened_again_by_the_day_before(drifting: Line) -> None:
    drifting.write(BASELINE, 24)
    drifting.tick(23)
    drifting.write(24, 25)
    jump = START + 24 * DAY
    evening = jump + timedelta(hours=18)
    watch.run(drifting.database, drifting.loaded, evening)
    gather.run(drifting.database, drifting.loaded, evening)
    # Mended after midnight; only then is the day gathered for good, with the alarm still in it.
    key = "line/incident/v1/north / cam-1/service"
    with drifting.database.begin() as conn:
        life.resolve(conn, key, life.Who("A. Roe", "the test"), "restarted", jump + DAY + timedelta(minutes=30))
    drifting.tick(24)
    with drifting.database.begin() as conn:
        (episode,) = incidents.read(conn, key=key)
    assert episode.incident.closed_because == "resolved by A. Roe: restarted"


def test_an_incident_that_is_back_after_a_short_rest_says_so(drifting: Line) -> None:
    drifting.write(BASELINE, DAYS)
    drifting.tick(BASELINE)
    scope, day = ("north", "cam-2"), (START + BASELINE * DAY).date()
    rested = Incident(scope, "optics", day, day, ("brightness",), frozenset({scope}), day, day, "7 quiet days")
    with drifting.database.begin() as conn:
        (frozen,) = baselines.listing(conn, "line")
        incidents.open_new(conn, incidents.Watch("line", "v1", ""), frozen.id, rested)
    drifting.tick(DAYS - 1)
    with drifting.database.begin() as conn:
        newest, _ = incidents.read(conn, key="line/incident/v1/north / cam-2/optics")
        (event,) = alerts.events(conn, newest.key)
    assert (newest.episode, newest.incident.closed_on) == (2, None)
    assert "It goes to and fro: it is over once 35 days in a row are quiet." in event.evidence["sentence"]


def test_a_restless_incident_that_is_clearly_worse_is_told_anew_under_labels_of_its_own(drifting: Line) -> None:
    drifting.write(BASELINE, DAYS)
    drifting.tick(BASELINE)
    scope, day = ("north", "cam-2"), (START + BASELINE * DAY).date()
    first, over = day - timedelta(days=30), day - timedelta(days=20)
    rested = Incident(scope, "optics", first, first, ("brightness",), frozenset({scope}), first, over, "7 quiet days")
    back = replace(
        rested, opened_on=day - timedelta(days=3), last_alarm_on=day, closed_on=None, closed_because="", told_size=1.0
    )
    with drifting.database.begin() as conn:
        (frozen,) = baselines.listing(conn, "line")
        for one in (rested, back):
            incidents.open_new(conn, incidents.Watch("line", "v1", ""), frozen.id, one)
    drifting.tick(DAYS - 1)
    with drifting.database.begin() as conn:
        newest, last, _ = incidents.read(conn, key="line/incident/v1/north / cam-2/optics")
        opened, closed = alerts.events(conn, newest.key)
        sent = conn.execute(
            text("SELECT count(*) FROM outbox JOIN alert_event USING (event_id) WHERE alert_key = :key"),
            {"key": newest.key},
        ).scalar()
    assert (newest.episode, last.episode, newest.incident.closed_on) == (3, 2, None)
    assert last.incident.closed_because.startswith("clearly worse: ")
    assert "goes on as a new one, for it is clearly worse: " in closed.evidence["sentence"]
    assert "Told anew, for it is clearly worse: " in opened.evidence["sentence"]
    assert sent == 2, "the end of the one and the beginning of the other"
    assert labels_of(opened) == labels_of(closed) | {"worse_since": str(newest.incident.opened_on)}
    assert newest.incident.told_size > 2


def test_the_same_tick_five_times_and_day_by_day_leaves_the_same(drifting: Line, settings: Settings) -> None:
    drifting.write(BASELINE, DAYS)
    for day in range(BASELINE, DAYS):
        drifting.tick(day)
    once = drifting.all_rows()
    for _ in range(4):
        assert drifting.tick(DAYS - 1) == (0, 0)
    assert drifting.all_rows() == once


def test_late_records_redo_the_days_from_the_first_that_changed(drifting: Line) -> None:
    drifting.write(BASELINE, 22)
    drifting.write(23, DAYS)  # a day is missing
    drifting.tick(DAYS - 1)
    with drifting.database.begin() as conn:
        before = {repr(m) for m in measurements.read(conn, "line", end=START + 22 * DAY)}
    drifting.write(22, 23, batch=2)
    assert drifting.tick(DAYS - 1)[0] == DAYS - 22
    with drifting.database.begin() as conn:
        late = {repr(m) for m in measurements.read(conn, "line")}
        conn.execute(
            text("TRUNCATE watched_day, gathered_day, measurement, incident, incident_said, outbox, alert_event")
        )
    drifting.tick(DAYS - 1)
    with drifting.database.begin() as conn:
        assert {repr(m) for m in measurements.read(conn, "line")} == late
    assert before <= late


def test_a_tick_killed_at_every_commit_leaves_what_an_undisturbed_one_does(
    drifting: Line, settings: Settings
) -> None:
    drifting.write(BASELINE, 26)
    now = START + 26 * DAY + timedelta(hours=2)

    def work(database: Database) -> None:
        watch.run(database, drifting.loaded, now)
        gather.run(database, drifting.loaded, now)

    assert killed_everywhere(settings, work) >= 8
    killed = drifting.all_rows()
    with drifting.database.begin() as conn:
        conn.execute(
            text("TRUNCATE watched_day, gathered_day, measurement, incident, incident_said, outbox, alert_event")
        )
    work(drifting.database)
    assert drifting.all_rows() == killed
    assert any("incident/v1/north/service" in row for row in killed)


def test_an_accepted_baseline_starts_anew_and_closes_what_is_open(drifting: Line) -> None:
    drifting.write(BASELINE, DAYS)
    drifting.tick(DAYS - 1)
    now = START + DAYS * DAY + timedelta(hours=3)
    period = Window(START + 10 * DAY, START + DAYS * DAY)
    frozen = baseline.accept(drifting.database, drifting.loaded, "v1", period, now, "A. Roe", "new lamps")
    assert frozen is not None
    gather.run(drifting.database, drifting.loaded, now)
    with drifting.database.begin() as conn:
        record = acceptances.listing(conn, "line")[-1]
        assert (record.old_baseline_id, record.baseline_id) == (frozen.baseline.id - 1, frozen.baseline.id)
        reasons = [one.incident.closed_because for one in incidents.read(conn)]
        assert reasons.count("a new baseline was accepted: new lamps") == 2
        assert set(reasons) <= {"a new baseline was accepted: new lamps", "part of a wider incident"}


def test_a_baseline_from_now_on_is_learnt_frozen_and_judged_only_then(drifting: Line) -> None:
    drifting.write(BASELINE, 17)
    now = START + 16 * DAY + timedelta(hours=3)
    assert baseline.accept(drifting.database, drifting.loaded, "v1", None, now, "A. Roe", "lens", 14) is None
    assert drifting.tick(16) == (0, 0)
    drifting.counts = plant(6, {})
    drifting.write(17, DAYS)
    assert baseline.finish_learning(drifting.database, drifting.loaded, START + 30 * DAY) == []
    frozen = baseline.finish_learning(drifting.database, drifting.loaded, START + 31 * DAY + timedelta(hours=1))
    assert [one.baseline.period_start for one in frozen] == [START + 17 * DAY]
    with drifting.database.begin() as conn:
        assert acceptances.pending(conn, "line", "v1") is None


def test_an_acceptance_that_is_withdrawn_lets_the_old_baseline_judge_on(
    drifting: Line, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MONITOR_DATABASE_URL", settings.database_url or "")
    drifting.write(BASELINE, 18)
    now = START + 16 * DAY + timedelta(hours=3)
    assert baseline.accept(drifting.database, drifting.loaded, "v1", None, now, "A. Roe", "lens", 300) is None
    assert drifting.tick(17) == (0, 0)
    withdraw = ["baseline", "withdraw", "--model", "line", "--version", "v1"]
    assert main(withdraw) == 0
    assert "by A. Roe: lens; baseline 1 judges on" in capsys.readouterr().out
    assert drifting.tick(17) == (2, 2)
    assert main(withdraw) == 2
    assert "no acceptance of line v1 awaits its days" in capsys.readouterr().err


def test_days_that_cannot_be_learnt_from_keep_no_other_version_waiting(drifting: Line) -> None:
    """Neither version has a baseline yet: the promise to learn one holds all the same."""
    now = START - timedelta(hours=3)
    for version in ("absent", "v2"):
        assert baseline.accept(drifting.database, drifting.loaded, version, None, now, "A. Roe", "first", 14) is None
    with drifting.database.begin() as conn:
        write(conn, "line", "v2", START, {key: rows[: 14 * 24] for key, rows in drifting.counts.items()}, 2)
    with pytest.raises(GateRefused, match="0 frames of line absent"):
        baseline.finish_learning(drifting.database, drifting.loaded, START + 15 * DAY)
    with drifting.database.begin() as conn:
        known = baselines.active(conn, "line", "v2")
        assert known is not None
        assert (known.period_start, known.period_end) == (START, START + 14 * DAY)
        assert acceptances.pending(conn, "line", "v2") is None
        assert acceptances.pending(conn, "line", "absent") is not None


def test_nobody_waits_for_a_baseline_for_ever(drifting: Line) -> None:
    with pytest.raises(UsageError, match="366 at most"):
        baseline.accept(drifting.database, drifting.loaded, "v1", None, START, "A. Roe", "lens", 10**11)


def test_a_quiet_plant_stays_silent_and_under_14_days_nothing_is_judged(database: Database, tmp_path: Path) -> None:
    quiet = line(database, tmp_path, plant(7, {}))
    quiet.write(BASELINE, DAYS)
    quiet.tick(DAYS - 1)
    with database.begin() as conn:
        assert incidents.read(conn) == []
        said = watch.standing(conn, quiet.loaded, "v1")
    streams = len([lane for lane in LANES.values() if lane.signal != "class_share"]) + 2
    assert said[0].startswith("cam-1: limit ")
    assert f"for {streams} streams with 16 days of baseline" in said[0]
    short = Window(START + 20 * DAY, START + 30 * DAY)
    baseline.from_logs(database, quiet.loaded, "v1", short, short.end + DAY)
    with database.begin() as conn:
        assert watch.standing(conn, quiet.loaded, "v1")[0] == "cam-1: learning, 10 of 14 days of baseline"


def test_a_sudden_change_is_told_within_hours_and_not_again_at_midnight(drifting: Line) -> None:
    drifting.write(BASELINE, 24)
    drifting.tick(23)
    jump = START + 24 * DAY  # at which the north's latencies jump; its hours of work begin at noon
    drifting.write(24, 25)

    def told() -> list[tuple[str, str]]:
        with drifting.database.begin() as conn:
            rows = conn.execute(text("SELECT alert_key, to_state FROM alert_event ORDER BY event_id"))
            return [(row[0], row[1]) for row in rows]

    before = told()
    for hour in (13, 15, 17):
        now = jump + timedelta(hours=hour + 1)
        watch.run(drifting.database, drifting.loaded, now)
        gather.run(drifting.database, drifting.loaded, now)
    during = told()
    assert {key for key, _ in during[len(before) :]} == {
        f"line/incident/v1/north / {camera}/service" for camera in ("cam-1", "cam-2")
    }
    drifting.tick(24)
    assert told() == during
    with drifting.database.begin() as conn:
        assert conn.execute(text("SELECT DISTINCT hours FROM watched_day")).scalars().all() == [24]


def test_a_jammed_queue_is_an_incident_of_its_camera(database: Database, tmp_path: Path) -> None:
    jammed = line(database, tmp_path, plant(7, {}))
    edges = SIGNALS["queue_depth"].edges
    draw = np.random.default_rng(8)
    depth = draw.poisson(4, (DAYS * 96, 5)).astype(np.float64)
    depth[25 * 96 + 60] = 60.0
    rows = np.zeros((DAYS * 96, edges.count + 2), dtype=np.int64)
    np.add.at(rows, (np.arange(DAYS * 96)[:, None], edges.bin_of(depth)), 1)
    with database.begin() as conn:
        write(conn, "line", "v1", START, {("cam-3", "queue_depth", ""): rows}, batch=3, minutes=15)
        conn.execute(text("TRUNCATE baseline_hour"))  # what a baseline frozen before its quarters came has not learnt
    jammed.write(BASELINE, DAYS)
    jammed.tick(DAYS - 1)
    with database.begin() as conn:
        (found,) = incidents.read(conn)
        said = conn.execute(text("SELECT evidence ->> 'sentence' FROM alert_event")).scalars().all()
    assert (found.incident.scope, found.incident.signals) == (("north", "cam-3"), ("queue_depth",))
    assert found.incident.onset == (START + 25 * DAY).date()
    assert "queue peak" in said[0]
