-- Makes the role that tenants' work is done as, where the connecting role may make one, and gives it its rights.
-- Run after every migration and at every start: roles belong to the cluster and do not come with a restored database.
DO $wall$
DECLARE
    wall_role TEXT := left(current_user || '_tenant', 63);
    may_act BOOLEAN;
    one RECORD;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wall_role) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wall_role);
        EXCEPTION
            -- Another node, or one of another database of the cluster, may have been quicker.
            WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    -- A role of that name which is somebody's login, or may step over policies, gets no rights.
    IF NOT EXISTS (
        SELECT FROM pg_roles WHERE rolname = wall_role AND NOT rolcanlogin AND NOT rolsuper AND NOT rolbypassrls
    ) THEN
        RETURN;
    END IF;
    may_act := CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN pg_has_role(current_user, wall_role, 'SET') ELSE pg_has_role(current_user, wall_role, 'MEMBER') END;
    IF NOT may_act THEN
        BEGIN
            EXECUTE format('GRANT %I TO CURRENT_USER', wall_role);
        EXCEPTION
            WHEN insufficient_privilege OR duplicate_object OR unique_violation OR internal_error THEN NULL;
        END;
    END IF;
    IF NOT has_schema_privilege(wall_role, current_schema(), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), wall_role);
    END IF;
    FOR one IN
        SELECT t.oid, t.relname, t.rights FROM (
            SELECT c.oid, c.relname, CASE
                WHEN c.relname IN ('tenants', 'cus_llm_usage', 'cus_usage_daily', 'balances', 'allowances',
                    'rate_windows', 'unpriced_models') THEN 'SELECT'
                WHEN c.relname = 'audit_log' THEN 'SELECT,INSERT'
                WHEN c.relname = 'audit_heads' THEN 'SELECT,INSERT,UPDATE'
                WHEN c.relname = 'changes' THEN 'INSERT'
                ELSE 'SELECT,INSERT,UPDATE,DELETE' END AS rights
            FROM pg_class c
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relrowsecurity
                AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'tenants'::regclass)
        ) t
        WHERE NOT (SELECT bool_and(has_table_privilege(wall_role, t.oid, one_right))
            FROM unnest(string_to_array(t.rights, ',')) one_right)
    LOOP
        EXECUTE format('GRANT %s ON TABLE %I TO %I', one.rights, one.relname, wall_role);
    END LOOP;
END
$wall$;
