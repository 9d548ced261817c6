-- Metadata that administrators give packages, and fixed URLs of repositories. Expand-only.

-- `name` is the package as written, `fold` its normal name as a Python project. An empty `version` is every version,
-- `source_id` 0 every source, `repo_id` 0 every repository.
CREATE TABLE metadata (
    id BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, fold TEXT COLLATE "C" NOT NULL, version TEXT COLLATE "C" NOT NULL, source_id BIGINT NOT NULL,
    repo_id BIGINT NOT NULL, key TEXT COLLATE "C" NOT NULL, value TEXT COLLATE "C" NOT NULL, actor TEXT COLLATE "C" NOT NULL, changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX metadata_scope ON metadata (name, version, source_id, repo_id, key);
CREATE INDEX metadata_fold ON metadata (fold);

-- A fixed URL. `token` is the snapshot in it. `repo_seq` is the number of the list of subscriptions, NULL for the list at
-- the end of the snapshot; `at` is that end, NULL for the newest state.
CREATE TABLE url_alias (
    token TEXT COLLATE "C" PRIMARY KEY, repo_id BIGINT NOT NULL, repo_seq BIGINT, at BIGINT, actor TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL
);

-- The lists of packages that a fixed URL has at another state than that of its end.
CREATE TABLE url_alias_tree (
    token TEXT COLLATE "C" NOT NULL, tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (token, tree_id)
);

-- A restore runs this on restored rows.
INSERT INTO sequence (name, next) VALUES ('metadata', 1), ('url_alias', 1) ON CONFLICT (name) DO NOTHING;
