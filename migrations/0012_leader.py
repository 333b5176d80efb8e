"""Who leads, which processes take records in, what the auditor found, turns that were skipped. Only adds.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = (
    # The lease: at most one row. `epoch` is the key because a transaction of the leader locks it FOR KEY SHARE: that
    # lets a renewal pass, which changes other columns, and holds up a take-over, which changes the epoch.
    """
    CREATE TABLE leader (
        epoch bigint PRIMARY KEY,
        holder text NOT NULL,
        since timestamptz NOT NULL,
        until timestamptz NOT NULL,
        alone boolean NOT NULL DEFAULT true UNIQUE CHECK (alone)
    )
    """,
    # Every process that takes records in: when it was last seen, by the server's clock, and how far its intake is.
    """
    CREATE TABLE worker (
        name text PRIMARY KEY,
        seen_at timestamptz NOT NULL,
        through timestamptz,
        error text NOT NULL DEFAULT ''
    )
    """,
    "COMMENT ON COLUMN worker.through IS 'start of its newest intake that came to its end'",
    """
    CREATE TABLE finding (
        check_name text NOT NULL,
        subject text NOT NULL,
        sentence text NOT NULL,
        since timestamptz NOT NULL,
        seen_at timestamptz NOT NULL,
        PRIMARY KEY (check_name, subject)
    )
    """,
    "ALTER TABLE job_run DROP CONSTRAINT job_run_state_check",
    """
    ALTER TABLE job_run ADD CONSTRAINT job_run_state_check
        CHECK (state IN ('running', 'done', 'failed', 'skipped'))
    """,
    "CREATE INDEX job_run_unlike ON job_run (job, state, scheduled_for) WHERE state <> 'done'",
    # The signal that all is well goes through the outbox too: one row, written again and again, of no event.
    "ALTER TABLE outbox ALTER COLUMN event_id DROP NOT NULL",
    "CREATE INDEX batch_received ON batch (source, received_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: who led, and what was skipped, would be forgotten")
