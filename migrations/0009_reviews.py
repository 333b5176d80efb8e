"""Reviews, business events, deployments, and the counts of verdicts. Only adds.

Revision ID: 0009
Revises: 0007
"""

from alembic import op

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    # One row a review; a second review of a frame is a row of its own. `said` holds verdicts and missed objects as
    # they were sent. Once the frame is there, what the review says of it is settled on the row, so that counting
    # needs the frame no more and goes on when retention has taken it away. captured_at IS NULL: it waits.
    """
    CREATE TABLE review (
        source text COLLATE "C" NOT NULL,
        review_id text COLLATE "C" NOT NULL,
        batch_id bigint NOT NULL,
        digest bytea NOT NULL,
        frame_source text COLLATE "C" NOT NULL,
        event_id text COLLATE "C" NOT NULL,
        reviewer text COLLATE "C" NOT NULL,
        assigned_at timestamptz,
        started_at timestamptz,
        finished_at timestamptz NOT NULL,
        review_prob double precision,
        reason text NOT NULL,
        settles boolean NOT NULL,
        said jsonb NOT NULL,
        captured_at timestamptz,
        model text COLLATE "C",
        version text COLLATE "C",
        stage text COLLATE "C",
        camera text COLLATE "C",
        shadow boolean,
        slice_name text[],
        slice_value text[],
        det_index integer[],
        class_name text[],
        confidence double precision[],
        verdict text[],
        missed_class text[],
        unmatched integer,
        PRIMARY KEY (source, review_id)
    )
    """,
    "CREATE INDEX review_waiting ON review (frame_source, event_id) WHERE captured_at IS NULL",
    "CREATE INDEX review_frame ON review (frame_source, event_id)",
    "CREATE INDEX review_settling ON review (model, captured_at) WHERE settles",
    "CREATE INDEX review_hour ON review (model, version, captured_at) WHERE captured_at IS NOT NULL",
    "COMMENT ON COLUMN review.unmatched IS 'verdicts for which the frame has no detection; they are not counted'",
    # Verdicts by the hour of the frame: of each frame the first review. An hour is counted anew whenever a review of
    # one of its frames comes, so that the order in which reviews come does not matter.
    """
    CREATE TABLE review_rollup (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        start_at timestamptz NOT NULL,
        stage text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        shadow boolean NOT NULL,
        slice_name text COLLATE "C" NOT NULL,
        slice_value text COLLATE "C" NOT NULL,
        class_name text COLLATE "C" NOT NULL,
        band smallint NOT NULL,
        chosen boolean NOT NULL,
        reviewed integer NOT NULL,
        confirmed integer NOT NULL,
        false_positive integer NOT NULL,
        wrong_class integer NOT NULL,
        bad_box integer NOT NULL,
        missed integer NOT NULL,
        frames integer NOT NULL,
        PRIMARY KEY (model, version, start_at, camera, stage, shadow, slice_name, slice_value, class_name, band,
                     chosen),
        CONSTRAINT conservation CHECK (reviewed = confirmed + false_positive + wrong_class + bad_box)
    )
    """,
    "COMMENT ON COLUMN review_rollup.band IS 'of confidence: 0 .3 .5 .7 .85 1; -1 for missed objects and for frames'",
    "COMMENT ON COLUMN review_rollup.chosen IS 'whether the reviews say with which probability they were chosen'",
    # Which windows were measured from reviews, over how many frames; -1 where reviews came since.
    """
    CREATE TABLE reviewed_window (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        window_start timestamptz NOT NULL,
        window_end timestamptz NOT NULL,
        frames bigint NOT NULL,
        contract_hash text NOT NULL,
        PRIMARY KEY (model, version, window_start, window_end)
    )
    """,
    """
    CREATE TABLE business_event (
        source text COLLATE "C" NOT NULL,
        event_id text COLLATE "C" NOT NULL,
        batch_id bigint,
        digest bytea NOT NULL,
        kind text NOT NULL
            CHECK (kind IN ('work_order', 'missed_defect', 'false_alarm', 'throughput', 'deployment')),
        at timestamptz NOT NULL,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        class_name text COLLATE "C" NOT NULL,
        frame_source text COLLATE "C" NOT NULL,
        frame text COLLATE "C" NOT NULL,
        minutes double precision,
        before double precision,
        after double precision,
        note text NOT NULL,
        PRIMARY KEY (source, event_id)
    )
    """,
    "CREATE INDEX business_event_at ON business_event (model, kind, at)",
    """
    CREATE VIEW reporting.review_by_hour AS
    SELECT model, version, start_at AS hour, stage, camera, shadow, slice_name, slice_value, class_name, band,
        sum(reviewed) AS reviewed, sum(confirmed) AS confirmed, sum(false_positive) AS false_positive,
        sum(wrong_class) AS wrong_class, sum(bad_box) AS bad_box, sum(missed) AS missed, sum(frames) AS frames
    FROM review_rollup
    GROUP BY model, version, start_at, stage, camera, shadow, slice_name, slice_value, class_name, band
    """,
    """
    CREATE VIEW reporting.business_event AS
    SELECT source, event_id, kind, at, model, version, camera, class_name, minutes, before, after
    FROM business_event
    """,
    """
    CREATE VIEW reporting.deployment AS
    SELECT model, version, at, note FROM business_event WHERE kind = 'deployment'
    """,
    # A view has the rights of its owner; on a server of one's own the role may not be there.
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor_reader') THEN
            GRANT SELECT ON reporting.review_by_hour, reporting.business_event, reporting.deployment
                TO monitor_reader;
        END IF;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: taking this back would forget what people said")
