-- The books, first form. Times are microseconds since 1970 in UTC, days `YYYY-MM-DD`, months `YYYY-MM`, money nano-dollars.
-- Ids compare by their bytes (COLLATE "C"), as they do in SQLite.

CREATE TABLE tenants (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX tenants_by_time ON tenants (created_at, id);

CREATE TABLE access_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" REFERENCES tenants (id),
    name TEXT COLLATE "C" NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('operator', 'admin', 'viewer', 'caller')),
    integration_id TEXT COLLATE "C",
    prefix TEXT NOT NULL,
    digest BYTEA NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    CHECK ((tenant_id IS NULL) = (role = 'operator'))
);
CREATE INDEX access_keys_by_tenant ON access_keys (tenant_id, created_at, id);

CREATE TABLE cus_integrations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    name TEXT COLLATE "C" NOT NULL,
    provider_type TEXT NOT NULL
        CHECK (provider_type IN ('openai', 'anthropic', 'azure_openai', 'bedrock', 'custom')),
    credential_ref TEXT NOT NULL,
    config TEXT,
    status TEXT NOT NULL CHECK (status IN ('created', 'enabled', 'disabled', 'error')),
    health_state TEXT NOT NULL
        CHECK (health_state IN ('unknown', 'healthy', 'degraded', 'failing')),
    health_checked_at BIGINT,
    health_message TEXT,
    default_model TEXT,
    budget_limit_cents BIGINT NOT NULL CHECK (budget_limit_cents >= 0),
    token_limit_month BIGINT NOT NULL CHECK (token_limit_month >= 0),
    rate_limit_rpm BIGINT NOT NULL CHECK (rate_limit_rpm >= 0),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    created_by TEXT,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX cus_integrations_living_name ON cus_integrations (tenant_id, name)
    WHERE deleted_at IS NULL;
CREATE INDEX cus_integrations_by_tenant ON cus_integrations (tenant_id, created_at, id);

CREATE TABLE credentials (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    integration_id TEXT COLLATE "C" NOT NULL REFERENCES cus_integrations (id),
    version BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    fingerprint TEXT NOT NULL,
    last4 TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT,
    UNIQUE (integration_id, version)
);
CREATE UNIQUE INDEX credentials_current ON credentials (integration_id) WHERE retired_at IS NULL;

-- The ledger refers to nothing by foreign key: a finished call is booked whatever became of its integration.
-- One partition a month of created_at; the store makes each before the first row that needs it.
CREATE TABLE cus_llm_usage (
    id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT,
    agent_id TEXT,
    call_id TEXT COLLATE "C" NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    tokens_in BIGINT NOT NULL CHECK (tokens_in >= 0),
    tokens_out BIGINT NOT NULL CHECK (tokens_out >= 0),
    cost_cents BIGINT NOT NULL CHECK (cost_cents >= 0),
    latency_ms BIGINT CHECK (latency_ms >= 0),
    policy_result TEXT NOT NULL CHECK (policy_result IN ('allowed', 'warned', 'blocked')),
    error_code TEXT,
    error_message TEXT,
    extra_data TEXT,
    created_at BIGINT NOT NULL,
    cost_nanos BIGINT NOT NULL CHECK (cost_nanos >= 0),
    held_nanos BIGINT NOT NULL CHECK (held_nanos >= 0),
    usage_source TEXT NOT NULL CHECK (usage_source IN ('provider', 'counted', 'estimated')),
    tokens_by_class TEXT NOT NULL,
    price_version TEXT,
    unit_prices TEXT,
    period TEXT COLLATE "C" NOT NULL,
    day TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    settled_at BIGINT NOT NULL,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX cus_llm_usage_by_tenant ON cus_llm_usage (tenant_id, created_at, id);
CREATE INDEX cus_llm_usage_by_integration ON cus_llm_usage (integration_id, created_at);

CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $refuse$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % is refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END
$refuse$;
CREATE TRIGGER cus_llm_usage_no_change BEFORE UPDATE OR DELETE ON cus_llm_usage
    FOR EACH ROW EXECUTE FUNCTION refuse_ledger_change();
CREATE TRIGGER cus_llm_usage_no_truncate BEFORE TRUNCATE ON cus_llm_usage
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change();

CREATE TABLE call_keys (
    tenant_id TEXT COLLATE "C" NOT NULL,
    call_id TEXT COLLATE "C" NOT NULL,
    entry_hash BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, call_id)
);

CREATE TABLE cus_usage_daily (
    tenant_id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    date TEXT COLLATE "C" NOT NULL,
    total_calls BIGINT NOT NULL,
    total_tokens_in BIGINT NOT NULL,
    total_tokens_out BIGINT NOT NULL,
    total_cost_cents BIGINT NOT NULL,
    avg_latency_ms BIGINT,
    error_count BIGINT NOT NULL,
    blocked_count BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    total_cost_nanos BIGINT NOT NULL,
    latency_sum_ms BIGINT NOT NULL,
    latency_count BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, integration_id, date)
);
CREATE INDEX cus_usage_daily_by_date ON cus_usage_daily (tenant_id, date);

CREATE TABLE balances (
    integration_id TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL,
    settled_nanos BIGINT NOT NULL,
    settled_tokens BIGINT NOT NULL,
    posted_cents BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    PRIMARY KEY (integration_id, period)
);

CREATE TABLE allowances (
    integration_id TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    node_id TEXT COLLATE "C" NOT NULL,
    drawn_nanos BIGINT NOT NULL,
    settled_nanos BIGINT NOT NULL,
    drawn_tokens BIGINT NOT NULL,
    settled_tokens BIGINT NOT NULL,
    PRIMARY KEY (integration_id, period, node_id)
);
CREATE INDEX allowances_by_node ON allowances (node_id);

CREATE TABLE nodes (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    retired_at BIGINT
);

-- The operator's own changes bear the empty tenant.
CREATE TABLE audit_log (
    tenant_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    before TEXT,
    after TEXT,
    request_id TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);

CREATE TABLE changes (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('tenant', 'key', 'integration')),
    subject_id TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C"
);
