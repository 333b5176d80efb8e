"""A window's histograms against a baseline's: the measurements, with the reason where there is no number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monitor.measures import CLASS_SHARE, STATUS, Figure, Measure, mean_of, measures_of, share
from monitor.records import (
    ALL,
    Baseline,
    BaselineHistogram,
    Floats,
    Histogram,
    Ints,
    Measurement,
    Scope,
    SeriesKey,
    Window,
)
from monitor.stats import null
from monitor.stats.divergence import smooth
from monitor.stats.groups import regroup

COUNTED = "confidence"
"""The signal whose values, counted by class, are the mix of classes."""
UNMEASURED = frozenset({STATUS})
"""Signals that hold no values to compare."""


@dataclass(frozen=True, slots=True)
class BaselineSeries:
    """One series of a baseline made ready: probabilities over groups, and what cuts a window into the same groups."""

    frames: int
    effective: float
    """Independent values, as `Histogram.effective`."""
    shares: Floats
    """[groups], smoothed."""
    mean: float | None
    edges_id: str
    cuts: Ints | None = None
    """[groups] of a signal that is read off records."""
    classes: tuple[str, ...] = ()
    """Of a mix of classes; one more group holds every class that the baseline had not seen."""
    histogram: Histogram | None = None
    """None: of a mix of classes, or of one class of it."""


@dataclass(frozen=True, slots=True)
class ReadyBaseline:
    """A baseline made ready for one model version. `from_images`: it knows no cameras, and serves them all."""

    baseline_id: int | None
    by_key: Mapping[SeriesKey, BaselineSeries]
    min_n: int
    from_images: bool

    def of(self, key: SeriesKey) -> BaselineSeries | None:
        """What `key` is compared with: its own series, or that of the images.

        Cameras differ in light and lens, so a camera that a baseline from logs does not know is not compared with
        the others: where it stands among them is no drift.
        """
        return self.by_key.get(_of_camera(key, ALL) if self.from_images else key)


def _of_camera(key: SeriesKey, camera: str) -> SeriesKey:
    s = key.scope
    # Spelt out, for `dataclasses.replace` takes three times as long and this is asked of every series.
    scope = Scope(s.model, s.version, s.stage, camera, s.slice_name, s.slice_value, s.shadow)
    return SeriesKey(scope, key.signal, key.class_name, key.recipe)


def with_all_cameras(histograms: Mapping[SeriesKey, Histogram]) -> dict[SeriesKey, Histogram]:
    """The series and, under camera `""`, their sums over the cameras; series on different edges are not summed."""
    merged: dict[SeriesKey, Histogram] = {}
    for key, histogram in histograms.items():
        whole = _of_camera(key, ALL)
        merged[whole] = merged[whole] + histogram if whole in merged else histogram
    return {**histograms, **merged}


def class_counts(histograms: Mapping[SeriesKey, Histogram]) -> dict[SeriesKey, dict[str, int]]:
    """Detections by class of each series of the mix of classes."""
    found: dict[SeriesKey, dict[str, int]] = {}
    for key, histogram in histograms.items():
        if key.signal == COUNTED and key.class_name != ALL:
            mix = SeriesKey(key.scope, CLASS_SHARE)
            found.setdefault(mix, {})[key.class_name] = histogram.n
    return found


def make_ready(
    baseline: Baseline | None,
    rows: Mapping[SeriesKey, BaselineHistogram],
    version: str,
    min_n: int,
    stages: Sequence[str] = (),
) -> ReadyBaseline:
    """Make a baseline and its rows ready to compare windows of `version` with; None knows nothing.

    Images know no stages: a baseline of them serves each of `stages`, where the model has any.
    """
    from_images = baseline is not None and baseline.source == "images"
    rows = {
        replace(key, scope=replace(key.scope, version=version, stage=stage)): row
        for key, row in rows.items()
        for stage in (stages if from_images and stages else (key.scope.stage,))
    }
    ready = {
        key: BaselineSeries(
            row.histogram.frames,
            row.histogram.effective,
            smooth(regroup(row.histogram.counts, row.cuts)),
            mean_of(key.signal, row.histogram),
            row.histogram.edges_id,
            row.cuts,
            histogram=row.histogram,
        )
        for key, row in rows.items()
        if key.signal not in UNMEASURED
    }
    for mix, counts in class_counts({key: row.histogram for key, row in rows.items()}).items():
        classes = tuple(sorted(counts))
        detections = ready[SeriesKey(mix.scope, COUNTED)]
        shares = smooth([*(counts[name] for name in classes), 0])
        whole = BaselineSeries(detections.frames, detections.effective, shares, None, CLASS_SHARE, classes=classes)
        ready[mix] = whole
        for name in classes:
            ready[replace(mix, class_name=name)] = replace(whole, mean=counts[name] / sum(counts.values()))
    return ReadyBaseline(baseline.id if baseline else None, ready, min_n, from_images)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a window says of one series. `counts` are the detections by class of a mix of classes."""

    frames: int
    effective: float
    mean: float | None
    edges_id: str
    histogram: Histogram | None = None
    counts: Mapping[str, int] | None = None

    def groups(self, before: BaselineSeries) -> Ints:
        """[groups] counts, cut as the baseline's series is."""
        if self.counts is None:
            return regroup(self.histogram.counts, before.cuts)  # type: ignore[union-attr, arg-type]
        known = [self.counts.get(name, 0) for name in before.classes]
        return np.array([*known, sum(self.counts.values()) - sum(known)], dtype=np.int64)


_NOTHING = _Found(0, 0.0, None, "")


def _found(histograms: Mapping[SeriesKey, Histogram], signals: frozenset[str]) -> dict[SeriesKey, _Found]:
    found = {
        key: _Found(h.frames, h.effective, mean_of(key.signal, h), h.edges_id, h)
        for key, h in histograms.items()
        if key.signal in signals and key.signal not in UNMEASURED
    }
    if CLASS_SHARE not in signals:
        return found
    for mix, counts in class_counts(histograms).items():
        detections = histograms[SeriesKey(mix.scope, COUNTED)]
        whole = _Found(detections.frames, detections.effective, None, CLASS_SHARE, counts=counts)
        found[mix] = whole
        for name, count in counts.items():
            found[replace(mix, class_name=name)] = replace(whole, mean=count / sum(counts.values()))
    return found


def _silent(ready: Iterable[SeriesKey], found: Iterable[SeriesKey], signals: frozenset[str]) -> list[SeriesKey]:
    """Baseline series that the window says nothing of, under any recipe: another recipe is not silence."""
    heard = {(key.scope, key.signal, key.class_name) for key in found}
    return [key for key in ready if key.signal in signals and (key.scope, key.signal, key.class_name) not in heard]


def _figure(signal: str, found: _Found | BaselineSeries, measure: Measure) -> Figure | None:
    """The number that a measure reads off a series by itself; None under the values that it takes."""
    if found.histogram is not None and measure.figure is not None:
        return measure.figure(signal, found.histogram) if found.histogram.n >= measure.least else None
    if found.mean is None or not found.effective:
        return None
    # A class of a mix: its share is of detections, and those of one frame are alike.
    return replace(share(found.mean * found.effective, found.effective), value=found.mean)


def _state(found: _Found, before: BaselineSeries | None, measure: Measure, min_n: int) -> str:
    if found.frames == 0:
        return "no_data"
    if measure.needs_baseline and before is None:
        return "no_baseline"
    smallest = min(found.frames, before.frames) if measure.needs_baseline and before else found.frames
    return "ok" if smallest >= min_n else "insufficient"


def _judge(
    key: SeriesKey, found: _Found, known: ReadyBaseline, window: Window, contract_hash: str
) -> Iterator[Measurement]:
    before = known.of(key)
    if before is not None and found.frames and found.edges_id != before.edges_id:
        before = None
    p = smooth(found.groups(before)) if before is not None and found.frames else None
    for measure in measures_of(key.signal, by_class=key.class_name != ALL):
        state = _state(found, before, measure, known.min_n)
        value = noise = None
        figure = earlier = None
        if measure.function is None:
            figure = _figure(key.signal, found, measure) if state == "ok" else None
            earlier = _figure(key.signal, before, measure) if before is not None else None
            state = "insufficient" if state == "ok" and figure is None else state
            value = figure.value if figure else None
        elif state == "ok" and before is not None and p is not None:
            value = measure.function(p, before.shares)
            if measure.null_scale is not None:
                noise = null.quantile(p.size, found.effective, before.effective, measure.null_scale)
        yield Measurement(
            key=key,
            measure=measure.name,
            window=window,
            value=value,
            state=state,
            n=found.frames,
            baseline_n=before.frames if before else 0,
            baseline_id=known.baseline_id if before else None,
            contract_hash=contract_hash,
            noise=noise,
            now_mean=found.mean,
            baseline_mean=before.mean if before else None,
            low=figure.low if figure else None,
            high=figure.high if figure else None,
            baseline_value=earlier.value if earlier else None,
        )


def compare(
    histograms: Mapping[SeriesKey, Histogram],
    known: ReadyBaseline,
    window: Window,
    signals: Iterable[str],
    contract_hash: str,
) -> list[Measurement]:
    """Every measurement of one window of one model version.

    `histograms` are the window's own by camera; the sums over the cameras are made here. Measured are each series of
    the window and each that the baseline holds and the window does not (`no_data`): by camera and over all cameras,
    whole and by slice, whole and by class. What is summed over cameras moves with the mix of cameras too: when one
    stands still, or sends more frames than its part in the baseline. The states:

    - `ok`: there is a value.
    - `insufficient`: fewer than `known.min_n` frames gave a value, in the window or in the baseline.
    - `no_baseline`: nothing to compare with: no such series of this camera, under this recipe and on these edges.
    - `no_data`: the baseline knows the series and no frame of the window gave a value.
    """
    chosen = frozenset(signals)
    found = _found(with_all_cameras(histograms), chosen)
    for key in _silent(known.by_key, found, chosen):
        mix = found.get(replace(key, class_name=ALL)) if key.signal == CLASS_SHARE else None
        # A class that is missing among detections has a share, and that is nought.
        found[key] = replace(mix, mean=0.0) if mix else _NOTHING
    return [m for key, said in found.items() for m in _judge(key, said, known, window, contract_hash)]
