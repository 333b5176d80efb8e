"""Golden set and releases: is the model still the one that was accepted, and is the next one better?"""

from __future__ import annotations

from monitor.panels.observable import MONTH, Board, Observable, Query
from monitor.panels.sql import FOR_MODEL

_GOLDEN = (
    f"FROM reporting.measured WHERE $__timeFilter(window_end) AND {FOR_MODEL} AND signal = 'golden' AND camera = ''"
    " AND slice = 'all'"
)
_PRECISION = f"{_GOLDEN} AND measure IN ('map50', 'map50_95') AND class_name = ''"
_VERSIONS = 4
"""Versions of which the panel draws a line each: those scored last."""
_NONE = "The golden set has not been scored in this time range."
_STEPS = (
    "Same model and frames, other digest: the runtime or the preprocessing has changed; hold the"
    " environments together.",
    "Same digest: the model is what it was, so look at the world outside: drift and overrides.",
)

OBSERVABLES = (
    Observable(
        name="versions",
        title="Versions in production",
        question="Which version went live when, and what changed with it?",
        good="the versions that you expect.",
        bad="a version that nobody announced, or one that came right before a change in the other dashboards.",
        next_steps=("Hold it against the version before on the golden set.", "If it is worse, roll back."),
        queries=(
            Query(
                'SELECT at AS "time", model, version, note AS "what changed" FROM reporting.deployment'
                " WHERE at <= $__timeTo() AND model IN (${model:sqlstring}) ORDER BY at DESC LIMIT 30"
            ),
        ),
        unit="short",
        no_value="No deployment is noted; `monitor release note` writes one down.",
        kind="table",
        smallest=MONTH,
    ),
    Observable(
        name="demands",
        title="What the contract demands",
        question="Which bounds are in force, and whose are they?",
        good="every bound that you rely on is here.",
        bad="a bound is missing: nobody is told when it is broken.",
        next_steps=("Change the contract, run `monitor spec check`, and let the daemon take it up.",),
        queries=(
            Query(
                "SELECT rule, pillar, severity, signal, measure, class_name AS class, above, below,"
                " CASE WHEN relative THEN 'of the baseline' ELSE 'absolute' END AS bound, min_n AS n, owner"
                " FROM reporting.threshold WHERE model IN (${model:sqlstring}) AND $__timeFrom() < $__timeTo()"
                " ORDER BY pillar, rule LIMIT 60"
            ),
        ),
        unit="short",
        no_value="No contract is in force.",
        kind="table",
    ),
    Observable(
        name="golden-runs",
        title="Runs over the golden and challenge sets",
        question="Did the last run count, did it give the same answer, and does the version pass?",
        good="done, same, pass.",
        bad="error, degraded: nothing was said that night; other: another answer; fail: a criterion does not hold.",
        next_steps=(
            "error, degraded: mend what the reason names.",
            "fail: `monitor golden gate` lists every cell.",
            *_STEPS,
        ),
        queries=(
            Query(
                'SELECT started_at AS "time", kind, version, status, verdict, sameness AS answer,'
                ' array_to_string(changed, \', \') AS "changed since", set_name AS "of", images AS n,'
                " reason FROM reporting.golden_run WHERE $__timeFilter(started_at) AND model IN (${model:sqlstring})"
                " ORDER BY started_at DESC LIMIT 60"
            ),
        ),
        unit="short",
        no_value=_NONE,
        kind="table",
        owner="data",
        smallest=MONTH,
        width=24,
        words={
            "done": "green",
            "degraded": "orange",
            "error": "red",
            "pass": "green",
            "fail": "red",
            "insufficient": "orange",
            "same": "green",
            "rounding": "green",
            "other": "red",
        },
    ),
    Observable(
        name="golden-map",
        title="Average precision of the nightly runs",
        question="Does each version score on the golden set what it scored when it was accepted?",
        good="flat: same model, same frames, same answer.",
        bad="any step without a deployment.",
        next_steps=_STEPS,
        queries=(
            # A version each: a candidate that was scored beside the version in use must not stand for it.
            Query(
                "SELECT window_end AS \"time\", version || CASE measure WHEN 'map50' THEN ' at 0.5' ELSE"
                f" ' at 0.5 to 0.95' END AS metric, value AS \"average precision\" {_PRECISION} AND version IN"
                f" (SELECT version {_PRECISION} GROUP BY 1 ORDER BY max(window_end) DESC, 1 LIMIT {_VERSIONS})"
                " ORDER BY 1, 2"
            ),
            Query(f'SELECT window_end AS "time", max(n) AS n {_PRECISION} GROUP BY 1 ORDER BY 1', ref="B"),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        owner="data",
        smallest=MONTH,
        rate=True,
        series=2 * _VERSIONS + 1,
    ),
    Observable(
        name="golden-classes",
        title="Golden set by class, last run",
        question="Which class is below what the contract demands?",
        good="precision and recall above their bounds, with the lower end of the interval.",
        bad="a class below: that version must not be released, or must be rolled back.",
        next_steps=("Read `monitor golden gate` for the failed cells.", *_STEPS),
        queries=(
            Query(
                "SELECT CASE class_name WHEN '' THEN 'all classes' ELSE class_name END AS class, version,"
                " max(value) FILTER (WHERE measure = 'precision') AS precision,"
                " max(value) FILTER (WHERE measure = 'recall') AS recall, max(n) AS n,"
                ' window_end AS "scored at" FROM (SELECT *, max(window_end) OVER (PARTITION BY version) AS newest'
                f" {_GOLDEN} AND measure IN ('precision', 'recall')) runs WHERE window_end = newest"
                " GROUP BY 1, 2, 6 ORDER BY 6 DESC, 2, 1 LIMIT 40"
            ),
        ),
        unit="percentunit",
        units={"n": "short"},
        no_value=_NONE,
        kind="table",
        owner="data",
        smallest=MONTH,
        rate=True,
    ),
)
BOARD = Board(
    "monitor-golden",
    "Golden set and releases",
    "Is the model still the one that was accepted, and is the next one better?",
    OBSERVABLES,
    start="now-30d",
)
