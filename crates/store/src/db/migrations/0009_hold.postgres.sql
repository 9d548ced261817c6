-- Holds of running backups: while one has not expired, no object is removed from storage. Expand-only. Times are those of
-- the database's clock.
CREATE TABLE hold (id TEXT COLLATE "C" PRIMARY KEY, until BIGINT NOT NULL);

-- When the newest backup of each folder was completed.
CREATE TABLE backup (place TEXT COLLATE "C" PRIMARY KEY, made_at BIGINT NOT NULL);
