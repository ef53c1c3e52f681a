-- What is known of an integration's health beside its state: counters, the last probe, and when the next one is due.

CREATE TABLE integration_health (
    integration_id TEXT NOT NULL PRIMARY KEY REFERENCES cus_integrations (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    failures BIGINT NOT NULL CHECK (failures >= 0),
    successes BIGINT NOT NULL CHECK (successes >= 0),
    evidence TEXT CHECK (evidence IN ('probe', 'traffic')),
    latency_ms BIGINT,
    probed_at BIGINT,
    next_probe_at BIGINT,
    resume_status TEXT CHECK (resume_status IN ('created', 'enabled', 'disabled')),
    revision BIGINT NOT NULL
);
