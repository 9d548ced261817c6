-- The audit trail. Rows are never changed and never removed: `previous` is the `sha256` of the row before, which is a
-- digest of all other columns; `audit_head` names the newest row. Expand-only.
CREATE TABLE audit (
    id BIGINT PRIMARY KEY, at BIGINT NOT NULL, actor_kind TEXT COLLATE "C" NOT NULL, actor TEXT COLLATE "C" NOT NULL, address TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL, object_kind TEXT COLLATE "C" NOT NULL, object TEXT COLLATE "C" NOT NULL, outcome TEXT COLLATE "C" NOT NULL, detail TEXT COLLATE "C" NOT NULL,
    previous TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY, last BIGINT NOT NULL, sha256 TEXT COLLATE "C" NOT NULL
);
INSERT INTO audit_head (id, last, sha256) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- The last day on which a token was used, in days since the epoch; no row for a token that was never used.
CREATE TABLE token_use (
    token_id BIGINT PRIMARY KEY REFERENCES token (id), day BIGINT NOT NULL
);
