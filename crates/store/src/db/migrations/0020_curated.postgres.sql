-- Curated sources: what each step of their list selects from the list of another source. Expand-only.

-- The state from which a step selects, and the snapshot that the administrator named. `sha256` is the digest of the files.
CREATE TABLE curation (
    tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, base_tree_id BIGINT NOT NULL, base_seq BIGINT NOT NULL, snapshot TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL, PRIMARY KEY (tree_id, seq)
);

-- The definition of a step: its files as the administrator wrote them.
CREATE TABLE curation_file (
    tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, position BIGINT NOT NULL, name TEXT COLLATE "C" NOT NULL, content BYTEA NOT NULL,
    PRIMARY KEY (tree_id, seq, position)
);

-- What the definition allows of a project, as the lines of a requirements file without the name.
CREATE TABLE curation_rule (
    tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, fold TEXT COLLATE "C" NOT NULL, rule TEXT COLLATE "C" NOT NULL, PRIMARY KEY (tree_id, seq, fold)
);
