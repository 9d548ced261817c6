-- The rows of `subscription` of each list as one value, `4 ,2 3.20`, so that a start reads one row for each list.
CREATE TABLE subscription_list (
    repo_id BIGINT NOT NULL, seq BIGINT NOT NULL, entries TEXT NOT NULL, PRIMARY KEY (repo_id, seq)
) WITHOUT ROWID;
INSERT INTO subscription_list (repo_id, seq, entries)
    SELECT repo_id, seq, string_agg(source_id || ' ' || label, ',' ORDER BY position) FROM subscription GROUP BY repo_id, seq;
