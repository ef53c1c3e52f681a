-- The second wall between tenants. Work of a tenant is done as a role that these policies bind, with the tenant's id
-- in a setting of the transaction; the owner of the tables, who does the operator's work, is not bound.
-- Every table with a tenant_id has a policy from here on; a table of a later migration brings its own, or a test fails.
DO $wall$
DECLARE
    owned NAME;
BEGIN
    FOR owned IN
        SELECT c.relname FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'tenants'::regclass)
        ORDER BY c.relname
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format(
            'CREATE POLICY tenant_wall ON %I USING (tenant_id = NULLIF(current_setting(''tollgate.tenant'', true), ''''))',
            owned
        );
    END LOOP;
END
$wall$;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON tenants USING (id = NULLIF(current_setting('tollgate.tenant', true), ''));

-- An allowance belongs to whom its integration belongs to; the policy of integrations holds within this one.
ALTER TABLE allowances ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON allowances USING (integration_id IN (SELECT id FROM cus_integrations));
