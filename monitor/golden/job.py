"""What the process that scores is told, and what it leaves behind: files in one folder, written and read as here."""

from __future__ import annotations

from typing import Literal

import msgspec

JOB, OUTCOME = "job.json", "outcome.json"
DETECTIONS, EVALUATION, RULING, INPUTS = "detections.json", "evaluation.json", "ruling.json", "inputs.json"
"""Detections as COCO results; every number; cells and comparisons; hashes of every image and of its input."""
ARTIFACTS = (DETECTIONS, EVALUATION, RULING, INPUTS)

Status = Literal["done", "degraded", "error"]


class Job(msgspec.Struct, forbid_unknown_fields=True):
    """One scoring: the contract's text, the files, and by name earlier detections on the same set to compare with.

    `judged`: by the contract's criteria, which are about the golden set and no other.
    """

    contract: str
    manifest: str
    images: str
    model: str
    model_sha256: str
    judged: bool = True
    before: dict[str, str] = {}
    times: int = 1000
    """Sets drawn anew for intervals."""


class Outcome(msgspec.Struct, forbid_unknown_fields=True):
    """How it ended. Only `done` counts; `degraded` was scored on something other than asked for, and never passes.

    `environment` is all that the answer may hang on. `seconds` are those of decoding and running together,
    `run_seconds` those inside the model.
    """

    status: Status
    reason: str = ""
    verdict: str = ""
    digest: str = ""
    deterministic: bool = True
    environment: dict[str, str] = {}
    set_name: str = ""
    set_version: str = ""
    manifest_sha256: str = ""
    images: int = 0
    decoded: int = 0
    seconds: float = 0.0
    run_seconds: float = 0.0
    sameness: str = ""
    """Whether the answer is that of the last run: same, rounding or other; "": there was none."""
    apart: str = ""
    """How far from it, in words."""
