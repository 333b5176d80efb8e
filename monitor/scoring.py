"""Nouns of scoring: the runs of a model over its golden and challenge sets, and what they measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["golden", "challenge"]
SCORED: tuple[Kind, ...] = ("golden", "challenge")
"""The sets that versions are scored on; each is the signal of its measurements."""
ACCURACY = ("map50_95", "map50", "ap50_95", "ap50", "precision", "recall", "f1", "calibration_error")
"""What a run measures, over all classes, by class and by slice, as far as each is defined there."""
NOT_SCORED, ANSWER_CHANGED, INPUT_DIFFERS = "not_scored", "answer_changed", "input_differs"
"""Whether a run did not count; whether the same images got another answer; how many inputs production made anew."""
SCORING_MEASURES = (*ACCURACY, NOT_SCORED, ANSWER_CHANGED, INPUT_DIFFERS)


@dataclass(frozen=True, slots=True)
class ScoringRun:
    """One run as it is kept. `due_at` is the night that it was due; None: somebody asked for it.

    `sameness` says whether the answer is that of the version's run before it (same, rounding, other; "": none), and
    `changed` which fields of the environment were different then.
    """

    model: str
    version: str
    kind: Kind
    contract_hash: str
    started_at: datetime
    due_at: datetime | None = None
    finished_at: datetime | None = None
    status: str = "running"
    reason: str = ""
    verdict: str = ""
    digest: str = ""
    deterministic: bool = True
    sameness: str = ""
    changed: tuple[str, ...] = ()
    set_name: str = ""
    set_version: str = ""
    manifest_sha256: str = ""
    images: int = 0
    decoded: int = 0
    seconds: float = 0.0
    run_seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    id: int = 0
    """Given by the store."""
