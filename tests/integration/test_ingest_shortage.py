"""Where descriptors or memory run short: a sentence, nothing lost, nothing left behind, and then it goes on."""

from __future__ import annotations

import errno
import gc
import json
import os
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from recounting import CONTRACT, NOW, record

from monitor.errors import DependencyAway
from monitor.ingest import workers as processes
from monitor.ingest.lines import Lines, find_batches
from monitor.ingest.parse import rules_of
from monitor.ingest.workers import Workers
from monitor.spec.load import LoadedContract, load_contract

Contracts = dict[str, LoadedContract]
OPEN = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(
    not OPEN.is_dir(), reason="the descriptors of a process are counted as Linux shows them"
)


@pytest.fixture
def contracts(tmp_path: Path) -> Contracts:
    (tmp_path / "line.toml").write_text(CONTRACT, encoding="utf-8")
    return {"line": load_contract(tmp_path / "line.toml")}


@contextmanager
def descriptors(left: int) -> Iterator[None]:
    """No more than so many can be had."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir(OPEN))) + 8, most))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            take_all(taken)
        for _ in range(left):
            os.close(taken.pop())
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def take_all(taken: list[int]) -> NoReturn:
    while True:
        taken.append(os.dup(0))


def children() -> set[int]:
    """Of whichever thread."""
    return {int(pid) for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()}


def test_however_few_descriptors_are_left_it_is_a_sentence_and_nothing_stays_behind(
    contracts: Contracts, tmp_path: Path
) -> None:
    rng, rules = random.Random(1), rules_of(contracts, NOW)
    said = [json.dumps(record(rng, number)).encode() for number in range(1000)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(said) + b"\n")
    gc.collect()  # what earlier tests left behind is not to go meanwhile
    before, alive = len(os.listdir(OPEN)), children()
    refused = []
    with Workers(1) as workers, (tmp_path / "a.jsonl").open("rb") as stream:
        for batch in (*(find_batches(stream) or []), Lines.of(said)):
            for left in range(6):
                with descriptors(left):
                    outcome = workers.begin("s", batch, rules, NOW).exception()
                assert outcome is None or isinstance(outcome, DependencyAway), repr(outcome)
                refused.append(left if outcome else -1)
                assert len(workers.begin("s", batch, rules, NOW).result().frames) == 1000, "and then it goes on"
                assert len(children() - alive) == 1, "with one worker"
    assert 0 in refused
    assert -1 in refused
    del batch, outcome
    gc.collect()
    assert (len(os.listdir(OPEN)), children()) == (before, alive)


def test_whoever_waits_is_told_of_any_fault_of_whoever_lent_a_hand(
    contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread, as of a request over HTTP, may wait for what this one takes on: it must not wait for ever."""
    rng, rules = random.Random(1), rules_of(contracts, NOW)
    said = [json.dumps(record(rng, number)).encode() for number in range(1000)]
    with Workers(1) as workers:
        first, second = (workers.begin("s", Lines.of(said), rules, NOW) for _ in range(2))
        with monkeypatch.context() as patched:
            patched.setattr(processes, "answered", raising(MemoryError("no more")))
            workers.lend_a_hand(first)
        assert isinstance(second.exception(timeout=60), MemoryError)
        assert len(first.result().frames) == 1000


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fall(*said: object) -> NoReturn:
        raise error

    return fall
