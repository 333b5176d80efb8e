"""The first schema: frames by day, ledger, roll-ups, baselines, measurements, alerts, job runs.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    # One row a batch: the ledger. `name` is unique within a source, so a batch delivered twice is recognised.
    # lines = stored + duplicate + rejected + blank holds for every row; the constraint keeps it.
    """
    CREATE TABLE batch (
        batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        file_name text NOT NULL,
        sha256 bytea NOT NULL,
        lines integer NOT NULL,
        stored integer NOT NULL,
        duplicate integer NOT NULL,
        rejected integer NOT NULL,
        blank integer NOT NULL,
        detections_rejected integer NOT NULL,
        received_at timestamptz NOT NULL,
        UNIQUE (source, name),
        CONSTRAINT conservation CHECK (lines = stored + duplicate + rejected + blank)
    )
    """,
    """
    CREATE TABLE reject (
        batch_id bigint NOT NULL REFERENCES batch ON DELETE CASCADE,
        line_number integer NOT NULL,
        part smallint NOT NULL,
        whole_line boolean NOT NULL,
        reason text NOT NULL,
        detail text NOT NULL,
        raw bytea NOT NULL,
        PRIMARY KEY (batch_id, line_number, part)
    )
    """,
    # The ledger's sums since the start, moved with each batch in its own transaction, so that nobody adds the ledger
    # up. outcome: batch, stored, duplicate, blank, rejected (a line), detection (set aside, its frame kept). `count`
    # only grows; `mended` of it were rejected for this reason once and not any more. Every line counts once:
    # lines = stored + duplicate + blank + (rejected - mended).
    """
    CREATE TABLE intake_total (
        source text COLLATE "C" NOT NULL,
        outcome text COLLATE "C" NOT NULL,
        reason text COLLATE "C" NOT NULL,
        count bigint NOT NULL,
        mended bigint NOT NULL,
        last_at timestamptz NOT NULL,
        PRIMARY KEY (source, outcome, reason)
    ) WITH (fillfactor = 50)
    """,
    # The idempotency key. A unique key on a table partitioned by time must contain the time, and then the same id at
    # another time would be stored twice; so the key has a table of its own, kept as long as the frames.
    """
    CREATE TABLE frame_key (
        source text COLLATE "C" NOT NULL,
        event_id text COLLATE "C" NOT NULL,
        captured_at timestamptz NOT NULL,
        digest bytea NOT NULL,
        PRIMARY KEY (source, event_id)
    )
    """,
    """
    CREATE TABLE frame (
        captured_at timestamptz NOT NULL,
        source text COLLATE "C" NOT NULL,
        event_id text COLLATE "C" NOT NULL,
        batch_id bigint NOT NULL,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        stage text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        site text NOT NULL,
        line text NOT NULL,
        shadow boolean NOT NULL,
        status text COLLATE "C" NOT NULL,
        image_uri text NOT NULL,
        width integer NOT NULL,
        height integer NOT NULL,
        latency_ms double precision,
        queue_depth double precision,
        recipe text COLLATE "C" NOT NULL,
        brightness double precision,
        contrast double precision,
        sharpness double precision,
        red_balance double precision,
        blue_balance double precision,
        brightness_histogram integer[],
        slice_name text[] NOT NULL,
        slice_value text[] NOT NULL,
        camera_meta jsonb,
        embedding real[],
        boxes_rejected integer NOT NULL,
        det_class text[] NOT NULL,
        det_confidence double precision[] NOT NULL,
        det_box real[] NOT NULL
    ) PARTITION BY RANGE (captured_at)
    """,
    "CREATE INDEX frame_captured_at ON frame USING brin (captured_at) WITH (pages_per_range = 16)",
    "COMMENT ON COLUMN frame.det_box IS 'x1, y1, x2, y2 of each detection in pixels, one after the other'",
    "COMMENT ON COLUMN frame.brightness_histogram IS '32 bins of 8 grey levels; every frame sums to 1000'",
    # What a roll-up series counts. The id is a hash of the rest, so the same series has the same id everywhere and
    # no look-up stands in the way of a load.
    """
    CREATE TABLE series (
        series_id bigint PRIMARY KEY,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        shadow boolean NOT NULL,
        stage text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        slice_name text COLLATE "C" NOT NULL,
        slice_value text COLLATE "C" NOT NULL,
        signal text COLLATE "C" NOT NULL,
        class_name text COLLATE "C" NOT NULL,
        recipe text COLLATE "C" NOT NULL,
        edges_id text COLLATE "C" NOT NULL,
        minutes smallint NOT NULL,
        UNIQUE (model, camera, signal, minutes, version, shadow, stage, slice_name, slice_value, class_name,
                recipe, edges_id)
    )
    """,
    "COMMENT ON TABLE series IS 'slice_name and class_name are empty where a series counts all of them'",
    # Increments: every batch appends its own rows by COPY and none is updated in place; what stands in more than one
    # row of a (series, start) is merged afterwards. Sums over the rows are right before and after. Bins are sparse:
    # only those that are not empty, so a quiet hour costs little however fine the edges are. The key carries n, so
    # that frames are counted from the index alone.
    """
    CREATE TABLE rollup (
        series_id bigint NOT NULL REFERENCES series,
        start_at timestamptz NOT NULL,
        batch_id bigint NOT NULL,
        n integer NOT NULL,
        frames integer NOT NULL,
        total bigint NOT NULL,
        squares bigint NOT NULL,
        bins smallint[] NOT NULL,
        counts integer[] NOT NULL,
        PRIMARY KEY (series_id, start_at, batch_id) INCLUDE (n)
    ) WITH (fillfactor = 90)
    """,
    "CREATE INDEX rollup_fresh ON rollup (start_at) WHERE batch_id > 0",
    "COMMENT ON COLUMN rollup.squares IS 'sum over the frames of (values of the frame) squared'",
    """
    CREATE TABLE camera (
        model text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        site text NOT NULL,
        line text NOT NULL,
        "group" text NOT NULL,
        PRIMARY KEY (model, name)
    )
    """,
    # What was demanded when a number was judged: every contract text that was ever in force, by hash. Those that are
    # in force now, with the name of the file that held them, outlast a restart at which that file is faulty.
    """
    CREATE TABLE contract (
        contract_hash text PRIMARY KEY,
        model text COLLATE "C" NOT NULL,
        text text NOT NULL,
        file text NOT NULL,
        in_force boolean NOT NULL,
        taken_up_at timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX contract_in_force ON contract (model) WHERE in_force",
    """
    CREATE TABLE baseline (
        baseline_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        source text NOT NULL CHECK (source IN ('logs', 'images')),
        period_start timestamptz,
        period_end timestamptz,
        frames integer NOT NULL,
        sha256 text NOT NULL,
        contract_hash text NOT NULL,
        created_at timestamptz NOT NULL,
        note text NOT NULL
    )
    """,
    # `cuts` are the upper fine bins of the groups of equal mass, frozen with the histogram.
    """
    CREATE TABLE baseline_histogram (
        baseline_id bigint NOT NULL REFERENCES baseline ON DELETE CASCADE,
        stage text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        slice_name text COLLATE "C" NOT NULL,
        slice_value text COLLATE "C" NOT NULL,
        signal text COLLATE "C" NOT NULL,
        class_name text COLLATE "C" NOT NULL,
        recipe text COLLATE "C" NOT NULL,
        edges_id text COLLATE "C" NOT NULL,
        n bigint NOT NULL,
        frames bigint NOT NULL,
        total bigint NOT NULL,
        squares bigint NOT NULL,
        bins smallint[] NOT NULL,
        counts bigint[] NOT NULL,
        cuts smallint[] NOT NULL,
        PRIMARY KEY (baseline_id, camera, signal, stage, slice_name, slice_value, class_name, recipe, edges_id)
    )
    """,
    # Everything known is a measurement: one narrow fact table.
    """
    CREATE TABLE measurement (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        shadow boolean NOT NULL,
        stage text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        slice_name text COLLATE "C" NOT NULL,
        slice_value text COLLATE "C" NOT NULL,
        signal text COLLATE "C" NOT NULL,
        class_name text COLLATE "C" NOT NULL,
        recipe text COLLATE "C" NOT NULL,
        measure text COLLATE "C" NOT NULL,
        window_start timestamptz NOT NULL,
        window_end timestamptz NOT NULL,
        value double precision,
        state text NOT NULL,
        n bigint NOT NULL,
        baseline_n bigint NOT NULL,
        baseline_id bigint REFERENCES baseline,
        contract_hash text NOT NULL,
        noise double precision,
        now_mean double precision,
        baseline_mean double precision,
        PRIMARY KEY (model, window_start, camera, signal, measure, version, stage, shadow, slice_name, slice_value,
                     class_name, recipe, window_end)
    )
    """,
    # Which windows were measured, and over how many frames: a window whose roll-ups have grown since is undone again.
    """
    CREATE TABLE measured_window (
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        window_start timestamptz NOT NULL,
        window_end timestamptz NOT NULL,
        frames bigint NOT NULL,
        baseline_id bigint,
        contract_hash text NOT NULL,
        PRIMARY KEY (model, version, window_start, window_end)
    )
    """,
    """
    CREATE TABLE alert (
        alert_key text PRIMARY KEY,
        model text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        stage text COLLATE "C" NOT NULL,
        camera text COLLATE "C" NOT NULL,
        slice_name text COLLATE "C" NOT NULL,
        slice_value text COLLATE "C" NOT NULL,
        rule text NOT NULL,
        signal text NOT NULL,
        class_name text NOT NULL,
        measure text NOT NULL,
        severity text NOT NULL,
        state text NOT NULL CHECK (state IN ('ok', 'pending', 'firing', 'resolved', 'undecided', 'no-data')),
        episode integer NOT NULL,
        breaches integer NOT NULL,
        clears integer NOT NULL,
        since timestamptz,
        window_end timestamptz NOT NULL,
        value double precision,
        threshold double precision NOT NULL,
        n bigint NOT NULL,
        reason text NOT NULL,
        revision bigint NOT NULL
    )
    """,
    """
    CREATE TABLE alert_event (
        event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        alert_key text NOT NULL REFERENCES alert,
        episode integer NOT NULL,
        from_state text NOT NULL,
        to_state text NOT NULL,
        window_start timestamptz NOT NULL,
        window_end timestamptz NOT NULL,
        decided_at timestamptz NOT NULL,
        value double precision,
        threshold double precision NOT NULL,
        n bigint NOT NULL,
        evidence jsonb NOT NULL,
        UNIQUE (alert_key, episode, to_state)
    )
    """,
    # How far a rule has judged a version's windows, in order; up to `decided_end` for good. The windows after that
    # had too little or nothing to say, and are judged again when they have got more.
    """
    CREATE TABLE judged (
        model text COLLATE "C" NOT NULL,
        rule text COLLATE "C" NOT NULL,
        version text COLLATE "C" NOT NULL,
        window_end timestamptz NOT NULL,
        decided_end timestamptz,
        PRIMARY KEY (model, rule, version)
    )
    """,
    # A message to a channel; written with the event in one transaction, marked after it was sent.
    """
    CREATE TABLE outbox (
        delivery_key text PRIMARY KEY,
        event_id bigint NOT NULL REFERENCES alert_event,
        channel text NOT NULL,
        attempts integer NOT NULL DEFAULT 0,
        not_before timestamptz NOT NULL,
        sent_at timestamptz,
        given_up_at timestamptz,
        last_error text NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX outbox_open ON outbox (not_before) WHERE sent_at IS NULL AND given_up_at IS NULL",
    """
    CREATE TABLE job_run (
        job text NOT NULL,
        scheduled_for timestamptz NOT NULL,
        started_at timestamptz NOT NULL,
        finished_at timestamptz,
        state text NOT NULL CHECK (state IN ('running', 'done', 'failed')),
        did integer NOT NULL DEFAULT 0,
        error text NOT NULL DEFAULT '',
        PRIMARY KEY (job, scheduled_for)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the first schema is not taken back; drop the database instead")
