"""The stages of a pipeline beside each other and as a whole, whichever of them is chosen."""

from __future__ import annotations

from monitor.panels.observable import Observable, Query
from monitor.panels.sql import CORRECTED, PIPELINE, STAGES, edge, quantiles, rollups, verdicts

_FRAMES = "signal = 'status' AND class_name = ''"
_FAILED = "signal = 'status' AND class_name NOT IN ('', 'ok')"
_TIMED = "signal = 'latency_ms' AND class_name = ''"
_COUNTED = (
    f"SELECT stage, sum(n) FILTER (WHERE {_FRAMES}) AS frames, sum(n) FILTER (WHERE {_FAILED}) AS failed,"
    f" sum(n) FILTER (WHERE {_TIMED}) AS timed, sum(sum) FILTER (WHERE {_TIMED}) AS ms"
    f" {rollups(f'({_FRAMES} OR {_FAILED} OR {_TIMED})', PIPELINE)} GROUP BY stage"
)
_JUDGED = (
    f"SELECT stage, {CORRECTED} AS corrected, sum(false_positive) AS false_alarms, sum(reviewed) AS reviewed"
    f" {verdicts(' AND band >= 0', PIPELINE)} GROUP BY stage"
)
# A stage that the contract declares and that had no frame stands among the parts too: nothing was passed on to it.
_PARTS = (
    "SELECT stage, place, coalesce(frames, 0) AS frames, coalesce(failed, 0) AS failed, coalesce(timed, 0) AS timed,"
    f" ms, {edge('latency_ms', 'p95')} AS p95, corrected, false_alarms, reviewed"
    f" FROM counted FULL JOIN (SELECT stage, place {STAGES}) declared USING (stage)"
    " LEFT JOIN found USING (stage) LEFT JOIN judged USING (stage) WHERE EXISTS (SELECT FROM counted)"
)
# Each sum of the whole is held against the images, which are the frames of the first stage.
_WHOLE = (
    "SELECT sum(frames) FILTER (WHERE place = 1) AS frames, sum(frames) FILTER (WHERE place = last) AS through,"
    " sum(failed) AS failed, sum(timed) FILTER (WHERE place = 1) AS timed, sum(ms) AS ms,"
    " sum(corrected) AS corrected, sum(false_alarms) AS false_alarms, sum(reviewed) AS reviewed"
    " FROM parts CROSS JOIN (SELECT max(place) AS last FROM parts) ends WHERE place IS NOT NULL HAVING count(*) > 1"
)
_ROWS = (
    "SELECT CASE stage WHEN '' THEN 'the only one' ELSE stage END AS stage, place, frames,"
    " CASE WHEN place IS NOT NULL THEN lead(frames) OVER (PARTITION BY place IS NULL ORDER BY place) END AS through,"
    " failed, timed, ms, p95, corrected, false_alarms, reviewed FROM parts"
    " UNION ALL SELECT 'the whole pipeline', NULL, frames, through, failed, timed, ms, NULL, corrected, false_alarms,"
    " reviewed FROM whole"
)
_TOLD = (
    f"{quantiles('latency_ms', '1', PIPELINE)}, counted AS ({_COUNTED}), judged AS ({_JUDGED}), parts AS ({_PARTS}),"
    f" whole AS ({_WHOLE}) SELECT stage, frames, CASE WHEN through IS NOT NULL"
    ' THEN least(through, frames) * 1.0 / nullif(frames, 0) END AS "passed on",'
    ' failed * 1.0 / nullif(frames, 0) AS "error rate",'
    ' ms / nullif(timed, 0) AS "mean latency", p95, corrected * 1.0 / nullif(reviewed, 0) AS "override rate",'
    ' false_alarms * 1.0 / nullif(reviewed, 0) AS "false alarms", reviewed, frames AS n'
    f" FROM ({_ROWS}) told ORDER BY stage = 'the whole pipeline', place LIMIT 12"
)

TABLE = Observable(
    name="stages",
    title="Stages of the pipeline",
    question="What does each stage pass on, how long does it take, and how often is it corrected? All stages are"
    " told, whichever is chosen. Of the whole: an image counts once, as a frame of the first stage; passed on is what"
    " reaches the last stage; an error at any stage counts; the mean latency is what all stages took together for"
    " each image (no record says which frames are of one image, so there is no p95).",
    good="each later stage takes the share of the first that it was planned for. No stages: one row.",
    bad="a later stage that gets far more or fewer frames than usual: the stage before it judges differently. False"
    " alarms of the last stage are those that reach people.",
    next_steps=(
        "Look at the predictions of the stage before: confidence and class shares.",
        "Hold the threshold of that stage against the contract.",
    ),
    queries=(Query(_TOLD),),
    unit="short",
    units={
        **dict.fromkeys(("passed on", "error rate", "override rate", "false alarms"), "percentunit"),
        **dict.fromkeys(("mean latency", "p95"), "ms"),
    },
    no_value="No frames in this time range.",
    kind="table",
    width=24,
)
