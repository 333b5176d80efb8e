"""Other tools' numbers computed by us, against the tools themselves on the same windows.

`python -m bench.compat --write FILE` freezes windows with the values that the installed tools give them, which is
what the unit tests compare with where the tools are not installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from monitor.stats.compat import PEER_MEASURES, PeerMeasure

EXAMPLES = 300
"""Pairs of windows a measure."""
GOAL = 1e-9

Values = list[Any]


def figures() -> Iterator[dict[str, Any]]:
    """For each tool the largest difference over generated and over large windows."""
    for peer, theirs in _peers():
        worst = 0.0
        for measure in (m for m in PEER_MEASURES.values() if m.peer == peer):
            worst = max(worst, _over_generated(measure, theirs), _over_cases(measure, theirs))
        ours = sum(m.peer == peer for m in PEER_MEASURES.values())
        yield {
            "name": f"compat.{peer}",
            "value": worst,
            "unit": f"largest difference of {ours} measures, {EXAMPLES} generated pairs of windows each",
            "against": f"{peer} {version(peer)}",
            "ratio": worst / GOAL,
            "goal": GOAL,
            "holds": worst <= GOAL,
        }


Oracle = Callable[[PeerMeasure, Values, Values], float]


def _peers() -> Iterator[tuple[str, Oracle]]:
    """The tools that are installed, each with what computes its measure over (window, baseline)."""
    for peer, oracle in (("evidently", _evidently), ("nannyml", _nannyml)):
        try:
            importlib.import_module(peer)
        except ImportError as error:
            print(f"compat.{peer} is left out: {error}; `make bench` installs what it needs", file=sys.stderr)
        else:
            yield peer, oracle


def _evidently(measure: PeerMeasure, window: Values, baseline: Values) -> float:
    """The registered test by its name, on columns cleaned as `get_one_column_drift` does before it calls the test."""
    pandas = importlib.import_module("pandas")
    tests = importlib.import_module("evidently.legacy.calculations.stattests.registry")
    kind = importlib.import_module("evidently.legacy.core").ColumnType
    columns = [pandas.Series(v).replace([-np.inf, np.inf], np.nan).dropna() for v in (baseline, window)]
    of = kind.Categorical if isinstance(baseline[0], str) else kind.Numerical
    return float(tests.get_registered_stattest(measure.theirs, of)(*columns, of, None).drift_score)


def _nannyml(measure: PeerMeasure, window: Values, baseline: Values) -> float:
    pandas = importlib.import_module("pandas")
    methods = importlib.import_module("nannyml.drift.univariate.methods")
    chunk = importlib.import_module("nannyml.chunk").CountBasedChunker(chunk_number=1)
    of = methods.FeatureType.CATEGORICAL if isinstance(baseline[0], str) else methods.FeatureType.CONTINUOUS
    threshold = importlib.import_module("nannyml.thresholds").ConstantThreshold(lower=None, upper=1e9)
    method = methods.MethodFactory.create(measure.theirs, of, chunker=chunk, threshold=threshold)
    before, now = (pandas.Series(v, name="column") for v in (baseline, window))
    return float(method.fit(before).calculate(now))


def _difference(measure: PeerMeasure, theirs: Oracle, window: Values, baseline: Values) -> float:
    """Absolute up to 1, relative above; infinite where one side has a number and the other none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said, known = measure.function(window, baseline), theirs(measure, window, baseline)
    if np.isnan(said) or np.isnan(known):
        return 0.0 if np.isnan(said) and np.isnan(known) else np.inf
    return abs(said - known) / max(1.0, abs(known))


def _columns(texts: bool) -> st.SearchStrategy[Values]:
    """Numbers on a coarse and on a fine scale, whole, constant or with missing ones; or texts, some missing."""
    few = st.integers(-5, 5).map(float) | st.sampled_from([0.25, 0.1, 1 / 3])
    kinds = [
        st.lists(st.floats(-1e6, 1e6).map(lambda v: round(v, 6)), min_size=1, max_size=120),
        st.lists(few, min_size=1, max_size=120),
        st.lists(st.integers(-500, 500), min_size=1, max_size=120),
        st.tuples(few, st.integers(1, 40)).map(lambda said: [said[0]] * said[1]),
        st.tuples(st.lists(few, min_size=1, max_size=60), st.integers(1, 5)).map(lambda s: [*s[0], *[np.nan] * s[1]]),
    ]
    if texts:
        word = st.sampled_from(["scratch", "dent", "label", "ä", "", "7"])
        kinds = [st.lists(word, min_size=1, max_size=200)]
        kinds += [st.lists(word, min_size=1, max_size=60).map(lambda words: [*words, None])]
    return st.one_of(kinds)


def _over_generated(measure: PeerMeasure, theirs: Oracle) -> float:
    worst = [0.0]
    for texts in (False, True)[: 1 + measure.texts]:

        @seed(1)
        @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(_columns(texts), _columns(texts))
        def compare(window: Values, baseline: Values) -> None:
            worst.append(_difference(measure, theirs, window, baseline))

        compare()
    return max(worst)


def sample(recipe: dict[str, Any]) -> Values:
    """Values that are the same everywhere: multiples of an irrational modulo 1, squared, scaled and rounded."""
    part = np.arange(recipe["count"]) * recipe["step"] % 1.0
    values: Values = np.round(recipe["shift"] + recipe["scale"] * part * part, recipe["digits"]).tolist()
    return values


def cases() -> Iterator[tuple[str, Any, Any]]:
    """Name, window and baseline: a list of values, or a recipe of `sample` for a large one."""
    draw = np.random.default_rng(11)
    for size in (3, 20, 21, 22, 60):
        for shift in (0.0, 0.7):
            yield f"normal {size} {shift}", *(draw.normal(m, 1, size).round(3).tolist() for m in (shift, 0))
    yield "whole numbers", *(draw.poisson(m, 80).tolist() for m in (60, 50))
    yield "few values", *(draw.integers(0, m, 40).tolist() for m in (6, 4))
    yield "ties at the edge", [0.0] * 30 + [1.0] * 5, [0.0] * 20 + draw.random(30).round(2).tolist()
    yield "constant and equal", [4.5] * 12, [4.5] * 30
    yield "constant and moved", [4.25] * 12, [4.5] * 30
    yield "nothing in common", *(draw.normal(m, 1, 50).round(3).tolist() for m in (40, 0))
    yield "missing values", [1.5, None, 2.5, 2.5, None], [1.5, 2.5, None, 3.5, 1.5, 2.5]
    mixes = [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]
    yield "texts", *(draw.choice(["dent", "label", "scratch"], 60, p=mix).tolist() for mix in mixes)
    yield "a new text", ["dent"] * 5 + ["crack"] * 2 + [None], ["dent"] * 9 + ["label"]
    recipe = {"count": 12_000, "step": 0.6180339887498949, "scale": 100.0, "shift": 20.0, "digits": 3}
    moved = {"count": 9_000, "step": 0.41421356237309515, "scale": 120.0, "shift": 10.0, "digits": 3}
    yield "large", moved, recipe
    yield "large and inside", {**moved, "scale": 60.0, "shift": 30.0}, recipe
    yield "large and small", {**moved, "count": 40}, recipe


def values_of(said: Any) -> Values:
    """The values of a case: themselves, or what their recipe gives."""
    return sample(said) if isinstance(said, dict) else list(said)


def _over_cases(measure: PeerMeasure, theirs: Oracle) -> float:
    pairs = [(values_of(window), values_of(baseline)) for _, window, baseline in cases()]
    return max(_difference(measure, theirs, *pair) for pair in pairs if measure.texts or not _is_text(*pair))


def _is_text(*columns: Values) -> bool:
    return any(isinstance(value, str) for column in columns for value in column)


def frozen() -> dict[str, Any]:
    """The cases with what the installed tools say of them."""
    peers = dict(_peers())
    rows = []
    for name, window, baseline in cases():
        now, before = values_of(window), values_of(baseline)
        chosen = [m for m in PEER_MEASURES.values() if m.texts or not _is_text(now, before)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = {m.name: peers[m.peer](m, now, before) for m in chosen}
        rows.append({"name": name, "window": window, "baseline": baseline, "values": said})
    libraries = ("evidently", "nannyml", "numpy", "scipy", "pandas")
    return {"versions": {name: version(name) for name in libraries}, "cases": rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compat", description=__doc__)
    parser.add_argument("--write", type=Path, required=True, metavar="FILE")
    text = json.dumps(frozen(), allow_nan=False)
    parser.parse_args().write.write_text(text.replace('{"name"', '\n{"name"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
