"""Drift and incidents: has what the cameras see moved away from the baseline, where, since when, and why?"""

from __future__ import annotations

from monitor.panels.observable import MONTH, Board, Observable, Query
from monitor.panels.sql import AT_STAGES, EVERYWHERE, FOR_MODEL, SCOPE, at_stage, mean_over_time

_NONE = "No window of this time range has been measured. Windows are measured once they are over and settled."
_STEPS = (
    "Look at the newest frames of the camera beside those of the baseline.",
    "All cameras of a hall together: the light. One camera: its lamp, its lens, its glass.",
    "A deployment mark right before it: hold the versions against each other.",
)
_NEWEST = (
    "SELECT DISTINCT ON (stage, camera, signal, class_name) stage, camera, signal, class_name, measure, value, noise,"
    " n, now_mean, baseline_mean, window_end FROM reporting.measured"
    f" WHERE $__timeFilter(window_end) AND {SCOPE} AND measure = 'psi' AND value IS NOT NULL"
    " ORDER BY stage, camera, signal, class_name, window_end DESC"
)
CAMERA = "CASE camera WHEN '' THEN 'all cameras' ELSE camera END"
_BOUND = (
    "(SELECT min(above) FROM reporting.threshold t WHERE t.model IN (${model:sqlstring}) AND t.signal = newest.signal"
    " AND t.measure = newest.measure AND NOT t.relative)"
)


def _psi(signals: str) -> str:
    return (
        f'SELECT window_end AS "time", {at_stage("signal")} AS metric, max(value) AS psi FROM reporting.measured'
        f" WHERE $__timeFilter(window_end) AND {EVERYWHERE} AND class_name = '' AND measure = 'psi'"
        f" AND signal IN ({signals}) AND value IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )


def _image(name: str, signal: str, title: str, what: str, bad: str) -> Observable:
    return Observable(
        name=name,
        title=title,
        question=f"Since when has {what} changed?",
        good="flat, beside the baseline, through days and shifts.",
        bad=bad,
        next_steps=_STEPS,
        queries=(Query(mean_over_time(signal, signal.replace("_", " "))),),
        unit="short",
        no_value="No frame in this time range carries image statistics.",
        rate=True,
        series=3,
    )


OBSERVABLES = (
    Observable(
        name="incidents",
        title="Incidents",
        question="What has changed, where, since when, and what is it likely to be?",
        good="no open rows.",
        bad="an open row: several cameras or signals have moved together for one cause.",
        next_steps=(
            "Do the first step that the row names.",
            "Read `monitor drift explain` or the incident's page for the numbers behind it.",
            "If the change is here to stay, accept a new baseline with a reason.",
        ),
        queries=(
            Query(
                "SELECT CASE WHEN i.closed_on IS NULL THEN 'open' ELSE 'closed' END AS state, i.cause,"
                " array_to_string(i.scope || nullif(i.stage, ''), ' / ') AS place,"
                " array_to_string(i.signals, ', ') AS signals, i.onset,"
                ' i.last_alarm_on AS "last alarm", t.likely_cause AS "likely cause", t.first_step AS "do first",'
                ' t.frames, i.closed_because AS "closed because" FROM reporting.incident i LEFT JOIN LATERAL ('
                "SELECT likely_cause, first_step, frames FROM reporting.told WHERE alert_key = i.incident_key"
                " AND episode = i.episode AND state = 'firing' ORDER BY event_id DESC LIMIT 1) t ON true"
                " WHERE i.model IN (${model:sqlstring}) AND i.version IN (${version:sqlstring})"
                " AND i.onset <= $__timeTo()::date AND coalesce(i.closed_on, 'infinity') >= $__timeFrom()::date"
                " ORDER BY i.closed_on IS NULL DESC, i.opened_on DESC LIMIT 50"
            ),
        ),
        unit="short",
        no_value="No incident in this time range.",
        kind="table",
        owner="on-call",
        smallest=MONTH,
        width=24,
        words={"open": "red", "closed": "green"},
    ),
    Observable(
        name="drift-now",
        title="Farthest from the baseline",
        question="Which signal of which camera differs most from the baseline?",
        good="psi below the threshold, and below what chance alone gives (noise).",
        bad="psi above threshold and noise together: the distribution has moved, whatever its mean does.",
        next_steps=_STEPS,
        queries=(
            Query(
                f"SELECT {at_stage(CAMERA)} AS camera, signal, class_name AS class,"
                f' value AS psi, noise, {_BOUND} AS threshold, now_mean AS "mean now", baseline_mean AS baseline, n,'
                f' window_end AS "window\'s end" FROM ({_NEWEST}) newest ORDER BY value DESC LIMIT 25'
            ),
        ),
        unit="short",
        no_value=_NONE,
        kind="table",
        smallest=MONTH,
        width=24,
    ),
    Observable(
        name="drift-image",
        title="Images: PSI over time, all cameras",
        question="Do the images look different from those of the baseline?",
        good="lines near zero.",
        bad="a line that climbs from window to window: lamps age, lenses get dirty.",
        next_steps=_STEPS,
        queries=(
            Query(_psi("'brightness', 'pixel_brightness', 'contrast', 'sharpness', 'red_balance', 'blue_balance'")),
        ),
        unit="short",
        no_value=_NONE,
        smallest=MONTH,
        series=6,
    ),
    Observable(
        name="drift-predictions",
        title="Predictions: PSI over time, all cameras",
        question="Do the predictions look different from those of the baseline?",
        good="lines near zero.",
        bad="a line that climbs without one of the images: the product has changed, not the picture.",
        next_steps=("See the dashboard of predictions for which class it is.", *_STEPS),
        queries=(Query(_psi("'confidence', 'class_share', 'detections', 'box_area', 'box_aspect', 'latency_ms'")),),
        unit="short",
        no_value=_NONE,
        smallest=MONTH,
        series=6,
    ),
    _image(
        "brightness",
        "brightness",
        "Brightness over time",
        "the light",
        "a slow fall (a lamp ages), a step (a lamp failed, a setting changed), or a new daily rhythm (daylight).",
    ),
    _image(
        "sharpness",
        "sharpness",
        "Sharpness over time",
        "the sharpness of the images",
        "a fall: dirt, water or condensation on the glass, or a lens out of focus. Confidence may hardly move.",
    ),
    _image(
        "contrast",
        "contrast",
        "Contrast over time",
        "the contrast of the images",
        "a fall: haze, condensation, less light; a rise: hard shadows or glare.",
    ),
    Observable(
        name="watch-alarms",
        title="Lanes close to an alarm",
        question="Which slow change is about to be told, and which has been?",
        good="every share far below one.",
        bad="a share near one: small differences have added up to nearly what the budget of false alarms allows.",
        next_steps=("Read `monitor drift explain` for that camera and lane.", *_STEPS),
        queries=(
            Query(
                f"SELECT {at_stage('camera')} AS camera, signal AS lane, class_name AS class,"
                ' max(value / nullif(noise, 0)) AS "share of the limit", max(window_end) AS "last day" FROM ('
                "SELECT *, max(window_end) OVER (PARTITION BY stage, camera, signal, class_name) AS newest"
                f" FROM reporting.measured WHERE $__timeFilter(window_end) AND {FOR_MODEL}"
                f" AND {AT_STAGES} AND (camera IN (${{camera:sqlstring}}) OR camera = '') AND measure IN ('cusum_up',"
                " 'cusum_down')) days"
                " WHERE window_end = newest GROUP BY 1, 2, 3 HAVING max(value / nullif(noise, 0)) > 0"
                " ORDER BY 4 DESC LIMIT 25"
            ),
        ),
        unit="percentunit",
        no_value="No lane has a baseline of 14 days yet, or nothing has moved.",
        kind="table",
        smallest=MONTH,
    ),
    Observable(
        name="drift-score",
        title="Rules: what they see, against what they allow",
        question="How close are the static rules to firing now?",
        good="every score below its threshold.",
        bad="a score above its threshold: an alert is pending or firing.",
        next_steps=("See the overview for the alert and its sentence.", *_STEPS),
        queries=(
            Query("topk(6, monitor_drift_score)", "prometheus", "{{rule}} {{camera}} {{class_name}} {{stage}}"),
            Query(
                "monitor_drift_threshold and topk(6, monitor_drift_score)",
                "prometheus",
                "threshold {{rule}} {{camera}} {{class_name}} {{stage}}",
                ref="B",
            ),
        ),
        unit="short",
        no_value="No rule has judged a window yet.",
        series=12,
    ),
    Observable(
        name="undecided",
        title="Windows with and without a verdict",
        question="Where is there too little data, or no baseline, to say anything?",
        good="few rows: silence is not the same as well.",
        bad="a signal with hardly any verdict: its rules cannot fire.",
        next_steps=("No baseline: freeze one.", "Not enough data: widen the window or lower min_n in the contract."),
        queries=(
            Query(
                f'SELECT {at_stage("signal")} AS signal, state, count(*) AS windows, max(n) AS "largest n"'
                f" FROM reporting.measured WHERE $__timeFilter(window_end) AND {SCOPE} AND measure = 'psi'"
                " GROUP BY 1, 2 ORDER BY state = 'ok', 3 DESC, 1 LIMIT 30"
            ),
        ),
        unit="short",
        no_value=_NONE,
        kind="table",
        smallest=MONTH,
        words={"ok": "green", "insufficient": "orange", "no_baseline": "orange", "no_data": "orange"},
    ),
)
BOARD = Board(
    "monitor-drift",
    "Drift and incidents",
    "Has what the cameras see moved away from the baseline: where, since when, and why?",
    OBSERVABLES,
    start="now-30d",
)
