-- Keys that replace each other, prices of the operator's and of tenants, and models that have none.

ALTER TABLE access_keys ADD COLUMN rotated_from TEXT;
ALTER TABLE access_keys ADD COLUMN replaced_by TEXT;

-- The whole installation's prices bear the empty tenant. Names of models are in lower case.
CREATE TABLE prices (
    tenant_id TEXT NOT NULL,
    provider_type TEXT NOT NULL
        CHECK (provider_type IN ('openai', 'anthropic', 'azure_openai', 'bedrock', 'custom')),
    model TEXT NOT NULL,
    rates TEXT NOT NULL,
    tiers TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, provider_type, model)
) STRICT, WITHOUT ROWID;

-- What calls without a price add up to, by model: written with the ledger, so that nobody has to search it.
CREATE TABLE unpriced_models (
    tenant_id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    provider_type TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, integration_id, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX unpriced_models_by_time ON unpriced_models (tenant_id, last_seen_at);
INSERT INTO unpriced_models (tenant_id, integration_id, provider_type, model, calls, refused, tokens_in, tokens_out,
        first_seen_at, last_seen_at)
    SELECT tenant_id, integration_id, MIN(provider), model,
        CAST(SUM(CASE WHEN policy_result = 'blocked' THEN 0 ELSE 1 END) AS INTEGER),
        CAST(SUM(CASE WHEN policy_result = 'blocked' THEN 1 ELSE 0 END) AS INTEGER),
        CAST(SUM(tokens_in) AS INTEGER), CAST(SUM(tokens_out) AS INTEGER), MIN(created_at), MAX(created_at)
    FROM cus_llm_usage
    WHERE price_version IS NULL AND (policy_result <> 'blocked' OR error_code = 'price_unknown')
    GROUP BY tenant_id, integration_id, model;
