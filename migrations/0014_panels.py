"""Views that dashboards draw from, and the bounds that contracts set. Only adds.

A view names rows, turns a sum into its unit and reads the edges of buckets; shares, means and quantiles are made by
the query of a panel, out of sums. Nothing is averaged twice.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# (signal, divisor of its integer unit, lowest edge, highest edge, bins, logarithmic)
SIGNALS = """
    ('brightness', 1000, 0, 256, 256, false), ('pixel_brightness', 1000, 0, 256, 32, false),
    ('contrast', 1000, 0, 128, 128, false), ('sharpness', 1000, -2, 12, 350, false),
    ('red_balance', 10000, -1, 1, 200, false), ('blue_balance', 10000, -1, 1, 200, false),
    ('resolution', 1000, 8, 65536, 260, true), ('exposure_ms', 1000, 0.001, 10000, 160, true),
    ('gain_db', 1000, -20, 80, 200, false), ('detections', 1, 0, 128, 128, false),
    ('confidence', 1000000, 0, 1, 100, false), ('box_area', 1000000, 1e-6, 1, 120, true),
    ('box_aspect', 10000, -3, 3, 120, false), ('latency_ms', 1000, 0.1, 600000, 788, true),
    ('queue_depth', 1, 0.5, 1000000, 200, true), ('status', 1, 0, 1, 1, false)
"""
UNIT = f"""
    (VALUES {SIGNALS}) AS unit (signal, divisor, low, high, bins, log)
"""
SLICE = "CASE WHEN {0}slice_name = '' THEN 'all' ELSE {0}slice_name || ' = ' || {0}slice_value END AS slice"

STATEMENTS = (
    # What the contracts in force demand, a row a bound; written anew whenever contracts are taken up.
    """
    CREATE TABLE demand (
        model text COLLATE "C" NOT NULL,
        rule text COLLATE "C" NOT NULL,
        pillar text NOT NULL,
        severity text NOT NULL,
        signal text COLLATE "C" NOT NULL,
        measure text COLLATE "C" NOT NULL,
        class_name text COLLATE "C" NOT NULL,
        above double precision,
        below double precision,
        relative boolean NOT NULL,
        min_n bigint NOT NULL,
        owner text NOT NULL,
        contract_hash text NOT NULL,
        PRIMARY KEY (model, rule)
    )
    """,
    "COMMENT ON COLUMN demand.relative IS 'the bound is a part of the baseline, not in the unit of the measure'",
    """
    CREATE VIEW reporting.threshold AS
    SELECT model, rule, pillar, severity, signal, measure, class_name, above, below, relative, min_n, owner,
        contract_hash
    FROM demand
    """,
    # Days that are over as one row a series, so that a month is not read by the hour. `merged_day` says over how many
    # frames a camera's day was merged: one that has got more since is undone again.
    """
    CREATE TABLE merged_day (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        shadow boolean NOT NULL,
        stage text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        day timestamptz NOT NULL,
        frames bigint NOT NULL,
        PRIMARY KEY (model, version, shadow, stage, camera, day)
    )
    """,
    "CREATE INDEX merged_day_day ON merged_day (day)",
    """
    CREATE TABLE rollup_day (
        series_id bigint NOT NULL,
        day timestamptz NOT NULL,
        n bigint NOT NULL,
        frames bigint NOT NULL,
        total bigint NOT NULL,
        bins smallint[] NOT NULL,
        counts bigint[] NOT NULL,
        PRIMARY KEY (series_id, day)
    )
    """,
    # Up to here days stand as one row; they are merged oldest first.
    """
    CREATE VIEW reporting.merged AS
    SELECT coalesce(max(day) + interval '1 day', '-infinity') AS through FROM merged_day
    """,
    # One row a series and hour (or quarter of an hour); of an hour that is not merged yet there are several, and they
    # add up.
    f"""
    CREATE VIEW reporting.rollup AS
    SELECT s.model, s.version, s.shadow, s.stage, s.camera, {SLICE.format("s.")}, s.signal, s.class_name, s.recipe,
        s.minutes, r.start_at, date_trunc('day', r.start_at, 'UTC') AS day, r.n, r.frames,
        r.total::double precision / unit.divisor AS sum
    FROM series s JOIN rollup r USING (series_id) JOIN {UNIT} ON unit.signal = s.signal
    """,
    f"""
    CREATE VIEW reporting.rollup_day AS
    SELECT s.model, s.version, s.shadow, s.stage, s.camera, {SLICE.format("s.")}, s.signal, s.class_name, s.recipe,
        s.minutes, d.day AS start_at, d.day, d.n, d.frames, d.total::double precision / unit.divisor AS sum
    FROM series s JOIN rollup_day d USING (series_id) JOIN {UNIT} ON unit.signal = s.signal
    """,
    f"""
    CREATE VIEW reporting.bucket AS
    SELECT s.model, s.version, s.shadow, s.stage, s.camera, {SLICE.format("s.")}, s.signal, s.class_name, s.recipe,
        s.edges_id, s.minutes, r.start_at, date_trunc('day', r.start_at, 'UTC') AS day, cell.bin,
        cell.count::bigint AS count
    FROM series s JOIN rollup r USING (series_id) CROSS JOIN LATERAL unnest(r.bins, r.counts) AS cell (bin, count)
    """,
    f"""
    CREATE VIEW reporting.bucket_day AS
    SELECT s.model, s.version, s.shadow, s.stage, s.camera, {SLICE.format("s.")}, s.signal, s.class_name, s.recipe,
        s.edges_id, s.minutes, d.day AS start_at, d.day, cell.bin, cell.count
    FROM series s JOIN rollup_day d USING (series_id) CROSS JOIN LATERAL unnest(d.bins, d.counts) AS cell (bin, count)
    """,
    f"""
    CREATE VIEW reporting.edge AS
    SELECT unit.signal, place.bin::smallint AS bin,
        CASE WHEN place.bin = 0 THEN '-infinity'
            WHEN log THEN low * power(high::double precision / low, (place.bin - 1)::double precision / bins)
            ELSE low + (high - low)::double precision * (place.bin - 1) / bins END::double precision AS low,
        CASE WHEN place.bin > bins THEN 'infinity'
            WHEN log THEN low * power(high::double precision / low, place.bin::double precision / bins)
            ELSE low + (high - low)::double precision * place.bin / bins END::double precision AS high
    FROM {UNIT} CROSS JOIN LATERAL generate_series(0, bins + 1) AS place (bin)
    """,
    # What exists, for the variables of a dashboard.
    f"""
    CREATE VIEW reporting.series AS
    SELECT model, version, shadow, stage, camera, {SLICE.format("")}, signal, class_name, minutes FROM series
    """,
    """
    CREATE VIEW reporting.camera AS
    SELECT model, name AS camera, site, line, "group" FROM camera
    """,
    # The baseline that windows of a version are compared with: its own newest, else the newest from images.
    """
    CREATE VIEW reporting.baseline_in_force AS
    SELECT v.model, v.version, own.baseline_id, own.frames, own.period_start, own.period_end, own.created_at
    FROM (SELECT DISTINCT model, version FROM series) v CROSS JOIN LATERAL (
        SELECT * FROM baseline b WHERE b.model = v.model AND b.version IN (v.version, '')
        ORDER BY b.version = '', b.baseline_id DESC LIMIT 1) own
    """,
    f"""
    CREATE VIEW reporting.baseline_sum AS
    SELECT f.model, f.version, h.stage, h.camera, {SLICE.format("h.")}, h.signal, h.class_name, h.recipe, h.n,
        h.frames, h.total::double precision / unit.divisor AS sum
    FROM reporting.baseline_in_force f JOIN baseline_histogram h USING (baseline_id)
    JOIN {UNIT} ON unit.signal = h.signal
    """,
    f"""
    CREATE VIEW reporting.baseline_bucket AS
    SELECT f.model, f.version, h.stage, h.camera, {SLICE.format("h.")}, h.signal, h.class_name, h.recipe, h.edges_id,
        cell.bin, cell.count
    FROM reporting.baseline_in_force f JOIN baseline_histogram h USING (baseline_id)
    CROSS JOIN LATERAL unnest(h.bins, h.counts) AS cell (bin, count)
    """,
    f"""
    CREATE VIEW reporting.verdict AS
    SELECT model, version, stage, camera, {SLICE.format("")}, class_name, band, start_at, shadow, reviewed, confirmed,
        false_positive, wrong_class, bad_box, missed, frames
    FROM review_rollup
    """,
    f"""
    CREATE VIEW reporting.measured AS
    SELECT model, version, stage, camera, {SLICE.format("")}, signal, class_name, measure, window_start, window_end,
        value, low, high, state, n, baseline_n, baseline_value, noise, now_mean, baseline_mean
    FROM measurement WHERE NOT shadow
    """,
    # What people were told of alerts and of incidents alike, and what became of it. Frames are named by their ids.
    """
    CREATE VIEW reporting.told AS
    SELECT e.event_id, e.alert_key, coalesce(a.model, i.model) AS model, coalesce(a.version, i.version) AS version,
        coalesce(a.camera, array_to_string(i.scope, ' / ')) AS place, coalesce(a.rule, i.cause) AS rule,
        coalesce(a.severity, e.evidence ->> 'severity', 'warning') AS severity, e.episode, e.to_state AS state,
        e.window_end, e.decided_at, e.value, e.threshold, e.n, e.evidence ->> 'sentence' AS sentence,
        e.evidence -> 'causes' -> 0 ->> 'text' AS likely_cause, e.evidence -> 'causes' -> 0 ->> 'first' AS first_step,
        coalesce(e.evidence -> 'frames', '[]'::jsonb)::text AS frames
    FROM alert_event e LEFT JOIN alert a USING (alert_key)
    LEFT JOIN incident i ON i.incident_key = e.alert_key AND i.episode = e.episode
    """,
    """
    CREATE VIEW reporting.delivery AS
    SELECT channel, attempts, not_before, sent_at, given_up_at FROM outbox
    """,
    "COMMENT ON VIEW reporting.rollup IS 'slice all: the whole, class_name empty: all classes; sum is in the unit'",
    "COMMENT ON VIEW reporting.edge IS 'bin holds low <= value < high'",
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor_reader') THEN
            GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO monitor_reader;
        END IF;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the views hold no data; drop schema reporting with CASCADE to be rid of them")
