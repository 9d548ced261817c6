-- Credentials for git servers. `secret` is encrypted with the server's key, NULL if that key was lost. Expand-only.
CREATE TABLE git_credential (
    id BIGINT PRIMARY KEY, kind TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, host TEXT COLLATE "C" NOT NULL, username TEXT COLLATE "C" NOT NULL,
    secret TEXT COLLATE "C", fingerprint TEXT COLLATE "C" NOT NULL, known_hosts TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX git_credential_name ON git_credential (kind, name);

-- Builders: each builds one package of a source from one repository. `webhook_secret` is encrypted. `head` is the newest
-- commit of the branch that a poll found. Builders are marked as deleted, so that their builds and logs remain.
CREATE TABLE git_builder (
    id BIGINT PRIMARY KEY, source_id BIGINT NOT NULL, name TEXT COLLATE "C" NOT NULL, url TEXT COLLATE "C" NOT NULL, branch TEXT COLLATE "C" NOT NULL,
    build_trigger TEXT COLLATE "C" NOT NULL, sub_dir TEXT COLLATE "C" NOT NULL, clone_depth BIGINT NOT NULL, submodules BIGINT NOT NULL,
    credential_id BIGINT, webhook_secret TEXT COLLATE "C", created_at BIGINT NOT NULL, deleted_at BIGINT, polled_at BIGINT,
    due_at BIGINT NOT NULL, failures BIGINT NOT NULL, head TEXT COLLATE "C" NOT NULL, error TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX git_builder_name ON git_builder (source_id, name) WHERE deleted_at IS NULL;

-- Builds: of a commit of the branch (`tag` is empty) or of a tag. `claim` is the server that runs the build, until
-- `claim_until`.
CREATE TABLE git_build (
    id BIGINT PRIMARY KEY, builder_id BIGINT NOT NULL, tag TEXT COLLATE "C" NOT NULL, commit_sha TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL, replaces BIGINT NOT NULL, actor TEXT COLLATE "C" NOT NULL, queued_at BIGINT NOT NULL, due_at BIGINT NOT NULL,
    started_at BIGINT, ended_at BIGINT, claim TEXT COLLATE "C" NOT NULL, claim_until BIGINT NOT NULL, tx_id BIGINT, version TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL, log_sha256 TEXT COLLATE "C", log_size BIGINT NOT NULL
);
CREATE INDEX git_build_builder ON git_build (builder_id, id);
CREATE INDEX git_build_state ON git_build (state, due_at);
CREATE INDEX git_build_tx ON git_build (tx_id);
CREATE INDEX git_build_log ON git_build (log_sha256);

-- A restored dump of an older schema may contain these rows.
INSERT INTO sequence (name, next) VALUES ('git_credential', 1), ('git_builder', 1), ('git_build', 1)
    ON CONFLICT (name) DO NOTHING;
