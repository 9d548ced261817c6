-- The last day on which a client requested a stored package file, in days since the epoch. Expand-only.
CREATE TABLE blob_access (sha256 TEXT COLLATE "C" PRIMARY KEY, day BIGINT NOT NULL);
