"""A plant that writes logs: seeded, small files of everything, and of each line its fate is known beforehand."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from recounting import NOW as MIDNIGHT
from recounting import record as anything

NOW = MIDNIGHT + timedelta(minutes=40)
BATCH_LINES = 4
"""Lines of a batch, so that small files have several."""
SOURCES = ("spool", "line-7")
CONTRACT = """
[model]
name = "line"
stages = ["screen", "check"]
[cameras]
list = [{ name = "a" }, { name = "b" }, { name = "ü" }]
[[classes]]
name = "carton"
[[classes]]
name = "pouch"
[[conditions]]
name = "lighting"
[[conditions]]
name = "shift"
values = ["early", "late"]
"""
GHOST = {"class": "ghost", "confidence": 0.5, "box": [1, 1, 9, 9]}
"""A detection of a class that the contract does not know: set aside, its frame kept."""

RICH = ("slices", "camera_meta", "image")


@dataclass(frozen=True, slots=True)
class Line:
    """One line and what has to become of it. `record` is what it says, None where it says nothing."""

    raw: bytes
    outcome: str
    reason: str = ""
    record: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file that was dropped; `again`: its source had dropped the very same lines before."""

    source: str
    name: str
    lines: tuple[Line, ...]
    again: bool = False

    @property
    def content(self) -> bytes:
        return b"".join(line.raw + b"\n" for line in self.lines)

    @property
    def good(self) -> bool:
        """Whether something could be taken from it."""
        return any(line.outcome in ("stored", "duplicate") for line in self.lines)


@dataclass(slots=True)
class Plant:
    """Drops files into the spool `folder`. `ordered`: they will be taken in in the order in which they are dropped.

    Where they are not, only what comes to the same in any order is dropped. A file has at most `longest` lines, of
    frames that were captured in the day before `now`.
    """

    folder: Path
    rng: random.Random
    ordered: bool = True
    longest: int = 9
    now: datetime = NOW
    files: list[File] = field(default_factory=list)
    _numbers: int = 0
    _said: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {source: [] for source in SOURCES})

    def drop(self, count: int = 1) -> None:
        """Write files as a producer does: whole, under a temporary name, then renamed."""
        for _ in range(count):
            file = self._next()
            path = self.folder / "incoming" / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".tmp").write_bytes(file.content)
            path.with_suffix(".tmp").rename(path)
            self.files.append(file)

    def waiting(self) -> int:
        """How many files have not been put away."""
        return len(list((self.folder / "incoming").rglob("*.jsonl")))

    def batches(self) -> int:
        """How many batches the files make that were not dropped before."""
        return sum(-(-len(file.lines) // BATCH_LINES) for file in self.files if not file.again)

    def _next(self) -> File:
        source = self.rng.choice(SOURCES)
        name = f"{len(self.files):05}.jsonl"
        if source != "spool":
            name = f"{source}/{name}"
        before = [file for file in self.files if file.source == source and not file.again]
        if self.ordered and before and self.rng.random() < 0.08:
            return File(source, name, self.rng.choice(before).lines, again=True)
        if self.rng.random() < 0.08:
            return File(source, name, tuple(self._bad() for _ in range(self.rng.randint(1, 8))))
        old = list(self._said[source])
        self.rng.shuffle(old)
        return File(source, name, tuple(self._line(source, old) for _ in range(self.rng.randint(1, self.longest))))

    def _line(self, source: str, old: list[dict[str, Any]]) -> Line:
        """A line; each record of `old` is told at most once more in one file."""
        kind = self.rng.random()
        if kind < 0.06:
            return self._bad()
        if kind < 0.18 and old:
            said = old.pop()
            if self.ordered and kind < 0.10:
                return Line(spelt(said | {"width": said["width"] + 1}, self.rng), "rejected", "conflict")
            return Line(spelt(said, self.rng), "duplicate")
        said = self._record()
        self._said[source].append(said)
        return Line(spelt(said, self.rng), "stored", record=said)

    def _bad(self) -> Line:
        """A line like no other: files that are the same by accident would be taken for repeats."""
        kind = self.rng.randrange(4)
        self._numbers += 1
        if kind == 0:
            return Line(f"{self._numbers:b}".replace("0", " ").replace("1", "\t").encode(), "blank")
        if kind == 1:
            return Line(f'{{"event_id": "{self._numbers}'.encode(), "rejected", "not_json")
        wrong = self._record() | ({"model": "press"} if kind == 2 else {"camera": "z"})
        return Line(spelt(wrong, self.rng), "rejected", "unknown_model" if kind == 2 else "unknown_camera")

    def _record(self) -> dict[str, Any]:
        self._numbers += 1
        said = anything(self.rng, self._numbers)
        # Most say little, or the roll-ups of each would be most of the work.
        said = said if self.rng.random() < 0.3 else {name: said[name] for name in said if name not in RICH}
        # Some of the running hour, which is not merged yet, the rest of two days.
        at = self.now - timedelta(seconds=self.rng.choice([self.rng.randint(0, 2_000), self.rng.randint(0, 90_000)]))
        said["captured_at"] = at.isoformat()
        if "image" in said:
            said["image"]["histogram"] = shares(self.rng)
        if self.ordered and self.rng.random() < 0.1:
            said["detections"] += [GHOST] * self.rng.randint(1, 2)
        return said


def spelt(said: dict[str, Any], rng: random.Random) -> bytes:
    """The record as JSON in one of many spellings."""
    names = list(said)
    rng.shuffle(names)
    return json.dumps({name: said[name] for name in names}, ensure_ascii=rng.random() < 0.5).encode()


def shares(rng: random.Random) -> list[int]:
    """A brightness histogram of 32 bins that sums to 1000, so that weighing leaves it as it is."""
    cuts = sorted(rng.randint(0, 1000) for _ in range(31))
    return [high - low for low, high in zip([0, *cuts], [*cuts, 1000], strict=True)]
