"""The pieces that the panels' queries are made of. Every one reads views of schema `reporting`, within a time filter.

Means and shares are made of sums of the whole scope, never of other means; quantiles of the sums of buckets. The
stages of a pipeline are different networks, and a frame of the second shows an image that the first has counted: so
no sum is taken over stages, and each of those chosen has a row or a line of its own. A model without stages has one,
with an empty name.
"""

from __future__ import annotations

from monitor.panels.observable import Query

BUCKET = "$__timeGroupAlias(start_at, $__interval)"
FOR_MODEL = "model IN (${model:sqlstring}) AND version IN (${version:sqlstring})"
ON_CAMERAS = f"{FOR_MODEL} AND camera IN (${{camera:sqlstring}})"
AT_STAGES = "stage IN (${stage:sqlstring})"
PIPELINE = f"{ON_CAMERAS} AND slice IN (${{slice:sqlstring}})"
"""The model, versions, cameras and slice that a person has chosen, at every stage."""
SCOPE = f"{PIPELINE} AND {AT_STAGES}"
"""The same at the stages that were chosen."""
EVERYWHERE = f"{FOR_MODEL} AND camera = '' AND slice IN (${{slice:sqlstring}}) AND {AT_STAGES}"
"""The same of all cameras together, which is measured by itself and has an empty name."""
STAGES = "FROM reporting.model_stage WHERE model IN (${model:sqlstring})"
"""The stages that the contract declares; none where the model is no pipeline."""
IN_ORDER = f"array_position((SELECT array_agg(stage ORDER BY place) {STAGES}), stage)"
"""Where a stage stands in its pipeline, to order by."""
OF_IMAGES = f"stage NOT IN (SELECT stage {STAGES} AND place > 1)"
"""Frames that each show another image: those of a pipeline's first stage."""
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


def at_stage(column: str) -> str:
    """A name with the stage behind it, where there is one."""
    return f"{column} || CASE stage WHEN '' THEN '' ELSE ' / ' || stage END"


def rollup(signal: str, more: str = "class_name = ''") -> str:
    """The sums of a signal in the chosen scope and time."""
    return rollups(f"signal = '{signal}'{' AND ' + more if more else ''}")


def rollups(which: str, scope: str = SCOPE) -> str:
    """The sums of the signals that `which` says, in the chosen scope and time."""
    columns = "start_at, day, stage, camera, signal, class_name, n, sum"
    return _of_both("rollup", "rollup_day", columns, f"{scope} AND {LIVE} AND {which}")


def cells(signal: str, scope: str = SCOPE) -> str:
    """The buckets of a signal, of all classes, in the chosen scope and time."""
    chosen = f"{scope} AND {LIVE} AND signal = '{signal}' AND class_name = ''"
    return _of_both("bucket", "bucket_day", "start_at, stage, camera, bin, count", chosen)


def usual(told: str) -> str:
    """A join of what the baseline says of each stage, as `usual`; `told` is its query, with a column `stage`."""
    return f"LEFT JOIN ({told}) old USING (stage)"


def baseline_mean(signal: str, more: str = "class_name = ''") -> str:
    """The baseline's mean of a signal in the same scope, by stage."""
    return (
        f"SELECT stage, sum(sum) / nullif(sum(n), 0) AS usual FROM reporting.baseline_sum WHERE {SCOPE}"
        f" AND signal = '{signal}' AND {more} GROUP BY stage"
    )


def bound(signal: str, measure: str, column: str = "above", baseline: str = "") -> str:
    """The contract's strictest bound on a measure, as a scalar; NULL where there is none.

    Bounds that are a multiple of the baseline count where `baseline` says what it is, as a scalar or a column.
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


def mean_now(signal: str, name: str) -> str:
    """The mean of a signal by stage, with its n and the baseline's mean."""
    return (
        f'SELECT stage, sum(sum) / nullif(sum(n), 0) AS "{name}", usual AS baseline, sum(n) AS n {rollup(signal)}'
        f" {usual(baseline_mean(signal))} GROUP BY stage, usual HAVING sum(n) > 0 ORDER BY {IN_ORDER}"
    )


def mean_over_time(signal: str, name: str, column: str = "") -> str:
    """The mean of a signal by interval and stage, with n, the baseline's mean, and the bound on it in `column`."""
    limit = f" {bound(signal, 'mean', column, 'usual')} AS threshold," if column else ""
    return (
        f'SELECT {BUCKET}, stage, sum(sum) / nullif(sum(n), 0) AS "{name}", usual AS baseline,{limit}'
        f" sum(n) AS n {rollup(signal)} {usual(baseline_mean(signal))} GROUP BY 1, stage, usual ORDER BY 1, stage"
    )


def quantiles(signal: str, group: str, scope: str = SCOPE) -> str:
    """CTE `found`: by `at`, which `group` makes, and stage the buckets that hold p50, p95 and p99, and n.

    Below its least n a quantile is not told.
    """
    places = ", ".join(
        f"min(bin) FILTER (WHERE upto >= {q} * n AND n >= {least}) AS p{100 * q:g}" for q, least in LEAST_N.items()
    )
    rows = cells(signal, scope)
    if "start_at" in group:  # put into intervals once an hour (or day), not once a bucket of each camera
        rows = f"FROM (SELECT start_at, stage, bin, sum(count) AS count {rows} GROUP BY 1, 2, 3) hours"
    return (
        f"WITH merged AS (SELECT {group} AS at, stage, bin, sum(count) AS count {rows} GROUP BY 1, 2, 3),"
        " ranked AS (SELECT at, stage, bin, sum(count) OVER (PARTITION BY at, stage ORDER BY bin) AS upto,"
        " sum(count) OVER (PARTITION BY at, stage) AS n FROM merged),"
        f" found AS (SELECT at, stage, {places}, max(n) AS n FROM ranked GROUP BY at, stage)"
    )


def edge(signal: str, place: str) -> str:
    """The upper edge of a bucket, as a scalar."""
    return f"(SELECT high FROM reporting.edge WHERE edge.signal = '{signal}' AND edge.bin = {place})"


def baseline_quantile(signal: str, q: float) -> str:
    """The baseline's q-quantile in the same scope by stage, read off its merged buckets."""
    return (
        f"SELECT stage, {edge(signal, 'place')} AS usual FROM (SELECT stage, min(bin) FILTER (WHERE upto >= {q} * n)"
        " AS place FROM (SELECT stage, bin, sum(sum(count)) OVER (PARTITION BY stage ORDER BY bin) AS upto,"
        " sum(sum(count)) OVER (PARTITION BY stage) AS n FROM reporting.baseline_bucket"
        f" WHERE {SCOPE} AND signal = '{signal}' AND class_name = '' GROUP BY stage, bin) ranked"
        " GROUP BY stage) places"
    )


def verdicts(more: str = "", scope: str = SCOPE) -> str:
    """The verdicts on frames of the chosen scope and time."""
    return f"FROM reporting.verdict WHERE $__timeFilter(start_at) AND {scope} AND NOT shadow{more}"


CORRECTED = "sum(false_positive + wrong_class + bad_box)"
"""Detections that people corrected, whichever way."""
