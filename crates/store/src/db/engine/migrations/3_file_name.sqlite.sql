-- Distributions of Python packages are found by name and digest, stored files of all kinds by digest. The files of a project
-- have similar names, so a reading of its page changes few pages of an index by name; of one by digest, one for each file.
CREATE INDEX file_name ON file (name) WHERE role = 'python';
CREATE INDEX file_stored ON file (sha256) WHERE state = 1;
DROP INDEX file_sha256;
