"""Quarters of an hour are kept of whole cameras only: nobody reads those of slices. Takes away rows of roll-ups.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# The series stay: processes that still run know them as being there.
STATEMENTS = (
    """
    DELETE FROM rollup r USING series s
    WHERE s.series_id = r.series_id AND s.minutes = 15 AND s.slice_name <> ''
    """,
    """
    DELETE FROM rollup_day d USING series s
    WHERE s.series_id = d.series_id AND s.minutes = 15 AND s.slice_name <> ''
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError(
        "roll-ups of slices by the quarter of an hour can be counted again from the frames alone"
    )
