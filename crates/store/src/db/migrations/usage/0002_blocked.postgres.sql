-- Requests refused by block rules. Expand-only. Days are counted since the epoch.
CREATE TABLE usage_blocked (
    day BIGINT NOT NULL, rule BIGINT NOT NULL, package TEXT COLLATE "C" NOT NULL, version TEXT COLLATE "C" NOT NULL, client TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL, PRIMARY KEY (day, rule, package, version, client)
);
