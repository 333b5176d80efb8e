"""Who hears of what a run shows, and until when."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import golden_line
import pytest
from sqlalchemy import text

from monitor.cli.main import main
from monitor.golden import stage
from monitor.settings import Settings
from monitor.spec.load import LoadedContract, load_contract
from monitor.store import alerts, scorings
from monitor.store.database import Database

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'monitor-vision[cpu]'")

NIGHT = datetime(2026, 11, 3, 2, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def loaded(folder: Path, said: str | None = None) -> LoadedContract:
    if said is not None:
        (folder / "line.toml").write_text(said)
    return load_contract(folder / "line.toml")


def in_blue() -> str:
    """The contract with red and blue exchanged: the model finds far less."""
    return golden_line.contract().replace('fit = "none"', 'fit = "none"\ncolour = "bgr"')


def states(database: Database, rule: str) -> list[str]:
    """How the alerts of a rule stand."""
    with database.begin() as conn:
        return [one.state for one in alerts.read(conn, "packaging-line", rule=rule)]


def messages(database: Database, rule: str) -> list[tuple[str, str]]:
    with database.begin() as conn:
        rows = conn.execute(
            text(
                "SELECT o.channel, e.to_state FROM outbox o JOIN alert_event e USING (event_id)"
                " WHERE e.evidence ->> 'rule' = :rule ORDER BY o.event_id, o.channel"
            ),
            {"rule": rule},
        )
        return [(row[0], row[1]) for row in rows]


def test_what_a_run_by_hand_turns_is_told_through_the_configured_channels(
    database: Database, settings: Settings, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITOR_DATABASE_URL", settings.database_url or "")
    monkeypatch.setenv("MONITOR_WEBHOOK_URL", "http://127.0.0.1:9/")
    loaded(line, golden_line.contract(sha256="0" * 64))
    assert main(["golden", "run", str(line / "line.toml")]) == 1
    loaded(line, golden_line.contract())
    assert main(["golden", "run", str(line / "line.toml")]) == 0
    assert messages(database, "golden-not-scored") == [
        ("log", "firing"),
        ("webhook", "firing"),
        ("log", "resolved"),
        ("webhook", "resolved"),
    ]


def test_a_fall_in_accuracy_is_over_when_what_was_before_is_back_or_somebody_says_so(
    database: Database, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorings, "KEPT", 1)
    good, bad = golden_line.contract(), in_blue()
    for night, said in enumerate((good, bad, bad, bad)):
        stage.run(database, loaded(line, said), NIGHT + night * DAY)
    assert states(database, "golden-accuracy") == ["firing"]
    stage.run(database, loaded(line, good), NIGHT + 4 * DAY)
    assert states(database, "golden-accuracy") == ["resolved"]
    assert [state for _, state in messages(database, "golden-accuracy")] == ["firing", "resolved"]
    with database.begin() as conn:
        _, fell = alerts.events(conn, "packaging-line/golden-accuracy/v1/-/-/-")
    assert re.search(r"map50_95 fell from 0\.6\d\d to 0\.1\d\d", fell.evidence["sentence"])


def test_a_firing_alarm_says_who_answers_and_what_to_do_first(database: Database, line: Path) -> None:
    said = golden_line.contract(sha256="0" * 64).replace('"packaging-line"', '"packaging-line"\nowner = "line team"')
    stage.run(database, loaded(line, said), NIGHT)
    with database.begin() as conn:
        (event,) = alerts.events(conn, "packaging-line/golden-not-scored/v1/-/-/-")
    assert event.evidence["owner"] == "line team"
    assert event.evidence["sentence"].endswith(f"First: {event.evidence['first']}")
    assert "monitor golden run" in event.evidence["first"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (golden_line.contract().replace('version = "v1"', 'version = "v2"'), "v2 is the version in use now"),
        (
            golden_line.contract().replace('manifest = "manifest.json"', ""),
            "the contract names no golden set any more",
        ),
    ],
)
def test_what_no_run_will_speak_of_any_more_is_resolved(database: Database, line: Path, said: str, why: str) -> None:
    stage.run(database, loaded(line, golden_line.contract(sha256="0" * 64)), NIGHT)
    assert states(database, "golden-not-scored") == ["firing"]
    stage.run(database, loaded(line, said), NIGHT + timedelta(hours=1))
    assert states(database, "golden-not-scored") == ["resolved"]
    with database.begin() as conn:
        event, _ = alerts.events(conn, "packaging-line/golden-not-scored/v1/-/-/-")
    assert (event.to_state, event.evidence["reason"]) == ("resolved", why)
    assert messages(database, "golden-not-scored") == [("log", "firing"), ("log", "resolved")]


def test_an_easier_set_under_the_same_name_and_version_does_not_count(database: Database, line: Path) -> None:
    stage.run(database, loaded(line, golden_line.contract()), NIGHT)
    whole = json.loads((line / "manifest.json").read_text())
    truth = json.loads((line / "truth.json").read_text())
    truth["images"], kept = truth["images"][:35], {image["id"] for image in truth["images"][:35]}
    truth["annotations"] = [one for one in truth["annotations"] if one["image_id"] in kept]
    for version in ("1", "2"):
        (line / "truth.json").unlink()
        (line / "truth.json").write_text(json.dumps(truth))
        named = {
            "images": whole["images"][:35],
            "version": version,
            "truth_sha256": hashlib.sha256((line / "truth.json").read_bytes()).hexdigest(),
        }
        (line / "manifest.json").unlink()
        (line / "manifest.json").write_text(json.dumps(whole | named))
        stage.run(database, loaded(line), NIGHT + int(version) * DAY)
    with database.begin() as conn:
        newer, changed, first = scorings.newest(conn, "packaging-line", limit=9)
    assert (first.status, changed.status, newer.status) == ("done", "error", "done")
    assert "is called packages 1, and in run 1 that was another set" in changed.reason
