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
DAY_MS = 86_400_000
FIRST = "date_trunc('day', $__timeFrom()::timestamptz + interval '1 day' - interval '1 microsecond', 'UTC')"
"""The first midnight of the chosen time."""
LAST = "(SELECT least(date_trunc('day', $__timeTo()::timestamptz, 'UTC'), through) FROM reporting.merged)"
"""The last midnight of it up to which days are merged."""
LEAST_N = {0.5: 20, 0.95: 300, 0.99: 3000}
"""Values below which a quantile is not told: fewer than fifteen or thirty would lie beyond it."""


def _of_both(hourly: str, daily: str, columns: str, chosen: str) -> str:
    """Rows by the hour; where a point stands for a day or more, whole days that are merged come as one row."""
    hours, days = f"SELECT {columns} FROM reporting.{hourly} WHERE", f"SELECT {columns} FROM reporting.{daily} WHERE"
    long = f"$__interval_ms >= {DAY_MS} AND {chosen}"
    return (
        f"FROM ({hours} $__interval_ms < {DAY_MS} AND {chosen} AND $__timeFilter(start_at)"
        f" UNION ALL {hours} {long} AND $__timeFilter(start_at) AND start_at < {FIRST}"
        f" UNION ALL {hours} {long} AND $__timeFilter(start_at) AND start_at >= greatest({FIRST}, {LAST})"
        f" UNION ALL {days} {long} AND start_at >= {FIRST} AND start_at < {LAST}) sums"
    )


def rollup(signal: str, more: str = "class_name = ''") -> str:
    """The sums of a signal in the chosen scope and time."""
    return rollups(f"signal = '{signal}'{' AND ' + more if more else ''}")


def rollups(which: str) -> str:
    """The sums of the signals that `which` says, in the chosen scope and time."""
    columns = "start_at, day, stage, camera, signal, class_name, n, sum"
    return _of_both("rollup", "rollup_day", columns, f"{SCOPE} AND {LIVE} AND {which}")


def cells(signal: str) -> str:
    """The buckets of a signal, of all classes, in the chosen scope and time."""
    chosen = f"{SCOPE} AND {LIVE} AND signal = '{signal}' AND class_name = ''"
    return _of_both("bucket", "bucket_day", "start_at, camera, bin, count", chosen)


def baseline_mean(signal: str, more: str = "class_name = ''") -> str:
    """The baseline's mean of a signal in the same scope, as a scalar."""
    return (
        f"(SELECT sum(sum) / nullif(sum(n), 0) FROM reporting.baseline_sum WHERE {SCOPE} AND signal = '{signal}'"
        f" AND {more})"
    )


def bound(signal: str, measure: str, column: str = "above", baseline: str = "") -> str:
    """The contract's strictest bound on a measure, as a scalar; NULL where there is none.

    Bounds that are a multiple of the baseline count where `baseline` says what it is, as a scalar.
    """
    strictest = "min" if column == "above" else "max"
    absolute = (
        f"(SELECT {strictest}({column}) FROM reporting.threshold WHERE model IN (${{model:sqlstring}})"
        f" AND signal = '{signal}' AND measure = '{measure}' AND NOT relative)"
    )
    if not baseline:
        return absolute
    return f"coalesce({absolute}, {absolute.replace('NOT relative', 'relative')} * {baseline})"


def bound_query(signal: str, measure: str, column: str = "above", baseline: str = "") -> Query:
    """The same as a query of one row, for panels that take their threshold from one."""
    return Query(f"SELECT {bound(signal, measure, column, baseline)} AS threshold", ref="B")


def mean_over_time(signal: str, name: str, column: str = "") -> str:
    """The mean of a signal by interval, with its n, the baseline's mean, and the bound on it in `column`."""
    baseline = baseline_mean(signal)
    limit = f" {bound(signal, 'mean', column, baseline)} AS threshold," if column else ""
    return (
        f'SELECT {BUCKET}, sum(sum) / nullif(sum(n), 0) AS "{name}", {baseline} AS baseline,{limit}'
        f" sum(n) AS n {rollup(signal)} GROUP BY 1 ORDER BY 1"
    )


def quantiles(signal: str, group: str) -> str:
    """CTE `found`: by `at`, which `group` makes, the buckets that hold p50, p95 and p99, and n.

    Below its least n a quantile is not told.
    """
    places = ", ".join(
        f"min(bin) FILTER (WHERE upto >= {q} * n AND n >= {least}) AS p{100 * q:g}" for q, least in LEAST_N.items()
    )
    rows = cells(signal)
    if "start_at" in group:  # put into intervals once an hour (or day), not once a bucket of each camera
        rows = f"FROM (SELECT start_at, bin, sum(count) AS count {rows} GROUP BY 1, 2) hours"
    return (
        f"WITH merged AS (SELECT {group} AS at, bin, sum(count) AS count {rows} GROUP BY 1, 2),"
        " ranked AS (SELECT at, bin, sum(count) OVER (PARTITION BY at ORDER BY bin) AS upto,"
        " sum(count) OVER (PARTITION BY at) AS n FROM merged),"
        f" found AS (SELECT at, {places}, max(n) AS n FROM ranked GROUP BY at)"
    )


def edge(signal: str, place: str) -> str:
    """The upper edge of a bucket, as a scalar."""
    return f"(SELECT high FROM reporting.edge WHERE edge.signal = '{signal}' AND edge.bin = {place})"


def baseline_quantile(signal: str, q: float) -> str:
    """The baseline's q-quantile in the same scope, read off its merged buckets, as a scalar."""
    place = (
        f"(SELECT min(bin) FILTER (WHERE upto >= {q} * n)"
        " FROM (SELECT bin, sum(sum(count)) OVER (ORDER BY bin) AS upto,"
        f" sum(sum(count)) OVER () AS n FROM reporting.baseline_bucket WHERE {SCOPE} AND signal = '{signal}'"
        " AND class_name = '' GROUP BY bin) ranked)"
    )
    return edge(signal, place)


def verdicts(more: str = "") -> str:
    """The verdicts on frames of the chosen scope and time."""
    return f"FROM reporting.verdict WHERE $__timeFilter(start_at) AND {SCOPE} AND NOT shadow{more}"


CORRECTED = "sum(false_positive + wrong_class + bad_box)"
"""Detections that people corrected, whichever way."""
