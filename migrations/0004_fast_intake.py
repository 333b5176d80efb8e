"""Fast intake: hours claimed by whoever counts in them first, and series that roll-ups name without a check.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    # The rows of an hour in which nobody has counted yet are written as a merge would leave them, so that a merge has
    # nothing to do there. A claim without roll-ups is harmless: rows are then merged as ever.
    """
    CREATE TABLE rollup_claim (
        model text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        start_at timestamptz NOT NULL,
        PRIMARY KEY (model, camera, start_at)
    )
    """,
    """
    INSERT INTO rollup_claim (model, camera, start_at)
    SELECT DISTINCT s.model, s.camera, date_bin('1 hour', r.start_at, timestamptz 'epoch')
    FROM rollup r JOIN series s USING (series_id)
    """,
    # A series is entered in the transaction of its first rows, or before, and never deleted: checking that for every
    # row cost as much as writing it.
    "ALTER TABLE rollup DROP CONSTRAINT rollup_series_id_fkey",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: roll-ups may have been written without the check meanwhile")
