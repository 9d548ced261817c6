-- The servers that use this database, each with a heartbeat and the mode that an administrator requested. Expand-only.
-- Times are those of the database's clock.
CREATE TABLE node (
    id TEXT COLLATE "C" PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, address TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL, schema BIGINT NOT NULL, started_at BIGINT NOT NULL, beat_at BIGINT NOT NULL,
    clock_ahead BIGINT NOT NULL, mode TEXT COLLATE "C" NOT NULL, mode_at BIGINT NOT NULL, message TEXT COLLATE "C" NOT NULL,
    config TEXT COLLATE "C" NOT NULL, classes TEXT COLLATE "C" NOT NULL, requested_mode TEXT COLLATE "C",
    requested_by TEXT COLLATE "C", requested_at BIGINT, requested_timeout BIGINT, answered_at BIGINT
);

-- The identity of the history of transactions: a restored database gets another one.
ALTER TABLE clock ADD COLUMN history TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE clock SET history = replace(CAST(gen_random_uuid() AS TEXT), '-', '');
