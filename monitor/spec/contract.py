"""The contract of one model, as it stands in its TOML file: what is promised, watched and demanded.

Sections that only later work acts on are checked like all others, so that a contract can be written whole. Checks
within one value stand here; what needs more than one value stands in `monitor.spec.check`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from monitor.spec.golden import GoldenSpec
from monitor.spec.rules import COUNTED, READY, WATCHED, AlertRule, AnySignal, ReadyRule, WatchedSignal, with_defaults
from monitor.spec.sections import (
    DAY,
    HOUR,
    Days,
    Duration,
    Label,
    Many,
    Name,
    Positive,
    Section,
    Settle,
    Share,
    Text,
    Tumbling,
    Whole,
    one_of,
)
from monitor.watch import ALL_LANES, Path

Policy = Literal["declared", "open"]
ReadyName = Annotated[str, AfterValidator(one_of(READY)), Field(json_schema_extra={"enum": [*READY]})]
LaneName = Annotated[str, AfterValidator(one_of(ALL_LANES)), Field(json_schema_extra={"enum": [*ALL_LANES]})]


class ModelSpec(Section):
    """[model]: who is watched."""

    name: Name
    """As it stands in the records."""
    task: Literal["detection", "inspection"] = "detection"
    owner: Label = ""
    """Who answers for the model."""
    description: Text = ""
    stages: Many[Name] = ()
    """Stages of a pipeline that records may name, in order (screening, verification); empty: one stage."""


class ClassSpec(Section):
    """[[classes]]: one class, what belongs to it and what does not."""

    name: Name
    include: Text = ""
    """What is to be found."""
    exclude: Text = ""
    """What looks alike and is not to be found."""
    threshold: Share = 0.5
    """Confidence from which production acts on a detection."""
    miss_cost: Positive = 1.0
    """What a miss costs, in the unit of `false_alarm_cost`; the choice of a threshold weighs the two."""
    false_alarm_cost: Positive = 1.0


class Camera(Section):
    """[[cameras.list]]: one camera and where it hangs."""

    name: Name
    site: Label = ""
    line: Label = ""
    group: Label = ""
    """Cameras that are expected to change together."""


class CameraSpec(Section):
    """[cameras]: whose frames are taken in."""

    policy: Policy = "declared"
    """declared: frames of other cameras are rejected; open: they are taken in."""
    list: Many[Camera] = ()

    def path_of(self, name: str) -> Path:
        """Where a camera hangs: site, group (or else line), camera; a level that no camera names is left out."""
        camera = next((camera for camera in self.list if camera.name == name), Camera(name=name))
        levels = [(c.site, c.group or c.line) for c in (*self.list, camera)]
        used = [any(names) for names in zip(*levels, strict=True)]
        own = zip((camera.site, camera.group or camera.line), used, strict=True)
        return (*(level for level, is_used in own if is_used), name)


class Condition(Section):
    """[[conditions]]: an operating condition; its values are the slices that numbers are also kept for."""

    name: Name
    values: Many[Name] = ()
    """Empty: any value. Otherwise another value counts as `__other__`."""
    description: Text = ""
    of: Literal["frame", "object"] = "frame"
    """frame: records name it under `slices`. object: truth and detections have it (size, occlusion)."""
    box_area_bounds: Many[Annotated[float, Field(gt=0, lt=1)]] = ()
    """of = "object": the values are bands of the box's share of the frame, parted at these bounds, ascending."""


class InputSpec(Section):
    """[input]: how a frame becomes the model's input."""

    width: Annotated[int, Field(ge=1, le=65_535)] | None = None
    height: Annotated[int, Field(ge=1, le=65_535)] | None = None
    fit: Literal["letterbox", "stretch", "crop", "none"] = "letterbox"
    pad_value: Annotated[int, Field(ge=0, le=255)] = 114
    pad_place: Literal["centre", "corner"] = "centre"
    resize: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] = "bilinear"
    antialias: bool = False
    decoder: Literal["pillow", "opencv"] = "pillow"
    exif: Literal["apply", "ignore"] = "apply"
    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    divide_by: Positive = 255.0
    """First the pixels are divided by this, then `mean` is taken off, then they are divided by `std`."""
    mean: Many[float] = ()
    """One a channel, in the order of `colour`; empty: nothing is taken off."""
    std: Many[Positive] = ()
    """One a channel; empty: no division."""
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Literal["float32", "float16", "uint8"] = "float32"


class OutputSpec(Section):
    """[output]: what a detection in a record looks like, and how the model's raw output becomes one."""

    box_format: Literal["xyxy"] = "xyxy"
    """x1, y1, x2, y2 in pixels of the original image: the form of a record's boxes."""
    clip_boxes: bool = False
    """A box that leaves the image: cut to it (true) or set aside (false)."""
    box_tolerance_px: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """A box may leave the image by this much without being set aside."""
    nms: Literal["class", "all", "soft", "none"] = "class"
    """Suppression within a class, across all classes, by fading scores within a class, or none (inside the model, or
    a model without need of it)."""
    iou: Share = 0.5
    """Overlap above which the less confident box is suppressed."""
    soft_sigma: Positive = 0.5
    """nms = "soft": a score fades by exp(-overlap² / soft_sigma) for each better box of its class."""
    score_floor: Share = 0.0
    """Lowest confidence that is logged."""
    max_detections: Annotated[int, Field(ge=1, le=2000)] = 300


class ConstraintSpec(Section):
    """[constraints]: what the surroundings demand."""

    latency_p95_ms: Positive | None = None
    hardware: Label = ""


class FailureMode(Section):
    """[[failure_modes]]: a way in which the model is known to fail."""

    name: Name
    description: Text = ""
    watched_by: Many[AnySignal] = ()
    """The signals that would show it."""
    mitigation: Text = ""


class DriftSpec(Section):
    """[drift]: what is compared with the baseline, and in which windows."""

    window: Tumbling = DAY
    settle: Settle = HOUR
    """How long after its end a window waits for late records."""
    min_n: Whole = 30
    """Fewer frames with a value than this are "not enough data"."""
    groups: Annotated[int, Field(ge=2, le=50)] = 10
    """Groups of equal mass that the baseline is cut into."""
    signals: Many[WatchedSignal] = WATCHED
    false_alarms_per_camera_month: Positive = 0.08
    """The budget of false alarms over everything that is watched on a camera; the limits of the lanes follow it."""
    false_alarms_per_group_month: Positive = 0.08
    """The same for what a group of cameras does together."""
    floors: dict[LaneName, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """The smallest change of a lane that is worth telling, in the lane's unit, where it is not the product's own."""


class RetentionSpec(Section):
    """[retention]: how long things are kept; records older than `raw_days` are not taken in."""

    raw_days: Days = 365
    rollup_days: Days = 1095
    review_days: Days = 1095


class ReviewMix(Section):
    """[review.mix]: what the daily budget is spent on; shares that sum to 1."""

    random: Share = 0.15
    uncertain: Share = 0.45
    disagreement: Share = 0.20
    novel: Share = 0.20


class ReviewSpec(Section):
    """[review]: how many frames people look at, and how soon."""

    daily_budget: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    sla: Duration = 2 * DAY
    """From the pick to the verdict."""
    mix: ReviewMix = ReviewMix()
    reviewed_twice: Share = 0.1
    """Share that two people look at, to measure how far they agree."""
    min_agreement: Share = 0.85


class AcceptanceCriterion(Section):
    """[[acceptance]]: a bound that a version must hold on the golden set, judged by its interval's near end."""

    name: Name
    measure: Literal[
        "precision", "recall", "f1", "ap50", "ap50_95", "map50", "map50_95", "calibration_error", "latency_p95_ms"
    ]
    class_name: Label = Field(default="", alias="class")
    """Empty: all classes."""
    slice: Annotated[dict[Name, Name], Field(default_factory=dict, max_length=4)]
    """Condition (or `camera`) and value, such as { lighting = "evening" }; empty: the whole set."""
    at_least: float | None = None
    at_most: float | None = None
    """One of the two."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """One-sided confidence of the bound."""
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Overlap from which a detection is a hit (precision, recall, f1)."""


class ShadowSpec(Section):
    """[shadow]: when a version that runs beside production may take over."""

    min_days: Annotated[int, Field(ge=14, le=3650)] = 28
    """At least two weeks; four are the custom, eight where safety hangs on it."""
    min_frames: Whole = 1000
    min_findings: Whole = 30
    """Findings by humans that recall is judged on."""
    recall_at_least: Share | None = None
    false_positives_per_100_frames_at_most: Annotated[float, Field(ge=0)] | None = None
    signed_off_by: Label = ""


class ReleaseSpec(Section):
    """[release]: how versions are named and kept, and what brings the last one back."""

    version_pattern: Label = "{project}-{defect}-v{major}.{minor}"
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """Versions that stay ready to be rolled back to."""
    map_drop_at_most: Share = 0.01
    """A new version may lose this much of mAP@0.5:0.95 against the active one, paired."""
    canary_share: Share = 0.1
    canary: Duration = DAY
    rollback_error_rate: Share = 0.01
    rollback_latency_ratio: Positive = 2.0
    rollback_override_rate: Share = 0.15


def _not_empty(classes: tuple[ClassSpec, ...]) -> tuple[ClassSpec, ...]:
    # As a limit of length it would count faulty entries as absent and be one fault too many.
    if not classes:
        raise ValueError("at least one entry")
    return classes


class Contract(Section):
    """The whole file."""

    class_policy: Policy = "declared"
    """A class that is not listed: the detection is set aside and its frame kept (declared), or taken in (open)."""
    model: ModelSpec
    classes: Annotated[Many[ClassSpec], AfterValidator(_not_empty), Field(json_schema_extra={"minItems": 1})]
    cameras: CameraSpec = CameraSpec()
    conditions: Many[Condition] = ()
    input: InputSpec = InputSpec()
    output: OutputSpec = OutputSpec()
    constraints: ConstraintSpec = ConstraintSpec()
    failure_modes: Many[FailureMode] = ()
    drift: DriftSpec = DriftSpec()
    alerts: Many[AlertRule] = ()
    ready: Annotated[dict[ReadyName, ReadyRule], BeforeValidator(with_defaults)] = Field(
        default_factory=lambda: READY, json_schema_extra={"default": {}}
    )
    """The rules that come with the product, by name: switched off, or with other numbers."""
    retention: RetentionSpec = RetentionSpec()
    review: ReviewSpec = ReviewSpec()
    acceptance: Many[AcceptanceCriterion] = ()
    golden: GoldenSpec = GoldenSpec()
    shadow: ShadowSpec = ShadowSpec()
    release: ReleaseSpec = ReleaseSpec()

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        """Every rule that is judged: those of [[alerts]], and the ready ones that are on and whose signal is
        measured."""
        measured = (*self.drift.signals, *COUNTED)
        return (*self.alerts, *(rule for rule in self.ready.values() if rule.on and rule.signal in measured))
