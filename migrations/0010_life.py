"""The life of an alert: what people did about it, silences, flapping, and how each receiver fares. Only adds.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    # Events of matching alerts are decided as ever and told to nobody until it ends. It is not written over: ending
    # it early is a deed of its own.
    """
    CREATE TABLE silence (
        silence_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        matchers text[] NOT NULL CHECK (cardinality(matchers) > 0),
        author text NOT NULL,
        reason text NOT NULL,
        starts_at timestamptz NOT NULL,
        ends_at timestamptz NOT NULL,
        lifted_at timestamptz,
        CONSTRAINT at_most_a_week CHECK (ends_at > starts_at AND ends_at <= starts_at + interval '7 days')
    )
    """,
    "COMMENT ON COLUMN silence.matchers IS 'name=value or name!=value; * and ? stand for what they do in file names'",
    "CREATE INDEX silence_ends_at ON silence (ends_at) WHERE lifted_at IS NULL",
    # Who did what when, a row a deed; nothing here is ever changed.
    """
    CREATE TABLE alert_deed (
        deed_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        alert_key text,
        episode integer,
        silence_id bigint REFERENCES silence,
        deed text NOT NULL CHECK (deed IN ('acknowledged', 'resolved', 'noted', 'silenced', 'unsilenced')),
        author text NOT NULL,
        via text NOT NULL,
        note text NOT NULL,
        at timestamptz NOT NULL,
        CONSTRAINT of_one_thing CHECK ((alert_key IS NULL) = (episode IS NULL)
            AND (alert_key IS NULL) <> (silence_id IS NULL))
    )
    """,
    "CREATE INDEX alert_deed_of ON alert_deed (alert_key, episode)",
    "COMMENT ON COLUMN alert_deed.via IS 'the command line, or the name of the token'",
    "ALTER TABLE alert ADD COLUMN calm_since timestamptz",
    "COMMENT ON COLUMN alert.calm_since IS 'start of the clear windows that ended the last episode'",
    "ALTER TABLE alert DROP CONSTRAINT alert_state_check",
    """
    ALTER TABLE alert ADD CONSTRAINT alert_state_check
        CHECK (state IN ('ok', 'pending', 'firing', 'flapping', 'resolved', 'undecided', 'no-data')) NOT VALID
    """,
    # Messages of one group go out as one: `parcel` names what was sent together, so that a repeat holds the same.
    # `held_by` is the last silence that held a message back; `due_at` when it could first be sent.
    """
    ALTER TABLE outbox
        ADD COLUMN group_key text NOT NULL DEFAULT '',
        ADD COLUMN parcel text NOT NULL DEFAULT '',
        ADD COLUMN held_by bigint REFERENCES silence,
        ADD COLUMN due_at timestamptz
    """,
    "CREATE INDEX outbox_event ON outbox (event_id)",
    # How a receiver fares: while it is left alone (`closed_until`) nothing is tried. `refreshed_at`: when what it has
    # to be told again and again was last told.
    """
    CREATE TABLE receiver (
        channel text PRIMARY KEY,
        failures integer NOT NULL DEFAULT 0,
        closed_until timestamptz,
        last_sent_at timestamptz,
        last_failed_at timestamptz,
        last_error text NOT NULL DEFAULT '',
        refreshed_at timestamptz
    )
    """,
    "ALTER TABLE access_token DROP CONSTRAINT known_scopes",
    """
    ALTER TABLE access_token ADD CONSTRAINT known_scopes CHECK (cardinality(scopes) > 0
        AND scopes <@ ARRAY['ingest', 'read', 'review', 'operate', 'admin']) NOT VALID
    """,
    """
    CREATE VIEW reporting.alert_deed AS
    SELECT deed_id, alert_key, episode, silence_id, deed, author, note, at FROM alert_deed
    """,
    """
    CREATE VIEW reporting.silence AS
    SELECT silence_id, matchers, author, reason, starts_at, ends_at, lifted_at FROM silence
    """,
    # A view has the rights of its owner; on a server of one's own the role may not be there.
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor_reader') THEN
            GRANT SELECT ON reporting.alert_deed, reporting.silence TO monitor_reader;
        END IF;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead: taking this back would forget what people did")
