-- Rules that block packages. Expand-only: an older program serves what they block.
CREATE TABLE block_rule (
    id INTEGER PRIMARY KEY, priority BIGINT NOT NULL, exception BIGINT NOT NULL, source_id BIGINT, repo_id BIGINT,
    criteria TEXT NOT NULL, description TEXT NOT NULL, created_by TEXT NOT NULL, created_at BIGINT NOT NULL
);
INSERT INTO sequence (name, next) VALUES ('block_rule', 1), ('block_rule_change', 1) ON CONFLICT (name) DO NOTHING;
