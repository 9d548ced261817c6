-- The identity of this database, which storage names beside the objects that belong to it.
CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL);
INSERT INTO identity (id, value) VALUES (1, lower(hex(randomblob(16))));
