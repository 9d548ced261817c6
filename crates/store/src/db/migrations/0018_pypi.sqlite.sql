-- The source `pypi`: the projects of its index, and what was read of them. Sequence numbers of its tree are microseconds
-- since the epoch. Expand-only.

-- Every project of the index, also those of which nothing was read. `name` is set where it is not `fold`. A project that was
-- removed and listed again has several rows.
CREATE TABLE project (
    source_id INTEGER NOT NULL, fold TEXT NOT NULL, from_at INTEGER NOT NULL, to_at INTEGER NOT NULL, name TEXT, serial INTEGER,
    changed_at INTEGER NOT NULL, PRIMARY KEY (source_id, fold, from_at)
) WITHOUT ROWID;

-- The page of a project that was read last.
CREATE TABLE look (
    source_id INTEGER NOT NULL, package_id INTEGER NOT NULL, serial INTEGER, etag TEXT, page_sha256 TEXT NOT NULL,
    fetched_at INTEGER NOT NULL, valid_at INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT,
    PRIMARY KEY (source_id, package_id)
);

-- Facts of a file that changed after its first look: those of lives with this variant. Variant 0 is `file.facts`.
CREATE TABLE file_fact (
    file_id INTEGER NOT NULL, variant INTEGER NOT NULL, facts BLOB NOT NULL, PRIMARY KEY (file_id, variant)
);
