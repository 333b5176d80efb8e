"""The stages of a pipeline in their order, so that dashboards can tell one network from another. Only adds.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UNIT = """
    (VALUES ('brightness', 1000), ('pixel_brightness', 1000), ('contrast', 1000), ('sharpness', 1000),
    ('red_balance', 10000), ('blue_balance', 10000), ('resolution', 1000), ('exposure_ms', 1000), ('gain_db', 1000),
    ('detections', 1), ('confidence', 1000000), ('box_area', 1000000), ('box_aspect', 10000), ('latency_ms', 1000),
    ('queue_depth', 1), ('status', 1)) AS unit (signal, divisor)
"""
SLICE = "CASE WHEN h.slice_name = '' THEN 'all' ELSE h.slice_name || ' = ' || h.slice_value END AS slice"
# Images know no stages: a baseline of them stands for every one.
SERVED = """
    FROM reporting.baseline_in_force f JOIN baseline b USING (baseline_id) CROSS JOIN LATERAL (
        SELECT NULL::text COLLATE "C" AS stage
        UNION ALL SELECT stage FROM model_stage m WHERE m.model = f.model AND b.source = 'images') served
    JOIN baseline_histogram h USING (baseline_id)
"""

STATEMENTS = (
    # What the contracts declare; a row a stage, written anew when a contract is taken up.
    """
    CREATE TABLE model_stage (
        model text COLLATE "C" NOT NULL,
        stage text COLLATE "C" NOT NULL,
        place smallint NOT NULL,
        PRIMARY KEY (model, stage)
    )
    """,
    "CREATE VIEW reporting.model_stage AS SELECT model, stage, place FROM model_stage",
    "COMMENT ON VIEW reporting.model_stage IS 'place 1 sees every image; no row: the model is no pipeline'",
    f"""
    CREATE OR REPLACE VIEW reporting.baseline_sum AS
    SELECT f.model, f.version, coalesce(served.stage, h.stage) AS stage, h.camera, {SLICE}, h.signal, h.class_name,
        h.recipe, h.n, h.frames, h.total::double precision / unit.divisor AS sum
    {SERVED} JOIN {UNIT} ON unit.signal = h.signal
    """,
    f"""
    CREATE OR REPLACE VIEW reporting.baseline_bucket AS
    SELECT f.model, f.version, coalesce(served.stage, h.stage) AS stage, h.camera, {SLICE}, h.signal, h.class_name,
        h.recipe, h.edges_id, cell.bin, cell.count
    {SERVED} CROSS JOIN LATERAL unnest(h.bins, h.counts) AS cell (bin, count)
    """,
    """
    DO $$ BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor_reader') THEN
            GRANT SELECT ON reporting.model_stage TO monitor_reader;
        END IF;
    END $$
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError(
        "the table holds what contracts say; drop schema reporting with CASCADE to be rid of it"
    )
