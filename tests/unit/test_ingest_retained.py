"""What may go: the longest period rules, holds keep whole days, and no roll-up goes before its frames."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ingest.retained import horizons, judge, midnight
from monitor.spec.contract import RetentionSpec
from monitor.upkeep import Hold

NOW = datetime(2026, 3, 31, 15, tzinfo=UTC)
DAYS = [date(2026, 3, 1) + timedelta(days=i) for i in range(31)]


def spec(raw: int, rollup: int) -> RetentionSpec:
    return RetentionSpec(raw_days=raw, rollup_days=rollup)


def test_the_longest_period_rules_for_the_days_that_models_share() -> None:
    horizon = horizons({"a": spec(5, 10), "b": spec(20, 30)}, NOW)
    assert horizon.longest == "b"
    verdicts = judge(DAYS, [], horizon, 20)
    # 20 days before the 31st at 15:00 is the 11th at 15:00: the 10th is over by then, the 11th is not.
    assert [one.day.day for one in verdicts] == list(range(1, 11))
    assert all(one.goes and one.why == "older than 20 days, the period of b" for one in verdicts)
    # Roll-ups of a would go after 10 days, but their frames stay for 20.
    assert horizon.rollups == {"a": midnight(date(2026, 3, 11)), "b": midnight(date(2026, 3, 1))}
    assert horizon.batches == midnight(date(2026, 3, 1))


def test_a_hold_keeps_every_day_it_touches_and_says_why() -> None:
    horizon = horizons({"a": spec(10, 10)}, NOW)
    hold = Hold("a", datetime(2026, 3, 3, 23, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC), "the open alert x")
    verdicts = {one.day.day: one for one in judge(DAYS, [hold], horizon, 10)}
    assert [day for day, one in verdicts.items() if not one.goes] == [3, 4, 5]
    assert verdicts[4].why == "the open alert x"


periods = st.builds(lambda raw, more: spec(raw, raw + more), st.integers(1, 40), st.integers(0, 40))
spans = st.tuples(st.integers(0, 60 * 24), st.integers(1, 200)).map(
    lambda hours: (NOW - timedelta(days=60) + timedelta(hours=hours[0]), timedelta(hours=hours[1]))
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), periods, min_size=1),
    st.lists(spans, max_size=4),
    st.integers(0, 90),
)
def test_a_day_goes_when_none_of_its_hours_is_young_or_held(
    kept: dict[str, RetentionSpec], held: list[tuple[datetime, timedelta]], ago: int
) -> None:
    holds = [Hold("a", start, start + length, "x") for start, length in held]
    horizon = horizons(kept, NOW)
    day = (NOW - timedelta(days=ago)).date()
    oldest = min(NOW - timedelta(days=one.raw_days) for one in kept.values())
    needed = any(  # every span here starts and ends on the hour
        at >= oldest or any(hold.start <= at < hold.end for hold in holds)
        for at in (midnight(day) + timedelta(hours=hour) for hour in range(24))
    )
    assert any(one.goes for one in judge([day], holds, horizon, 1)) != needed
    for model, before in horizon.rollups.items():
        assert before <= NOW - timedelta(days=kept[model].rollup_days)
        assert before <= oldest
