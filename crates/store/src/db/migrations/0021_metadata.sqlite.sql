-- Metadata that administrators give packages, and fixed URLs of repositories. Expand-only.

-- `name` is the package as written, `fold` its normal name as a Python project. An empty `version` is every version,
-- `source_id` 0 every source, `repo_id` 0 every repository.
CREATE TABLE metadata (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, fold TEXT NOT NULL, version TEXT NOT NULL, source_id INTEGER NOT NULL,
    repo_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, actor TEXT NOT NULL, changed_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX metadata_scope ON metadata (name, version, source_id, repo_id, key);
CREATE INDEX metadata_fold ON metadata (fold);

-- A fixed URL. `token` is the snapshot in it. `repo_seq` is the number of the list of subscriptions, NULL for the list at
-- the end of the snapshot; `at` is that end, NULL for the newest state.
CREATE TABLE url_alias (
    token TEXT PRIMARY KEY, repo_id INTEGER NOT NULL, repo_seq INTEGER, at INTEGER, actor TEXT NOT NULL, created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- The lists of packages that a fixed URL has at another state than that of its end.
CREATE TABLE url_alias_tree (
    token TEXT NOT NULL, tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (token, tree_id)
) WITHOUT ROWID;

-- A restore runs this on restored rows.
INSERT INTO sequence (name, next) VALUES ('metadata', 1), ('url_alias', 1) ON CONFLICT (name) DO NOTHING;
