"""Other tools' measures: their own values over frozen windows, worked numbers, and laws.

`compat_vectors.json` was written by `python -m bench.compat --write` where the tools are installed; it names them
with their versions. `make bench BENCH=compat` compares with the tools themselves over generated windows.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats.compat import (
    PEER_MEASURES,
    evidently_jensen_shannon,
    evidently_kl,
    evidently_ks,
    evidently_psi,
    evidently_wasserstein,
    nannyml_jensen_shannon,
    nannyml_kolmogorov_smirnov,
    nannyml_wasserstein,
)

FROZEN = json.loads(Path(__file__).with_name("compat_vectors.json").read_text(encoding="utf-8"))


def column(said: list[Any] | dict[str, Any]) -> list[Any]:
    """The values themselves, or those of a recipe: multiples modulo 1, squared, scaled and rounded."""
    if isinstance(said, list):
        return said
    part = np.arange(said["count"]) * said["step"] % 1.0
    values: list[float] = np.round(said["shift"] + said["scale"] * part * part, said["digits"]).tolist()
    return values


def test_every_measure_is_frozen_for_numbers_and_for_texts_where_it_takes_them() -> None:
    assert {"evidently", "nannyml"} <= FROZEN["versions"].keys()
    numbers = {name for case in FROZEN["cases"] if case["name"] == "normal 60 0.7" for name in case["values"]}
    assert numbers == PEER_MEASURES.keys()
    texts = {name for case in FROZEN["cases"] if case["name"] == "texts" for name in case["values"]}
    assert texts == {m.name for m in PEER_MEASURES.values() if m.texts}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", FROZEN["cases"], ids=lambda case: str(case["name"]))
def test_values_are_those_of_the_tools(case: dict[str, Any]) -> None:
    window, baseline = column(case["window"]), column(case["baseline"])
    for name, known in case["values"].items():
        assert PEER_MEASURES[name].function(window, baseline) == pytest.approx(known, rel=1e-9, abs=1e-9), name


def test_empty_bins_worked_by_hand() -> None:
    # Three of four are "a" before, all four now; "b" is empty now and counts as 0.0001.
    window, baseline = ["a"] * 4, ["a", "a", "a", "b"]
    psi = (0.75 - 1) * math.log(0.75) + (0.25 - 0.0001) * math.log(0.25 / 0.0001)
    assert evidently_psi(window, baseline) == pytest.approx(psi, abs=1e-12)
    filled = 1.0001
    kl = 0.75 * math.log(0.75 * filled) + 0.25 * math.log(0.25 * filled / 0.0001)
    assert evidently_kl(window, baseline) == pytest.approx(kl, abs=1e-12)


def test_distances_worked_by_hand() -> None:
    assert evidently_wasserstein([3.0, 5.0], [1.0, 3.0]) == pytest.approx(2.0)  # moved by 2, sd 1
    assert evidently_wasserstein([1.5], [1.0, 1.0]) == pytest.approx(500)  # a constant's sd counts as 0.001
    assert nannyml_wasserstein([3.0, 5.0], [1.0, 3.0]) == pytest.approx(2.0)
    assert nannyml_kolmogorov_smirnov([2.0, 3.0], [1.0, 1.0, 1.0, 3.0]) == pytest.approx(0.75)
    assert nannyml_jensen_shannon(["x"], ["y"]) == pytest.approx(1.0)  # nothing in common, in bits
    assert evidently_jensen_shannon(["x"], ["y"]) == pytest.approx(math.sqrt(math.log(2)))  # and in nats
    # Two against two, all of one side above: 2 of the 6 orders are as far apart.
    assert evidently_ks([3.0, 4.0], [1.0, 2.0]) == pytest.approx(1 / 3)


VALUES = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=80)


@settings(max_examples=60, derandomize=True)
@given(VALUES, VALUES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_missing_values_say_nothing(window: Any, baseline: Any, random: Any) -> None:
    mixed = [*window, math.nan]
    random.shuffle(mixed)
    for measure in PEER_MEASURES.values():
        once, again = measure.function(window, baseline), measure.function(mixed, [math.nan, *baseline])
        assert again == pytest.approx(once, rel=1e-9, abs=1e-9, nan_ok=True), measure.name


@settings(max_examples=40, derandomize=True)
@given(VALUES)
def test_a_window_is_no_distance_from_itself(window: list[float]) -> None:
    for measure in PEER_MEASURES.values():
        nothing = 1.0 if measure.unit == "p-value" else 0.0
        # nannyml's rest of one rounding leaves the root of 1e-16.
        assert measure.function(window, window) == pytest.approx(nothing, abs=1e-7), measure.name


def test_infinite_values_are_missing_ones_to_evidently() -> None:
    assert evidently_psi([1.0, 2.0, math.inf], [1.0, 1.0, 2.0]) == evidently_psi([1.0, 2.0], [1.0, 1.0, 2.0])


@pytest.mark.parametrize("measure", PEER_MEASURES.values(), ids=lambda m: m.name)
def test_what_cannot_be_compared_is_said(measure: Any) -> None:
    with pytest.raises(ValueError, match="at least one value each"):
        measure.function([math.nan], [1.0])
    with pytest.raises(ValueError, match="one side holds numbers"):
        measure.function(["a"], [1.0])
    with pytest.raises(ValueError, match="a column"):
        measure.function([[1.0]], [1.0])
    if not measure.texts:
        with pytest.raises(ValueError, match="numbers alone"):
            measure.function(["a"], ["b"])
