-- Usage that callers report: a row tells how it was heard of, and what the caller's own figure was.
ALTER TABLE cus_llm_usage ADD COLUMN origin TEXT NOT NULL DEFAULT 'gateway' CHECK (origin IN ('gateway', 'telemetry'));
ALTER TABLE cus_llm_usage ADD COLUMN client_cost_nanos INTEGER CHECK (client_cost_nanos >= 0);

-- With its time, a call's row is found through the ledger's index of times.
ALTER TABLE call_keys ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
UPDATE call_keys SET created_at = u.created_at FROM cus_llm_usage u
    WHERE u.tenant_id = call_keys.tenant_id AND u.call_id = call_keys.call_id;
