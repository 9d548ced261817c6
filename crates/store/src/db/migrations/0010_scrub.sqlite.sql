-- Progress of the scrub through the stored objects: one row for each storage directory and first byte of the digest.
-- `position` is the last digest read of a range that is being read, `read_at` when the whole range was read last (0:
-- never). The row with an empty directory records the start of an unfinished scrub of all objects. Expand-only.
CREATE TABLE scrub (
    directory TEXT NOT NULL, prefix BIGINT NOT NULL, position TEXT NOT NULL, read_at BIGINT NOT NULL,
    objects BIGINT NOT NULL, bad BIGINT NOT NULL, PRIMARY KEY (directory, prefix)
) WITHOUT ROWID;

CREATE INDEX rendered_sha256 ON rendered (sha256);
