-- The calls of the last minute where nodes share them: `[first slot, calls, gap, calls, gap, calls, …]`, slots of a tenth
-- of a second.
CREATE TABLE rate_windows (
    integration_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL,
    slots TEXT COLLATE "C" NOT NULL
);

ALTER TABLE rate_windows ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON rate_windows USING (tenant_id = NULLIF(current_setting('tollgate.tenant', true), ''));
