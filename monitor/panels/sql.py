"""The pieces that the panels' queries are made of. Every one reads views of schema `reporting`, within a time filter.

Means and shares are made of sums of the whole scope, never of other means; quantiles of the sums of buckets.
"""

from __future__ import annotations

from monitor.panels.observable import Query

BUCKET = "$__timeGroupAlias(start_at, $__interval)"
FOR_MODEL = "model IN (${model:sqlstring}) AND version IN (${version:sqlstring})"
ON_CAMERAS = f"{FOR_MODEL} AND camera IN (${{camera:sqlstring}})"
SCOPE = f"{ON_CAMERAS} AND slice IN (${{slice:sqlstring}})"
"""The model, versions, cameras and slice that a person has chosen."""
EVERYWHERE = f"{FOR_MODEL} AND camera = '' AND slice IN (${{slice:sqlstring}})"
"""The same of all cameras together, which is measured by itself and has an empty name."""
OF_CLASS = "class_name IN (${class:sqlstring}) AND class_name <> ''"
LIVE = "NOT shadow AND minutes = 60"
LEAST_N = {0.5: 20, 0.95: 300, 0.99: 3000}
"""Values below which a quantile is not told: fewer than fifteen or thirty would lie beyond it."""


def rollup(signal: str, more: str = "class_name = ''") -> str:
    """The hourly sums of a signal in the chosen scope and time."""
    return (
        f"FROM reporting.rollup WHERE $__timeFilter(start_at) AND {SCOPE} AND {LIVE} AND signal = '{signal}'"
        f"{' AND ' + more if more else ''}"
    )


def baseline_mean(signal: str, more: str = "class_name = ''") -> str:
    """The baseline's mean of a signal in the same scope, as a scalar."""
    return (
        f"(SELECT sum(sum) / nullif(sum(n), 0) FROM reporting.baseline_sum WHERE {SCOPE} AND signal = '{signal}'"
        f" AND {more})"
    )


def bound(signal: str, measure: str, column: str = "above") -> str:
    """The contract's strictest absolute bound on a measure, as a scalar; NULL where there is none."""
    strictest = "min" if column == "above" else "max"
    return (
        f"(SELECT {strictest}({column}) FROM reporting.threshold WHERE model IN (${{model:sqlstring}})"
        f" AND signal = '{signal}' AND measure = '{measure}' AND NOT relative)"
    )


def bound_query(signal: str, measure: str, column: str = "above", ref: str = "B") -> Query:
    """The same as a query of one row, for panels that take their threshold from one."""
    return Query(f"SELECT {bound(signal, measure, column)} AS threshold", ref=ref)


def mean_over_time(signal: str, name: str) -> str:
    """The mean of a signal by interval, with its n and the baseline's mean."""
    return (
        f'SELECT {BUCKET}, sum(sum) / nullif(sum(n), 0) AS "{name}", {baseline_mean(signal)} AS baseline,'
        f" sum(n) AS n {rollup(signal)} GROUP BY 1 ORDER BY 1"
    )


def buckets(signal: str, group: str) -> str:
    """CTEs `ranked` (by `at`, running and whole counts) of a signal's merged buckets; `group` makes `at`."""
    return (
        f"WITH merged AS (SELECT {group} AS at, bin, sum(count) AS count FROM reporting.bucket"
        f" WHERE $__timeFilter(start_at) AND {SCOPE} AND {LIVE} AND signal = '{signal}' AND class_name = ''"
        " GROUP BY 1, 2),"
        " ranked AS (SELECT at, bin, sum(count) OVER (PARTITION BY at ORDER BY bin) AS upto,"
        " sum(count) OVER (PARTITION BY at) AS n FROM merged)"
    )


def quantile(q: float) -> str:
    """Reads the upper edge of the bucket that holds the q-quantile; NULL below the least n."""
    return f"min(edge.high) FILTER (WHERE upto >= {q} * n AND n >= {LEAST_N[q]})"


def baseline_quantile(signal: str, q: float) -> str:
    """The baseline's q-quantile in the same scope, read off its merged buckets, as a scalar."""
    return (
        "(SELECT min(edge.high) FILTER (WHERE upto >= "
        f"{q} * n) FROM (SELECT bin, sum(sum(count)) OVER (ORDER BY bin) AS upto, sum(sum(count)) OVER () AS n"
        f" FROM reporting.baseline_bucket WHERE {SCOPE} AND signal = '{signal}' AND class_name = '' GROUP BY bin)"
        f" ranked JOIN reporting.edge ON edge.bin = ranked.bin AND edge.signal = '{signal}')"
    )


def verdicts(more: str = "") -> str:
    """The verdicts on frames of the chosen scope and time."""
    return f"FROM reporting.verdict WHERE $__timeFilter(start_at) AND {SCOPE} AND NOT shadow{more}"


CORRECTED = "sum(false_positive + wrong_class + bad_box)"
"""Detections that people corrected, whichever way."""
