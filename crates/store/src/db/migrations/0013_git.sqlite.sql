-- Credentials for git servers. `secret` is encrypted with the server's key, NULL if that key was lost. Expand-only.
CREATE TABLE git_credential (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, host TEXT NOT NULL, username TEXT NOT NULL,
    secret TEXT, fingerprint TEXT NOT NULL, known_hosts TEXT NOT NULL, created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX git_credential_name ON git_credential (kind, name);

-- Builders: each builds one package of a source from one repository. `webhook_secret` is encrypted. `head` is the newest
-- commit of the branch that a poll found. Builders are marked as deleted, so that their builds and logs remain.
CREATE TABLE git_builder (
    id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL, name TEXT NOT NULL, url TEXT NOT NULL, branch TEXT NOT NULL,
    build_trigger TEXT NOT NULL, sub_dir TEXT NOT NULL, clone_depth INTEGER NOT NULL, submodules INTEGER NOT NULL,
    credential_id INTEGER, webhook_secret TEXT, created_at INTEGER NOT NULL, deleted_at INTEGER, polled_at INTEGER,
    due_at INTEGER NOT NULL, failures INTEGER NOT NULL, head TEXT NOT NULL, error TEXT NOT NULL
);
CREATE UNIQUE INDEX git_builder_name ON git_builder (source_id, name) WHERE deleted_at IS NULL;

-- Builds: of a commit of the branch (`tag` is empty) or of a tag. `claim` is the server that runs the build, until
-- `claim_until`.
CREATE TABLE git_build (
    id INTEGER PRIMARY KEY, builder_id INTEGER NOT NULL, tag TEXT NOT NULL, commit_sha TEXT NOT NULL, state TEXT NOT NULL,
    attempt INTEGER NOT NULL, replaces INTEGER NOT NULL, actor TEXT NOT NULL, queued_at INTEGER NOT NULL, due_at INTEGER NOT NULL,
    started_at INTEGER, ended_at INTEGER, claim TEXT NOT NULL, claim_until INTEGER NOT NULL, tx_id INTEGER, version TEXT NOT NULL,
    reason TEXT NOT NULL, log_sha256 TEXT, log_size INTEGER NOT NULL
);
CREATE INDEX git_build_builder ON git_build (builder_id, id);
CREATE INDEX git_build_state ON git_build (state, due_at);
CREATE INDEX git_build_tx ON git_build (tx_id);
CREATE INDEX git_build_log ON git_build (log_sha256);

-- A restored dump of an older schema may contain these rows.
INSERT INTO sequence (name, next) VALUES ('git_credential', 1), ('git_builder', 1), ('git_build', 1)
    ON CONFLICT (name) DO NOTHING;
