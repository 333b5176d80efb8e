"""Nouns of what comes back: what people say of frames, what the plant counts, and which version went live when.

`ReviewRecord` and `EventRecord` are what one line of a file says. Neither holds up the other's frame: a review may
come hours before or weeks after the frame that it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from monitor.records import ALL, Count, Name, Value

Verdict = Literal["confirmed", "false_positive", "wrong_class", "bad_box"]
VERDICTS: tuple[Verdict, ...] = ("confirmed", "false_positive", "wrong_class", "bad_box")
OVERRIDES: tuple[Verdict, ...] = VERDICTS[1:]
"""The verdicts that correct a detection; an object that the model missed is the fourth direction of an override."""
NO_BAND = -1
"""The band of what has no confidence: missed objects, and frames."""
MOST_VERDICTS = 2000
"""Verdicts of one review, and objects that it says were missed."""

Kind = Literal["work_order", "missed_defect", "false_alarm", "throughput", "deployment"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Box = tuple[float, float, float, float]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class JudgedDetection(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The verdict on one detection, which is named by its place in the frame's record (`index`, from 0) or by class
    and box (x1, y1, x2, y2 in pixels: the one of that class that overlaps most, from an IoU of 0.5 on)."""

    verdict: Verdict
    index: Count | None = None
    class_name: Name | None = msgspec.field(name="class", default=None)
    box: Box | None = None
    right_class: Name | None = None
    """What it really is; of `wrong_class` alone, and always there."""


class MissedObject(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An object that is there and that the model did not report."""

    class_name: Name = msgspec.field(name="class")
    box: Box | None = None


class ReviewRecord(msgspec.Struct, forbid_unknown_fields=True):
    """What one person said of one frame. A detection without a verdict was not judged.

    `event_id` is the frame's, and `source` who sent that frame (empty: who sends the review). `review_prob` is the
    probability, known when the frame was chosen, that it would be; `reason` why it was. `settles`: this review
    settles what others said of the frame, so that reviewers are measured by it.
    """

    review_id: Name
    event_id: Name
    reviewer: Name
    finished_at: Moment
    schema_version: Literal[1] = 1
    source: Value = ""
    assigned_at: Moment | None = None
    started_at: Moment | None = None
    review_prob: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    reason: Value = ""
    settles: bool = False
    detections: Annotated[list[JudgedDetection], msgspec.Meta(max_length=MOST_VERDICTS)] = []
    missed: Annotated[list[MissedObject], msgspec.Meta(max_length=MOST_VERDICTS)] = []


class EventRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Something that happened in the business.

    `work_order`: opened because of a detection. `missed_defect`: the model found what people had missed.
    `false_alarm`: cost `minutes`. `throughput`: items an hour `before` and `after`. `deployment`: `version` went
    live, and `note` says what changed. `frame` is the event id of the frame that it is about, `source` who sent that.
    """

    event_id: Name
    kind: Kind
    at: Moment
    model: Name
    schema_version: Literal[1] = 1
    version: Value = ""
    camera: Value = ""
    class_name: Value = msgspec.field(name="class", default="")
    frame: Value = ""
    source: Value = ""
    minutes: Amount | None = None
    before: Amount | None = None
    after: Amount | None = None
    note: Annotated[str, msgspec.Meta(max_length=2048)] = ""


@dataclass(frozen=True, slots=True)
class SettledReview:
    """A review with the frame that it speaks of: v verdicts whose detections were found, m missed objects."""

    source: str
    review_id: str
    frame_source: str
    event_id: str
    reviewer: str
    finished_at: datetime
    settles: bool
    review_prob: float | None
    """The probability with which its frame was chosen, where it says that."""
    captured_at: datetime
    model: str
    version: str
    stage: str
    camera: str
    shadow: bool
    slices: tuple[tuple[str, str], ...]
    index: tuple[int, ...]
    """[v] the place of each detection in the stored frame."""
    class_name: tuple[str, ...]
    """[v] as the model said."""
    confidence: tuple[float, ...]
    """[v]"""
    verdict: tuple[Verdict, ...]
    """[v]"""
    missed_class: tuple[str, ...]
    """[m]"""
    unmatched: int = 0
    """Verdicts for which the frame has no detection."""

    @property
    def chosen(self) -> bool:
        """Whether it says with which probability its frame was chosen."""
        return self.review_prob is not None


@dataclass(frozen=True, slots=True)
class ReviewPlace:
    """Where a count of verdicts stands. Rows of a camera as a whole and of each of its slices overlap; classes, bands
    and hours never do. `chosen`: whether the probability of the choice was said."""

    model: str
    version: str
    start_at: datetime
    """The hour of the frames, UTC."""
    stage: str
    camera: str
    shadow: bool
    slice_name: str
    slice_value: str
    class_name: str
    """`""` beside NO_BAND: the frames themselves."""
    band: int
    """Of confidence, 0 to 4 (`stats.strata.EDGES`); NO_BAND for missed objects and frames."""
    chosen: bool


@dataclass(slots=True)
class ReviewCell:
    """How many detections were reviewed, and with which verdict; objects missed; frames reviewed."""

    confirmed: int = 0
    false_positive: int = 0
    wrong_class: int = 0
    bad_box: int = 0
    missed: int = 0
    frames: int = 0

    @property
    def reviewed(self) -> int:
        """Detections with a verdict."""
        return self.confirmed + self.overridden

    @property
    def overridden(self) -> int:
        """Detections that were corrected, whichever way."""
        return self.false_positive + self.wrong_class + self.bad_box

    def add(self, other: ReviewCell) -> None:
        """Count another in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version went live."""

    model: str
    version: str
    at: datetime
    text: str
    source: str = ALL


@dataclass(frozen=True, slots=True)
class BusinessEvent:
    """Something that happened, with what its frame says where the event names one and that frame is stored.

    `version`, `stage`, `camera` and `class_name` are empty where neither says.
    """

    kind: str
    at: datetime
    version: str = ALL
    stage: str = ALL
    camera: str = ALL
    class_name: str = ALL
    slices: tuple[tuple[str, str], ...] = ()
    minutes: float | None = None
    before: float | None = None
    after: float | None = None


OVERRIDE = "override"
"""The signal that measurements from reviews bear."""
SHARES = ("raw", "honest", *(f"{how}_{direction}" for direction in OVERRIDES for how in ("raw", "honest")))
"""Shares of detections that people corrected, whichever way or in one direction: among those reviewed, and among all
as estimated from those whose choice is known."""
MISSES = "raw_missed"
"""The share of the objects in reviewed frames that the model missed."""
BANDS = tuple(f"raw_band_{band}" for band in range(5))
"""The share corrected of the reviewed detections of one band of confidence."""
BOUNDS = ("raw_low", "raw_high", "honest_low", "honest_high")
"""The 95 % interval of the two shares."""
REVIEW_MEASURES = (*SHARES, MISSES, *BANDS, *BOUNDS)

BUSINESS = "business"
"""The signal that measurements from business events bear."""
BUSINESS_MEASURES = ("work_order_rate", "catches", "minutes_per_false_alarm", "throughput_gain")
