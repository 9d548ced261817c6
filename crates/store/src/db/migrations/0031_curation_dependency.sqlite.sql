-- Dependencies of curated sources of Python packages. Expand-only.

-- The projects of a step that its definition does not name, each with the shortest chain of projects from one that it
-- names, separated by spaces. Their rules are in curation_rule, as those of the others.
CREATE TABLE curation_dependency (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, fold TEXT NOT NULL, chain TEXT NOT NULL, PRIMARY KEY (tree_id, seq, fold)
) WITHOUT ROWID;
