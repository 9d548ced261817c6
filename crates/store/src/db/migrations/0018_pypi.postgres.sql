-- The source `pypi`: the projects of its index, and what was read of them. Sequence numbers of its tree are microseconds
-- since the epoch. Expand-only.

-- Every project of the index, also those of which nothing was read. `name` is set where it is not `fold`. A project that was
-- removed and listed again has several rows.
CREATE TABLE project (
    source_id BIGINT NOT NULL, fold TEXT COLLATE "C" NOT NULL, from_at BIGINT NOT NULL, to_at BIGINT NOT NULL, name TEXT COLLATE "C", serial BIGINT,
    changed_at BIGINT NOT NULL, PRIMARY KEY (source_id, fold, from_at)
);

-- The page of a project that was read last.
CREATE TABLE look (
    source_id BIGINT NOT NULL, package_id BIGINT NOT NULL, serial BIGINT, etag TEXT COLLATE "C", page_sha256 TEXT COLLATE "C" NOT NULL,
    fetched_at BIGINT NOT NULL, valid_at BIGINT NOT NULL, status TEXT COLLATE "C" NOT NULL, reason TEXT COLLATE "C",
    PRIMARY KEY (source_id, package_id)
);

-- Facts of a file that changed after its first look: those of lives with this variant. Variant 0 is `file.facts`.
CREATE TABLE file_fact (
    file_id BIGINT NOT NULL, variant BIGINT NOT NULL, facts BYTEA NOT NULL, PRIMARY KEY (file_id, variant)
);
