-- Requests of back-fills, and the index records that back-fills read from archives. Expand-only.

CREATE TABLE backfill (
    source_id BIGINT PRIMARY KEY, since BIGINT NOT NULL, rate BIGINT NOT NULL, actor TEXT COLLATE "C" NOT NULL, asked_at BIGINT NOT NULL
);

-- Exactly one of `stanza` and `trouble` (an error) is empty.
CREATE TABLE backfill_record (
    source_id BIGINT NOT NULL, file TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL, published_at BIGINT NOT NULL,
    stanza BYTEA NOT NULL, trouble TEXT COLLATE "C" NOT NULL, PRIMARY KEY (source_id, file, size, published_at)
);
