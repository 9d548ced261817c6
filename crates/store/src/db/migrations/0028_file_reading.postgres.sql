-- Expand-only: an older program writes no rows, and measures the age of a file as if it had none.
-- The time of the first reading of a project that found a file, if an earlier reading lacked the file.
CREATE TABLE file_reading (file_id BIGINT PRIMARY KEY, read_at BIGINT NOT NULL);
