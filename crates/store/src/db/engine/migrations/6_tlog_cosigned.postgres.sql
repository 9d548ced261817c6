-- The newest checkpoint that each witness of a log cosigned, by its key. The newest one of the log may have no cosignature yet.
CREATE TABLE tlog_cosigned (
    log BIGINT NOT NULL, witness TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL, checkpoint TEXT COLLATE "C" NOT NULL, PRIMARY KEY (log, witness)
);
