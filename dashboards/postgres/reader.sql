-- The role that Grafana reads with, on a PostgreSQL of your own: it may read the views of schema reporting and
-- nothing else. Run it once as a superuser in the product's database, before or after `monitor db upgrade`:
--   psql --set=owner=monitor --set=password_file=reader-password --file=dashboards/postgres/reader.sql DATABASE
-- The password is read from that file, so that it stands in no list of processes.
-- Made by `monitor dashboards build`.
\set ON_ERROR_STOP on
\set password `cat :'password_file'`
SELECT 'CREATE ROLE monitor_reader LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor_reader') \gexec
ALTER ROLE monitor_reader PASSWORD :'password';
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO monitor_reader', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER ROLE monitor_reader SET default_transaction_read_only = on;
ALTER ROLE monitor_reader SET statement_timeout = '30s';
ALTER ROLE monitor_reader SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE monitor_reader CONNECTION LIMIT 40;
SELECT $outer$DO $$
DECLARE routine regprocedure;
BEGIN
    FOR routine IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND (proname ~ '^lo_|^pg_(try_)?advisory' OR proname IN ('loread', 'lowrite', 'pg_notify'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %%s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %%s TO %1$I', routine);
    END LOOP;
END $$$outer$ AS said \gset
SELECT format(:'said', :'owner') \gexec
SELECT 'GRANT USAGE ON SCHEMA reporting TO monitor_reader' WHERE to_regnamespace('reporting') IS NOT NULL \gexec
SELECT 'GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO monitor_reader' WHERE to_regnamespace('reporting') IS NOT NULL \gexec
