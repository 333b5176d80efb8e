"""Kill -9 of an intake and all that it started: nothing is lost or doubled, and the roll-ups equal a recount."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from chaos.conftest import Account
from chaos.site import Site

Count = Callable[[int, int], int]
Open = Callable[[str], Account]


def test_a_plant_in_peace_is_counted_right(site: Site) -> None:
    site.plant.drop(20)
    verdict = site.judge()
    assert verdict.clean, verdict


@pytest.mark.parametrize("when", ["at named points", "at random moments"])
def test_killed_again_and_again(site: Site, when: str, count: Count, account: Open) -> None:
    kills, open_account = count(16, 200), account(f"kill -9 of the intake {when}")
    done = site.killed_at_points(kills) if when == "at named points" else site.killed_at_random(kills)
    verdict = site.judge()
    open_account.closed(done, verdict)
    assert done == kills
    assert verdict.clean, verdict


def test_killed_while_workers_read_lines(site: Site, count: Count, account: Open) -> None:
    kills, opened, lines = count(1, 8), account("kill -9 with workers that read lines"), 1_200
    site.plant.longest = 3_000
    done = 0
    while done < kills:
        site.plant.drop()
        child = site.start(batch_lines=lines)
        done += not child.ended(site.rng.uniform(0, 1.5)) and child.kill()
    # With batches of the same size: of another they are other batches, whose lines are all duplicates.
    child = site.start(batch_lines=lines)
    assert child.wait() == 0, child.said
    verdict = site.judge()
    opened.closed(done, verdict)
    assert verdict.clean, verdict
