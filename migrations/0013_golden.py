"""Scoring runs over golden and challenge sets, and what hangs on them. Only adds.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATEMENTS = (
    # A row a run; its numbers are measurements. `due_at` is the night that it was due, NULL: somebody asked for it.
    """
    CREATE TABLE golden_run (
        run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        kind text NOT NULL CHECK (kind IN ('golden', 'challenge')),
        contract_hash text NOT NULL,
        due_at timestamptz,
        attempt integer NOT NULL DEFAULT 1,
        started_at timestamptz NOT NULL,
        finished_at timestamptz,
        status text NOT NULL CHECK (status IN ('running', 'done', 'degraded', 'error')),
        reason text NOT NULL DEFAULT '',
        verdict text NOT NULL DEFAULT '' CHECK (verdict IN ('', 'pass', 'fail', 'insufficient')),
        digest text NOT NULL DEFAULT '',
        deterministic boolean NOT NULL DEFAULT true,
        sameness text NOT NULL DEFAULT '' CHECK (sameness IN ('', 'same', 'rounding', 'other')),
        changed text[] NOT NULL DEFAULT '{}',
        set_name text NOT NULL DEFAULT '',
        set_version text NOT NULL DEFAULT '',
        manifest_sha256 text NOT NULL DEFAULT '',
        images integer NOT NULL DEFAULT 0,
        decoded integer NOT NULL DEFAULT 0,
        seconds double precision NOT NULL DEFAULT 0,
        run_seconds double precision NOT NULL DEFAULT 0,
        environment jsonb NOT NULL DEFAULT '{}',
        CONSTRAINT only_a_counted_run_has_a_verdict CHECK (verdict = '' OR status = 'done')
    )
    """,
    "CREATE UNIQUE INDEX golden_run_night ON golden_run (model, kind, due_at) WHERE due_at IS NOT NULL",
    "CREATE INDEX golden_run_newest ON golden_run (model, version, kind, run_id)",
    # What is no number: detections as COCO results, every number of the evaluator, verdicts, hashes of the inputs.
    # JSON packed by zlib.
    """
    CREATE TABLE golden_artifact (
        run_id bigint NOT NULL REFERENCES golden_run ON DELETE CASCADE,
        name text NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (run_id, name)
    )
    """,
    "ALTER TABLE golden_artifact ALTER COLUMN body SET STORAGE EXTERNAL",
    """
    CREATE VIEW reporting.golden_run AS
    SELECT run_id, model, version, kind, set_name, set_version, due_at, started_at, finished_at, status, reason,
        verdict, digest, deterministic, sameness, changed, images, decoded, seconds, run_seconds, contract_hash,
        manifest_sha256, environment
    FROM golden_run
    """,
    # A view has the rights of its owner; on a server of one's own the role may not be there.
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor_reader') THEN
            GRANT SELECT ON reporting.golden_run TO monitor_reader;
        END IF;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: taking this back would forget what versions were worth")
