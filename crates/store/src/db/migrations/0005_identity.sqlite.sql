-- The identity of this database, which the owner markers in storage contain.
CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL);
INSERT INTO identity (id, value) VALUES (1, lower(hex(randomblob(16))));
