-- The audit trail. Rows are never changed and never removed: `previous` is the `sha256` of the row before, which is a
-- digest of all other columns; `audit_head` names the newest row. Expand-only.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at BIGINT NOT NULL, actor_kind TEXT NOT NULL, actor TEXT NOT NULL, address TEXT NOT NULL,
    action TEXT NOT NULL, object_kind TEXT NOT NULL, object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL,
    previous TEXT NOT NULL, sha256 TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY, last BIGINT NOT NULL, sha256 TEXT NOT NULL
);
INSERT INTO audit_head (id, last, sha256) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- The last day on which a token was used, in days since the epoch; no row for a token that was never used.
CREATE TABLE token_use (
    token_id INTEGER PRIMARY KEY REFERENCES token (id), day BIGINT NOT NULL
);
