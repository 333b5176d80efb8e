"""What is it likely to be? Causes ranked by which signals moved together, which way, how suddenly and how widely.

Every cause says how likely each signal is to move under it; the rank is the posterior of a naive Bayes over the
signals that were watched, moved or not. The likelihoods are judgements out of practice, not estimates from data; they
stand here as data so that they can be argued with, and nobody is paged by them: they order what a person looks at.

Two causes at once are weighed too: each signal then speaks for the one that explains it better, and the belief in the
two is parted between them, the more to whose signals stand off farther, so that of a lamp that ages and a lens that
was swapped meanwhile both are named, the greater first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log

OTHERWISE = 0.04
"""How likely a signal that a cause does not speak of is to move one way all the same."""
ALIKE = {"pixel_brightness": "brightness", "blue_balance": "red_balance"}
"""Signals that tell the same story as another, which counts once."""
TWO = 0.1
"""How likely two given causes at once are, beside one of them alone."""
LESSER = 0.25
"""The least part of the belief in two causes that goes to one of them, however small what it explains is."""
APART = 7
"""Days after the first signal from which on one that moves at once has a beginning of its own."""
STRAY = 0.003
"""How likely a signal has a beginning of its own where one cause is behind all."""
FOLLOW = frozenset({"confidence", "override"})
"""Signals that show what the model makes of the others, and may follow these late."""
LONG = 21
"""Days after which a change that comes bit by bit is called a slow one."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A signal that changed: upwards or downwards, at once (`step`) or bit by bit.

    `size` is how far it stands off, as a multiple of the smallest change worth telling (of signals whose size nobody
    knows: 1); `days` how long it has done so.
    """

    signal: str
    up: bool
    step: bool
    size: float = 1.0
    days: int = 1


@dataclass(frozen=True, slots=True)
class Cause:
    """`moves`: (up, down) likelihoods by signal. `step`: that it comes at once; `wide`: that it meets most cameras of
    the group; `deployed`: that a deployment stands right before it; `slow`: that what comes bit by bit goes on for
    three weeks. `first`: what to do first."""

    name: str
    text: str
    first: str
    moves: Mapping[str, tuple[float, float]]
    step: float
    wide: float
    slow: float
    deployed: float = 0.05


CAUSES = (
    Cause(
        "lamp",
        "a lamp ages or fails",
        "Look at the newest frames beside those of the baseline and measure the light; clean or replace the lamp.",
        {"brightness": (0.03, 0.9), "contrast": (0.05, 0.5), "sharpness": (0.05, 0.2), "confidence": (0.05, 0.35)},
        step=0.3,
        wide=0.15,
        slow=0.7,
    ),
    Cause(
        "site light",
        "the light of the site changed (daylight, hall lights, a door)",
        "Ask the site what changed in the hall; shield the cameras or take the condition up as a slice.",
        {"brightness": (0.45, 0.45), "contrast": (0.3, 0.3), "red_balance": (0.3, 0.3), "confidence": (0.05, 0.3)},
        step=0.6,
        wide=0.95,
        slow=0.15,
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
        slow=0.02,
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
        slow=0.4,
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
        slow=0.05,
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
        slow=0.4,
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
        slow=0.1,
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
        slow=0.02,
        deployed=0.97,
    ),
    Cause(
        "reviewers",
        "reviewers judge differently than before",
        "Let two people review the same frames and compare; write the rule for the disputed case down.",
        {"override": (0.6, 0.3)},
        step=0.4,
        wide=0.5,
        slow=0.3,
    ),
    Cause(
        "service",
        "the inference service or its host is slower or fails",
        "Look at load, memory and errors of the host; queue and latency show since when.",
        {"latency_ms": (0.9, 0.02), "queue_depth": (0.6, 0.03), "status": (0.4, 0.02)},
        step=0.7,
        wide=0.6,
        slow=0.2,
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
        slow=0.02,
        deployed=0.2,
    ),
)


@dataclass(frozen=True, slots=True)
class Likely:
    """A cause with its share of belief (they sum to 1), and the signals whose movement speaks for it."""

    cause: Cause
    share: float
    speaks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Signals that moved, by name, those that were watched and did not, and what stands beside them."""

    story: Mapping[str, Moved]
    silent: Collection[str]
    wide: bool
    deployed: bool

    def strays(self, names: Collection[str]) -> bool:
        """Whether one of these signals began by itself, well after the first of them."""
        own = [self.story[name] for name in names if name not in FOLLOW]
        first = max((one.days for one in own), default=0)
        return any(one.step and first - one.days >= APART for one in own)


@dataclass(frozen=True, slots=True)
class _Guess:
    """One cause, or two at once, with the signals that speak for each; `weight` is a log likelihood."""

    parts: tuple[tuple[Cause, tuple[str, ...]], ...]
    weight: float


def ranked(moved: Sequence[Moved], watched: Collection[str], wide: bool, deployed: bool) -> list[Likely]:
    """The causes, likeliest first; empty when nothing moved.

    `watched` are all signals that could have moved; `wide`: most cameras of the group moved; `deployed`: a version or
    setting was deployed shortly before the onset.
    """
    if not moved:
        return []
    story = {ALIKE.get(one.signal, one.signal): one for one in moved}
    seen = _Seen(story, {ALIKE.get(signal, signal) for signal in watched} - set(story), wide, deployed)
    guesses = [_one(seen, cause) for cause in CAUSES]
    guesses += [guess for pair in combinations(CAUSES, 2) if (guess := _two(seen, *pair)) is not None]
    best = max(guesses, key=lambda guess: guess.weight)
    total = sum(exp(guess.weight - best.weight) for guess in guesses)
    share = dict.fromkeys((cause.name for cause in CAUSES), 0.0)
    for guess in guesses:
        sizes = [sum(story[name].size for name in names) for _, names in guess.parts]
        for (cause, _), size in zip(guess.parts, sizes, strict=True):
            part = 1.0 if len(sizes) == 1 else LESSER + (1 - 2 * LESSER) * size / sum(sizes)
            share[cause.name] += exp(guess.weight - best.weight) / total * part
    own = {cause.name: names for cause, names in best.parts} if len(best.parts) > 1 else {}
    return [
        Likely(cause, share[cause.name], _speaking(cause, moved, own.get(cause.name)))
        for cause in sorted(CAUSES, key=lambda cause: -share[cause.name])
    ]


def _speaking(cause: Cause, moved: Sequence[Moved], own: Collection[str] | None) -> tuple[str, ...]:
    """The signals that speak for a cause: its own of two causes at once, else all that it makes more likely."""
    names = [(one, ALIKE.get(one.signal, one.signal)) for one in moved]
    return tuple(
        one.signal for one, name in names if (name in own if own else _odds(cause, name, one.up) > OTHERWISE)
    )


def _odds(cause: Cause, signal: str, up: bool) -> float:
    return cause.moves.get(signal, (OTHERWISE, OTHERWISE))[0 if up else 1]


def _one(seen: _Seen, cause: Cause) -> _Guess:
    found = _told(seen, cause, tuple(seen.story)) + log(cause.deployed if seen.deployed else 1 - cause.deployed)
    found += sum(log(_quiet(cause, signal)) for signal in seen.silent)
    return _Guess(((cause, tuple(seen.story)),), found + (log(STRAY) if seen.strays(seen.story) else 0.0))


def _two(seen: _Seen, one: Cause, other: Cause) -> _Guess | None:
    """Two causes at once, each signal told by the one that explains it better; None: one of them explains nothing."""
    parts: dict[str, list[str]] = {one.name: [], other.name: []}
    for name, what in seen.story.items():
        fits = {cause.name: _odds(cause, name, what.up) * _shape(cause, what.step) for cause in (one, other)}
        parts[max(fits, key=lambda who: fits[who])].append(name)
    if not all(parts.values()):
        return None
    deployed = 1 - (1 - one.deployed) * (1 - other.deployed)
    found = log(TWO) + log(deployed if seen.deployed else 1 - deployed)
    found += sum(log(_quiet(one, signal) * _quiet(other, signal)) for signal in seen.silent)
    found += sum(_told(seen, cause, parts[cause.name]) for cause in (one, other))
    found += sum(log(STRAY) for names in parts.values() if seen.strays(names))
    return _Guess(tuple((cause, tuple(parts[cause.name])) for cause in (one, other)), found)


def _told(seen: _Seen, cause: Cause, names: Collection[str]) -> float:
    """The log likelihood of what these signals did, if it was this cause.

    They are one event, so how suddenly it came counts once for all of them; what only follows does not say it, unless
    there is nothing else.
    """
    own = [seen.story[name] for name in names]
    found = log(cause.wide if seen.wide else 1 - cause.wide)
    leading = [seen.story[name] for name in names if name not in FOLLOW] or own
    found += sum(log(_shape(cause, one.step)) for one in leading) / len(leading)
    if any(not one.step and one.days >= LONG for one in own):
        found += log(cause.slow)
    return found + sum(log(_odds(cause, name, one.up)) for name, one in zip(names, own, strict=True))


def _shape(cause: Cause, step: bool) -> float:
    return cause.step if step else 1 - cause.step


def _quiet(cause: Cause, signal: str) -> float:
    """How likely a signal does not move. Class shares go up and down together, so their side does not count."""
    up, down = cause.moves.get(signal, (OTHERWISE, OTHERWISE))
    return 1 - (max(up, down) if signal == "class_share" else up + down)
