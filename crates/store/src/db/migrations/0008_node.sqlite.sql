-- The servers that use this database, each with a heartbeat and the mode that an administrator requested. Expand-only.
-- Not used with SQLite, which has one server.
CREATE TABLE node (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, address TEXT NOT NULL, version TEXT NOT NULL, schema BIGINT NOT NULL,
    started_at BIGINT NOT NULL, beat_at BIGINT NOT NULL, clock_ahead BIGINT NOT NULL, mode TEXT NOT NULL,
    mode_at BIGINT NOT NULL, message TEXT NOT NULL, config TEXT NOT NULL, classes TEXT NOT NULL, requested_mode TEXT,
    requested_by TEXT, requested_at BIGINT, requested_timeout BIGINT, answered_at BIGINT
) WITHOUT ROWID;

-- The identity of the history of transactions: a restored database gets another one.
ALTER TABLE clock ADD COLUMN history TEXT NOT NULL DEFAULT '';
UPDATE clock SET history = lower(hex(randomblob(16)));
