-- Download counts, and requests refused by block rules. Days are counted since the epoch, times are microseconds since the
-- epoch.

CREATE TABLE usage_download (
    day BIGINT NOT NULL, language TEXT COLLATE "C" NOT NULL, source TEXT COLLATE "C" NOT NULL, package TEXT COLLATE "C" NOT NULL, version TEXT COLLATE "C" NOT NULL, platform TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL, PRIMARY KEY (day, language, source, package, version, platform)
);

-- Totals, including days whose rows were deleted.
CREATE TABLE usage_package (
    language TEXT COLLATE "C" NOT NULL, source TEXT COLLATE "C" NOT NULL, package TEXT COLLATE "C" NOT NULL, count BIGINT NOT NULL,
    PRIMARY KEY (language, source, package)
);

-- The last batch that each process has written, to recognize a batch that is sent again after a lost response.
CREATE TABLE usage_writer (name TEXT COLLATE "C" PRIMARY KEY, batch BIGINT NOT NULL, at BIGINT NOT NULL);

-- Days whose counts for each package are an object in storage.
CREATE TABLE usage_aggregate (day BIGINT PRIMARY KEY, sha256 TEXT COLLATE "C" NOT NULL, total BIGINT NOT NULL, at BIGINT NOT NULL);

-- The last run of each scheduled task.
CREATE TABLE usage_work (name TEXT COLLATE "C" PRIMARY KEY, at BIGINT NOT NULL);

CREATE TABLE usage_blocked (
    day BIGINT NOT NULL, rule BIGINT NOT NULL, package TEXT COLLATE "C" NOT NULL, version TEXT COLLATE "C" NOT NULL, client TEXT COLLATE "C" NOT NULL, count BIGINT NOT NULL,
    PRIMARY KEY (day, rule, package, version, client)
);
