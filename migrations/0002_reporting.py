"""What dashboards may read: the views of schema `reporting`, and nothing else.

A view reads with the rights of its owner, so that `monitor_reader` needs none on the tables: neither raw frames nor
rejected lines nor the text of a contract can be reached through that role.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS reporting",
    """
    CREATE VIEW reporting.measurement AS
    SELECT model, version, shadow, stage, camera, slice_name, slice_value, signal, class_name, recipe, measure,
        window_start, window_end, value, state, n, baseline_n, noise, now_mean, baseline_mean, baseline_id,
        contract_hash
    FROM measurement
    """,
    """
    CREATE VIEW reporting.alert AS
    SELECT alert_key, model, version, stage, camera, slice_name, slice_value, rule, signal, class_name, measure,
        severity, state, since, window_end, value, threshold, n, reason
    FROM alert
    """,
    """
    CREATE VIEW reporting.alert_event AS
    SELECT e.event_id, e.alert_key, a.model, a.version, a.stage, a.camera, a.slice_name, a.slice_value, a.rule,
        a.class_name, a.severity, e.episode, e.from_state, e.to_state, e.window_start, e.window_end, e.decided_at,
        e.value, e.threshold, e.n, e.evidence ->> 'sentence' AS sentence
    FROM alert_event e JOIN alert a USING (alert_key)
    """,
    """
    CREATE VIEW reporting.frames_by_hour AS
    SELECT s.model, s.version, s.shadow, s.stage, s.camera, r.start_at AS hour,
        coalesce(sum(r.n) FILTER (WHERE s.class_name = ''), 0)::bigint AS frames,
        coalesce(sum(r.n) FILTER (WHERE s.class_name NOT IN ('', 'ok')), 0)::bigint AS failed
    FROM series s JOIN rollup r USING (series_id)
    WHERE s.signal = 'status' AND s.slice_name = '' AND s.minutes = 60
    GROUP BY s.model, s.version, s.shadow, s.stage, s.camera, r.start_at
    """,
    # A roll-up's total is in the signal's integer unit; the divisor turns total / n into the signal's own unit.
    """
    CREATE VIEW reporting.signal_by_hour AS
    SELECT s.model, s.version, s.shadow, s.stage, s.camera, s.slice_name, s.slice_value, s.signal, s.class_name,
        s.recipe, r.start_at AS hour, sum(r.n)::bigint AS n, sum(r.frames)::bigint AS frames,
        (sum(r.total) / nullif(sum(r.n) * unit.divisor, 0))::double precision AS mean
    FROM series s JOIN rollup r USING (series_id)
    JOIN (VALUES
        ('brightness', 1000), ('pixel_brightness', 1000), ('contrast', 1000), ('sharpness', 1000),
        ('red_balance', 10000), ('blue_balance', 10000), ('resolution', 1000), ('exposure_ms', 1000),
        ('gain_db', 1000), ('detections', 1), ('confidence', 1000000), ('box_area', 1000000), ('box_aspect', 10000),
        ('latency_ms', 1000), ('queue_depth', 1)
    ) AS unit (signal, divisor) ON unit.signal = s.signal
    WHERE s.minutes = 60
    GROUP BY s.series_id, r.start_at, unit.divisor
    """,
    """
    CREATE VIEW reporting.intake AS
    SELECT source, outcome, reason, count, mended, last_at FROM intake_total
    """,
    "COMMENT ON SCHEMA reporting IS 'What dashboards may read; monitor_reader may read this and nothing else'",
    "COMMENT ON VIEW reporting.signal_by_hour IS 'class_name is empty for all classes, slice_name for the whole'",
    "COMMENT ON VIEW reporting.intake IS 'lines = stored + duplicate + blank + (rejected - mended)'",
    # The embedded server has the role from its first day; on a server of one's own it is made beforehand or not at
    # all. The default rights are for the views of migrations to come.
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor_reader') THEN
            GRANT USAGE ON SCHEMA reporting TO monitor_reader;
            GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO monitor_reader;
            ALTER DEFAULT PRIVILEGES IN SCHEMA reporting GRANT SELECT ON TABLES TO monitor_reader;
        END IF;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the views hold no data; drop schema reporting with CASCADE to be rid of them")
