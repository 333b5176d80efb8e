"""The README says what the code does: its commands parse, its map is the tree, its tables are the data."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from monitor.cli.main import parser
from monitor.signals import SIGNALS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def quoted_commands() -> list[str]:
    """Every `monitor ...` line of the README's shell blocks, comments and line continuations resolved."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", README, flags=re.S)
    lines = re.sub(r'"\$\(date [^)]*\)"', "2026-01-05", "\n".join(blocks).replace("\\\n", " ")).splitlines()
    return [
        line.strip().removeprefix("$ ") for line in lines if line.strip().removeprefix("$ ").startswith("monitor ")
    ]


def test_the_readme_quotes_commands() -> None:
    assert len(quoted_commands()) >= 10


@pytest.mark.parametrize("command", quoted_commands())
def test_every_quoted_command_parses(command: str) -> None:
    words = shlex.split(command.split(" > ")[0], comments=True)[1:]
    if "--help" in words or "--version" in words:
        words = [word for word in words if word != "--help"]
        with pytest.raises(SystemExit) as stop:
            parser().parse_args([*words, "--help"])
        assert stop.value.code == 0
        return
    assert callable(parser().parse_args(words).run)


def test_every_room_stands_on_the_map() -> None:
    rooms = {path.name for path in (ROOT / "monitor").iterdir() if (path / "__init__.py").exists()}
    rooms |= {path.name for path in (ROOT / "monitor").glob("*.py") if not path.name.startswith("__")}
    missing = {room for room in rooms if not re.search(rf"^\s*{re.escape(room)}/?\s", README, flags=re.M)}
    assert not missing


def test_every_signal_is_in_the_table() -> None:
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", README, flags=re.M))
    assert set(SIGNALS) | {"class_share"} <= listed


def test_make_targets_are_the_ones_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


PRIVATE = re.compile(r"/work/|/root/|opt/pypi|\bhelper-\d|localhost:\d+/simple")


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in sorted(ROOT.rglob("*"))
        if p.suffix in {".py", ".md", ".toml", ".html", ".css", ".yml", ""}
        and p.is_file()
        and not any(part.startswith(".") and part != ".ci" for part in p.relative_to(ROOT).parts)
        and p.relative_to(ROOT).parts[0] not in {"state", "dist"}
    ],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_path_of_a_private_machine(path: Path) -> None:
    if path == Path(__file__):
        return
    assert not PRIVATE.search(path.read_text(encoding="utf-8"))


def test_every_changelog_entry_names_a_row() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## ", text, flags=re.M)
    assert re.search(r"\b[A-K]\d\b", text)
