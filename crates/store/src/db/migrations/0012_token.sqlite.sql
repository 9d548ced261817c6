-- Access tokens: their digests, never the tokens. `revision` is the value of `clock.catalog` at the last change, so that a
-- server reads only changed tokens. `token_scope.object` is the id of a repository or source, 0 for all, and for scopes
-- without objects. Expand-only.
CREATE TABLE token (
    id INTEGER PRIMARY KEY, guid TEXT NOT NULL UNIQUE, digest TEXT NOT NULL UNIQUE, excerpt TEXT NOT NULL,
    user_name TEXT NOT NULL, description TEXT NOT NULL, created_by TEXT NOT NULL, created_at BIGINT NOT NULL,
    expires_at BIGINT, revoked_at BIGINT, revision BIGINT NOT NULL
);
CREATE INDEX token_revision ON token (revision);

CREATE TABLE token_scope (
    token_id BIGINT NOT NULL REFERENCES token (id), scope TEXT NOT NULL, object BIGINT NOT NULL,
    PRIMARY KEY (token_id, scope, object)
) WITHOUT ROWID;

INSERT INTO sequence (name, next) VALUES ('token', 1) ON CONFLICT (name) DO NOTHING;
