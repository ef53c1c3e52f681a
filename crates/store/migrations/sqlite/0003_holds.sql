-- Holds for calls that do not go through the gateway. One ends once: settled by a report, released, or expired; the node
-- that took it heeds the end when it has freed what it held in memory.
CREATE TABLE holds (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    period TEXT NOT NULL,
    cost_nanos INTEGER NOT NULL CHECK (cost_nanos >= 0),
    tokens INTEGER NOT NULL CHECK (tokens >= 0),
    node_id TEXT NOT NULL,
    model TEXT,
    call_id TEXT,
    policy_result TEXT NOT NULL CHECK (policy_result IN ('allowed', 'warned')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    ended_at INTEGER,
    settled_nanos INTEGER NOT NULL DEFAULT 0,
    settled_tokens INTEGER NOT NULL DEFAULT 0,
    settled_call_id TEXT,
    heeded INTEGER NOT NULL DEFAULT 0,
    CHECK ((state = 'held') = (ended_at IS NULL))
) STRICT;
CREATE INDEX holds_living ON holds (expires_at) WHERE state = 'held';
CREATE INDEX holds_unheeded ON holds (node_id) WHERE heeded = 0;
CREATE INDEX holds_by_integration ON holds (integration_id, created_at);

-- A report may name the hold that it settles; it is booked whatever became of that.
ALTER TABLE cus_llm_usage ADD COLUMN hold_id TEXT;
ALTER TABLE cus_llm_usage ADD COLUMN hold_outcome TEXT
    CHECK (hold_outcome IN ('settled', 'settled_before', 'released', 'expired', 'unknown'));
