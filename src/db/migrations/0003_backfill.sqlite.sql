-- History below a source's first step: what was asked for, and what was read of archives for it. Expand-only.

CREATE TABLE backfill (
    source_id INTEGER PRIMARY KEY, since BIGINT NOT NULL, rate BIGINT NOT NULL, actor TEXT NOT NULL, asked_at BIGINT NOT NULL
);

-- One of stanza and trouble is empty.
CREATE TABLE backfill_record (
    source_id BIGINT NOT NULL, file TEXT NOT NULL, size BIGINT NOT NULL, published_at BIGINT NOT NULL,
    stanza BLOB NOT NULL, trouble TEXT NOT NULL, PRIMARY KEY (source_id, file, size, published_at)
) WITHOUT ROWID;
