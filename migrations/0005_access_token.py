"""Tokens: who may send frames, and who may read. Only adds.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    # The token itself is known to its owner alone. It is drawn at random from more than anybody can try out, so a
    # plain hash of it is enough: there is nothing to guess that a salt or a slow hash would make dearer.
    """
    CREATE TABLE access_token (
        token_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        scopes text[] NOT NULL,
        sha256 bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
        created_at timestamptz NOT NULL,
        expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
        revoked_at timestamptz,
        last_used_at timestamptz,
        CONSTRAINT known_scopes CHECK (cardinality(scopes) > 0
            AND scopes <@ ARRAY['ingest', 'read', 'review', 'admin']),
        CONSTRAINT ingest_has_a_source CHECK (source <> '' OR NOT 'ingest' = ANY(scopes))
    )
    """,
    "CREATE UNIQUE INDEX access_token_name ON access_token (name) WHERE revoked_at IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: taking this back would forget every token")
