-- Curated sources of R packages. Expand-only.

-- The kinds of dependencies that the definition of a step includes.
CREATE TABLE curation_include (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, include TEXT NOT NULL, PRIMARY KEY (tree_id, seq)
) WITHOUT ROWID;

-- The last plan of an update: the selected releases, one on each line. `request` is the digest of what was requested.
CREATE TABLE curation_plan (
    tree_id INTEGER NOT NULL, request TEXT NOT NULL, planned_at INTEGER NOT NULL, selection BLOB NOT NULL,
    PRIMARY KEY (tree_id, request)
);
