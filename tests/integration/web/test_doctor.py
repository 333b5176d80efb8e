"""`monitor doctor` over real surroundings, well and unwell."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from monitor.cli import doctor, main
from monitor.daemon.jobs import JOBS
from monitor.settings import Settings
from monitor.store import receivers, tokens
from monitor.store.receivers import Receiver


def told(settings: Settings, now) -> dict[str, list[doctor.Finding]]:
    by_subject: dict[str, list[doctor.Finding]] = {}
    for found in doctor.findings(settings, now):
        by_subject.setdefault(found.about, []).append(found)
    return by_subject


@pytest.fixture
def now(story_start):
    return story_start + timedelta(hours=2, seconds=20)


def test_all_is_well_after_the_jobs_ran(plant, now):
    plant.jobs(0)
    found = told(plant.context.settings, now)
    assert {name: [one.mark for one in many] for name, many in found.items()} == {
        "version": ["well"],
        "state": ["well"],
        "disk": ["well"],
        "database": ["well"],
        "clock": ["well"],
        "schema": ["well"],
        "jobs": ["well"],
        "contracts": ["well"],
        "spool": ["well"],
        "paging": ["note"],
        "runtime": ["well"],
    }
    assert "presses, contract" in found["contracts"][0].sentence
    assert "agrees with it to" in found["clock"][0].sentence
    assert "CPUExecutionProvider" in found["runtime"][0].sentence


def test_a_receiver_that_fails_is_told_and_one_that_was_taken_away_is_not(plant, now):
    with plant.context.database.begin() as conn:
        for channel in ("webhook", "notify-slack-0123abcd"):
            receivers.save(conn, Receiver(channel, failures=3, last_error=f"{channel} answered 500"))
    settings = replace(plant.context.settings, webhook_url="https://receiver.example/hook")
    [failing] = told(settings, now)["receivers"]
    assert failing.mark == "wrong"
    assert failing.sentence.startswith("webhook failed 3 times in a row: webhook answered 500")
    assert "receivers" not in told(plant.context.settings, now)


def test_sources_and_tokens_are_told(plant, now, day_of_records):
    plant.drop("line-7/a", day_of_records(0, "cam-1"))
    plant.jobs(1)
    with plant.context.database.begin() as conn:
        for name, days in (("old", -1), ("ending", 3), ("lasting", 90)):
            made_at = now - timedelta(days=30)
            tokens.issue(conn, name, "", ["read"], made_at, now + timedelta(days=days))
    found = told(plant.context.settings, now)
    assert [one.sentence for one in found["intake"]] == [
        "line-7: 60 lines = 60 stored + 0 duplicate + 0 rejected + 0 blank, the last 2026-03-03 02:00 UTC"
    ]
    assert [(one.mark, one.sentence) for one in found["tokens"]] == [
        ("note", "ending ends 2026-03-05; make another and hand it over before"),
        ("well", "2 in force"),
    ]


@pytest.mark.parametrize(
    ("question", "patience", "sentence"),
    [
        ("import no_such_runtime", 60.0, "No module named 'no_such_runtime'"),
        ("import os; os.abort()", 60.0, "ended with code -6"),
        ("print('nothing')", 60.0, "did not say"),
        ("import threading; threading.Event().wait()", 0.2, "has not loaded within 0.2 s"),
    ],
)
def test_a_runtime_that_does_not_load(monkeypatch, question, patience, sentence):
    monkeypatch.setattr(doctor, "_ASK_PROVIDERS", question)
    monkeypatch.setattr(doctor, "RUNTIME_PATIENCE_S", patience)
    found = doctor._model_runtime()
    assert found.mark == "wrong"
    assert sentence in found.sentence
    assert "install it again" in found.sentence


def test_overdue_jobs_and_a_faulty_contract_and_quarantine(plant, now, day_of_records):
    plant.drop("broken", []).write_text("this is no JSON\n")
    plant.jobs(0)
    (plant.context.settings.contracts_dir / "other.toml").write_text("[model]\nnme = 'x'\n")
    found = told(plant.context.settings, now + timedelta(hours=1))
    assert [one.mark for one in found["contracts"]] == ["well", "wrong"]
    assert "did you mean" in found["contracts"][1].sentence
    (late,) = [one.sentence for one in found["jobs"]]
    quick = sum(job.every < timedelta(hours=1) for job in JOBS)
    assert late.startswith(f"late, last done (UTC) {quick} of {len(JOBS)}, none since 2026-03-02 02:00; is `monitor")
    assert "1 files in" in found["spool"][1].sentence


def test_a_faulty_file_is_told_with_what_stays_in_force_and_the_auditor_finds_it(plant, now, browse):
    plant.day(0)
    file = plant.context.settings.contracts_dir / "presses.toml"
    before = file.read_text()
    file.write_text(before + "[typo]\n")
    plant.jobs(1, hours=3)
    (said,) = [one.sentence for one in told(plant.context.settings, now)["contracts"]]
    assert "of presses stays in force" in said.splitlines()[-1]
    (finding,) = [one for one in browse("/readyz").json()["findings"] if "presses.toml" in one]
    assert re.search(
        r"presses\.toml: 1 fault; contract \w+ of presses stays in force\. `monitor spec check`", finding
    )
    wrong = {"/": "wrong with itself", "/self": "presses.toml: 1 fault"}
    assert all(sentence in browse(path).text for path, sentence in wrong.items())
    file.write_text(before)
    plant.jobs(1, hours=4)
    assert not any("presses.toml" in browse(path).text for path in wrong)
    assert not [one for one in browse("/readyz").json()["findings"] if "presses.toml" in one]


def test_a_failed_job_is_told(plant, now, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("the belt is stuck")

    monkeypatch.setattr("monitor.drift.stage.run", fail)
    plant.jobs(0)
    (found,) = told(plant.context.settings, now)["jobs"]
    assert found.mark == "wrong"
    assert "drift failed when it last ran" in found.sentence
    assert "the belt is stuck" in found.sentence


def test_a_schema_that_is_not_there(empty_engine, tmp_path, now):
    settings = Settings(
        state_dir=tmp_path,
        contracts_dir=tmp_path,
        database_url=empty_engine.url.render_as_string(hide_password=False),
    )
    (found,) = told(settings, now)["schema"]
    assert found.mark == "wrong"
    assert "monitor db upgrade" in found.sentence


def test_database_away_is_exit_3_and_tells_the_rest(plant, monkeypatch, capsys):
    settings = replace(plant.context.settings, database_url="postgresql://monitor:hush@127.0.0.1:1/monitor")
    monkeypatch.setattr("monitor.cli.main.load_settings", lambda: settings)
    assert main.main(["doctor"]) == 3
    printed = capsys.readouterr().out
    assert "Connection refused" in printed
    assert "hush" not in printed
    assert "presses, contract" in printed
    assert "compared with nothing" in printed


def test_a_clock_that_is_off(plant, now, monkeypatch):
    monkeypatch.setattr(doctor, "CLOCK_TOLERANCE_S", -1.0)
    (found,) = told(plant.context.settings, now)["clock"]
    assert found.mark == "wrong"
    assert "time server" in found.sentence


def test_nothing_configured_changes_nothing(tmp_path: Path, monkeypatch, capsys):
    for name in ("MONITOR_STATE_DIR", "MONITOR_CONTRACTS_DIR", "MONITOR_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert main.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "no embedded Postgres yet" in printed
    assert re.search(r"clock +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC here; compared with nothing", printed)
    assert list(tmp_path.iterdir()) == []


def test_both_runtimes_are_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, "_version_of", lambda name: "1.0")
    found = doctor._model_runtime()
    assert found.mark == "wrong"
    assert "uninstall both" in found.sentence


def test_it_only_reads(plant):
    plant.jobs(0)
    count = text(
        "SELECT (SELECT count(*) FROM job_run), (SELECT count(*) FROM contract), (SELECT count(*) FROM batch)"
    )
    with plant.context.database.begin() as conn:
        before = conn.execute(count).one()
    list(doctor.findings(plant.context.settings, plant.context.clock()))
    with plant.context.database.begin() as conn:
        assert conn.execute(count).one() == before
