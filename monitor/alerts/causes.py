"""What is it likely to be? Causes ranked by which signals moved together, which way, how suddenly and how widely.

Every cause says how likely each signal is to move under it; the rank is the posterior of a naive Bayes over the
signals that were watched, moved or not. The likelihoods are judgements out of practice, not estimates from data; they
stand here as data so that they can be argued with, and nobody is paged by them: they order what a person looks at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

OTHERWISE = 0.04
"""How likely a signal that a cause does not speak of is to move one way all the same."""
ALIKE = {"pixel_brightness": "brightness", "blue_balance": "red_balance"}
"""Signals that tell the same story as another, which counts once."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A signal that changed: upwards or downwards, at once (`step`) or bit by bit."""

    signal: str
    up: bool
    step: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """`moves`: (up, down) likelihoods by signal. `step`: that it comes at once; `wide`: that it meets most cameras of
    the group; `deployed`: that a deployment stands right before it. `first`: what to do first."""

    name: str
    text: str
    first: str
    moves: Mapping[str, tuple[float, float]]
    step: float
    wide: float
    deployed: float = 0.05


CAUSES = (
    Cause(
        "lamp",
        "a lamp ages or fails",
        "Look at the newest frames beside those of the baseline and measure the light; clean or replace the lamp.",
        {"brightness": (0.03, 0.9), "contrast": (0.05, 0.5), "sharpness": (0.05, 0.2), "confidence": (0.05, 0.35)},
        step=0.3,
        wide=0.15,
    ),
    Cause(
        "site light",
        "the light of the site changed (daylight, hall lights, a door)",
        "Ask the site what changed in the hall; shield the cameras or take the condition up as a slice.",
        {"brightness": (0.45, 0.45), "contrast": (0.3, 0.3), "red_balance": (0.3, 0.3), "confidence": (0.05, 0.3)},
        step=0.6,
        wide=0.95,
    ),
    Cause(
        "lens",
        "a lens was swapped or refocused",
        "Ask who worked at the camera on that day; set focus and aperture again, or accept a new baseline.",
        {
            "sharpness": (0.5, 0.45),
            "brightness": (0.4, 0.35),
            "contrast": (0.3, 0.3),
            "box_area": (0.25, 0.25),
            "confidence": (0.1, 0.45),
        },
        step=0.95,
        wide=0.1,
    ),
    Cause(
        "dirt",
        "dirt, water or condensation on the glass",
        "Look at the newest frames for haze or drops; clean the glass and check its heating or air knife.",
        {
            "sharpness": (0.02, 0.9),
            "contrast": (0.03, 0.75),
            "brightness": (0.2, 0.35),
            "confidence": (0.02, 0.6),
            "detections": (0.05, 0.4),
        },
        step=0.2,
        wide=0.1,
    ),
    Cause(
        "camera angle",
        "the camera was moved or turned",
        "Hold the newest frames against those of the baseline; put the camera back, or accept a new baseline.",
        {
            "box_area": (0.45, 0.45),
            "box_aspect": (0.45, 0.45),
            "detections": (0.25, 0.3),
            "confidence": (0.05, 0.4),
            "brightness": (0.1, 0.1),
            "sharpness": (0.1, 0.1),
        },
        step=0.95,
        wide=0.1,
    ),
    Cause(
        "new product",
        "a new product, packaging or material that the model does not know",
        "Look at frames of low confidence; send them to labelling and ask production what is new.",
        {
            "class_share": (0.7, 0.7),
            "confidence": (0.05, 0.75),
            "override": (0.5, 0.03),
            "detections": (0.2, 0.2),
            "box_area": (0.2, 0.2),
            "box_aspect": (0.2, 0.2),
        },
        step=0.5,
        wide=0.35,
    ),
    Cause(
        "background",
        "a changed background, shadows or reflections",
        "Look at frames with more detections than usual; clear the background or mask it.",
        {
            "detections": (0.55, 0.15),
            "contrast": (0.3, 0.3),
            "brightness": (0.25, 0.25),
            "confidence": (0.05, 0.5),
            "override": (0.4, 0.03),
            "class_share": (0.2, 0.2),
        },
        step=0.6,
        wide=0.2,
    ),
    Cause(
        "deployment",
        "the deployment right before it",
        "Compare the versions on the golden set; roll back if the new one is worse.",
        {
            "confidence": (0.35, 0.45),
            "class_share": (0.4, 0.4),
            "detections": (0.3, 0.3),
            "box_area": (0.15, 0.15),
            "latency_ms": (0.3, 0.2),
            "override": (0.3, 0.1),
        },
        step=0.95,
        wide=0.9,
        deployed=0.97,
    ),
    Cause(
        "reviewers",
        "reviewers judge differently than before",
        "Let two people review the same frames and compare; write the rule for the disputed case down.",
        {"override": (0.6, 0.3)},
        step=0.4,
        wide=0.5,
    ),
    Cause(
        "service",
        "the inference service or its host is slower or fails",
        "Look at load, memory and errors of the host; queue and latency show since when.",
        {"latency_ms": (0.9, 0.02), "queue_depth": (0.6, 0.03), "status": (0.4, 0.02)},
        step=0.7,
        wide=0.6,
        deployed=0.2,
    ),
    Cause(
        "camera setting",
        "a setting of the camera changed (exposure, gain, resolution)",
        "Compare the camera's settings with those at the baseline; put them back or accept a new baseline.",
        {
            "resolution": (0.4, 0.4),
            "exposure_ms": (0.4, 0.4),
            "gain_db": (0.4, 0.4),
            "brightness": (0.3, 0.3),
            "contrast": (0.2, 0.2),
            "red_balance": (0.2, 0.2),
        },
        step=0.97,
        wide=0.25,
        deployed=0.2,
    ),
)


@dataclass(frozen=True, slots=True)
class Likely:
    """A cause with its share of belief (they sum to 1), and the signals whose movement speaks for it."""

    cause: Cause
    share: float
    speaks: tuple[str, ...]


def ranked(moved: Sequence[Moved], watched: Collection[str], wide: bool, deployed: bool) -> list[Likely]:
    """The causes, likeliest first; empty when nothing moved.

    `watched` are all signals that could have moved; `wide`: most cameras of the group moved; `deployed`: a version or
    setting was deployed shortly before the onset.
    """
    if not moved:
        return []
    story = {ALIKE.get(one.signal, one.signal): one for one in moved}
    silent = {ALIKE.get(signal, signal) for signal in watched} - set(story)
    weight = {cause.name: _belief(cause, story, silent, wide, deployed) for cause in CAUSES}
    top = max(weight.values())
    total = sum(exp(value - top) for value in weight.values())
    likely = []
    for cause in sorted(CAUSES, key=lambda cause: -weight[cause.name]):
        said = tuple(
            one.signal for one in moved if _odds(cause, ALIKE.get(one.signal, one.signal), one.up) > OTHERWISE
        )
        likely.append(Likely(cause, exp(weight[cause.name] - top) / total, said))
    return likely


def _odds(cause: Cause, signal: str, up: bool) -> float:
    return cause.moves.get(signal, (OTHERWISE, OTHERWISE))[0 if up else 1]


def _belief(cause: Cause, story: Mapping[str, Moved], silent: Collection[str], wide: bool, deployed: bool) -> float:
    """The log likelihood of what was seen. Class shares go up and down together, so their side does not count."""
    steps = sum(one.step for one in story.values()) / len(story)
    found = log(cause.wide if wide else 1 - cause.wide) + log(cause.deployed if deployed else 1 - cause.deployed)
    found += steps * log(cause.step) + (1 - steps) * log(1 - cause.step)
    found += sum(log(_odds(cause, signal, one.up)) for signal, one in story.items())
    for signal in silent:
        up, down = cause.moves.get(signal, (OTHERWISE, OTHERWISE))
        # What moves one way or the other; shares of classes have one likelihood for both.
        found += log(1 - (max(up, down) if signal == "class_share" else up + down))
    return found
