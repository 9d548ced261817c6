-- Proofs that may be used once: tokens of other issuers that were exchanged for a token with the right to change
-- something, and requests that are signed with the bootstrap key. A row is removed after the time at which its proof is
-- refused as expired. Expand-only.
CREATE TABLE used_proof (
    sha256 TEXT PRIMARY KEY, expires_at BIGINT NOT NULL
);
CREATE INDEX used_proof_expires ON used_proof (expires_at);
