"""One scoring for real: the packaging line's model in a process of its own, and every way to fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import golden_line
import pytest

from monitor.errors import MonitorError
from monitor.golden import child, job
from monitor.golden.run import Ended, Interrupted, Limits, score, watched

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'monitor-vision[cpu]'")

ENOUGH = Limits(120, 4096)


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


def test_who_reads_a_model_file_knows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITOR_DATABASE_URL", "postgresql://monitor:canary@db/monitor")
    said: list[str] = []
    watched([sys.executable, "-c", "import os; print(dict(os.environ))"], Limits(30.0, 4096), tell=said.append)
    assert "PATH" in said[0]
    assert "canary" not in said[0]


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


PARENT = """
import sys
from monitor.golden.job import Job
from monitor.golden.run import Limits, score
score(Job(*sys.argv[1:]), Limits(120, 4096), started=lambda pid: print(pid, flush=True))
"""


def test_who_scores_does_not_outlive_who_asked(drawn: Path) -> None:
    work = golden_line.work(drawn)
    words = [work.contract, work.manifest, work.images, work.model, work.model_sha256]
    with subprocess.Popen([sys.executable, "-c", PARENT, *words], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        watch = os.pidfd_open(child_pid)
        parent.kill()
    ended, _, _ = select.select([watch], [], [], 60)
    os.close(watch)
    assert ended
