"""Nouns that travel between the rooms: `FrameRecord` is one line of a log (version 1; `monitor spec record-schema`
prints its JSON Schema), `FrameColumns` many as columns. The rest is what rooms read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.imaging.stats import HISTOGRAM_BINS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ALL = ""
"""The value of a key's class or slice that stands for all of them."""
OTHER = "__other__"
"""Where the values are kept that a condition does not declare; names that begin with `__` are the product's own."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""From which windows are counted, and microseconds."""
PIXEL_WEIGHT = 1000
"""What the brightness histogram of every frame sums to, whatever its resolution."""
DIGEST_BYTES = 16
QUIET = timedelta(days=7)
"""A version without a frame for this long is out of use: its silence is no longer measured."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Value = Annotated[str, msgspec.Meta(max_length=128)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]


class DetectionRecord(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One detection: class, confidence 0 to 1, box as x1, y1, x2, y2 in pixels of the original image."""

    class_name: Name = msgspec.field(name="class")
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)]
    box: tuple[float, float, float, float]


class ImageStatsRecord(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What `monitor.client.image_stats` read off the frame; `recipe` names how, and recipes are never compared."""

    recipe: Name
    brightness: Annotated[float, msgspec.Meta(ge=0, le=255)]
    contrast: Annotated[float, msgspec.Meta(ge=0, le=128)]
    sharpness: float
    red_balance: float
    blue_balance: float
    histogram: Annotated[list[Count], msgspec.Meta(min_length=HISTOGRAM_BINS, max_length=HISTOGRAM_BINS)]


class FrameRecord(msgspec.Struct, forbid_unknown_fields=True):
    """One frame that went through the model: one line of a log.

    `captured_at` carries its offset from UTC. `status` is `ok` or the kind of error. `slices` names the operating
    conditions that the contract declares (lighting = low, ...). `camera_meta` is what the camera says of itself:
    `exposure_ms` and `gain_db` are watched, the rest is kept.
    """

    event_id: Name
    captured_at: Annotated[datetime, msgspec.Meta(tz=True)]
    model: Name
    version: Name
    camera: Name
    width: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    height: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    schema_version: Literal[1] = 1
    status: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,31}$")] = "ok"
    latency_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    queue_depth: Count | None = None
    stage: Value = ""
    shadow: bool = False
    site: Value = ""
    line: Value = ""
    image_uri: Annotated[str, msgspec.Meta(max_length=2048)] = ""
    image: ImageStatsRecord | None = None
    slices: Annotated[dict[Name, Value], msgspec.Meta(max_length=32)] = {}
    camera_meta: Annotated[dict[Name, float | Value], msgspec.Meta(max_length=32)] = {}
    detections: Annotated[list[DetectionRecord], msgspec.Meta(max_length=100_000)] = []
    embedding: Annotated[list[float], msgspec.Meta(max_length=4096)] | None = None


@dataclass(slots=True)
class FrameColumns:
    """n frames with d detections as columns; a float column holds NaN where the record is silent.

    `slices` holds what was said for the declared conditions. `brightness_histogram` is [n, 32] with every row
    summing to `PIXEL_WEIGHT` (0 where the record has no image statistics). `det_frame` [d] is the row of each
    detection's frame, ascending.
    """

    event_id: list[str]
    captured_us: Ints
    """Microseconds since 1970-01-01 UTC."""
    model: list[str]
    version: list[str]
    stage: list[str]
    camera: list[str]
    site: list[str]
    line: list[str]
    shadow: npt.NDArray[np.bool_]
    status: list[str]
    image_uri: list[str]
    recipe: list[str]
    slices: list[dict[str, str]]
    camera_meta: list[dict[str, float | str]]
    embedding: list[list[float] | None]
    width: Ints
    height: Ints
    latency_ms: Floats
    queue_depth: Floats
    brightness: Floats
    contrast: Floats
    sharpness: Floats
    red_balance: Floats
    blue_balance: Floats
    brightness_histogram: Ints
    boxes_rejected: Ints
    left_out: Ints
    """Detections that count and are not among those below; none of a frame that was just read off a log."""
    camera_said: list[str]
    """The camera's own name where `camera` is another, empty elsewhere."""
    det_frame: Ints
    det_class: list[str]
    det_confidence: Floats
    det_box: npt.NDArray[np.float32]
    digest: list[bytes] = field(default_factory=list)
    """16 bytes a frame: a hash of the record's content, so that a repeat is told from a conflict."""

    def __len__(self) -> int:
        return len(self.event_id)

    def take(self, rows: Ints) -> FrameColumns:
        """The frames at `rows` (ascending, without repeats), each with its detections."""
        place = np.full(len(self), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        kept = np.flatnonzero(place[self.det_frame] >= 0)
        taken: dict[str, Any] = {}
        for column in fields(self):
            chosen = kept if column.name.startswith("det_") else rows
            values = getattr(self, column.name)
            if isinstance(values, np.ndarray):
                taken[column.name] = values[chosen]
            else:  # `digest` may be absent altogether
                taken[column.name] = [values[i] for i in chosen.tolist()] if values else []
        taken["det_frame"] = place[taken["det_frame"]]
        return FrameColumns(**taken)

    @classmethod
    def joined(cls, parts: Sequence[FrameColumns]) -> FrameColumns:
        """The frames of one part after those of the other; of one part at least."""
        rows = np.cumsum([0, *map(len, parts)]).tolist()
        together: dict[str, Any] = {}
        for column in fields(cls):
            values = [getattr(part, column.name) for part in parts]
            if column.name == "det_frame":
                values = [numbers + first for numbers, first in zip(values, rows, strict=False)]
            whole = isinstance(values[0], np.ndarray)
            together[column.name] = np.concatenate(values) if whole else list(chain.from_iterable(values))
        return cls(**together)


@dataclass(frozen=True, slots=True)
class Reject:
    """A line, or a part of one, that was set aside: nothing is thrown away in silence."""

    line_number: int  # 1-based within the file
    reason: str
    detail: str
    raw: bytes  # the line, cut to its first 64 KiB
    whole_line: bool = True  # False: only a detection was set aside and the frame was kept


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose numbers: a model's version at a stage, a camera (`""` all of them) and one slice (`""` all of them)."""

    model: str
    version: str
    stage: str = ALL
    camera: str = ALL
    slice_name: str = ALL
    slice_value: str = ALL
    shadow: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Its texts, in the order in which a series is named."""
        side = "shadow" if self.shadow else "live"
        return self.model, self.version, side, self.stage, self.camera, self.slice_name, self.slice_value

    def __str__(self) -> str:
        parts = [f"{self.model} {self.version}"]
        parts += [f"stage {self.stage}"] if self.stage else []
        parts += [self.camera or "all cameras"]
        parts += [f"{self.slice_name} = {self.slice_value}"] if self.slice_name else []
        parts += ["shadow"] if self.shadow else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What one roll-up series counts: a scope, a signal read under one recipe, and a class (`""` all of them)."""

    scope: Scope
    signal: str
    class_name: str = ALL
    recipe: str = ""

    def named(self, edges_id: str, minutes: int) -> str:
        """All that tells a series from others, as one text: the parts with NUL between, which no part can hold."""
        return "\0".join((*self.scope.parts, self.signal, self.class_name, self.recipe, edges_id, str(minutes)))

    @classmethod
    def of_name(cls, name: str) -> tuple[SeriesKey, str, int]:
        """The series, edges and minutes that `named` wrote down."""
        model, version, side, stage, camera, slice_name, slice_value, *read, minutes = name.split("\0")
        signal, class_name, recipe, edges_id = read
        scope = Scope(model, version, stage, camera, slice_name, slice_value, shadow=side == "shadow")
        return cls(scope, signal, class_name, recipe), edges_id, int(minutes)


@dataclass(slots=True)
class Histogram:
    """A mergeable histogram of one signal on its fixed fine edges.

    `counts` [bins + 2] has the underflow first and the overflow last; `n` is the number of values, `frames` of frames
    that gave one, `total` the sum of the values in the signal's integer unit, `squares` the sum over the frames of
    (values of the frame)². Adding needs the same `edges_id`; a frame's values lie in one summand, so `squares` adds.
    """

    edges_id: str
    counts: Ints
    n: int = 0
    frames: int = 0
    total: int = 0
    squares: int = 0

    @property
    def effective(self) -> float:
        """Independent values that this many weigh as much as, however alike the values of one frame are: n² / Σ w².

        w being the values of a frame (Kish 1965, *Survey Sampling*, on unequal weights). It is the number of frames
        where each gives as many values as the next, and less where a few give most of them; 0 of nothing.
        """
        return self.n * self.n / self.squares if self.squares else 0.0

    def __add__(self, other: Histogram) -> Histogram:
        if self.edges_id != other.edges_id:
            raise ValueError(f"histograms on different edges do not add: {self.edges_id} and {other.edges_id}")
        return Histogram(
            self.edges_id,
            self.counts + other.counts,
            self.n + other.n,
            self.frames + other.frames,
            self.total + other.total,
            self.squares + other.squares,
        )


@dataclass(frozen=True, slots=True)
class BaselineHistogram:
    """One series of a baseline: its histogram and the groups of equal mass that divergences are computed on.

    `cuts` [groups] holds the last fine bin of each group, ascending; the last is the last bin. Empty for `status`.
    """

    histogram: Histogram
    cuts: Ints


def microseconds(at: datetime) -> int:
    """An aware time as microseconds since 1970-01-01 UTC."""
    return (at - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open [start, end), UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with everything it was judged by. `state` is `ok` or why there is no number.

    `n` and `baseline_n` count frames that gave a value. `noise` is what chance alone exceeds once in a thousand such
    windows, were the frames independent; None where no such law is known. It is the law at `Histogram.effective`,
    which is `n` where each frame gives one value and less where a few frames give most of them. Measures of reviews
    and of the business count those in `n`. `low` and `high` are the value's 95 % interval, `baseline_value` the same
    measure over the baseline, of measures that have one.
    """

    key: SeriesKey
    measure: str
    window: Window
    value: float | None
    state: str
    n: int
    baseline_n: int
    baseline_id: int | None
    contract_hash: str
    noise: float | None = None
    now_mean: float | None = None
    baseline_mean: float | None = None
    low: float | None = None
    high: float | None = None
    baseline_value: float | None = None

    @property
    def standing(self) -> str:
        """How it stands before any rule is asked: why there is no number, or whether chance explains it."""
        if self.value is None or self.noise is None:
            return STATE_WORDS[self.state]
        return "beyond chance" if self.value > self.noise else "steady"


STATE_WORDS = {
    "ok": "ok",
    "insufficient": "not enough data",
    "no_baseline": "no baseline",
    "no_data": "no data",
}
"""What a measurement's state is called where people read it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What production is compared with: frozen, hashed, numbered by model."""

    id: int
    model: str
    version: str  # that it was frozen from; "" from images, then it serves every version
    source: str  # "logs" or "images"
    period_start: datetime | None
    period_end: datetime | None
    frames: int
    sha256: str
    contract_hash: str
    created_at: datetime
    note: str = ""


AlertState = Literal["ok", "pending", "firing", "flapping", "resolved", "undecided", "no-data"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Where one rule stands on one series: the row that a compare-and-swap on `revision` guards (0: not stored yet).

    `series` has no recipe: a rule watches a signal however it was read. `since` is the start of the first breaching
    window of the running (or, when resolved, the last) episode, `calm_since` that of the clear windows that ended the
    last; `window_end` ends the last window judged, whose `value` (`low` to `high`) had to exceed `threshold`.
    """

    key: str
    series: SeriesKey
    rule: str
    measure: str
    severity: str
    state: AlertState
    episode: int
    breaches: int
    clears: int
    since: datetime | None
    window_end: datetime
    value: float | None
    threshold: float
    n: int
    reason: str
    revision: int = 0
    calm_since: datetime | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """A turn that people are told of (firing, flapping, resolved), with the evidence as it stood then."""

    alert_key: str
    episode: int
    from_state: str
    to_state: str
    window: Window
    decided_at: datetime
    value: float | None
    threshold: float
    n: int
    evidence: dict[str, Any]
    id: int = 0
    """Given by the store; ascending in the order of deciding."""
