-- The logs of what was published and served. The newest one is written; `init --new-log` ended the others. `history` is
-- `clock.history` at its newest entry, `pause` the reason why nothing is appended, empty if there is none. `old_seed` is the
-- key before the current one, which signs too until `old_until`.
CREATE TABLE tlog (
    id BIGINT NOT NULL PRIMARY KEY, origin TEXT COLLATE "C" NOT NULL, seed TEXT COLLATE "C" NOT NULL, old_seed TEXT COLLATE "C", old_until BIGINT NOT NULL,
    size BIGINT NOT NULL, checkpoint TEXT COLLATE "C" NOT NULL, tx_id BIGINT NOT NULL, closed_until BIGINT NOT NULL, history TEXT COLLATE "C" NOT NULL,
    pause TEXT COLLATE "C" NOT NULL
);

-- The entries of each log, by their numbers from 0, and the hashes of its Merkle tree.
CREATE TABLE tlog_entry (
    log BIGINT NOT NULL, id BIGINT NOT NULL, subject TEXT COLLATE "C" NOT NULL, entry TEXT COLLATE "C" NOT NULL, salt BYTEA, PRIMARY KEY (log, id)
);
CREATE INDEX tlog_entry_subject ON tlog_entry (subject, log, id) WHERE subject <> '';
CREATE TABLE tlog_tile (
    log BIGINT NOT NULL, level BIGINT NOT NULL, number BIGINT NOT NULL, hashes BYTEA NOT NULL, PRIMARY KEY (log, level, number)
);

-- What has no entry yet, and is not in the tables of its subject: written by the transaction that makes it.
CREATE TABLE tlog_event (id BIGINT NOT NULL PRIMARY KEY, kind TEXT COLLATE "C" NOT NULL, text TEXT COLLATE "C" NOT NULL);

-- The newest checkpoint of each log that this server witnesses.
CREATE TABLE tlog_witnessed (origin TEXT COLLATE "C" NOT NULL PRIMARY KEY, size BIGINT NOT NULL, note TEXT COLLATE "C" NOT NULL);

-- Time stamps (RFC 3161) of checkpoints.
CREATE TABLE tlog_timestamp (log BIGINT NOT NULL, size BIGINT NOT NULL, answer BYTEA NOT NULL, PRIMARY KEY (log, size));

INSERT INTO sequence (name, next) VALUES ('tlog_event', 1);
