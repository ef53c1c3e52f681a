-- The books, first form. Times are microseconds since 1970 in UTC, days `YYYY-MM-DD`, months `YYYY-MM`, money nano-dollars.

CREATE TABLE tenants (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE INDEX tenants_by_time ON tenants (created_at, id);

CREATE TABLE access_keys (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT REFERENCES tenants (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('operator', 'admin', 'viewer', 'caller')),
    integration_id TEXT,
    prefix TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    CHECK ((tenant_id IS NULL) = (role = 'operator'))
) STRICT;
CREATE INDEX access_keys_by_tenant ON access_keys (tenant_id, created_at, id);

CREATE TABLE cus_integrations (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    provider_type TEXT NOT NULL
        CHECK (provider_type IN ('openai', 'anthropic', 'azure_openai', 'bedrock', 'custom')),
    credential_ref TEXT NOT NULL,
    config TEXT,
    status TEXT NOT NULL CHECK (status IN ('created', 'enabled', 'disabled', 'error')),
    health_state TEXT NOT NULL
        CHECK (health_state IN ('unknown', 'healthy', 'degraded', 'failing')),
    health_checked_at INTEGER,
    health_message TEXT,
    default_model TEXT,
    budget_limit_cents INTEGER NOT NULL CHECK (budget_limit_cents >= 0),
    token_limit_month INTEGER NOT NULL CHECK (token_limit_month >= 0),
    rate_limit_rpm INTEGER NOT NULL CHECK (rate_limit_rpm >= 0),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    created_by TEXT,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX cus_integrations_living_name ON cus_integrations (tenant_id, name)
    WHERE deleted_at IS NULL;
CREATE INDEX cus_integrations_by_tenant ON cus_integrations (tenant_id, created_at, id);

CREATE TABLE credentials (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    integration_id TEXT NOT NULL REFERENCES cus_integrations (id),
    version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    fingerprint TEXT NOT NULL,
    last4 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER,
    UNIQUE (integration_id, version)
) STRICT;
CREATE UNIQUE INDEX credentials_current ON credentials (integration_id) WHERE retired_at IS NULL;

-- The ledger refers to nothing by foreign key: a finished call is booked whatever became of its integration.
CREATE TABLE cus_llm_usage (
    id TEXT NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    session_id TEXT,
    agent_id TEXT,
    call_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    tokens_in INTEGER NOT NULL CHECK (tokens_in >= 0),
    tokens_out INTEGER NOT NULL CHECK (tokens_out >= 0),
    cost_cents INTEGER NOT NULL CHECK (cost_cents >= 0),
    latency_ms INTEGER CHECK (latency_ms >= 0),
    policy_result TEXT NOT NULL CHECK (policy_result IN ('allowed', 'warned', 'blocked')),
    error_code TEXT,
    error_message TEXT,
    extra_data TEXT,
    created_at INTEGER NOT NULL,
    cost_nanos INTEGER NOT NULL CHECK (cost_nanos >= 0),
    held_nanos INTEGER NOT NULL CHECK (held_nanos >= 0),
    usage_source TEXT NOT NULL CHECK (usage_source IN ('provider', 'counted', 'estimated')),
    tokens_by_class TEXT NOT NULL,
    price_version TEXT,
    unit_prices TEXT,
    period TEXT NOT NULL,
    day TEXT NOT NULL,
    node_id TEXT NOT NULL,
    settled_at INTEGER NOT NULL
) STRICT;
CREATE INDEX cus_llm_usage_by_tenant ON cus_llm_usage (tenant_id, created_at, id);
CREATE INDEX cus_llm_usage_by_integration ON cus_llm_usage (integration_id, created_at);

CREATE TRIGGER cus_llm_usage_no_update BEFORE UPDATE ON cus_llm_usage
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: a row cannot be changed');
END;
CREATE TRIGGER cus_llm_usage_no_delete BEFORE DELETE ON cus_llm_usage
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only: a row cannot be deleted');
END;

CREATE TABLE call_keys (
    tenant_id TEXT NOT NULL,
    call_id TEXT NOT NULL,
    entry_hash INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, call_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cus_usage_daily (
    tenant_id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    date TEXT NOT NULL,
    total_calls INTEGER NOT NULL,
    total_tokens_in INTEGER NOT NULL,
    total_tokens_out INTEGER NOT NULL,
    total_cost_cents INTEGER NOT NULL,
    avg_latency_ms INTEGER,
    error_count INTEGER NOT NULL,
    blocked_count INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    total_cost_nanos INTEGER NOT NULL,
    latency_sum_ms INTEGER NOT NULL,
    latency_count INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, integration_id, date)
) STRICT, WITHOUT ROWID;
CREATE INDEX cus_usage_daily_by_date ON cus_usage_daily (tenant_id, date);

CREATE TABLE balances (
    integration_id TEXT NOT NULL,
    period TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    settled_nanos INTEGER NOT NULL,
    settled_tokens INTEGER NOT NULL,
    posted_cents INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (integration_id, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE allowances (
    integration_id TEXT NOT NULL,
    period TEXT NOT NULL,
    node_id TEXT NOT NULL,
    drawn_nanos INTEGER NOT NULL,
    settled_nanos INTEGER NOT NULL,
    drawn_tokens INTEGER NOT NULL,
    settled_tokens INTEGER NOT NULL,
    PRIMARY KEY (integration_id, period, node_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX allowances_by_node ON allowances (node_id);

CREATE TABLE nodes (
    id TEXT NOT NULL PRIMARY KEY,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;

-- The operator's own changes bear the empty tenant.
CREATE TABLE audit_log (
    tenant_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT,
    after TEXT,
    request_id TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('tenant', 'key', 'integration')),
    subject_id TEXT NOT NULL,
    tenant_id TEXT
) STRICT;
