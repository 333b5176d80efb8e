"""Overrides: how often do people correct the model? Verdicts count in the hour of their frame, not of the review."""

from __future__ import annotations

from monitor.panels.observable import DAY, MONTH, Board, Observable, Query
from monitor.panels.sql import (
    BUCKET,
    CORRECTED,
    EVERYWHERE,
    IN_ORDER,
    STAGES,
    at_stage,
    bound,
    bound_query,
    verdicts,
)

DETECTIONS = " AND band >= 0"
"""Verdicts on detections; what was missed has no confidence and so no band."""
OBJECTS = " AND class_name <> ''"
RATE = f"{CORRECTED} * 1.0 / nullif(sum(reviewed), 0)"
_NONE = "No frame of this time range has been reviewed yet."
_THERE = "sum(missed) + sum(reviewed) - sum(false_positive)"
_MEASURED = (
    f"FROM reporting.measured WHERE $__timeFilter(window_end) AND {EVERYWHERE} AND signal = 'override'"
    f" AND class_name = '' AND (stage <> '' OR model NOT IN (SELECT model {STAGES}))"
)
"""Of a pipeline its stages alone: the whole is measured too, and has an empty name."""
_BAND = (
    "CASE band WHEN 0 THEN '0.00 to 0.30' WHEN 1 THEN '0.30 to 0.50' WHEN 2 THEN '0.50 to 0.70'"
    " WHEN 3 THEN '0.70 to 0.85' ELSE '0.85 to 1.00' END"
)
_STEPS = (
    "Read below which class and which kind of correction it is.",
    "Look at the corrected frames; send those that the model does not know to labelling.",
    "See whether the rule for disputed cases is written down: reviewers who disagree correct each other.",
)


def _of(measure: str) -> str:
    return f"max(value) FILTER (WHERE measure = '{measure}')"


OBSERVABLES = (
    Observable(
        name="override-rate-now",
        title="Override rate",
        question="Which share of the reviewed detections did people correct?",
        good="at the usual level and under the contract's bound.",
        bad="red: above the bound, with enough reviews (n) for that not to be chance.",
        next_steps=_STEPS,
        queries=(
            Query(
                f'SELECT stage, {RATE} AS "override rate", sum(reviewed) AS n {verdicts(DETECTIONS)} GROUP BY stage'
                f" HAVING sum(reviewed) > 0 ORDER BY {IN_ORDER}"
            ),
        ),
        threshold=bound_query("override", "raw"),
        judged=("override rate",),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="stat",
        owner="data",
        smallest=DAY,
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="honest-now",
        title="Override rate of all detections",
        question="Which share of all detections would people correct, had they seen them all?",
        good="under the bound; below the raw rate where uncertain frames are reviewed more often.",
        bad="red: above the bound. The estimate allows for how frames were chosen.",
        next_steps=_STEPS,
        queries=(
            Query(
                f"SELECT stage, honest, n AS n FROM (SELECT DISTINCT ON (stage) stage, value AS honest, n {_MEASURED}"
                " AND measure = 'honest' AND value IS NOT NULL ORDER BY stage, window_end DESC) newest"
                f" ORDER BY {IN_ORDER}"
            ),
        ),
        threshold=bound_query("override", "honest"),
        judged=("honest",),
        unit="percentunit",
        units={"n": "short"},
        no_value="No window of this time range has enough reviews of frames that were chosen by chance.",
        kind="stat",
        owner="data",
        smallest=MONTH,
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="missed-now",
        title="Missed objects",
        question="Which share of the objects on reviewed frames did the model miss?",
        good="at the usual level.",
        bad="rising: the model no longer sees a kind of object, or its threshold is too high.",
        next_steps=(
            "Look at the frames with missed objects, by class.",
            "Hold the threshold of the class against the golden set's table of thresholds.",
        ),
        queries=(
            Query(
                f"SELECT stage, sum(missed) * 1.0 / nullif({_THERE}, 0) AS missed, {_THERE} AS n {verdicts(OBJECTS)}"
                f" GROUP BY stage HAVING {_THERE} > 0 ORDER BY {IN_ORDER}"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="stat",
        owner="data",
        smallest=DAY,
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="reviewed-now",
        title="Frames reviewed",
        question="On how many frames does all of this rest?",
        good="the daily budget of reviews, used up.",
        bad="few: the rates on this page are then guesses, and their intervals say so.",
        next_steps=("Ask the reviewers whether the queue is worked off.", "Raise the daily budget in the contract."),
        queries=(
            Query(
                f"SELECT stage, sum(frames) AS frames {verdicts()} GROUP BY stage HAVING sum(frames) > 0"
                f" ORDER BY {IN_ORDER}"
            ),
        ),
        unit="short",
        no_value=_NONE,
        kind="stat",
        owner="data",
        smallest=DAY,
        width=6,
        height=5,
    ),
    Observable(
        name="override-rate",
        title="Override rate over time",
        question="Since when do people correct the model more often?",
        good="flat, under the dashed bound of the contract.",
        bad="rising over days: this is the nearest thing to accuracy in production, so believe it.",
        next_steps=_STEPS,
        queries=(
            Query(
                f'SELECT {BUCKET}, stage, {RATE} AS "override rate", {bound("override", "raw")} AS threshold,'
                f" sum(reviewed) AS n {verdicts(DETECTIONS)} GROUP BY 1, stage ORDER BY 1, stage"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        owner="data",
        smallest=DAY,
        rate=True,
        series=3,
    ),
    Observable(
        name="honest",
        title="Override rate of all detections, with its interval",
        question="How sure is the estimate of the override rate over all detections, all cameras together?",
        good="a narrow band under the bound.",
        bad="a band that lies above the bound as a whole; a wide band means too few reviews chosen by chance.",
        next_steps=("Wide band: review more frames chosen at random.", *_STEPS),
        queries=(
            Query(
                f'SELECT window_end AS "time", stage, {_of("honest")} AS honest, {_of("honest_low")} AS "95 % from",'
                f' {_of("honest_high")} AS "95 % to", {bound("override", "honest")} AS threshold,'
                f" max(n) FILTER (WHERE measure = 'honest') AS n {_MEASURED} GROUP BY 1, stage ORDER BY 1, stage"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value="No window of this time range has enough reviews of frames that were chosen by chance.",
        owner="data",
        smallest=MONTH,
        rate=True,
        series=5,
    ),
    Observable(
        name="directions",
        title="Corrections by kind",
        question="In which way is the model wrong?",
        good="few of each kind.",
        bad="false positives rise: background is taken for objects; wrong class: two classes have grown alike;"
        " bad box: the camera or its lens has moved; missed: objects are no longer seen.",
        next_steps=_STEPS,
        queries=(
            Query(
                f'SELECT {BUCKET}, stage, sum(false_positive) AS "false positive", sum(wrong_class) AS "wrong class",'
                f' sum(bad_box) AS "bad box", sum(missed) AS missed {verdicts(OBJECTS)} GROUP BY 1, stage'
                " ORDER BY 1, stage"
            ),
        ),
        unit="short",
        no_value=_NONE,
        owner="data",
        smallest=DAY,
    ),
    Observable(
        name="override-bands",
        title="Override rate by confidence",
        question="Are sure detections corrected too?",
        good="a rate that falls as the confidence rises.",
        bad="a high rate in the upper bands: the model is sure and wrong, so thresholds cannot help.",
        next_steps=("Look at corrected detections of high confidence first: they are the most to be learnt from.",),
        queries=(
            Query(
                f'SELECT {at_stage(_BAND)} AS confidence, {RATE} AS "override rate", sum(reviewed) AS n'
                f" {verdicts(DETECTIONS)} GROUP BY stage, band ORDER BY {IN_ORDER}, band"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="barchart",
        owner="data",
        smallest=DAY,
        rate=True,
    ),
    Observable(
        name="override-classes",
        title="Override rate by class",
        question="Which class is corrected most?",
        good="every class under a quarter, and under the bound of the contract.",
        bad="a class far above the others with an n that carries it.",
        next_steps=_STEPS,
        queries=(
            Query(
                f'SELECT {at_stage("class_name")} AS class, {RATE} AS "override rate",'
                ' sum(false_positive) AS "false positive", sum(wrong_class) AS "wrong class", sum(bad_box)'
                ' AS "bad box",'
                f" sum(missed) AS missed, sum(reviewed) AS n {verdicts(OBJECTS)} GROUP BY 1"
                " ORDER BY 2 DESC NULLS LAST, 1 LIMIT 40"
            ),
        ),
        unit="short",
        units={"override rate": "percentunit"},
        no_value=_NONE,
        kind="table",
        owner="data",
        smallest=DAY,
        rate=True,
    ),
    Observable(
        name="override-cameras",
        title="Override rate by camera",
        question="On which camera is the model corrected most?",
        good="rates close together.",
        bad="one camera far above the others: look at its light, its lens and its product.",
        next_steps=("Choose the camera above and read since when.", *_STEPS),
        queries=(
            Query(
                f'SELECT {at_stage("camera")} AS camera, {RATE} AS "override rate", sum(reviewed) AS n'
                f" {verdicts(DETECTIONS)} GROUP BY 1"
                " ORDER BY 2 DESC NULLS LAST, 1 LIMIT 12"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="table",
        owner="data",
        smallest=DAY,
        rate=True,
    ),
)
BOARD = Board(
    "monitor-overrides",
    "Human overrides",
    "How often do people correct the model, where, and in which way?",
    OBSERVABLES,
    start="now-7d",
)
