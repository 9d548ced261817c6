-- Sign-in with an identity provider. `digest` is the SHA-256 of a secret that only the browser or the device has. `scopes`
-- is a list of `scope=object`, separated by spaces; the object is an id, or 0 for all. `revision` is the value of
-- `clock.catalog` that the server knew; `revoked_user` has that of the revocation of all that a user has. Expand-only.
CREATE TABLE session (
    digest TEXT PRIMARY KEY, guid TEXT NOT NULL UNIQUE, user_name TEXT NOT NULL, unique_id TEXT NOT NULL,
    scopes TEXT NOT NULL, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX session_user_name ON session (user_name);

CREATE TABLE login (
    digest TEXT PRIMARY KEY, return_to TEXT NOT NULL, expires_at BIGINT NOT NULL
);

-- `user_code` is NULL if the provider has the code. `state` is pending, allowed or denied.
CREATE TABLE device_login (
    digest TEXT PRIMARY KEY, user_code TEXT UNIQUE, challenge TEXT NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL,
    user_name TEXT NOT NULL, unique_id TEXT NOT NULL, scopes TEXT NOT NULL, pause BIGINT NOT NULL, polled_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE revoked_user (
    user_name TEXT PRIMARY KEY, revoked_at BIGINT NOT NULL, revision BIGINT NOT NULL
);
CREATE INDEX revoked_user_revision ON revoked_user (revision);
