"""Housekeeping: what became of a reject, which days were dropped, which roll-ups were repaired. Only adds.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    # A reject is never deleted by hand: it is replayed or dropped, and the ledger's counts still find it. The
    # defaults are constants, so no row is rewritten, and a release that does not know the columns still inserts.
    """
    ALTER TABLE reject
        ADD COLUMN state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'dropped')),
        ADD COLUMN settled_at timestamptz,
        ADD COLUMN note text NOT NULL DEFAULT '',
        ADD COLUMN replay_batch_id bigint
    """,
    "COMMENT ON COLUMN reject.replay_batch_id IS 'the batch by which the line was taken in, or looked at once more'",
    # Where a batch was delivered again, its lines are rejects of the last attempt alone; the attempts after the first
    # bear the name of the batch, a plus sign and their number from 2.
    r"""
    UPDATE reject r SET state = 'replayed', settled_at = again.received_at, replay_batch_id = again.batch_id
    FROM batch again JOIN batch b ON b.source = again.source AND b.name = substring(again.name FROM '^(.*)\+\d+$')
        || CASE substring(again.name FROM '\d+$') WHEN '2' THEN ''
            ELSE '+' || (CAST(substring(again.name FROM '\d+$') AS integer) - 1) END
    WHERE again.name ~ '\+\d+$' AND r.batch_id = b.batch_id AND r.whole_line
    """,
    # A recount of a day whose frames are gone would find nothing and must not be believed; nor may a detached
    # partition be forgotten half-way: it is detached first, its keys are deleted and the table dropped afterwards.
    """
    CREATE TABLE dropped_day (
        day date PRIMARY KEY,
        detached_at timestamptz NOT NULL,
        dropped_at timestamptz,
        frames bigint
    )
    """,
    # Evidence of every roll-up that was put right: what stood there and what the recount found.
    """
    CREATE TABLE rollup_repair (
        repair_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        occasion text NOT NULL CHECK (occasion IN ('audit', 'rebuild')),
        model text COLLATE "C" NOT NULL,
        signal text COLLATE "C" NOT NULL,
        period_start timestamptz NOT NULL,
        period_end timestamptz NOT NULL,
        rows_compared bigint NOT NULL,
        rows_repaired bigint NOT NULL,
        evidence jsonb NOT NULL,
        repaired_at timestamptz NOT NULL
    )
    """,
    "COMMENT ON COLUMN rollup_repair.model IS 'empty: all models; signal likewise'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: taking this back would forget what was dropped and repaired")
