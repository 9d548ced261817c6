-- The ids of the rules that a change of the table `block_rule` created, changed or deleted, so that servers read only
-- these. Expand-only: a change by an older program has no row, and servers read all rules after it.
CREATE TABLE block_rule_change (
    revision BIGINT PRIMARY KEY, first_id BIGINT NOT NULL, last_id BIGINT NOT NULL
);
