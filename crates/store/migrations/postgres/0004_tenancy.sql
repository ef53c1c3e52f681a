-- Keys that replace each other, prices of the operator's and of tenants, and models that have none.

ALTER TABLE access_keys ADD COLUMN rotated_from TEXT COLLATE "C";
ALTER TABLE access_keys ADD COLUMN replaced_by TEXT COLLATE "C";

-- The whole installation's prices bear the empty tenant. Names of models are in lower case.
CREATE TABLE prices (
    tenant_id TEXT COLLATE "C" NOT NULL,
    provider_type TEXT COLLATE "C" NOT NULL
        CHECK (provider_type IN ('openai', 'anthropic', 'azure_openai', 'bedrock', 'custom')),
    model TEXT COLLATE "C" NOT NULL,
    rates TEXT NOT NULL,
    tiers TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, provider_type, model)
);

-- What calls without a price add up to, by model: written with the ledger, so that nobody has to search it.
CREATE TABLE unpriced_models (
    tenant_id TEXT COLLATE "C" NOT NULL,
    integration_id TEXT COLLATE "C" NOT NULL,
    provider_type TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    calls BIGINT NOT NULL,
    refused BIGINT NOT NULL,
    tokens_in BIGINT NOT NULL,
    tokens_out BIGINT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, integration_id, model)
);
CREATE INDEX unpriced_models_by_time ON unpriced_models (tenant_id, last_seen_at);
INSERT INTO unpriced_models (tenant_id, integration_id, provider_type, model, calls, refused, tokens_in, tokens_out,
        first_seen_at, last_seen_at)
    SELECT tenant_id, integration_id, MIN(provider), model,
        CAST(SUM(CASE WHEN policy_result = 'blocked' THEN 0 ELSE 1 END) AS BIGINT),
        CAST(SUM(CASE WHEN policy_result = 'blocked' THEN 1 ELSE 0 END) AS BIGINT),
        CAST(SUM(tokens_in) AS BIGINT), CAST(SUM(tokens_out) AS BIGINT), MIN(created_at), MAX(created_at)
    FROM cus_llm_usage
    WHERE price_version IS NULL AND (policy_result <> 'blocked' OR error_code = 'price_unknown')
    GROUP BY tenant_id, integration_id, model;
