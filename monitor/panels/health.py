"""Inference health: does the model answer, in time and without errors, on every camera?"""

from __future__ import annotations

from monitor.panels import pipeline
from monitor.panels.observable import DAY, Board, Observable, Query
from monitor.panels.sql import (
    AT_STAGES,
    BUCKET,
    IN_ORDER,
    LIVE,
    ON_CAMERAS,
    at_stage,
    baseline_quantile,
    bound,
    bound_query,
    edge,
    mean_now,
    mean_over_time,
    quantiles,
    rollup,
    usual,
)

FAILED = "coalesce(sum(n) FILTER (WHERE class_name NOT IN ('', 'ok')), 0)"
FRAMES = "sum(n) FILTER (WHERE class_name = '')"
ERRORS = "class_name NOT IN ('', 'ok')"
_NO_FRAMES = "No frames in this time range."
_SERVICE = (
    "Look at load, memory and errors of the inference host since the time at which the line moves.",
    "Was a version deployed then? Hold the new one against the old on the golden set, and roll back if it is worse.",
)

_EDGES = {name: edge("latency_ms", name) for name in ("p50", "p95", "p99")}
_USUAL_P95 = usual(baseline_quantile("latency_ms", 0.95))
_LATENCY = (
    f"{quantiles('latency_ms', '$__timeGroup(start_at, $__interval)')}"
    f' SELECT at AS "time", stage, {", ".join(f"{place} AS {name}" for name, place in _EDGES.items())},'
    f" usual AS baseline, {bound('latency_ms', 'p95')} AS threshold, n AS n FROM found {_USUAL_P95}"
    " ORDER BY at, stage"
)
_CAMERAS = (
    f"{quantiles('latency_ms', 'camera')} SELECT {at_stage('at')} AS camera, {_EDGES['p95']} AS p95, n AS n"
    " FROM found ORDER BY 2 DESC NULLS LAST, 1 LIMIT 12"
)

OBSERVABLES = (
    Observable(
        name="error-rate-now",
        title="Error rate",
        question="Which share of the frames came back with an error?",
        good="close to zero, and below the contract's bound.",
        bad="red: above the contract's bound, with enough frames (n) for that not to be chance.",
        next_steps=("See below which kind of error it is and on which camera.", *_SERVICE),
        queries=(
            Query(
                f'SELECT stage, {FAILED} * 1.0 / nullif({FRAMES}, 0) AS "error rate", {FRAMES} AS n'
                f" {rollup('status', '')} GROUP BY stage ORDER BY {IN_ORDER}"
            ),
        ),
        threshold=bound_query("status", "error_rate"),
        judged=("error rate",),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NO_FRAMES,
        kind="stat",
        owner="on-call",
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="latency-p95-now",
        title="Latency, p95",
        question="How long does the slowest twentieth of the frames wait for a result?",
        good="near the baseline and under the contract's bound.",
        bad="red: above the contract's bound; twice the baseline is what the ready rule calls too slow.",
        next_steps=("See whether all cameras are slow (the host) or one (its network, its image size).", *_SERVICE),
        queries=(
            Query(
                f"{quantiles('latency_ms', '1')} SELECT stage, {_EDGES['p95']} AS p95, usual AS baseline, n AS n"
                f" FROM found {_USUAL_P95} ORDER BY {IN_ORDER}"
            ),
        ),
        threshold=bound_query("latency_ms", "p95"),
        judged=("p95",),
        unit="ms",
        units={"n": "short"},
        no_value="Fewer than 300 frames with a latency in this time range.",
        kind="stat",
        owner="on-call",
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="throughput-now",
        title="Frames",
        question="How many frames went through the model? In a pipeline each stage counts its own; an image that goes"
        " through two stages is one, and the first stage has them all.",
        good="what the plant's schedule says.",
        bad="far below the schedule while the line runs: frames do not reach the model, or their logs do not arrive.",
        next_steps=("Look for silent cameras below.", "See on the monitor's own dashboard whether logs come in."),
        queries=(
            Query(
                f"SELECT stage, {FRAMES} AS frames {rollup('status', '')} GROUP BY stage HAVING {FRAMES} > 0"
                f" ORDER BY {IN_ORDER}"
            ),
        ),
        unit="short",
        no_value=_NO_FRAMES,
        kind="stat",
        width=6,
        height=5,
    ),
    Observable(
        name="queue-depth-now",
        title="Queue, mean",
        question="How many frames wait for the model on average?",
        good="near the baseline: the model keeps up.",
        bad="growing: more frames come than the model takes, and soon the answers come too late to act on.",
        next_steps=("Look at the latency at the same time: slower frames make longer queues.", *_SERVICE),
        queries=(Query(mean_now("queue_depth", "waiting frames")),),
        threshold=bound_query("queue_depth", "mean"),
        judged=("waiting frames",),
        unit="short",
        no_value="No frame in this time range tells the depth of its queue.",
        kind="stat",
        rate=True,
        width=6,
        height=5,
    ),
    Observable(
        name="error-rate",
        title="Error rate over time",
        question="Since when do frames fail?",
        good="flat and under the dashed line, which is the contract's bound.",
        bad="a step upwards; the bars say how many frames each point rests on.",
        next_steps=("Read the time of the step and look for a deployment mark beside it.", *_SERVICE),
        queries=(
            Query(
                f'SELECT {BUCKET}, stage, {FAILED} * 1.0 / nullif({FRAMES}, 0) AS "error rate",'
                f" {bound('status', 'error_rate')} AS threshold, {FRAMES} AS n {rollup('status', '')}"
                " GROUP BY 1, stage ORDER BY 1, stage"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NO_FRAMES,
        owner="on-call",
        rate=True,
        series=3,
    ),
    Observable(
        name="latency",
        title="Latency over time",
        question="Since when are results late?",
        good="p95 near its baseline, p99 not far above it. A quantile is the edge of a bucket, 2 % wide.",
        bad="p95 over twice the baseline, or over the dashed bound of the contract.",
        next_steps=("One camera or all of them? See the table of cameras.", *_SERVICE),
        queries=(Query(_LATENCY),),
        unit="ms",
        units={"n": "short"},
        no_value="No point in time has 20 frames with a latency; choose a longer period.",
        owner="on-call",
        rate=True,
        series=6,
    ),
    Observable(
        name="throughput",
        title="Frames by hour",
        question="Do frames come in as the plant's schedule says? In a pipeline each stage has a line of its own: the"
        " first counts images, a later one those that were passed on to it.",
        good="the plant's own rhythm of shifts and days.",
        bad="a gap while the line runs, or a drop without a change of schedule.",
        next_steps=(
            "Look for silent cameras.",
            "Ask the line whether it stood still; if not, follow the logs from the inference host to the intake.",
        ),
        queries=(
            Query(
                f"SELECT {BUCKET}, stage, {FRAMES} AS frames, {FAILED} AS failed {rollup('status', '')}"
                " GROUP BY 1, stage ORDER BY 1, stage"
            ),
        ),
        unit="short",
        no_value=_NO_FRAMES,
        series=2,
    ),
    Observable(
        name="queue-depth",
        title="Queue over time",
        question="Does the model keep up with the cameras?",
        good="flat, near the baseline.",
        bad="rising from hour to hour: the model falls behind.",
        next_steps=("Look at latency and throughput at the same time.", *_SERVICE),
        queries=(Query(mean_over_time("queue_depth", "waiting frames")),),
        unit="short",
        no_value="No frame in this time range tells the depth of its queue.",
        rate=True,
        series=3,
    ),
    Observable(
        name="error-kinds",
        title="Errors by kind",
        question="What goes wrong with the frames that fail?",
        good="no rows, or a few stray ones.",
        bad="one kind that leads: it names the part that is broken.",
        next_steps=(
            "time-outs: look at the load of the host; decoding errors: at the camera or its network.",
            "Filter by camera to see whether one camera alone has them.",
        ),
        queries=(
            Query(
                f'SELECT {at_stage("class_name")} AS "kind of error", sum(n) AS frames'
                f" {rollup('status', ERRORS)} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 12"
            ),
        ),
        unit="short",
        no_value="No frame failed in this time range.",
        kind="table",
        smallest=DAY,
        owner="on-call",
    ),
    Observable(
        name="cameras-latency",
        title="Latency by camera, p95",
        question="Is one camera slower than the others?",
        good="bars of about one length.",
        bad="one long bar: its network, its image size or its host.",
        next_steps=("Choose that camera above and read since when.", *_SERVICE),
        queries=(Query(_CAMERAS),),
        threshold=bound_query("latency_ms", "p95"),
        judged=("p95",),
        unit="ms",
        units={"n": "short"},
        no_value="No camera has 300 frames with a latency in this time range.",
        kind="table",
        rate=True,
        series=12,
    ),
    Observable(
        name="silent-cameras",
        title="Cameras by silence",
        question="Which camera has stopped sending?",
        good="every camera that should run has a last hour close to now.",
        bad="a camera on top whose last hour is long ago: it is off, its network is down, or its logs do not arrive.",
        next_steps=(
            "Ask the line whether the camera should run.",
            "Look at the camera and its network, then at the folder or the sender of its logs.",
        ),
        queries=(
            Query(
                f'SELECT {at_stage("camera")} AS camera, max(start_at) AS "last hour", sum(n) AS frames'
                f" FROM reporting.rollup WHERE $__timeFilter(start_at) AND {ON_CAMERAS} AND {AT_STAGES} AND {LIVE}"
                " AND signal = 'status' AND class_name = '' AND slice = 'all' GROUP BY 1 ORDER BY 2, 1 LIMIT 50"
            ),
        ),
        unit="short",
        no_value=_NO_FRAMES,
        kind="table",
        owner="on-call",
    ),
    pipeline.TABLE,
)
BOARD = Board(
    "monitor-health",
    "Inference health",
    "Does the model answer, in time and without errors, on every camera?",
    OBSERVABLES,
)
