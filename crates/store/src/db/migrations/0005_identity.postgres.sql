-- The identity of this database, which the owner markers in storage contain.
CREATE TABLE identity (id BIGINT PRIMARY KEY CHECK (id = 1), value TEXT COLLATE "C" NOT NULL);
INSERT INTO identity (id, value) VALUES (1, replace(CAST(gen_random_uuid() AS TEXT), '-', ''));
