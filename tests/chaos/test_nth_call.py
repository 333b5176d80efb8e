"""Every call that can fail fails once: the intake says so in a sentence, and the next one finishes the work."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from chaos.conftest import Account
from chaos.deeds import GAVE_UP
from chaos.site import Site
from chaos.wounds import MARK

DISK = ("os:open", "io:open", "os:replace", "os:mkdir", "os:scandir", "os:lstat", "os:fstat")
LINK = ("Cursor.execute", "Cursor.copy", "Copy.write", "Connection.commit", "Connection.rollback")
CALLS = (
    *((where, side, "OSError") for where in DISK for side in ("before", "after")),
    *((f"psycopg:{where}", side, "OperationalError") for where in LINK for side in ("before", "after")),
)
FIRST = range(1, 4)
"""Of these calls the small count takes one each; the full one takes all there are."""


def places(said: str) -> list[str]:
    """Where a traceback went through the product, the innermost first."""
    return re.findall(r"monitor/(\S+\.py\", line \d+)", said)[::-1]


def test_each_call_fails_once(
    site: Site, rng: random.Random, count: Callable[[int, int], int], account: Callable[[str], Account]
) -> None:
    opened, failed, rude = account("n-th call of the disk or the link fails"), 0, []
    for where, side, act in CALLS:
        for nth in sorted(rng.sample(FIRST, count(1, 0))) or range(1, 10_000):
            site.plant.drop()
            child = site.start({"where": where, "nth": nth, "side": side, "act": act})
            if child.wait() not in (0, GAVE_UP):
                rude.append(f"{where} {side} {nth}: {' < '.join(places(child.said)[:6])}")
            if MARK not in child.said:
                break
            failed += 1
            site.drain()
    verdict = site.judge()
    opened.closed(failed, verdict)
    assert failed >= len(CALLS) // 4
    assert verdict.clean, verdict
    assert not rude, "\n".join([f"{len(rude)} ended without a sentence", *rude[:20]])
