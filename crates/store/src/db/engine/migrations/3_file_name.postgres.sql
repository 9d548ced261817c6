-- A file is found by name and digest, a stored one also by digest alone. The files of a project have similar names, so a reading
-- of its page changes few pages of an index by name; of one by digest, one for each file. The condition on the digest prevents
-- the use for queries without one: the statistics of an index that was empty at the last ANALYZE make scans of it seem cheap.
-- First: it needs the stronger lock, which a transaction of another server that reads the table may hold up.
DROP INDEX file_sha256;
CREATE INDEX file_name ON file (name) WHERE sha256 IS NOT NULL;
CREATE INDEX file_stored ON file (sha256) WHERE sha256 IS NOT NULL AND state = 1;
