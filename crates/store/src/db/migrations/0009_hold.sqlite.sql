-- Holds of running backups: while one has not expired, no object is removed from storage. Expand-only.
CREATE TABLE hold (id TEXT PRIMARY KEY, until BIGINT NOT NULL) WITHOUT ROWID;

-- When the newest backup of each folder was completed.
CREATE TABLE backup (place TEXT PRIMARY KEY, made_at BIGINT NOT NULL) WITHOUT ROWID;
