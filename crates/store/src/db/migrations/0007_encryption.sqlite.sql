-- The fingerprint of the encryption key that values in this database are encrypted with; no row before its first use.
CREATE TABLE encryption_key (id INTEGER PRIMARY KEY CHECK (id = 1), fingerprint TEXT NOT NULL);
