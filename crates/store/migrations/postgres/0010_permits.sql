-- The calls of the last minute where nodes share them: `[first slot, calls, gap, calls, gap, calls, …]`, slots of a tenth
-- of a second.
CREATE TABLE rate_windows (
    integration_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL,
    slots TEXT COLLATE "C" NOT NULL
);
