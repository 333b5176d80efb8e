"""What people do about alerts and incidents, on real Postgres: every deed a row, no silence a lost message."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from light import CONTRACT, DAY, HOUR, LOADED, START, freeze, key_of, measure
from sqlalchemy import text

from monitor.alerts import deliver, gather, life, stage
from monitor.alerts.channels import LogChannel
from monitor.alerts.life import Who
from monitor.alerts.wire import DeliveryFailed
from monitor.errors import TryAgain, UsageError
from monitor.records import AlertEvent, Window
from monitor.spec.load import LoadedContract, parse_contract
from monitor.store import alerts, deeds, incidents, outbox
from monitor.store.database import Database
from monitor.store.incidents import Watch
from monitor.store.outbox import Parcel
from monitor.watch import Incident

MINUTE = timedelta(minutes=1)
ROE, DOE = Who("A. Roe", "command line"), Who("B. Doe", "token desk")


KEY = key_of("cam-1")


@dataclass
class Heard:
    """A channel that remembers (camera, state) of what it was sent, in order, parcel by parcel."""

    name: str = "webhook"
    is_fallback: bool = False
    is_away: bool = False
    parcels: list[list[tuple[str, str]]] = field(default_factory=list)

    def send(self, parcel: Parcel, now: datetime) -> str:
        if self.is_away:
            raise DeliveryFailed("it is away", away=True)
        self.parcels.append([(one.event.alert_key.split("/")[3], one.event.to_state) for one in parcel.deliveries])
        return "heard"

    @property
    def said(self) -> list[tuple[str, str]]:
        return [one for parcel in self.parcels for one in parcel]


@dataclass
class Plant:
    """A database whose windows are written by hand: PSI of brightness of cam-1, cam-2, ..., a day each."""

    database: Database
    baseline: int
    heard: Heard = field(default_factory=Heard)

    def day(self, number: int, values: Sequence[float]) -> datetime:
        """One day's windows, judged and delivered an hour after its end; returns that time."""
        now = measure(self.database, self.baseline, number, values)
        stage.run(self.database, LOADED, now, channels=["webhook"])
        self.deliver(now)
        return now

    def deliver(self, now: datetime) -> None:
        deliver.run(self.database, [self.heard], now)

    def state(self, key: str, now: datetime) -> life.Standing:
        with self.database.begin() as conn:
            return life.find(conn, key, now)


@pytest.fixture
def plant(database: Database) -> Plant:
    return Plant(database, freeze(database))


def test_an_alert_is_taken_on_once_by_each_person(plant: Plant) -> None:
    now = plant.day(0, [0.9])
    for who in (ROE, ROE, DOE):
        with plant.database.begin() as conn:
            life.acknowledge(conn, KEY, who, "lamp ordered", now)
    with plant.database.begin() as conn:
        found = deeds.read(conn, KEY)
        assert [(deed.deed, deed.author, deed.via, deed.note, deed.at) for deed in found] == [
            ("acknowledged", "B. Doe", "token desk", "lamp ordered", now),
            ("acknowledged", "A. Roe", "command line", "lamp ordered", now),
        ]
    taken = plant.state(KEY, now).acknowledged
    assert taken is not None
    assert taken.author == "A. Roe"
    later = plant.day(1, [0.9])
    assert plant.state(KEY, later).acknowledged == taken
    plant.day(2, [0.0])
    over = plant.day(3, [0.9])
    assert plant.state(KEY, over).acknowledged is None, "another episode is another matter"


def test_only_what_fires_is_acknowledged(plant: Plant) -> None:
    now = plant.day(0, [0.0])
    with plant.database.begin() as conn:
        with pytest.raises(UsageError, match="is ok; only what is firing"):
            life.acknowledge(conn, KEY, ROE, "", now)
        with pytest.raises(UsageError, match="no alert or incident 'presses/none'"):
            life.acknowledge(conn, "presses/none", ROE, "", now)


def silence(plant: Plant, now: datetime, length: timedelta, *matchers: str) -> int:
    with plant.database.begin() as conn:
        return life.silence(conn, matchers or ("camera=cam-1",), ROE, "lens swap", now + length, now)


def test_what_is_silenced_moves_on_and_is_told_when_the_silence_ends(plant: Plant) -> None:
    now = plant.day(0, [0.0, 0.0])
    silence(plant, now, 3 * DAY)
    now = plant.day(1, [0.9, 0.9])
    assert plant.heard.said == [("cam-2", "firing")]
    standing = plant.state(KEY, now)
    assert standing.state == "firing"
    assert standing.silence is not None
    plant.deliver(now + 2 * DAY - 2 * HOUR)
    assert plant.heard.said == [("cam-2", "firing")]
    plant.deliver(now + 2 * DAY + MINUTE)
    assert plant.heard.said == [("cam-2", "firing"), ("cam-1", "firing")]


def test_what_is_over_before_its_silence_is_never_told(plant: Plant) -> None:
    now = plant.day(0, [0.0])
    silence(plant, now, 4 * DAY)
    plant.day(1, [0.9])
    now = plant.day(2, [0.0])
    assert plant.state(KEY, now).state == "resolved"
    plant.deliver(now + 7 * DAY)
    assert plant.heard.said == []
    plant.day(10, [0.9])
    assert [state for _, state in plant.heard.said] == ["firing"], "the next episode is told"


def test_the_end_of_what_was_told_before_the_silence_is_told_after_it(plant: Plant) -> None:
    now = plant.day(0, [0.9])
    silence(plant, now, 2 * DAY)
    now = plant.day(1, [0.0])
    assert plant.heard.said == [("cam-1", "firing")]
    plant.deliver(now + 3 * DAY)
    assert plant.heard.said == [("cam-1", "firing"), ("cam-1", "resolved")]


def test_a_silence_that_is_ended_early_lets_go_of_what_it_held(plant: Plant) -> None:
    now = plant.day(0, [0.0])
    number = silence(plant, now, 7 * DAY, "rule=light", "camera!=cam-2")
    now = plant.day(1, [0.9, 0.9])
    assert plant.heard.said == [("cam-2", "firing")]
    with plant.database.begin() as conn:
        life.unsilence(conn, number, DOE, "done", now)
    plant.deliver(now)
    assert plant.heard.said[1:] == [("cam-1", "firing")]
    with plant.database.begin() as conn:
        with pytest.raises(UsageError, match="no silence"):
            life.unsilence(conn, number, DOE, "again", now)
        done = [(entry.what, entry.who) for entry in life.history(conn, now, KEY)]
    # Decided and unsilenced at one moment: of the two the order is not said.
    assert sorted(done[:2]) == [("firing", "monitor"), ("unsilenced", "B. Doe (token desk)")]
    assert done[2:] == [("silenced", "A. Roe (command line)")]


def test_a_silence_that_is_ended_while_a_message_is_looked_at_does_not_hold_it(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = plant.day(0, [0.0])
    number = silence(plant, now, 7 * DAY)
    ended = []

    def end(patience: str) -> None:
        with suppress(TryAgain), plant.database.begin() as conn:
            conn.execute(text(f"SET LOCAL lock_timeout = '{patience}'"))
            life.unsilence(conn, number, DOE, "done", now)
            ended.append(True)

    def while_it_is_ended(*asked: Any) -> Any:
        found = life.silenced_by(*asked)
        end("200ms")
        return found

    monkeypatch.setattr(deliver, "silenced_by", while_it_is_ended)
    later = plant.day(1, [0.9])
    monkeypatch.undo()
    if not ended:  # it had to wait until the message was put away
        end("10s")
    assert ended == [True]
    plant.deliver(later)
    assert plant.heard.said == [("cam-1", "firing")]


def test_what_outlasts_its_silence_is_told_though_it_is_over_when_its_receiver_is_back(plant: Plant) -> None:
    now = plant.day(0, [0.0, 0.0])
    number = silence(plant, now, 12 * HOUR + DAY)
    silence(plant, now, 7 * DAY, "camera=cam-2")
    now = plant.day(1, [0.9, 0.9])
    plant.heard.is_away = True
    plant.deliver(now + 14 * HOUR)
    now = plant.day(2, [0.0, 0.0])  # half a day after the one silence ended, and within the other
    plant.heard.is_away = False
    plant.deliver(now + HOUR)
    assert plant.heard.said == [("cam-1", "firing"), ("cam-1", "resolved")], number


@pytest.mark.parametrize("length", [timedelta(0), -HOUR, 7 * DAY + MINUTE])
def test_a_silence_lasts_a_week_at_most(plant: Plant, length: timedelta) -> None:
    with plant.database.begin() as conn, pytest.raises(UsageError, match="within 7 days"):
        life.silence(conn, ["camera=cam-1"], ROE, "why", START + length, START)


def test_an_alert_that_is_resolved_by_hand_starts_afresh(plant: Plant) -> None:
    now = plant.day(0, [0.9])
    with plant.database.begin() as conn:
        assert life.resolve(conn, KEY, ROE, "lamp replaced", now).state == "resolved"
    plant.deliver(now)
    assert plant.heard.said == [("cam-1", "firing"), ("cam-1", "resolved")]
    with plant.database.begin() as conn:
        life.resolve(conn, KEY, DOE, "it was the fuse", now)
        [noted, resolved] = deeds.read(conn, KEY)
        ended = alerts.events(conn, KEY)[0]
    assert (noted.deed, resolved.deed) == ("noted", "resolved")
    assert ended.evidence["reason"] == "resolved by A. Roe: lamp replaced"
    assert plant.state(KEY, now).reason == "resolved by A. Roe: lamp replaced"
    again = plant.day(1, [0.9])
    assert (plant.state(KEY, again).state, plant.state(KEY, again).episode) == ("firing", 2), (
        "not flapping: not mended"
    )


def open_incident(plant: Plant, now: datetime) -> str:
    """An incident as the gathering writes it, told to the webhook."""
    day = now.date()
    one = Incident(("cam-7",), "optics", day, day, ("brightness",), frozenset({("cam-7",)}), day)
    with plant.database.begin() as conn:
        kept = incidents.open_new(conn, Watch("presses", "v1", ""), plant.baseline, one)
        scope = {"model": "presses", "version": "v1", "stage": "", "path": ["cam-7"]}
        why = {
            "sentence": "Optics moved.",
            "incident": "optics",
            "cause": "optics",
            "severity": "warning",
            "scope": scope,
        }
        event = AlertEvent(kept.key, 1, "ok", "firing", Window(now - DAY, now), now, None, 0.0, 0, why)
        outbox.add(conn, alerts.add_event(conn, event), event, ["webhook"], now)
    return kept.key


def test_incidents_live_the_same_life(plant: Plant) -> None:
    now = START + 12 * HOUR
    key = open_incident(plant, now)
    with plant.database.begin() as conn:
        life.acknowledge(conn, key, ROE, "on my way", now)
        assert [one.key for one in life.standing(conn, now)] == [key]
        life.silence(conn, ["camera=cam-7", "pillar=input"], ROE, "cleaning", now + HOUR, now)
    plant.deliver(now)
    assert plant.heard.said == []
    plant.deliver(now + 2 * HOUR)
    assert [state for _, state in plant.heard.said] == ["firing"]
    with plant.database.begin() as conn:
        over = life.resolve(conn, key, ROE, "cleaned", now + 2 * HOUR)
        [kept] = incidents.read(conn, key=key)
        history = [entry.what for entry in life.history(conn, now + 2 * HOUR, key)]
    assert over.state == "resolved"
    assert (kept.incident.closed_on, kept.incident.closed_because) == (
        date(2026, 3, 1),
        "resolved by A. Roe: cleaned",
    )
    assert sorted(history) == ["acknowledged", "firing", "resolved", "resolved", "silenced"]
    plant.deliver(now + 2 * HOUR)
    assert [state for _, state in plant.heard.said] == ["firing", "resolved"]


def test_an_incident_of_a_camera_that_left_the_contract_is_closed_and_told(plant: Plant) -> None:
    now = START + 12 * HOUR
    key = open_incident(plant, now)
    gather.run(plant.database, LOADED, now, channels=["webhook"])
    assert plant.state(key, now).state == "firing", "the contract takes any camera in"
    declared = CONTRACT.replace('policy = "open"', 'list = [{ name = "cam-1" }]')
    gone = LoadedContract(parse_contract(declared), declared, "beef", Path("presses.toml"))
    gather.run(plant.database, gone, now, channels=["webhook"])
    standing = plant.state(key, now)
    assert (standing.state, standing.reason) == ("resolved", "cam-7 is not in the contract any more")
    plant.deliver(now)
    assert [state for _, state in plant.heard.said] == ["firing", "resolved"]


def test_a_hundred_alternations_are_three_messages(plant: Plant) -> None:
    now = START
    for number in range(200):
        now = plant.day(number, [0.9 if number % 2 == 0 else 0.0])
    assert plant.heard.said == [("cam-1", "firing"), ("cam-1", "resolved"), ("cam-1", "flapping")]
    standing = plant.state(KEY, now)
    assert standing.state == "flapping"
    assert "flapping" in standing.reason


def test_five_hundred_slices_at_once_are_one_message(plant: Plant) -> None:
    plant.day(0, [0.9] * 500)
    assert [len(parcel) for parcel in plant.heard.parcels] == [500]
    assert {state for _, state in plant.heard.said} == {"firing"}


def test_the_log_is_told_of_every_alert_of_a_group(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    plant.heard = LogChannel()  # type: ignore[assignment]
    plant.heard.name = "webhook"
    with caplog.at_level("INFO", "monitor.alerts"):
        plant.day(0, [0.9] * 3)
    assert sum(record.getMessage().startswith("alert firing") for record in caplog.records) == 3
