-- The log of what was published and served: its head, its entries, and the hashes of its Merkle tree.
CREATE TABLE tlog (
    id BIGINT NOT NULL PRIMARY KEY, origin TEXT NOT NULL, seed TEXT NOT NULL, size BIGINT NOT NULL, checkpoint TEXT NOT NULL,
    tx_id BIGINT NOT NULL, closed_until BIGINT NOT NULL
);
CREATE TABLE tlog_entry (
    id BIGINT NOT NULL PRIMARY KEY, subject TEXT NOT NULL, entry TEXT NOT NULL, salt BLOB
);
CREATE INDEX tlog_entry_subject ON tlog_entry (subject, id) WHERE subject <> '';
CREATE TABLE tlog_tile (
    level BIGINT NOT NULL, number BIGINT NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (level, number)
);
