-- Promotions: repositories that change by promotion only. Expand-only.

-- The changes that a repository takes; no row for one that takes all.
CREATE TABLE repo_policy (repo_id BIGINT PRIMARY KEY, changes TEXT COLLATE "C" NOT NULL);

-- Of a list of subscriptions that a promotion made: the end of the time from which the states of its sources are taken.
CREATE TABLE repo_pin (
    repo_id BIGINT NOT NULL, seq BIGINT NOT NULL, pinned_at BIGINT NOT NULL, PRIMARY KEY (repo_id, seq)
);

-- Requests: a copy of the subscriptions of the repository `from_name` at a snapshot, for the repository `repo_id`. `decided_by`
-- is empty and `decided_at` null before the decision; `tx_id` is null unless it was applied.
CREATE TABLE promotion (
    id BIGINT PRIMARY KEY, repo_id BIGINT NOT NULL, to_name TEXT COLLATE "C" NOT NULL, from_name TEXT COLLATE "C" NOT NULL, snapshot TEXT COLLATE "C" NOT NULL,
    pinned_at BIGINT NOT NULL, state TEXT COLLATE "C" NOT NULL, requested_by TEXT COLLATE "C" NOT NULL, requested_at BIGINT NOT NULL, comment TEXT COLLATE "C" NOT NULL,
    decided_by TEXT COLLATE "C" NOT NULL, decided_at BIGINT, reason TEXT COLLATE "C" NOT NULL, tx_id BIGINT
);
CREATE INDEX promotion_repo ON promotion (repo_id);

CREATE TABLE promotion_source (
    promotion_id BIGINT NOT NULL, position BIGINT NOT NULL, source_id BIGINT NOT NULL, label TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (promotion_id, position)
);

INSERT INTO sequence (name, next) VALUES ('promotion', 1) ON CONFLICT (name) DO NOTHING;
