"""FrameLogger: whole files or nothing, and nothing lost: threads, forks, kills, full disks, torn ends."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.client import FrameLogger, frame_record
from monitor.client.logger import recover
from monitor.records import FrameRecord

WHEN = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)


def record(event_id: object) -> dict[str, object]:
    return frame_record(
        event_id=str(event_id), captured_at=WHEN, model="packages", version="3", camera="cam-1", width=64, height=48
    )


def published(folder: Path) -> list[list[str]]:
    """Event ids of every whole file, in the order of the names."""
    files = sorted(path for path in folder.glob("*.jsonl") if not path.name.startswith("."))
    return [
        [msgspec.json.decode(line, type=FrameRecord).event_id for line in file.read_bytes().splitlines()]
        for file in files
    ]


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*"))


@contextmanager
def child(folder: Path, program: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `program` with `folder`, `record` and the client at hand."""
    head = f"""
        import os, sys
        from datetime import UTC, datetime
        from monitor.client import FrameLogger, frame_record
        folder = {str(folder)!r}
        def record(event_id):
            return frame_record(event_id=str(event_id), captured_at=datetime(2026, 3, 1, tzinfo=UTC),
                                model="packages", version="3", camera="cam-1", width=64, height=48)
    """
    code = textwrap.dedent(head) + textwrap.dedent(program)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_files_are_full_then_closed(tmp_path: Path) -> None:
    with FrameLogger(tmp_path, max_records=10) as log:
        for number in range(25):
            log.log(record(number))
        assert [len(file) for file in published(tmp_path)] == [10, 10]
        assert len(hidden(tmp_path)) == 1
    assert [len(file) for file in published(tmp_path)] == [10, 10, 5]
    assert list(chain(*published(tmp_path))) == [str(number) for number in range(25)]
    assert hidden(tmp_path) == []


def test_fields_make_the_record(tmp_path: Path) -> None:
    with FrameLogger(tmp_path) as log:
        log.log(event_id="a", captured_at=WHEN, model="packages", version="3", camera="cam-1", width=1, height=1)
    assert published(tmp_path) == [["a"]]


def test_a_source_has_its_own_folder(tmp_path: Path) -> None:
    with FrameLogger(tmp_path, source="line-2") as log:
        log.log(record("a"))
    assert published(tmp_path / "line-2") == [["a"]]
    assert published(tmp_path) == []


def test_nothing_logged_leaves_nothing(tmp_path: Path) -> None:
    with FrameLogger(tmp_path / "new") as log:
        log.flush()
    assert list((tmp_path / "new").iterdir()) == []


def test_names_sort_by_time_and_say_it(tmp_path: Path) -> None:
    moments = iter(WHEN + timedelta(seconds=second) for second in range(12))
    with FrameLogger(tmp_path, max_records=1, now=lambda: next(moments)) as log:
        for number in range(12):
            log.log(record(number))
    assert list(chain(*published(tmp_path))) == [str(number) for number in range(12)]
    assert all(re.match(r"20260301T0630\d\d000000Z-", path.name) for path in tmp_path.iterdir())


def test_one_moment_still_gives_different_names(tmp_path: Path) -> None:
    with FrameLogger(tmp_path, max_records=1, now=lambda: WHEN) as log:
        for number in range(20):
            log.log(record(number))
    assert len(published(tmp_path)) == 20


def test_a_file_is_synced_renamed_and_its_folder_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def seen_fsync(descriptor: int) -> None:
        steps.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def seen_rename(source: Path, target: Path) -> None:
        steps.append(f"rename {source.name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "rename", seen_rename)
    with FrameLogger(tmp_path) as log:
        log.log(record("a"))
        (draft,) = hidden(tmp_path)
        assert steps == []
    assert steps == [f"sync {draft.name}", f"rename {draft.name}", f"sync {tmp_path.name}"]


def test_a_record_that_cannot_be_logged_harms_no_other(tmp_path: Path) -> None:
    with FrameLogger(tmp_path) as log:
        log.log(record("a"))
        with pytest.raises(ValueError, match="latency_ms is not a finite number"):
            log.log({**record("bad"), "latency_ms": float("nan")})
        log.log(record("b"))
    assert published(tmp_path) == [["a", "b"]]


def test_a_closed_logger_refuses(tmp_path: Path) -> None:
    log = FrameLogger(tmp_path)
    log.log(record("a"))
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.log(record("b"))
    assert published(tmp_path) == [["a"]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": "../elsewhere"}, "source is"),
        ({"source": ""}, "source is"),
        ({"source": ".hidden"}, "source is"),
        ({"max_records": 0}, "give at least 1"),
        ({"max_age_s": 0}, "give seconds above 0"),
        ({"max_age_s": float("nan")}, "give seconds above 0"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FrameLogger(tmp_path, **options)


def test_a_silent_camera_is_published_by_age(tmp_path: Path) -> None:
    log = FrameLogger(tmp_path, max_age_s=0.01)
    log.log(record("a"))
    timer = log._timer
    if timer is not None:  # else it was faster than this line
        timer.join(timeout=30)
    assert published(tmp_path) == [["a"]]
    log.log(record("b"))
    log.close()
    assert published(tmp_path) == [["a"], ["b"]]


def test_threads_share_a_logger(tmp_path: Path) -> None:
    with FrameLogger(tmp_path, max_records=50) as log:

        def work(thread: int) -> None:
            for number in range(150):
                log.log(record(f"{thread}-{number}"))

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    files = published(tmp_path)
    assert all(len(file) == 50 for file in files)
    assert Counter(chain(*files)) == Counter(f"{t}-{n}" for t in range(8) for n in range(150))


def test_a_forked_child_starts_a_file_of_its_own(tmp_path: Path) -> None:
    program = """
        log = FrameLogger(folder)
        log.log(record("before"))
        if (pid := os.fork()) == 0:
            log.log(record("child"))
            log.close()
            os._exit(0)
        os.waitpid(pid, 0)
        log.log(record("after"))
        log.close()
    """
    with child(tmp_path, program) as process:
        assert process.wait(timeout=60) == 0
    assert sorted(published(tmp_path)) == [["before", "after"], ["child"]]
    assert hidden(tmp_path) == []


def test_a_program_that_forgets_to_close_is_published_at_its_end(tmp_path: Path) -> None:
    with child(tmp_path, "log = FrameLogger(folder); log.log(record('a'))") as process:
        assert process.wait(timeout=60) == 0
    assert published(tmp_path) == [["a"]]


def test_a_killed_process_loses_nothing_and_a_live_one_keeps_its_file(tmp_path: Path) -> None:
    program = """
        import signal
        log = FrameLogger(folder)
        for number in range(7):
            log.log(record(number))
        print("logged", flush=True)
        signal.pause()
    """
    with child(tmp_path, program) as process:
        assert said(process) == "logged"
        assert recover(tmp_path) == []
        assert published(tmp_path) == []
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert len(hidden(tmp_path)) == 1
    FrameLogger(tmp_path).close()
    assert published(tmp_path) == [[str(number) for number in range(7)]]
    assert hidden(tmp_path) == []


def test_killed_on_the_way_to_the_rename(tmp_path: Path) -> None:
    program = """
        import signal
        os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        log = FrameLogger(folder, max_records=2)
        log.log(record("a"))
        log.log(record("b"))
    """
    with child(tmp_path, program) as process:
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert published(tmp_path) == []
    with FrameLogger(tmp_path) as log:
        log.log(record("c"))
    assert published(tmp_path) == [["a", "b"], ["c"]]


def test_a_torn_end_is_dropped_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = json.dumps(record("a")).encode() + b"\n"
    (tmp_path / ".1.jsonl.tmp").write_bytes(whole + whole[:30])
    (tmp_path / ".2.jsonl.tmp").write_bytes(whole[:30])
    (tmp_path / ".3.jsonl.tmp").write_bytes(b"")
    (tmp_path / ".other").write_bytes(b"not ours")
    with caplog.at_level(logging.WARNING, logger="monitor.client"):
        assert recover(tmp_path) == [tmp_path / "1.jsonl"]
    assert published(tmp_path) == [["a"]]
    assert hidden(tmp_path) == [tmp_path / ".other"]
    assert caplog.text.count("its last 30 bytes are dropped") == 2


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere"
    secret.write_bytes(b"x\n")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / ".1.jsonl.tmp").symlink_to(secret)
    assert recover(tmp_path / "spool") == []
    assert secret.read_bytes() == b"x\n"


def test_a_failed_rename_is_made_good_with_the_next_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    log = FrameLogger(tmp_path)
    log.log(record("a"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(OSError, match="No space left"):
            log.flush()
    assert published(tmp_path) == []
    log.log(record("b"))
    assert published(tmp_path) == [["a"]]
    log.close()
    assert published(tmp_path) == [["a"], ["b"]]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    """The kernel cuts a write short at the limit of file sizes, as at the end of a disk."""
    program = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log = FrameLogger(folder)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        refused = []
        for number in range(20):
            try:
                log.log(record(number))
            except OSError:
                refused.append(number)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.log(record("later"))
        log.close()
        print(*refused)
    """
    with child(tmp_path, program) as process:
        refused = said(process).split()
        assert process.wait(timeout=60) == 0
    assert 0 < len(refused) < 20
    expected = [str(number) for number in range(20) if str(number) not in refused]
    assert published(tmp_path) == [[*expected, "later"]]


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    with FrameLogger(tmp_path / "spool", max_records=1) as log:
        log.log(record("a"))
        (done,) = (tmp_path / "spool").iterdir()
        done.unlink()
        (tmp_path / "spool").rmdir()
        log.log(record("b"))
    assert published(tmp_path / "spool") == [["b"]]
