"""A server that cannot be relied on: cut connections and lost answers; what was sent is stored once and rolled up."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from chaos.conftest import Account
from chaos.proxy import Faults, between
from chaos.site import Site


def test_connections_are_cut_and_answers_to_commit_are_swallowed(
    site: Site, rng: random.Random, count: Callable[[int, int], int], account: Callable[[str], Account]
) -> None:
    wanted, opened = count(30, 300), account("batches through a proxy that cuts and swallows")
    faults = Faults(rng)
    while site.plant.batches() < wanted:
        site.plant.drop()
    # Short, for the address of a Unix socket has room for some hundred letters.
    with tempfile.TemporaryDirectory() as folder, between(site.url, Path(folder), faults) as through:
        child = site.start(deed="drain_whatever_comes", url=through)
        assert child.wait() == 0, child.said
    verdict = site.judge()
    opened.closed(site.plant.batches(), verdict)
    assert verdict.clean, verdict
    assert min(faults.done[fault] for fault in ("swallowed", "cut before COMMIT", "cut")) >= wanted // 30, faults.done
