-- What a promotion shows and withholds, and signed tokens that are revoked. Expand-only.

-- The plan of a request, as JSON, with its digest, and the versions that rules withhold from the promoted state.
CREATE TABLE promotion_plan (promotion_id INTEGER PRIMARY KEY, plan BLOB NOT NULL, sha256 TEXT NOT NULL, items BLOB NOT NULL);

-- Of a list of subscriptions that a promotion made: the versions that rules withheld then, see policy::Withheld. No row for none.
CREATE TABLE repo_withheld (
    repo_id BIGINT NOT NULL, seq BIGINT NOT NULL, items BLOB NOT NULL, PRIMARY KEY (repo_id, seq)
) WITHOUT ROWID;

-- What rules and advisories started or ceased to withhold, for alerts.
CREATE TABLE withheld_alarm (
    repo_id BIGINT NOT NULL, at BIGINT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (repo_id, at)
) WITHOUT ROWID;

-- Signed tokens that were revoked one by one, until they expire. `revision` is that of tokens.
CREATE TABLE revoked_signed_token (guid TEXT PRIMARY KEY, expires_at BIGINT NOT NULL, revision BIGINT NOT NULL);
CREATE INDEX revoked_signed_token_revision ON revoked_signed_token (revision);
