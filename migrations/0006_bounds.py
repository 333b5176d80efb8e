"""Bounds: detections that are not stored, names that are new. Only adds.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    # The defaults are constants, so no row is rewritten, and a release that does not know the columns still inserts.
    """
    ALTER TABLE frame
        ADD COLUMN left_out integer NOT NULL DEFAULT 0,
        ADD COLUMN camera_said text
    """,
    "COMMENT ON COLUMN frame.left_out IS 'detections that count and are not stored, the least confident'",
    "COMMENT ON COLUMN frame.camera_said IS 'the camera''s name where the frame counts under __other__'",
    # Names that the contract leaves open and that were taken in, each with the day on which it came first. So many
    # may be new a day; the rest of them count under __other__.
    """
    CREATE TABLE open_name (
        source text COLLATE "C" NOT NULL,
        model text COLLATE "C" NOT NULL,
        condition text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        first_on date NOT NULL,
        PRIMARY KEY (source, model, condition, name)
    )
    """,
    "COMMENT ON COLUMN open_name.condition IS 'the condition whose value it is; empty: a camera'",
    # What has counted already is no news, to whichever source it belongs.
    """
    INSERT INTO open_name (source, model, condition, name, first_on)
    SELECT t.source, s.model, s.slice_name, s.name, date '1970-01-01'
    FROM (SELECT DISTINCT source FROM intake_total) t CROSS JOIN (
        SELECT DISTINCT model, slice_name, CASE slice_name WHEN '' THEN camera ELSE slice_value END AS name
        FROM series
    ) s
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: taking this back would forget what was not stored")
