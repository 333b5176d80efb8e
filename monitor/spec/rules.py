"""Rules about measures: what a contract demands under [[alerts]], and the rules that come with the product.

A threshold is either in the measure's own unit, or (`relative_to = "baseline"`) a multiple of what the same measure
was over the baseline. Every per cent of the ready rules is relative: "class share shift above 15 %" is a share that
became 1.15 or 0.85 times what it was, not 15 points more or less. Fifteen points would be a quarter of the commonest
class and four times all of a rare one; the same part of each is the same news. The exceptions are rates whose own
value is the bad news, whatever they were: errors above 1 %, corrections above 15 % or 25 % are shares of their own n.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from monitor.feedback import BOUNDS, BUSINESS, OVERRIDE
from monitor.measures import CLASS_SHARE, MEASURES, STATUS
from monitor.scoring import SCORED
from monitor.signals import SIGNALS
from monitor.spec.sections import Label, Name, Positive, Section, Text, Whole, one_of

EVERY = (*SIGNALS, CLASS_SHARE)
WATCHED = tuple(name for name in EVERY if name != STATUS)
"""The signals that drift is measured on; `status` is counted and has no distribution to compare."""
COUNTED = (STATUS, OVERRIDE, BUSINESS, *SCORED)
"""Signals that are counted whatever the contract watches: outcomes of frames, reviews, events, nightly scores."""
COMPARISONS = {measure.name: measure.null_scale for measure in MEASURES.values() if measure.null_scale is not None}
"""The measures that compare distributions, each with the scale of its law of chance."""
JUDGED = tuple(name for name in MEASURES if name not in BOUNDS)
"""The measures that a rule may be about."""

AnySignal = Annotated[str, AfterValidator(one_of(EVERY)), Field(json_schema_extra={"enum": [*EVERY]})]
WatchedSignal = Annotated[str, AfterValidator(one_of(WATCHED)), Field(json_schema_extra={"enum": [*WATCHED]})]
_RULED = (*WATCHED, *COUNTED)
RuledSignal = Annotated[str, AfterValidator(one_of(_RULED)), Field(json_schema_extra={"enum": [*_RULED]})]
JudgedMeasure = Annotated[str, AfterValidator(one_of(JUDGED)), Field(json_schema_extra={"enum": [*JUDGED]})]
Pillar = Literal["input", "inference", "prediction", "override", "business", "golden"]


def pillar_of(signal: str) -> Pillar:
    """The pillar that a signal's rules belong to by default."""
    if signal == OVERRIDE:
        return "override"
    if signal == BUSINESS:
        return "business"
    if signal in SCORED:
        return "golden"
    known = SIGNALS.get(signal)
    if known is None or known.per == "detection" or known.name == "detections":
        return "prediction"
    return "inference" if known.service else "input"


def _halfway(bound: str, said: dict[str, Any]) -> float | None:
    """Where an alert clears unless it is said: half of an absolute `above`; else halfway back to the baseline."""
    value = said.get(bound)
    if value is None:
        return None
    if said.get("relative_to"):
        return float((1 + value) / 2)
    return float(value / 2) if bound == "above" else float(value + abs(value) / 4)


class AlertRule(Section):
    """[[alerts]]: a demand on a measure, and who hears of it.

    A window breaches when the value lies beyond `above` or `below`: of a divergence by more than chance explains at
    the window's n, of a measure with an interval by the near end of that.
    """

    name: Name
    signal: RuledSignal
    measure: JudgedMeasure
    above: Positive | None = None
    below: float | None = None
    """At least one of the two."""
    relative_to: Literal["", "baseline"] = ""
    """baseline: the bounds are multiples of what the measure was over the baseline; else they are in its unit."""
    by_at_least: Annotated[float, Field(ge=0)] = 0.0
    """relative_to = "baseline": a change smaller than this, in the measure's unit, is no breach."""
    clear_below: Annotated[
        Annotated[float, Field(ge=0)] | None, Field(default_factory=lambda said: _halfway("above", said))
    ]
    """The alert clears below this: half of `above`, or halfway back to the baseline, unless given."""
    clear_above: Annotated[float | None, Field(default_factory=lambda said: _halfway("below", said))]
    """The same for `below`."""
    min_n: Whole = 50
    """Windows with fewer frames (reviewed detections, events) are not judged."""
    for_windows: Annotated[int, Field(ge=1, le=1000)] = 2
    """Breaching windows in a row until it fires."""
    clear_windows: Annotated[int, Field(ge=1, le=1000)] = 2
    scope: Literal["camera", "model", "slice"] = "camera"
    """Judged for each camera, for all cameras together, or for each slice of them."""
    by_class: bool = False
    severity: Literal["info", "warning", "critical"] = "warning"
    pillar: Annotated[Pillar, Field(default_factory=lambda said: pillar_of(said.get("signal", "")))]
    """The dashboard it belongs to; taken from the signal unless given."""
    owner: Label = ""
    """Who is told; the model's owner unless given."""
    runbook: Text = ""
    """What to do: a sentence, a path or an address."""

    @property
    def compares(self) -> bool:
        """Whether it cannot be judged without a baseline."""
        return bool(self.relative_to) or self.measure in COMPARISONS


class ReadyRule(AlertRule):
    """[ready.NAME]: a rule that comes with the product. What is not said has its default; it is about the same
    measure always."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None) and None)

    name: Annotated[Name, Field(exclude=True)]
    on: bool = True


def _ready(name: str, signal: str, measure: str, **numbers: Any) -> ReadyRule:
    said = {"name": name, "signal": signal, "measure": measure, "runbook": f"dashboards/runbooks/{name}.md"}
    return ReadyRule.model_validate(said | numbers)


_RELATIVE = {"relative_to": "baseline"}
READY: dict[str, ReadyRule] = {
    rule.name: rule
    for rule in (
        # Inference health. One window is enough: the interval has already allowed for chance, and a day is long.
        _ready(
            "latency-high", "latency_ms", "mean", above=2.0, clear_below=1.5, by_at_least=5.0, min_n=100,
            for_windows=1, severity="critical", **_RELATIVE,
        ),
        _ready(
            "error-rate", STATUS, "error_rate", above=0.01, clear_below=0.005, min_n=100, for_windows=1,
            severity="critical",
        ),
        _ready(
            "queue-growing", "queue_depth", "peak", above=2.0, clear_below=1.5, by_at_least=2.0, min_n=100,
            for_windows=1, **_RELATIVE,
        ),
        _ready(
            "camera-silent", STATUS, "silence", above=1.0, clear_below=1.0, by_at_least=1.5, min_n=30,
            for_windows=1, clear_windows=1, severity="critical", **_RELATIVE,
        ),
        # Predictions. Drift by itself: a second window has to say the same, and it is never critical.
        _ready(
            "class-share-shift", CLASS_SHARE, "mean", above=1.15, below=0.85, by_at_least=0.03, min_n=100,
            by_class=True, **_RELATIVE,
        ),
        _ready("confidence-drop", "confidence", "mean", below=0.9, min_n=100, by_class=True, **_RELATIVE),
        _ready(
            "low-confidence-spike", "confidence", "low_share", above=2.0, by_at_least=0.05, min_n=100, **_RELATIVE
        ),
        # Corrections by people. The honest estimate pages; the raw share is biased where unsure frames are reviewed
        # more often, and informs.
        _ready(
            "override-rate", OVERRIDE, "honest", above=0.15, clear_below=0.1, min_n=50, scope="model",
            severity="critical",
        ),
        _ready(
            "override-rate-class", OVERRIDE, "honest", above=0.25, clear_below=0.18, min_n=30, scope="model",
            by_class=True,
        ),
        _ready(
            "override-rate-raw", OVERRIDE, "raw", above=0.15, clear_below=0.1, min_n=50, scope="model",
            severity="info",
        ),
        # Business.
        _ready(
            "work-order-rate", BUSINESS, "work_order_rate", above=1.5, below=0.5, min_n=100, scope="model",
            **_RELATIVE,
        ),
        _ready(
            "false-alarm-minutes", BUSINESS, "minutes_per_false_alarm", above=1.25, clear_below=1.1, min_n=10,
            scope="model", **_RELATIVE,
        ),
    )
}  # fmt: skip
"""The ready rules by name, with the numbers that a contract may change."""


def with_defaults(said: object) -> object:
    """What a contract says of the ready rules, laid over their defaults; what is no table is left as it is."""
    if not isinstance(said, dict) or any(isinstance(rule, ReadyRule) for rule in said.values()):
        return said
    plain = {name: rule.model_dump() | {"name": name} for name, rule in READY.items()}
    # A name that is not known is a fault of its own, and what stands under it shall not be more of them.
    whole = next(iter(plain.values()))
    merged = {
        name: _over(plain.get(str(name), whole), changes) if isinstance(changes, dict) else changes
        for name, changes in said.items()
    }
    return plain | merged


def _over(rule: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The rule with changes; where a bound changes, the one at which it clears moves along, unless that is said."""
    moved = {"above": "clear_below", "below": "clear_above"}
    left = {name: value for name, value in rule.items() if name not in {moved.get(bound) for bound in changes}}
    return left | changes
