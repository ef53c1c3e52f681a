-- The calls of the last minute where nodes share them: `[first slot, calls, gap, calls, gap, calls, …]`, slots of a tenth
-- of a second.
CREATE TABLE rate_windows (
    integration_id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    slots TEXT NOT NULL
) STRICT, WITHOUT ROWID;
