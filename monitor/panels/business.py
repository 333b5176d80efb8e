"""Business impact: what are the model's findings worth to the plant?"""

from __future__ import annotations

from monitor.panels.observable import DAY, Board, Observable, Query
from monitor.panels.sql import FOR_MODEL, LIVE, OF_IMAGES, bound, bound_query

ON = "model IN (${model:sqlstring}) AND (version IN (${version:sqlstring}) OR version = '')"
ON_CAMERAS = f"{ON} AND (camera IN (${{camera:sqlstring}}) OR camera = '')"
"""Events may leave version and camera unsaid: those count whatever is chosen."""
EVENTS = f"FROM reporting.business_event WHERE $__timeFilter(at) AND {ON_CAMERAS}"
BUCKET = "$__timeGroupAlias(at, $__interval)"
_FRAMES = (
    f"FROM reporting.rollup WHERE $__timeFilter(start_at) AND {FOR_MODEL} AND camera IN (${{camera:sqlstring}})"
    f" AND {LIVE} AND signal = 'status' AND class_name = '' AND slice = 'all' AND {OF_IMAGES}"
)
"""Of a pipeline the first stage's: each image once."""
_NONE = "No business event of this kind in this time range."
_ALARMS = "count(*) FILTER (WHERE kind = 'false_alarm' AND minutes IS NOT NULL)"

OBSERVABLES = (
    Observable(
        name="work-orders-now",
        title="Work orders per 1,000 frames",
        question="How often does a finding become work? Of a pipeline the frames of its first stage are counted: each"
        " image once.",
        good="within the range that the contract expects.",
        bad="far below: people no longer act on findings; far above: the plant, or the model, has changed.",
        next_steps=(
            "Ask maintenance whether the orders were justified.",
            "Look at the override rate at the same time: rising together, the findings are wrong.",
        ),
        queries=(
            Query(
                'SELECT orders * 1000.0 / nullif(frames, 0) AS "per 1,000 frames", orders AS n FROM'
                f" (SELECT count(*) AS orders {EVENTS} AND kind = 'work_order') o, (SELECT sum(n) AS frames"
                f" {_FRAMES}) f"
                " WHERE orders > 0"
            ),
        ),
        threshold=bound_query("business", "work_order_rate"),
        judged=("per 1,000 frames",),
        unit="short",
        no_value=_NONE,
        kind="stat",
        smallest=7 * DAY,
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="false-alarm-minutes-now",
        title="Minutes per false alarm",
        question="What does a false alarm cost the people on the line?",
        good="flat or falling.",
        bad="rising: false alarms have become harder to tell from real ones.",
        next_steps=("Ask the line what the last ones looked like.", "Raise the threshold of the class that leads."),
        queries=(
            Query(
                f"SELECT sum(minutes) / nullif({_ALARMS}, 0) AS minutes, {_ALARMS} AS n {EVENTS}"
                f" AND kind = 'false_alarm' HAVING {_ALARMS} > 0"
            ),
        ),
        threshold=bound_query("business", "minutes_per_false_alarm"),
        judged=("minutes",),
        unit="m",
        units={"n": "short"},
        no_value=_NONE,
        kind="stat",
        smallest=7 * DAY,
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="caught-now",
        title="Defects that people had missed",
        question="What has the model found that people had not?",
        good="any: this is what it is for.",
        bad="none over weeks in which it used to find some.",
        next_steps=("See whether such defects still come through, by samples at the end of the line.",),
        queries=(Query(f"SELECT count(*) AS defects {EVENTS} AND kind = 'missed_defect' HAVING count(*) > 0"),),
        unit="short",
        no_value=_NONE,
        kind="stat",
        smallest=7 * DAY,
        width=6,
        height=5,
    ),
    Observable(
        name="throughput-gain-now",
        title="Throughput gained",
        question="How many more items an hour are inspected than before?",
        good="above zero.",
        bad="zero or below: reviewing the model's findings costs more than it saves.",
        next_steps=("Look at the false alarms and at the minutes they cost.",),
        queries=(
            Query(
                "SELECT (sum(after) - sum(before)) / nullif(sum(before), 0) AS gain, count(*) AS n"
                f" {EVENTS} AND kind = 'throughput' AND before > 0 AND after IS NOT NULL HAVING count(*) > 0"
            ),
        ),
        threshold=bound_query("business", "throughput_gain", "below"),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="stat",
        smallest=7 * DAY,
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="work-orders",
        title="Events over time",
        question="When were work orders opened, defects caught and false alarms cleared up?",
        good="work orders and caught defects at the plant's usual pace, few false alarms.",
        bad="false alarms that come more often than work orders.",
        next_steps=("Ask the line about the last false alarms.", "Look at the override rate of the same days."),
        queries=(
            Query(
                f"SELECT {BUCKET}, count(*) FILTER (WHERE kind = 'work_order') AS \"work orders\","
                " count(*) FILTER (WHERE kind = 'missed_defect') AS \"defects caught\","
                f" count(*) FILTER (WHERE kind = 'false_alarm') AS \"false alarms\" {EVENTS} AND kind IN"
                " ('work_order', 'missed_defect', 'false_alarm') GROUP BY 1 ORDER BY 1"
            ),
        ),
        unit="short",
        no_value=_NONE,
        smallest=7 * DAY,
    ),
    Observable(
        name="false-alarm-minutes",
        title="Minutes per false alarm over time",
        question="Since when do false alarms cost more?",
        good="flat.",
        bad="rising over weeks.",
        next_steps=("Ask the line what has changed about them.", "Raise the threshold of the class that leads."),
        queries=(
            Query(
                f"SELECT {BUCKET}, sum(minutes) / nullif({_ALARMS}, 0) AS minutes,"
                f" {bound('business', 'minutes_per_false_alarm')} AS threshold, {_ALARMS} AS n {EVENTS}"
                " AND kind = 'false_alarm' AND minutes IS NOT NULL GROUP BY 1 ORDER BY 1"
            ),
        ),
        unit="m",
        units={"n": "short"},
        no_value=_NONE,
        smallest=7 * DAY,
        rate=True,
        series=3,
    ),
    Observable(
        name="business-cameras",
        title="Events by camera",
        question="Where do work orders and false alarms come from?",
        good="work orders where the defects are.",
        bad="a camera with false alarms and hardly any work order.",
        next_steps=("Look at that camera's predictions and overrides.",),
        queries=(
            Query(
                "SELECT CASE camera WHEN '' THEN 'not said' ELSE camera END AS camera,"
                " count(*) FILTER (WHERE kind = 'work_order') AS \"work orders\","
                " count(*) FILTER (WHERE kind = 'missed_defect') AS \"defects caught\","
                " count(*) FILTER (WHERE kind = 'false_alarm') AS \"false alarms\","
                " sum(minutes) FILTER (WHERE kind = 'false_alarm') AS \"minutes lost\""
                f" {EVENTS} AND kind IN ('work_order', 'missed_defect', 'false_alarm') GROUP BY 1 ORDER BY 4 DESC, 1"
                " LIMIT 12"
            ),
        ),
        unit="short",
        units={"minutes lost": "m"},
        no_value=_NONE,
        kind="table",
        smallest=7 * DAY,
    ),
    Observable(
        name="business-events",
        title="Newest events",
        question="What happened last?",
        good="what the line tells too.",
        bad="nothing for weeks: the events no longer reach the monitor.",
        next_steps=("See whether the system that sends events still does.",),
        queries=(
            Query(
                'SELECT at AS "time", kind, camera, class_name AS class, version, minutes'
                f" {EVENTS} ORDER BY at DESC LIMIT 50"
            ),
        ),
        unit="short",
        units={"minutes": "m"},
        no_value="No business event in this time range.",
        kind="table",
        smallest=7 * DAY,
    ),
)
BOARD = Board(
    "monitor-business",
    "Business impact",
    "What are the model's findings worth to the plant?",
    OBSERVABLES,
    start="now-30d",
)
