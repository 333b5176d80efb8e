"""What is open is told as it stands now beside what was told: causes and course of incidents, the interval of alerts.

Only adds.

Revision ID: 0017
Revises: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STATEMENTS = (
    # The interval of the value of the window that was judged last.
    "ALTER TABLE alert ADD COLUMN low double precision, ADD COLUMN high double precision",
    # How far off the largest alarm was that people know of, as a multiple of the smallest change worth telling.
    "ALTER TABLE incident ADD COLUMN told_size double precision NOT NULL DEFAULT 0",
    # What was said of an incident as it went on; a row is a run of days on which its causes stood in one order.
    """
    CREATE TABLE incident_said (
        incident_key text COLLATE "C" NOT NULL,
        episode integer NOT NULL,
        since date NOT NULL,
        day date NOT NULL,
        causes jsonb NOT NULL,
        finding text NOT NULL,
        PRIMARY KEY (incident_key, episode, since),
        FOREIGN KEY (incident_key, episode) REFERENCES incident ON DELETE CASCADE
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE incident_said")
    op.execute("ALTER TABLE incident DROP COLUMN told_size")
    op.execute("ALTER TABLE alert DROP COLUMN low, DROP COLUMN high")
