"""The contract's [golden]: which sets a version is scored on each night, by which file, and under which limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from monitor.spec.sections import HOUR, Duration, Label, Name, Section, Sha256, Share, TimeOfDay


class GoldenSpec(Section):
    """[golden]: the sets that every version is scored on each night, and the file of the version in use.

    Paths are relative to the contract's own folder.
    """

    manifest: Label = ""
    """The golden set's manifest; empty: none yet."""
    images: Label = ""
    """Folder of its images; empty: the manifest's own."""
    challenge_manifest: Label = ""
    challenge_images: Label = ""
    model: Label = ""
    """The ONNX file of the version in use."""
    model_sha256: Sha256 = ""
    """Of that file: what has another hash is not loaded."""
    version: Label = ""
    """The version's name, as it stands in records."""
    convention: Label = ""
    """How its outputs are to be read, such as yolov8, rtdetr-deploy or efficient-nms."""
    inputs: dict[Name, Name] = Field(default_factory=dict)
    """The model's own names of its inputs by role: `image`, and `sizes` where it asks for the originals'."""
    outputs: dict[Name, Name] = Field(default_factory=dict)
    """The model's own names of its outputs by the convention's roles."""
    provider: Literal["cuda", "cpu"] = "cuda"
    """What it is scored on."""
    allow_cpu: bool = False
    """cuda without a GPU: score on the CPU and call the run degraded (true), or report an error (false)."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 16
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Of the CPU, for the model; 0: the runtime's choice."""
    memory_limit_mib: Annotated[int, Field(ge=64, le=16_777_216)] = 8192
    time_limit: Duration = 2 * HOUR
    at: TimeOfDay = "02:00"
    """UTC."""
    score_floor: Share = 0.01
    min_decoded: Share = 0.99
    """Share of the images that must decode for a run to count."""
