-- The last backup, and the last test of a backup, of each folder: `command` is 'create' or 'test', `at` the time of the
-- backup or of the test, `error` why it failed (empty if it did not), `succeeded_at` the value of `at` for the last
-- success (0: none), `missing` the number of files that storage lacked. Expand-only.
CREATE TABLE backup_result (
    place TEXT COLLATE "C" NOT NULL, command TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL,
    error TEXT COLLATE "C" NOT NULL, succeeded_at BIGINT NOT NULL, missing BIGINT NOT NULL,
    PRIMARY KEY (place, command)
);

INSERT INTO backup_result (place, command, at, error, succeeded_at, missing)
SELECT place, 'create', made_at, '', made_at, 0 FROM backup;
