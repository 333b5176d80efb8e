"""Nouns of scoring: the runs of a model over its golden and challenge sets, and what they measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["golden", "challenge"]
SCORED: tuple[Kind, ...] = ("golden", "challenge")
"""The sets that versions are scored on; each is the signal of its measurements."""
NOT_SCORED, ANSWER_CHANGED, INPUT_DIFFERS = "not_scored", "answer_changed", "input_differs"
SCORING_MEASURES: dict[str, tuple[str, str]] = {
    "map50_95": ("lower", "mean over classes of AP over overlaps 0.50 to 0.95"),
    "map50": ("lower", "mean over classes of AP at overlap 0.50"),
    "ap50_95": ("lower", "AP of a class over overlaps 0.50 to 0.95"),
    "ap50": ("lower", "AP of a class at overlap 0.50"),
    "precision": ("lower", "share of the detections at production's thresholds that are right"),
    "recall": ("lower", "share of the objects that are found at production's thresholds"),
    "f1": ("lower", "harmonic mean of precision and recall"),
    "calibration_error": ("higher", "how far confidence is from precision, mean over bins (D-ECE)"),
    NOT_SCORED: (
        "higher",
        "1 where the last run did not count: an error, or scored on something else than asked for",
    ),
    ANSWER_CHANGED: ("higher", "1 where the same images got another answer than in the run before"),
    INPUT_DIFFERS: ("higher", "how many of the inputs that production spoke of differ from scoring's"),
}
"""What a run measures, over all classes, by class and by slice as far as each is defined there: which way is worse,
and what it is. All are shares but the last, a count."""

NOT_SCORED_RULE, ACCURACY_RULE, ANSWER_RULE = "{}-not-scored", "{}-accuracy", "{}-answer-changed"
INPUT_RULE = "input-parity"
OWN_RULES = frozenset(
    {rule.format(kind) for kind in SCORED for rule in (NOT_SCORED_RULE, ACCURACY_RULE, ANSWER_RULE)} | {INPUT_RULE}
)
"""Rules of the product's own that a run judges by itself; no contract has them."""
_FIRST = {
    NOT_SCORED_RULE: "Mend what the sentence names, then `monitor golden run`; until then nothing says whether the"
    " model works.",
    ACCURACY_RULE: "See which cells fail (`monitor golden list` names the run, `monitor golden gate --run` its cells)"
    " and whether a release stands right before it.",
    ANSWER_RULE: "Look at what changed first: runtime, driver, decoder and preprocessing before the plant.",
    INPUT_RULE: "Bring [input] of the contract and the service's preprocessing together:"
    " `monitor.client.preprocess`.",
}
FIRST = {rule.format(kind): first for rule, first in _FIRST.items() for kind in SCORED}
"""What to do first when one of OWN_RULES fires."""


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
