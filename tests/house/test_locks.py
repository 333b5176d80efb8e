"""The locked dependencies are those that the product asks for, each with its hashes, from no place in particular."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {"requirements.lock": ("embedded", "cpu"), "requirements-dev.lock": ("dev",)}
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)(?: *;[^\\]*)? \\$")


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject asks for with these extras; an extra that names others of ours stands for those."""
    found = [Requirement(one) for one in PROJECT["dependencies"]]
    for extra in extras:
        for one in map(Requirement, PROJECT["optional-dependencies"][extra]):
            found += wanted(tuple(one.extras)) if one.name == PROJECT["name"] else [one]
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_asked_for_is_locked(lock: str) -> None:
    pinned: dict[str, set[Version]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if found := PIN.match(line):
            pinned.setdefault(plain(found[1]), set()).add(Version(found[2]))
    for one in wanted(LOCKS[lock]):
        assert pinned.get(plain(one.name)), f"{one} is not in {lock}: run `make lock`"
        assert all(one.specifier.contains(each) for each in pinned[plain(one.name)]), f"{one}: run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_locked_has_its_hashes_and_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(entries) > 20
    for entry in entries:
        assert PIN.match(entry.splitlines()[0]), entry.splitlines()[0]
        assert "--hash=sha256:" in entry
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host", text)
