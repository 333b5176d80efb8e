"""A run's numbers as measurements, so that trends, rules and panels need nothing new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from monitor.records import EPOCH, Measurement, Scope, SeriesKey, Window
from monitor.scoring import ANSWER_CHANGED, INPUT_DIFFERS, NOT_SCORED, ScoringRun

Numbers = Mapping[str, Any]
DAY = timedelta(days=1)
_POINTS = ("precision", "recall", "f1")


def window_of(run: ScoringRun, length: timedelta) -> Window:
    """The window, UTC, that a run's numbers belong to: the contract's own, or the day where that is longer."""
    length = min(length, DAY)
    start = EPOCH + ((run.due_at or run.started_at) - EPOCH) // length * length
    return Window(start, start + length)


def measured(run: ScoringRun, window: Window, numbers: Numbers | None) -> list[Measurement]:
    """Every measurement of a run; `numbers` are the evaluator's, and count only where the run does.

    Shares bear the ends of their 95 % interval, n being the detections or objects that they are a share of; average
    precisions count images.
    """
    maker = _Maker(run, window)
    found = [maker.of(NOT_SCORED, float(run.status != "done"), run.images)]
    if run.status == "done" and numbers is not None:
        if run.sameness:
            found.append(maker.of(ANSWER_CHANGED, float(run.sameness == "other"), run.images))
        found += _accuracy(maker, numbers)
    return found


def differing(run: ScoringRun, window: Window, differing: int, compared: int) -> Measurement:
    """How many of production's inputs that were compared differ from scoring's."""
    return _Maker(run, window).of(INPUT_DIFFERS, float(differing), compared)


class _Maker:
    """Makes measurements of one run."""

    def __init__(self, run: ScoringRun, window: Window) -> None:
        self._run, self._window = run, window

    def of(
        self,
        measure: str,
        value: float | None,
        n: int,
        class_name: str = "",
        slice_: tuple[str, str] = ("", ""),
        bounds: tuple[float | None, float | None] = (None, None),
    ) -> Measurement:
        run = self._run
        camera, condition = ("", slice_) if slice_[0] != "camera" else (slice_[1], ("", ""))
        scope = Scope(run.model, run.version, camera=camera, slice_name=condition[0], slice_value=condition[1])
        return Measurement(
            SeriesKey(scope, run.kind, class_name),
            measure,
            self._window,
            value,
            "no_data" if value is None else "ok",
            n,
            0,
            None,
            run.contract_hash,
            low=None if value is None else bounds[0],
            high=None if value is None else bounds[1],
        )


def _accuracy(maker: _Maker, numbers: Numbers) -> Iterator[Measurement]:
    images, intervals = int(numbers["images"]), numbers["intervals"] or {}
    for measure, name in (("map50_95", "AP"), ("map50", "AP50")):
        ends = intervals.get(name, (None, None))
        yield maker.of(measure, numbers["stats"][name], images, bounds=(ends[0], ends[1]))
    by_class = intervals.get("per_class", {})
    for key, of in numbers["per_class"].items():
        for measure, name in (("ap50_95", "AP"), ("ap50", "AP50")):
            ends = by_class.get(key, {}).get(name, (None, None))
            yield maker.of(measure, of[name], images, of["name"], bounds=(ends[0], ends[1]))
    production = numbers["calibration"]["production"]
    yield maker.of("calibration_error", production["d_ece"], int(production["n"]))
    yield from _points(maker, numbers["operating_points"])
    for name, values in numbers["slices"].items():
        for value, of in values.items():
            for measure, key in (("map50_95", "AP"), ("map50", "AP50")):
                if key in of:
                    yield maker.of(measure, of[key], int(of["images"]), slice_=(name, value))
            yield from _points(maker, of, (name, value))


def _points(maker: _Maker, points: Numbers, slice_: tuple[str, str] = ("", "")) -> Iterator[Measurement]:
    rows = [("", points["all"]), *((of["name"], of) for of in points["per_class"].values())]
    for class_name, of in rows:
        cases = {"precision": of["tp"] + of["fp"], "recall": of["tp"] + of["fn"]}
        cases["f1"] = min((n for n in cases.values() if n), default=0)  # nothing said: of the objects alone
        for measure in _POINTS:
            ends = (of.get(f"{measure}_low"), of.get(f"{measure}_high"))
            yield maker.of(measure, of[measure], cases[measure], class_name, slice_, ends)
