-- Curated sources: what each step of their list selects from the list of another source. Expand-only.

-- The state from which a step selects, and the snapshot that the administrator named. `sha256` is the digest of the files.
CREATE TABLE curation (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, base_tree_id INTEGER NOT NULL, base_seq INTEGER NOT NULL, snapshot TEXT NOT NULL,
    sha256 TEXT NOT NULL, PRIMARY KEY (tree_id, seq)
) WITHOUT ROWID;

-- The definition of a step: its files as the administrator wrote them.
CREATE TABLE curation_file (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (tree_id, seq, position)
);

-- What the definition allows of a project, as the lines of a requirements file without the name.
CREATE TABLE curation_rule (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, fold TEXT NOT NULL, rule TEXT NOT NULL, PRIMARY KEY (tree_id, seq, fold)
) WITHOUT ROWID;
