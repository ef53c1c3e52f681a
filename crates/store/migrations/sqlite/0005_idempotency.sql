-- Requests that came with an Idempotency-Key: begun before anything is done, answered when it is done.
-- The id and the digest are keyed hashes; the answer is sealed, because it may hold an access key.
CREATE TABLE idempotent_requests (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id TEXT,
    digest BLOB NOT NULL,
    node_id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    answer BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotent_requests_by_age ON idempotent_requests (started_at);
