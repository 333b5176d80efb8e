"""What an observable refuses to be without, and how a query's text is filled in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from monitor.panels.expand import ALL, View, expand, rounded, variables_of
from monitor.panels.registry import BOARDS, OBSERVABLES

END = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize("part", ["title", "question", "good", "bad", "no_value", "unit"])
def test_an_observable_without_an_interpretation_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match=f"error-rate has no {part}"):
        replace(OBSERVABLES["error-rate"], **{part: " "})


@pytest.mark.parametrize("steps", [(), ("Look.", "")])
def test_an_observable_without_next_steps_is_refused(steps: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no next steps"):
        replace(OBSERVABLES["error-rate"], next_steps=steps)


def test_a_rate_without_its_n_is_refused() -> None:
    one = OBSERVABLES["error-rate"]
    bare = replace(one.queries[0], text=one.queries[0].text.replace(" AS n ", " AS m "))
    with pytest.raises(ValueError, match="without its n"):
        replace(one, queries=(bare,))


def test_no_two_observables_share_a_name() -> None:
    names = Counter(one.name for board in BOARDS for one in board.observables)
    assert {name for name, count in names.items() if count > 1} == set()


def view(hours: float, **variables: str | list[str]) -> View:
    return View(END - timedelta(hours=hours), END, variables)


def test_variables_are_quoted_once_and_their_quotes_doubled() -> None:
    said = expand("camera IN (${camera:sqlstring})", view(1, camera=["a", 'o\'brien "x"']), {})
    assert said == "camera IN ('a','o''brien \"x\"')"
    assert expand("camera IN (${camera:sqlstring})", view(1, camera=[ALL]), {"camera": "camera"}) == (
        "camera IN (camera)"
    )


@given(st.text() | st.sampled_from(["$__interval_ms", "$__timeFrom()", "x$__timeFilter(y)", "${model:sqlstring}"]))
@examples(derandomize=True, max_examples=50, deadline=None)
def test_a_value_is_one_literal_whatever_it_holds(value: str) -> None:
    said = expand("a = ${camera:sqlstring} AND $__timeFilter(at)", view(1, camera=value, model="m"), {})
    literal = "'" + value.replace("'", "''") + "'"
    assert said.startswith(f"a = {literal if value != ALL else ''} AND at BETWEEN")


def test_time_macros() -> None:
    said = expand("SELECT $__timeGroupAlias(at, $__interval) WHERE $__timeFilter(at)", view(24), {})
    assert said == (
        'SELECT floor(extract(epoch from at)/3600)*3600 AS "time" WHERE at BETWEEN'
        " '2026-03-30T12:30:00.000000Z' AND '2026-03-31T12:30:00.000000Z'"
    )


@pytest.mark.parametrize(
    ("seconds", "step"), [(720, 600), (5399, 3600), (5400, 7200), (21_600, 21_600), (4e6, 604_800)]
)
def test_an_interval_is_rounded_as_grafana_rounds_it(seconds: float, step: int) -> None:
    assert rounded(seconds) == step


def test_which_variables_a_text_uses() -> None:
    assert variables_of("$__timeFilter(a) ${camera:sqlstring} $model ${__from} [$__rate_interval]") == {
        "camera",
        "model",
    }
