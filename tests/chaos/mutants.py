"""Broken builds: copies of the product with one promise taken out. A harness that passes one is worth nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Patch:
    """Where `old`, which has to stand in `file` exactly once, is replaced by `new`."""

    file: str
    old: str
    new: str


MUTANTS: dict[str, tuple[Patch, ...]] = {
    # A file is put away before its lines are stored.
    "acknowledge_first": (
        Patch(
            "ingest/stage.py",
            "    return load(database, spool.waiting(), contracts, now, progress, put_away, workers)",
            "    moved = [Waiting(path, f.source, f.name) for f in spool.waiting() if (path := spool.done(f, now))]\n"
            "    return load(database, moved, contracts, now, progress)",
        ),
    ),
    # The frames are committed before their roll-ups.
    "two_transactions": (
        Patch(
            "store/frames.py",
            "rows.order[~gone[rows.order]], placed)\n    return placed",
            "rows.order[~gone[rows.order]], placed)\n    conn.connection.commit()\n    return placed",
        ),
    ),
    # What was there already counts once more.
    "rollup_from_all_rows": (
        Patch(
            "ingest/batch.py",
            "            if len(new) < len(prepared.frames):",
            "            if False:",
        ),
    ),
    # Nobody looks whether a frame's key was claimed.
    "no_dedupe": (
        Patch(
            "store/frames.py",
            "new = chosen if _claim_all(conn, rows, chosen) else _claim_each(",
            "new = chosen if True else _claim_each(",
        ),
    ),
}
"""By name, what is wrong with it."""


def build(name: str, root: Path, folder: Path) -> Path:
    """A copy of the product at `root` with the mutant's patches, below `folder`.

    Raises:
        AssertionError: the code that a patch is for has changed; write the patch anew.
    """
    for part in ("monitor", "migrations", "alembic"):
        shutil.copytree(root / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for patch in MUTANTS[name]:
        path = folder / "monitor" / patch.file
        said = path.read_text(encoding="utf-8")
        assert said.count(patch.old) == 1, f"{patch.file} does not hold {patch.old!r} once: {name} needs a new patch"
        path.write_text(said.replace(patch.old, patch.new), encoding="utf-8")
    return folder
