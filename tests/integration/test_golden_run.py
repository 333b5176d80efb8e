"""Scoring for real: the packaging line's model in a process of its own, every way to fail, nights, alarms, gate."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import golden_line
import pytest

from monitor.cli.main import main
from monitor.client import FrameLogger, Preprocess, input_proof, preprocess
from monitor.client.folder import decoded
from monitor.daemon.context import Context
from monitor.daemon.run import run_once
from monitor.errors import MonitorError, UsageError
from monitor.golden import child, job, stage
from monitor.golden.run import Ended, Interrupted, Limits, score, watched
from monitor.ingest import stage as ingest
from monitor.records import SeriesKey
from monitor.scoring import ScoringRun
from monitor.settings import Settings
from monitor.spec.load import Shelf, load_contract
from monitor.store import alerts, measurements, scorings
from monitor.store.database import Database

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'monitor-vision[cpu]'")

NIGHT = datetime(2026, 11, 3, 2, 5, tzinfo=UTC)
ENOUGH = Limits(120, 4096)
CRITERION = """
[[acceptance]]
name = "by day"
measure = "recall"
slice = { lighting = "day" }
at_least = 0.5
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 40 frames, ten of them in half the light."""
    return golden_line.draw(tmp_path_factory.mktemp("golden"), 40, dark=10)


@pytest.fixture
def line(settings: Settings, drawn: Path) -> Path:
    """The folder of contracts, with the line's own contract, set and model in it."""
    folder = settings.contracts_dir
    folder.mkdir()
    for name in ("images", "manifest.json", "truth.json"):
        (folder / name).symlink_to(drawn / name)
    (folder / "detector.onnx").symlink_to(golden_line.LINE / "detector.onnx")
    (folder / "line.toml").write_text(golden_line.contract(more=CRITERION))
    return folder


def runs(database: Database) -> list[ScoringRun]:
    with database.begin() as conn:
        return scorings.newest(conn, "packaging-line", limit=100)


def night(database: Database, folder: Path, now: datetime) -> ScoringRun:
    assert stage.run(database, load_contract(folder / "line.toml"), now) == 1
    return runs(database)[0]


def test_a_good_run_counts_and_a_second_one_has_its_digest(drawn: Path) -> None:
    lines: list[str] = []
    first = score(golden_line.work(drawn), ENOUGH, tell=lines.append)
    assert first.outcome.status == "done"
    assert first.outcome.reason == ""
    assert first.outcome.deterministic
    assert first.outcome.decoded == first.outcome.images == 40
    assert lines[-1] == "40 of 40"
    assert first.outcome.environment["provider"] == "CPUExecutionProvider"
    assert set(first.artifacts) == set(job.ARTIFACTS)
    numbers = json.loads(first.artifacts[job.EVALUATION])
    assert numbers["stats"]["AP50"] > 0.9
    assert numbers["slices"]["lighting"]["low"]["images"] == 10
    again = score(golden_line.work(drawn), ENOUGH, {"last run": first.artifacts[job.DETECTIONS]})
    assert again.outcome.digest == first.outcome.digest
    assert again.outcome.sameness == "same"
    ruling = json.loads(again.artifacts[job.RULING])
    assert all(row["verdict"] != "drop" for row in ruling["comparisons"]["last run"]["rows"])


def test_what_the_batches_are_changes_no_box_beyond_rounding(drawn: Path) -> None:
    one = score(golden_line.work(drawn), ENOUGH)
    text = golden_line.contract(golden="batch = 7")
    other = score(golden_line.work(drawn, text), ENOUGH, {"last run": one.artifacts[job.DETECTIONS]})
    assert other.outcome.sameness in ("same", "rounding")


def refused(folder: Path, text: str | None = None, limits: Limits = ENOUGH, **more: str) -> str:
    """The reason for which a run is an error; it has no verdict."""
    found = score(golden_line.work(folder, text, **more), limits)
    assert found.outcome.status == "error"
    assert found.outcome.verdict == ""
    return found.outcome.reason


@pytest.fixture
def copied(drawn: Path, tmp_path: Path) -> Path:
    """The set again, its images still those of the first."""
    for name in ("manifest.json", "truth.json"):
        (tmp_path / name).write_bytes((drawn / name).read_bytes())
    (tmp_path / "images").mkdir()
    for path in (drawn / "images").iterdir():
        (tmp_path / "images" / path.name).symlink_to(path)
    return tmp_path


def test_a_wrong_provider_is_an_error(drawn: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build of ONNX Runtime has CUDA; tests/gpu looks at that")
    text = golden_line.contract().replace('provider = "cpu"', 'provider = "cuda"')
    assert "asks for cuda" in refused(drawn, text)
    allowed = text.replace("threads = 1", "threads = 1\nallow_cpu = true")
    found = score(golden_line.work(drawn, allowed), ENOUGH)
    assert found.outcome.status == "degraded"
    assert "asks for cuda" in found.outcome.reason
    assert found.outcome.verdict == ""


def test_a_wrong_hash_is_an_error(drawn: Path, tmp_path: Path) -> None:
    assert "was asked for" in refused(drawn, model_sha256="0" * 64)
    data = bytearray((golden_line.LINE / "detector.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "m.onnx").write_bytes(data)
    own = hashlib.sha256((golden_line.LINE / "detector.onnx").read_bytes()).hexdigest()
    found = score(golden_line.work(drawn, model=tmp_path / "m.onnx", model_sha256=own), ENOUGH)
    assert found.outcome.status == "error"


def test_a_wrong_manifest_is_an_error(copied: Path) -> None:
    truth = copied / "truth.json"
    whole = truth.read_text()
    truth.write_text(whole.replace("carton", "cartons"))
    assert "is not the truth" in refused(copied)
    truth.write_text(whole)
    image = copied / "images" / "0003.png"
    image.unlink()
    image.write_bytes((copied / "images" / "0004.png").read_bytes())
    assert "0003.png is not the image" in refused(copied)


def test_too_few_images_that_decode_are_an_error(copied: Path) -> None:
    (copied / "images" / "0003.png").unlink()
    assert "only 39 of 40 images" in refused(copied)
    text = golden_line.contract(golden="min_decoded = 0.97")
    found = score(golden_line.work(copied, text), ENOUGH)
    assert (found.outcome.status, found.outcome.decoded) == ("done", 39)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_an_error(drawn: Path, number: signal.Signals) -> None:
    pids: list[int] = []
    found = score(golden_line.work(drawn), ENOUGH, started=pids.append, tell=lambda line: os.kill(pids[0], number))
    assert found.outcome.status == "error"
    assert f"ended by signal {int(number)}" in found.outcome.reason


def test_too_much_memory_is_an_error(drawn: Path) -> None:
    assert "more than the 64 MiB" in refused(drawn, limits=Limits(120, 64))


def test_too_long_is_an_error(drawn: Path) -> None:
    assert "longer than the 0.3 s" in refused(drawn, limits=Limits(0.3, 4096))


def test_a_process_that_prints_nothing_whole_and_forks_is_ended_with_its_children(tmp_path: Path) -> None:
    program = "import os, time; os.fork(); os.write(1, b'half a line'); time.sleep(60)"
    ended = watched([sys.executable, "-c", program], Limits(1.0, 4096))
    assert isinstance(ended, Ended)
    assert ended.code == -signal.SIGKILL
    assert "longer" in ended.why


def test_a_stop_is_no_outcome(drawn: Path) -> None:
    stopping = threading.Event()
    with pytest.raises(Interrupted):
        score(golden_line.work(drawn), ENOUGH, stopping=stopping, started=lambda pid: stopping.set())


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('output = "output0"', 'output = "out"', "not among the model's"),
        ('convention = "yolov8"', 'convention = "yolov5"', "has the shape"),
        ('image = "images"', 'image = "pixels"', "'pixels' is not among them"),
        ('fit = "none"', 'fit = "none"\ndtype = "float16"', "[input] says float16"),
        ('name = "bottle"', 'name = "jar"', "classes that the contract has not"),
    ],
)
def test_a_model_that_is_not_as_declared_is_refused(
    drawn: Path, tmp_path: Path, before: str, after: str, says: str
) -> None:
    # In this process: what the child says of it is above.
    with pytest.raises(MonitorError, match=re.escape(says)):
        child.carry_out(tmp_path, golden_line.work(drawn, golden_line.contract().replace(before, after)))


def test_each_night_is_scored_once_and_measured(database: Database, line: Path) -> None:
    first = night(database, line, NIGHT)
    assert (first.status, first.verdict, first.sameness) == ("done", "pass", "")
    assert first.due_at == datetime(2026, 11, 3, 2, tzinfo=UTC)
    loaded = load_contract(line / "line.toml")
    assert stage.run(database, loaded, NIGHT + timedelta(hours=20)) == 0
    second = night(database, line, NIGHT + timedelta(days=1))
    assert (second.digest, second.sameness, second.changed) == (first.digest, "same", ())
    with database.begin() as conn:
        found = measurements.read(conn, "packaging-line", signal="golden")
        kept = scorings.artifact(conn, first.id, job.EVALUATION)
    assert kept is not None
    numbers = json.loads(kept)
    by_day = {
        (m.window.start.day, m.measure, m.key.class_name, m.key.scope.camera, m.key.scope.slice_value): m
        for m in found
    }
    assert by_day[3, "map50_95", "", "", ""].value == numbers["stats"]["AP"]
    assert by_day[4, "map50_95", "", "", ""].value == numbers["stats"]["AP"]
    carton = numbers["operating_points"]["per_class"]["1"]
    assert by_day[3, "recall", "carton", "", ""].value == carton["recall"]
    assert by_day[3, "recall", "carton", "", ""].n == carton["tp"] + carton["fn"]
    assert by_day[3, "recall", "", "cam-2", ""].value == numbers["slices"]["camera"]["cam-2"]["all"]["recall"]
    assert by_day[3, "map50", "", "", "low"].value == numbers["slices"]["lighting"]["low"]["AP50"]
    assert by_day[3, "not_scored", "", "", ""].value == 0.0
    assert by_day[4, "answer_changed", "", "", ""].value == 0.0


def test_a_run_of_the_same_day_takes_the_place_of_the_first_ones_numbers(database: Database, line: Path) -> None:
    night(database, line, NIGHT)
    with database.begin() as conn:
        before = measurements.read(conn, "packaging-line", signal="golden")
    loaded = load_contract(line / "line.toml")
    what = stage.asked(loaded, "golden")
    assert what is not None
    stage.score_now(database, loaded, what, NIGHT + timedelta(hours=1))
    with database.begin() as conn:
        after = measurements.read(conn, "packaging-line", signal="golden")
    rest = {(m.key, m.measure, m.value) for m in after if m.measure != "answer_changed"}
    assert rest == {(m.key, m.measure, m.value) for m in before}
    assert len(runs(database)) == 2


def test_a_run_that_a_kill_cut_off_is_begun_again_the_same_night(database: Database, line: Path) -> None:
    loaded = load_contract(line / "line.toml")
    stopping = threading.Event()
    stopping.set()
    assert stage.run(database, loaded, NIGHT, stopping=stopping) == 0
    assert [one.status for one in runs(database)] == ["running"]
    assert night(database, line, NIGHT).status == "done"
    assert len(runs(database)) == 1
    late = NIGHT + timedelta(days=1)
    for _ in range(scorings.ATTEMPTS):
        assert stage.run(database, loaded, late, stopping=stopping) == 0
    assert stage.run(database, loaded, late) == 0


def test_a_night_that_fails_is_told_of_and_the_next_good_one_resolves_it(database: Database, line: Path) -> None:
    (line / "line.toml").write_text(golden_line.contract(sha256="0" * 64))
    assert night(database, line, NIGHT).status == "error"
    assert stage.run(database, load_contract(line / "line.toml"), NIGHT + timedelta(hours=3)) == 0
    key = "packaging-line/golden-not-scored/v1/-/-/-"
    with database.begin() as conn:
        (alert,) = alerts.read(conn, "packaging-line")
        (event,) = alerts.events(conn, key)
    assert (alert.key, alert.state) == (key, "firing")
    assert alert.series == SeriesKey(alert.series.scope, "golden")
    assert "was asked for" in event.evidence["sentence"]
    (line / "line.toml").write_text(golden_line.contract())
    night(database, line, NIGHT + timedelta(days=1))
    with database.begin() as conn:
        states = [one.to_state for one in alerts.events(conn, key)]
        others = {one.rule: one.state for one in alerts.read(conn, "packaging-line")}
    assert states == ["resolved", "firing"]
    assert set(others.values()) <= {"ok", "resolved"}


def test_another_answer_is_told_of_with_what_has_changed(database: Database, line: Path) -> None:
    night(database, line, NIGHT)
    changed = (
        golden_line.contract(more=CRITERION)
        .replace("divide_by", "#")
        .replace('fit = "none"', 'fit = "none"\ncolour = "bgr"')
    )
    (line / "line.toml").write_text(changed)
    found = night(database, line, NIGHT + timedelta(days=1))
    assert found.sameness == "other"
    assert [field.split(":")[0] for field in found.changed] == ["preprocess_sha256"]
    with database.begin() as conn:
        firing = {one.rule for one in alerts.read(conn, "packaging-line") if one.state == "firing"}
        (event,) = alerts.events(conn, "packaging-line/golden-answer-changed/v1/-/-/-")
    assert firing >= {"golden-answer-changed", "golden-accuracy"}
    assert "preprocess_sha256" in event.evidence["sentence"]


def test_the_daemon_goes_on_whatever_a_night_brings(database: Database, settings: Settings, line: Path) -> None:
    context = Context(replace(settings), database, Shelf(settings.contracts_dir), clock=lambda: NIGHT)
    (line / "line.toml").write_text(golden_line.contract(golden="memory_limit_mib = 64"))
    did = run_once(context, NIGHT)
    assert did["golden"] == 1
    assert {"contracts", "intake", "deliver", "alerts"} <= did.keys()
    assert runs(database)[0].reason.startswith("it used more than the 64 MiB")
    assert run_once(context, NIGHT + timedelta(minutes=1))["golden"] == 0
    with database.begin() as conn:
        (alert,) = alerts.read(conn, "packaging-line")
    assert alert.state == "firing"


def test_a_candidate_is_held_against_the_version_in_use(
    database: Database,
    line: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded = load_contract(line / "line.toml")
    own = stage.asked(loaded, "golden")
    assert own is not None
    in_use, _ = stage.score_now(database, loaded, own, NIGHT)
    candidate = stage.asked(loaded, "golden", golden_line.LINE / "detector.onnx", "v2")
    assert candidate is not None
    found, result = stage.score_now(database, loaded, candidate, NIGHT + timedelta(hours=1))
    said = json.loads(result.artifacts[job.RULING])["comparisons"]
    assert list(said) == ["active version"]
    # The same file under another name: no drop; but 40 images are too few to call it held.
    assert (found.verdict, said["active version"]["verdict"]) == ("insufficient", "insufficient")
    assert found.digest == in_use.digest
    monkeypatch.setenv("MONITOR_DATABASE_URL", settings.database_url or "")
    assert main(["golden", "gate", "--run", str(in_use.id)]) == 0
    assert main(["golden", "gate", "--run", str(found.id), "--json"]) == 2
    assert main(["golden", "list", "--model", "packaging-line"]) == 0
    assert main(["golden", "gate", "--run", "999"]) == 2
    assert "there is no run 999" in capsys.readouterr().err
    with database.begin() as conn:
        assert {one.series.scope.version for one in alerts.read(conn, "packaging-line")} == {"v1"}


def test_without_the_database_the_outcome_is_written_to_a_folder(line: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["golden", "run", str(line / "line.toml"), "--no-store", "--output", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {*job.ARTIFACTS, job.OUTCOME}
    assert json.loads((out / job.OUTCOME).read_text())["verdict"] == "pass"
    (line / "bare.toml").write_text(golden_line.contract().replace('model = "detector.onnx"', ""))
    with pytest.raises(UsageError, match="a set and no model"):
        stage.asked(load_contract(line / "bare.toml"), "golden")


def test_production_that_makes_other_inputs_is_told_of_with_the_field(database: Database, line: Path) -> None:
    block = Preprocess(160, 160, fit="none")
    wrong = replace(block, colour="bgr")
    data = (line / "images" / "0001.png").read_bytes()

    def logged(minutes: int, by: Preprocess) -> None:
        tensor, _ = preprocess(decoded(data), by)
        with FrameLogger(line.parent / "state" / "spool" / "incoming") as logger:
            logger.log(
                captured_at=NIGHT - timedelta(minutes=minutes),
                model="packaging-line",
                version="v1",
                camera="cam-1",
                width=160,
                height=160,
                camera_meta=input_proof("0001.png", data=data, tensor=tensor, block=by),
            )

    contracts = {"packaging-line": load_contract(line / "line.toml")}
    key = "packaging-line/input-parity/v1/-/-/-"
    logged(30, block)
    ingest.run(database, line.parent / "state" / "spool", contracts, NIGHT)
    night(database, line, NIGHT)
    logged(-60, wrong)
    ingest.run(database, line.parent / "state" / "spool", contracts, NIGHT + timedelta(hours=2))
    night(database, line, NIGHT + timedelta(days=1))
    with database.begin() as conn:
        found = measurements.read(conn, "packaging-line", measure="input_differs")
        (event,) = alerts.events(conn, key)
    assert [(m.value, m.n) for m in found] == [(0.0, 1), (1.0, 1)]
    assert "colour: bgr in production, rgb in scoring" in event.evidence["sentence"]
