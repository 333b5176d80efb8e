"""A Postgres for one run of tests that does not outlive it, however the run ends.

A run that is killed outright cleans nothing up, and the server that it started is nobody's child. So a second process
stands beside it that has the kernel tell it of its end, then stops the server and removes its folder. (The end of a
pipe would not tell it: whatever the run has forked holds the pipe open.)
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.store import embedded
from monitor.store.binaries import server_account
from monitor.store.cluster import Cluster

PREFIX = "monitor-test-"


@contextmanager
def server(place: str | None) -> Iterator[embedded.EmbeddedPostgres]:
    """A server in a new folder in `place` (None: where temporary files go), for the length of a block."""
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as folder,
        _watched(Path(folder)),
        embedded.start(Path(folder)) as started,
    ):
        yield started


@contextmanager
def _watched(folder: Path) -> Iterator[None]:
    # A session of its own: what is sent to the run and all its children shall not reach it.
    command = [sys.executable, str(Path(__file__).resolve()), str(os.getpid()), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as watch:
        try:
            yield
        finally:
            watch.terminate()


def _await_end(run: int) -> None:
    """Wait until the process `run`, which started this one, is gone."""
    try:
        handle = os.pidfd_open(run)
    except ProcessLookupError:
        return
    if os.getppid() == run:  # else it was gone already, and the number is another's
        select.select([handle], [], [])


def _clean_up(folder: Path) -> None:
    cluster = Cluster(folder / "postgres", server_account())
    if (cluster.data / "postmaster.pid").exists():
        cluster.stop("immediate")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _await_end(int(sys.argv[1]))
    _clean_up(Path(sys.argv[2]))
