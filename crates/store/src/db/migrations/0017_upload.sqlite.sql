-- Uploads that are not part of a source yet: `owner` is the author who sent it, `sha256` the digest of the stored package,
-- `other_sha256` that of its README or of METADATA of a wheel, `facts` what the server read from it, in a format of its
-- own. Both objects have a row in `blob`, and are stored before this row is written. Expand-only. Times are those of the
-- database's clock.
CREATE TABLE upload (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL, other_sha256 TEXT,
    size BIGINT NOT NULL, facts BLOB NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL
);
CREATE INDEX upload_sha256 ON upload (sha256);
CREATE INDEX upload_other ON upload (other_sha256);
CREATE INDEX upload_expiry ON upload (expires_at);
