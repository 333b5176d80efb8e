"""The harness has teeth: each broken build is caught within 50 kills."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.children import ROOT, nursery
from chaos.conftest import Account
from chaos.mutants import MUTANTS, build
from chaos.plant import Plant
from chaos.site import Site

from monitor.settings import Settings

KILLS = 50
AT_A_TIME = 10
"""How many kills are looked at together."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(
    name: str, settings: Settings, rng: random.Random, tmp_path: Path, account: Callable[[str], Account]
) -> None:
    assert settings.database_url is not None
    opened = account(f"mutant {name}, caught after kills")
    with nursery(tmp_path / "nursery", build(name, ROOT, tmp_path / "mutant")) as warm:
        site = Site(warm, settings.database_url, Plant(tmp_path / "spool", rng), rng)
        kills = 0
        while kills < KILLS:
            kills += AT_A_TIME
            half = AT_A_TIME // 2
            assert site.killed_at_points(half) + site.killed_at_random(half) == AT_A_TIME
            verdict = site.judge()
            if not verdict.clean:
                break
    opened.closed(f"{kills} of {KILLS}", verdict)
    assert not verdict.clean


def test_a_patch_for_code_that_has_changed_fails_loudly(tmp_path: Path) -> None:
    root = tmp_path / "root"
    build("no_dedupe", ROOT, root)
    with pytest.raises(AssertionError, match="needs a new patch"):
        build("no_dedupe", root, tmp_path / "again")
