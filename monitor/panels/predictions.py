"""Predictions: does the model see what it used to see, as surely as it used to?"""

from __future__ import annotations

from monitor.panels.observable import Board, Observable, Query
from monitor.panels.sql import (
    BUCKET,
    IN_ORDER,
    OF_CLASS,
    SCOPE,
    at_stage,
    bound,
    bound_query,
    cells,
    mean_now,
    mean_over_time,
    rollup,
    usual,
)

LOW = "bin <= 50"
"""Buckets of a confidence below 0.5: 100 of them lie between 0 and 1, and bin 0 lies below 0."""
_NONE = "No detections in this time range."
_LOOK = (
    "Look at frames of low confidence from that time: a new product, a new packaging, or an image that has changed?",
    "Image changed: see the drift dashboard. New product: send the frames to labelling.",
)
_FIVE = "to_char(least(greatest(bin - 1, 0), 99) / 5 * 0.05, 'FM0.00')"
"""The lower edge of the twentieth that a bucket lies in."""
_BUCKETS = cells("confidence")
_BASELINE_BUCKETS = f"FROM reporting.baseline_bucket WHERE {SCOPE} AND signal = 'confidence' AND class_name = ''"
_LOW_SHARE = f"coalesce(sum(count) FILTER (WHERE {LOW}), 0) * 1.0 / nullif(sum(count), 0)"
_BASELINE_LOW = f"SELECT stage, {_LOW_SHARE} AS usual, sum(count) AS n {_BASELINE_BUCKETS} GROUP BY stage"
_STRICTEST_LOW = f"(SELECT min(usual) FROM ({_BASELINE_LOW}) old)"
_LOW_NOW = f'{_LOW_SHARE} AS "low confidence", usual AS baseline'
_SUMS = "stage, class_name, sum(n) AS n, sum(sum) AS sum, sum(sum(n)) OVER (PARTITION BY stage) AS whole"
_NOW_BY_CLASS = f"SELECT {_SUMS} {rollup('confidence', OF_CLASS)} GROUP BY 1, 2"
_BASELINE_BY_CLASS = (
    f"SELECT {_SUMS} FROM reporting.baseline_sum WHERE {SCOPE} AND signal = 'confidence' AND {OF_CLASS} GROUP BY 1, 2"
)

OBSERVABLES = (
    Observable(
        name="confidence-now",
        title="Mean confidence",
        question="How sure is the model of what it finds?",
        good="near the baseline.",
        bad="more than a tenth below it: the model sees something that it was not trained on.",
        next_steps=_LOOK,
        queries=(Query(mean_now("confidence", "mean confidence")),),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="stat",
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="low-confidence-now",
        title="Detections of low confidence",
        question="Which share of the detections has a confidence below 0.5?",
        good="near the baseline.",
        bad="a spike: something stands before the cameras that the model half knows.",
        next_steps=_LOOK,
        queries=(
            Query(
                f"SELECT stage, {_LOW_NOW}, sum(count) AS n {_BUCKETS} {usual(_BASELINE_LOW)}"
                f" GROUP BY stage, usual HAVING sum(count) > 0 ORDER BY {IN_ORDER}"
            ),
        ),
        threshold=bound_query("confidence", "low_share", baseline=_STRICTEST_LOW),
        judged=("low confidence",),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="stat",
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="detections-now",
        title="Detections a frame",
        question="How much does the model find on a frame?",
        good="near the baseline, for the same product mix.",
        bad="half or double the baseline: objects are missed, or background is taken for objects.",
        next_steps=("Look at frames with far more or fewer detections than usual.", *_LOOK),
        queries=(Query(mean_now("detections", "detections a frame")),),
        unit="short",
        no_value="No frame was processed in this time range.",
        kind="stat",
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="detections-count",
        title="Detections",
        question="How many objects were found?",
        good="in proportion to the frames.",
        bad="none while frames come in: the threshold, the output format or the view has changed.",
        next_steps=("Look at the newest frames.", "Look for a deployment mark at the time of the change."),
        queries=(
            Query(
                f"SELECT stage, sum(sum) AS detections {rollup('detections')} GROUP BY stage HAVING sum(n) > 0"
                f" ORDER BY {IN_ORDER}"
            ),
        ),
        unit="short",
        no_value="No frame was processed in this time range.",
        kind="stat",
        width=6,
        height=5,
    ),
    Observable(
        name="confidence",
        title="Mean confidence over time",
        question="Since when is the model less sure?",
        good="flat, beside the dashed baseline.",
        bad="a slow slide (the image ages) or a step (a deployment, a new product), down to the dashed bound.",
        next_steps=("Read the time of the change, then look for a deployment mark and open incidents.", *_LOOK),
        queries=(Query(mean_over_time("confidence", "mean confidence", "below")),),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        rate=True,
        series=3,
    ),
    Observable(
        name="low-confidence",
        title="Share of low confidence over time",
        question="Since when do uncertain detections pile up?",
        good="flat, beside the baseline.",
        bad="a spike above the baseline; above the dashed bound of the contract an alert comes.",
        next_steps=_LOOK,
        queries=(
            Query(
                f"SELECT {BUCKET}, stage, {_LOW_NOW}, {bound('confidence', 'low_share', baseline='usual')} AS"
                f" threshold, sum(count) AS n {_BUCKETS} {usual(_BASELINE_LOW)} GROUP BY 1, stage, usual"
                " ORDER BY 1, stage"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        rate=True,
    ),
    Observable(
        name="class-shares",
        title="Class shares beside the baseline",
        question="Does the model find the classes in the proportions of the baseline?",
        good="both bars of a class of about one length.",
        bad="a class that gained or lost some points of share, while the plan of production has not changed.",
        next_steps=(
            "Hold it against the plan of production.",
            "If the plan has not changed, look at frames of the class.",
        ),
        queries=(
            Query(
                f"SELECT {at_stage('class_name')} AS class, coalesce(now.n, 0) * 1.0"
                " / nullif(max(now.whole) OVER (PARTITION BY stage), 0) AS share,"
                " old.n * 1.0 / nullif(old.whole, 0) AS baseline, coalesce(now.n, 0) AS n"
                f" FROM ({_NOW_BY_CLASS}) now FULL JOIN ({_BASELINE_BY_CLASS}) old USING (stage, class_name)"
                f" ORDER BY {IN_ORDER}, 2 DESC NULLS LAST, 1 LIMIT 20"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="barchart",
        rate=True,
    ),
    Observable(
        name="classes",
        title="Classes",
        question="Which class has changed, in how often it is found and in how sure the model is of it?",
        good="share and confidence near their baselines.",
        bad="a class whose confidence fell by more than a tenth, or whose share moved while the plan did not.",
        next_steps=("Choose the class above and look at its frames.", *_LOOK),
        queries=(
            Query(
                f"SELECT {at_stage('class_name')} AS class, now.n * 1.0 / nullif(now.whole, 0) AS share,"
                ' old.n * 1.0 / nullif(old.whole, 0) AS "baseline share", now.sum / nullif(now.n, 0) AS'
                ' "mean confidence",'
                ' old.sum / nullif(old.n, 0) AS "baseline", now.n AS n'
                f" FROM ({_NOW_BY_CLASS}) now LEFT JOIN ({_BASELINE_BY_CLASS}) old USING (stage, class_name)"
                f" ORDER BY {IN_ORDER}, now.n DESC, 1 LIMIT 40"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="table",
        rate=True,
    ),
    Observable(
        name="confidence-histogram",
        title="Confidences beside the baseline",
        question="Has the form of the confidences changed, although their mean has not?",
        good="bars like those of the baseline: most mass where it used to be.",
        bad="mass that moves to the middle (doubt), or two humps where there was one (a part of the input is new).",
        next_steps=_LOOK,
        queries=(
            Query(
                f"SELECT {at_stage(_FIVE)} AS confidence,"
                " sum(now) * 1.0 / nullif(sum(sum(now)) OVER (PARTITION BY stage), 0) AS share,"
                " sum(old) * 1.0 / nullif(sum(sum(old)) OVER (PARTITION BY stage), 0) AS baseline, sum(now) AS n"
                f" FROM (SELECT stage, bin, count AS now, 0 AS old {_BUCKETS} UNION ALL SELECT stage, bin, 0, count"
                f" {_BASELINE_BUCKETS}) cells GROUP BY stage, 1 ORDER BY {IN_ORDER}, 1"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="barchart",
        rate=True,
    ),
    Observable(
        name="detections",
        title="Detections a frame over time",
        question="Since when does the model find more or fewer objects?",
        good="the plant's rhythm, around the baseline.",
        bad="a step without a change of product: the view, the threshold or the background has changed.",
        next_steps=("Look for a deployment mark at the step.", *_LOOK),
        queries=(Query(mean_over_time("detections", "detections a frame")),),
        unit="short",
        no_value="No frame was processed in this time range.",
        rate=True,
        series=3,
    ),
    Observable(
        name="box-area",
        title="Size of boxes over time",
        question="Do the objects look larger or smaller than they used to?",
        good="flat, beside the baseline: camera and product are where they were.",
        bad="a step: the camera was moved or its lens changed, or the product is another.",
        next_steps=("Look at the newest frames beside those of the baseline.", "Ask who worked at the camera."),
        queries=(Query(mean_over_time("box_area", "share of the frame")),),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        rate=True,
        series=3,
    ),
    Observable(
        name="cameras-confidence",
        title="Cameras by confidence",
        question="On which camera is the model least sure?",
        good="means close together.",
        bad="one camera far below the others and below its own baseline.",
        next_steps=("Choose the camera above and read since when.", *_LOOK),
        queries=(
            Query(
                f'SELECT {at_stage("camera")} AS camera, now.sum / nullif(now.n, 0) AS "mean confidence",'
                " old.sum / nullif(old.n, 0) AS baseline, now.n AS n"
                f" FROM (SELECT stage, camera, sum(sum) AS sum, sum(n) AS n {rollup('confidence')} GROUP BY 1, 2) now"
                " LEFT JOIN (SELECT stage, camera, sum(sum) AS sum, sum(n) AS n FROM reporting.baseline_sum"
                f" WHERE {SCOPE} AND signal = 'confidence' AND class_name = '' GROUP BY 1, 2) old"
                " USING (stage, camera) ORDER BY 2, 1 LIMIT 12"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="table",
        rate=True,
    ),
)
BOARD = Board(
    "monitor-predictions",
    "Predictions",
    "Does the model see what it used to see, as surely as it used to?",
    OBSERVABLES,
)
