-- Requests refused by block rules. Expand-only. Days are counted since the epoch.
CREATE TABLE usage_blocked (
    day BIGINT NOT NULL, rule BIGINT NOT NULL, package TEXT NOT NULL, version TEXT NOT NULL, client TEXT NOT NULL, count BIGINT NOT NULL,
    PRIMARY KEY (day, rule, package, version, client)
) WITHOUT ROWID;
