"""The watch over cameras: a baseline's ordinary hours, which days were watched, incidents, who accepted a baseline.

Only adds, but for one constraint that goes: events are now told of alerts and of incidents alike.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    # What the season and an ordinary day are learnt from, kept with the baseline: roll-ups go with retention, and
    # late records still add to them. One row a lane, class and camera.
    """
    CREATE TABLE baseline_hour (
        baseline_id bigint NOT NULL REFERENCES baseline ON DELETE CASCADE,
        stage text COLLATE "C" NOT NULL,
        lane text COLLATE "C" NOT NULL,
        class_name text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        recipe text COLLATE "C" NOT NULL,
        edges_id text COLLATE "C" NOT NULL,
        days integer NOT NULL,
        cuts bigint[] NOT NULL,
        n bytea NOT NULL,
        x bytea NOT NULL,
        PRIMARY KEY (baseline_id, stage, lane, class_name, camera)
    )
    """,
    "COMMENT ON COLUMN baseline_hour.n IS 'values by day and hour, little-endian float64'",
    "COMMENT ON COLUMN baseline_hour.x IS 'the watched number by day and hour (shape: counts by group), as n'",
    "COMMENT ON COLUMN baseline_hour.cuts IS 'shape: last fine bin of each group; above: first bin that counts'",
    # Which days were watched, over how many frames, against which baseline: a day that has grown since is undone
    # again, and with it the sums of the days after it. hours < 24: a day that is not over, watched for sudden
    # changes.
    """
    CREATE TABLE watched_day (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        day date NOT NULL,
        hours smallint NOT NULL,
        frames bigint NOT NULL,
        baseline_id bigint NOT NULL REFERENCES baseline,
        contract_hash text NOT NULL,
        PRIMARY KEY (model, version, day)
    )
    """,
    # Who accepted what in the place of what, and why. Without a period to freeze (learn_from), the baseline is frozen
    # when the days asked for are there; until then baseline_id is NULL and nothing is judged.
    """
    CREATE TABLE baseline_acceptance (
        acceptance_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        accepted_at timestamptz NOT NULL,
        accepted_by text NOT NULL,
        reason text NOT NULL,
        old_baseline_id bigint REFERENCES baseline,
        baseline_id bigint REFERENCES baseline,
        learn_from timestamptz,
        learn_days integer,
        CHECK (baseline_id IS NOT NULL OR (learn_from IS NOT NULL AND learn_days IS NOT NULL))
    )
    """,
    "CREATE UNIQUE INDEX acceptance_pending ON baseline_acceptance (model, version) WHERE baseline_id IS NULL",
    # What people are told of: one open incident a scope and cause. A member is a scope, its names joined by a unit
    # separator.
    """
    CREATE TABLE incident (
        incident_key text COLLATE "C" NOT NULL,
        episode integer NOT NULL,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        stage text COLLATE "C" NOT NULL,
        scope text[] NOT NULL,
        cause text NOT NULL,
        opened_on date NOT NULL,
        onset date NOT NULL,
        signals text[] NOT NULL,
        members text[] NOT NULL,
        last_alarm_on date NOT NULL,
        closed_on date,
        closed_because text NOT NULL DEFAULT '',
        baseline_id bigint NOT NULL REFERENCES baseline,
        PRIMARY KEY (incident_key, episode)
    )
    """,
    "CREATE UNIQUE INDEX incident_open ON incident (incident_key) WHERE closed_on IS NULL",
    # How far the alarms of a version's stage have been gathered; each day once.
    """
    CREATE TABLE gathered_day (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        stage text COLLATE "C" NOT NULL,
        day date NOT NULL,
        PRIMARY KEY (model, version, stage)
    )
    """,
    "ALTER TABLE alert_event DROP CONSTRAINT alert_event_alert_key_fkey",
    "COMMENT ON COLUMN alert_event.alert_key IS 'of an alert, or of an incident'",
    """
    CREATE VIEW reporting.incident AS
    SELECT incident_key, episode, model, version, stage, scope, cause, opened_on, onset, signals, members,
        last_alarm_on, closed_on, closed_because, baseline_id
    FROM incident
    """,
    """
    CREATE VIEW reporting.baseline_acceptance AS
    SELECT acceptance_id, model, version, accepted_at, accepted_by, reason, old_baseline_id, baseline_id, learn_from,
        learn_days
    FROM baseline_acceptance
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the schema goes forward only; restore a backup instead")
