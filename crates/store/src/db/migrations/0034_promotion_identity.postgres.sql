-- Who requested a promotion, as an identity provider identifies the person. Expand-only.

-- The identity at the provider (UniqueIdClaim) of the person who requested it; no row for a request with another credential.
CREATE TABLE promotion_identity (promotion_id BIGINT PRIMARY KEY, unique_id TEXT COLLATE "C" NOT NULL);
