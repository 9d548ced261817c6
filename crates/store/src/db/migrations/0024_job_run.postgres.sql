-- Ended jobs of all servers, for the page of jobs. Expand-only.
CREATE TABLE job_run (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    node TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    message TEXT NOT NULL
);
