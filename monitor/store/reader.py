"""What closes the doors that every role of a PostgreSQL has open by default, for the role that dashboards read with.

To be run by a superuser, in the product's database; a repeat changes nothing. Large objects are a way to write, and
advisory locks a way to stop others, that no right on a table and no read-only transaction keeps anybody from.
"""

from __future__ import annotations

from monitor.store.cluster import READER

LIMITS = (
    f"ALTER ROLE {READER} SET default_transaction_read_only = on",
    f"ALTER ROLE {READER} SET statement_timeout = '30s'",
    f"ALTER ROLE {READER} SET idle_in_transaction_session_timeout = '60s'",
    f"ALTER ROLE {READER} CONNECTION LIMIT 40",
)
SHUT = """\
DO $$
DECLARE routine regprocedure;
BEGIN
    FOR routine IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (proname ~ '^lo_|^pg_(try_)?advisory' OR proname IN ('loread', 'lowrite', 'pg_notify'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {owner}', routine);
    END LOOP;
END $$"""
"""`{owner}`: the role that the product works as, which needs its locks."""


def statements(owner: str) -> tuple[str, ...]:
    """Everything, in order; `owner` is an SQL identifier."""
    return *LIMITS, SHUT.replace("{owner}", owner)


_THERE = "to_regnamespace('reporting') IS NOT NULL"
SCRIPT = f"""\
-- The role that Grafana reads with, on a PostgreSQL of your own: it may read the views of schema reporting and
-- nothing else. Run it once as a superuser in the product's database, before or after `monitor db upgrade`:
--   psql --set=owner=monitor --set=password_file=reader-password --file=dashboards/postgres/reader.sql DATABASE
-- The password is read from that file, so that it stands in no list of processes.
-- Made by `monitor dashboards build`.
\\set ON_ERROR_STOP on
\\set password `cat :'password_file'`
SELECT 'CREATE ROLE {READER} LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') \\gexec
ALTER ROLE {READER} PASSWORD :'password';
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \\gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO {READER}', current_database()) \\gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
{"".join(f"{one};" + chr(10) for one in LIMITS)}\
SELECT $outer${SHUT.replace("{owner}", "%1$I").replace("%s", "%%s")}$outer$ AS said \\gset
SELECT format(:'said', :'owner') \\gexec
SELECT 'GRANT USAGE ON SCHEMA reporting TO {READER}' WHERE {_THERE} \\gexec
SELECT 'GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO {READER}' WHERE {_THERE} \\gexec
"""  # noqa: S608 (made of constants)
