-- Curated sources of R packages. Expand-only.

-- The kinds of dependencies that the definition of a step includes.
CREATE TABLE curation_include (
    tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, include TEXT COLLATE "C" NOT NULL, PRIMARY KEY (tree_id, seq)
);

-- The last plan of an update: the selected releases, one on each line. `request` is the digest of what was requested.
CREATE TABLE curation_plan (
    tree_id BIGINT NOT NULL, request TEXT COLLATE "C" NOT NULL, planned_at BIGINT NOT NULL, selection BYTEA NOT NULL,
    PRIMARY KEY (tree_id, request)
);
