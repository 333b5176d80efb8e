"""Turns in which there was nothing to do: what they leave on record, and that nobody is told less for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from monitor.daemon.context import Job
from monitor.daemon.run import take_turn
from monitor.store import jobs
from monitor.store.jobs import Ended, Turn

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TURN = timedelta(minutes=1)


def test_turns_with_nothing_to_do_share_a_row_that_says_how_far_it_reaches(plant):
    """Of what every process does for itself; whatever else happens has a row of its own, and an hour is the most."""

    def take(minute: int) -> None:
        def function(context, now):
            if minute == 5:
                raise RuntimeError("the belt is stuck")
            return 30 if minute == 3 else 0

        at = NOW + minute * TURN + timedelta(seconds=7)
        take_turn(plant.context, Job("probe", TURN, function, "for the test", local=True), at)
        with plant.context.database.begin() as conn:
            (found,) = jobs.health(conn, ["probe"])
        ended = found.failed_at if minute == 5 else found.done_at
        assert timedelta(0) <= ended - at < timedelta(seconds=30), "who asks for the last run is told of this one"
        assert found.did == (30 if minute == 3 else 0)

    for minute in (*range(9), 12, *range(13, 90)):
        take(minute)
    with plant.context.database.begin() as conn:
        said = text("SELECT scheduled_for, started_at, state, did FROM job_run ORDER BY scheduled_for")
        rows = [((at - NOW) / TURN, (began - NOW) // TURN, *rest) for at, began, *rest in conn.execute(said)]
    assert [row for row in rows if row[2] != "skipped"] == [
        (0, 2, "done", 0),
        (3, 3, "done", 30),
        (4, 4, "done", 0),
        (5, 5, "failed", 0),
        (6, 8, "done", 0),
        (12, 71, "done", 0),
        (72, 89, "done", 0),
    ]
    assert [row[0] for row in rows if row[2] == "skipped"] == [9, 10, 11], "what nobody ran is on record as before"


def test_two_processes_with_nothing_to_do_share_the_row_and_work_has_its_own(plant):
    def note(minute: int, did: int, error: str = "", seconds: int = 0) -> None:
        at = NOW + minute * TURN
        began = at + timedelta(seconds=seconds)
        with plant.context.database.begin() as conn:
            jobs.note(conn, Turn("probe", at, TURN), Ended(began, began, did, error))

    for minute in range(4):
        note(minute, 0, seconds=1)
        note(minute, 5 if minute == 2 else 0, seconds=2)
    note(4, 3)
    note(4, 0, seconds=9)
    note(5, 0, "the belt is stuck")
    note(5, 0, seconds=9)
    with plant.context.database.begin() as conn:
        said = conn.execute(text("SELECT state, did FROM job_run ORDER BY scheduled_for")).all()
    assert said == [
        ("done", 0), ("done", 5), ("done", 0), ("done", 3), ("failed", 0),
    ]  # fmt: skip
    with plant.context.database.begin() as conn:
        (found,) = jobs.health(conn, ["probe"])
    assert (found.done_at, found.did, found.failed_at) == (NOW + 4 * TURN, 3, NOW + 5 * TURN)
