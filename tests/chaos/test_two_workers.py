"""Two intakes on one spool at once, in peace and killed: they share the work and do none of it twice."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from chaos.children import Nursery
from chaos.conftest import Account
from chaos.plant import Plant
from chaos.site import Site

from monitor.settings import Settings


def test_two_workers_drain_one_spool(
    warm: Nursery, settings: Settings, rng: random.Random, tmp_path: Path,
    count: Callable[[int, int], int], account: Callable[[str], Account],
) -> None:  # fmt: skip
    assert settings.database_url is not None
    rounds, opened = count(4, 50), account("two workers at once, one killed in half of the rounds")
    site = Site(warm, settings.database_url, Plant(tmp_path / "spool", rng, ordered=False), rng)
    for _ in range(rounds):
        site.plant.drop(4)
        one, other = site.start(deed="drain_whatever_comes"), site.start(deed="drain_whatever_comes")
        if rng.random() < 0.5 and not one.ended(rng.uniform(0, 0.3)):
            one.kill()
        assert one.wait() in (0, -9), one.said
        assert other.wait() == 0, other.said
    verdict = site.judge()
    opened.closed(rounds, verdict)
    assert verdict.clean, verdict
