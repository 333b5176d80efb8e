"""The pillars: a measurement's interval, its measure over the baseline, and windows of business events. Only adds.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    # Without a default: no row is rewritten, and a release that does not know the columns still inserts.
    """
    ALTER TABLE measurement
        ADD COLUMN low double precision,
        ADD COLUMN high double precision,
        ADD COLUMN baseline_value double precision
    """,
    "COMMENT ON COLUMN measurement.low IS 'lower end of the 95 % interval of the value, where it has one'",
    "COMMENT ON COLUMN measurement.high IS 'upper end of that interval'",
    "COMMENT ON COLUMN measurement.baseline_value IS 'the same measure over the baseline'",
    # Which windows were measured from business events, over how many frames and events: events only come, so a
    # window that holds more of either than it did is undone again.
    """
    CREATE TABLE business_window (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        window_start timestamptz NOT NULL,
        window_end timestamptz NOT NULL,
        frames bigint NOT NULL,
        events bigint NOT NULL,
        contract_hash text NOT NULL,
        PRIMARY KEY (model, version, window_start, window_end)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the schema goes forward only; restore a backup instead")
