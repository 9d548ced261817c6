-- Guarded names: packages that only one source may provide. Expand-only: an older program serves what they hide.
-- `state` is 0 for a guard in force, 1 if another source listed the name before, 2 if an administrator ended the guard.
CREATE TABLE name_guard (
    id INTEGER PRIMARY KEY, language TEXT NOT NULL, pattern TEXT NOT NULL, source_id BIGINT NOT NULL, automatic BIGINT NOT NULL,
    state BIGINT NOT NULL, description TEXT NOT NULL, created_by TEXT NOT NULL, created_at BIGINT NOT NULL
);
CREATE INDEX name_guard_pattern ON name_guard (language, pattern);
-- Guarded names that another source lists. `appeared` is 1 if a sync found it after the guard existed.
CREATE TABLE name_overlap (
    language TEXT NOT NULL, name TEXT NOT NULL, source_id BIGINT NOT NULL, seen_at BIGINT NOT NULL, appeared BIGINT NOT NULL,
    PRIMARY KEY (language, name, source_id)
) WITHOUT ROWID;
-- Every name that a local or git source ever had. Names that a mirror has now are not guarded.
INSERT INTO name_guard (id, language, pattern, source_id, automatic, state, description, created_by, created_at)
SELECT ROW_NUMBER() OVER (ORDER BY language, name), language, name, source_id, 1, is_upstream, '', '', at FROM (
    SELECT p.language AS language, p.name AS name, MIN(s.id) AS source_id, MIN(st.at) AS at,
        CASE WHEN EXISTS (
            SELECT 1 FROM tree ut JOIN source us ON us.id = ut.source_id JOIN life ul ON ul.tree_id = ut.id
            WHERE ut.role = 'source' AND us.kind IN ('cran', 'bioconductor', 'pypi') AND ul.state IN (0, 1) AND ul.package_id = p.id
        ) OR EXISTS (
            SELECT 1 FROM project r JOIN source rs ON rs.id = r.source_id WHERE rs.language = p.language AND r.fold = p.name
        ) THEN 1 ELSE 0 END AS is_upstream
    FROM source s JOIN tree t ON t.source_id = s.id AND t.role = 'source' JOIN life l ON l.tree_id = t.id
    JOIN step st ON st.tree_id = t.id AND st.seq = l.from_seq JOIN package p ON p.id = l.package_id
    WHERE s.kind IN ('local', 'git', 'local-python', 'git-python') GROUP BY p.id, p.language, p.name
) AS own;
INSERT INTO sequence (name, next) SELECT 'name_guard', COALESCE(MAX(id), 0) + 1 FROM name_guard WHERE true
    ON CONFLICT (name) DO NOTHING;
INSERT INTO sequence (name, next) VALUES ('name_guard_change', 1) ON CONFLICT (name) DO NOTHING;
