-- The first schema: history as steps and lives.
-- Times are microseconds since the epoch, days are counted from the epoch, booleans are 0 and 1, digests lower-case
-- hexadecimal.

CREATE TABLE sequence (name TEXT COLLATE "C" PRIMARY KEY, next BIGINT NOT NULL);
INSERT INTO sequence (name, next) VALUES
    ('source', 4), ('tree', 2), ('repo', 1), ('package', 1), ('release', 1), ('file', 1), ('token', 1), ('git_credential', 1),
    ('git_builder', 1), ('git_build', 1), ('metadata', 1), ('fixed_url', 1), ('promotion', 1), ('block_rule', 1),
    ('block_rule_change', 1), ('name_guard', 1), ('name_guard_change', 1),
    -- The number of changes of `name_guard` that only added automatic guards, so that servers read only these.
    ('name_guard_addition', 1);

-- `catalog` is the revision of what servers have in memory. `history` identifies the history of transactions: a restored
-- database gets another one.
CREATE TABLE clock (
    id BIGINT PRIMARY KEY CHECK (id = 1), tx BIGINT NOT NULL, at BIGINT NOT NULL, catalog BIGINT NOT NULL, history TEXT COLLATE "C" NOT NULL
);
INSERT INTO clock (id, tx, at, catalog, history) VALUES (1, 0, 0, 0, replace(CAST(gen_random_uuid() AS TEXT), '-', ''));

-- The identity of this database, which the owner markers in storage contain.
CREATE TABLE identity (id BIGINT PRIMARY KEY CHECK (id = 1), value TEXT COLLATE "C" NOT NULL);
INSERT INTO identity (id, value) VALUES (1, replace(CAST(gen_random_uuid() AS TEXT), '-', ''));

CREATE TABLE source (
    id BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE, kind TEXT COLLATE "C" NOT NULL, language TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
INSERT INTO source (id, name, kind, language, created_at) VALUES
    (1, 'cran', 'cran', 'r', 0), (2, 'bioconductor', 'bioconductor', 'r', 0), (3, 'pypi', 'pypi', 'python', 0);

-- The sequence numbers of a tree are the numbers of its steps (`axis` is 'step'), or times (`time`).
CREATE TABLE tree (
    id BIGINT PRIMARY KEY, source_id BIGINT NOT NULL REFERENCES source(id), label TEXT COLLATE "C" NOT NULL, role TEXT COLLATE "C" NOT NULL,
    axis TEXT COLLATE "C" NOT NULL, first BIGINT, head BIGINT, pending BIGINT, pending_job BIGINT,
    UNIQUE (source_id, role, label)
);
INSERT INTO tree (id, source_id, label, role, axis) VALUES (1, 1, 'src/contrib', 'source', 'step');

CREATE TABLE tx (
    id BIGINT PRIMARY KEY, at BIGINT NOT NULL UNIQUE, source_id BIGINT, repo_id BIGINT, kind TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL, published_from BIGINT, published_to BIGINT, added BIGINT NOT NULL,
    updated BIGINT NOT NULL, archived BIGINT NOT NULL, removed BIGINT NOT NULL, actor TEXT COLLATE "C" NOT NULL,
    comment TEXT COLLATE "C" NOT NULL
);
CREATE INDEX tx_source_at ON tx (source_id, at);

CREATE TABLE step (
    tree_id BIGINT NOT NULL REFERENCES tree(id), seq BIGINT NOT NULL, at BIGINT NOT NULL,
    tx_id BIGINT NOT NULL REFERENCES tx(id), PRIMARY KEY (tree_id, seq)
);
CREATE INDEX step_tx ON step (tx_id);

CREATE TABLE package (
    id BIGINT PRIMARY KEY, language TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, normalized_name TEXT COLLATE "C" NOT NULL, UNIQUE (language, name)
);
CREATE INDEX package_normalized_name ON package (language, normalized_name);
-- Finds the names that differ from another one in case, '.', '-' and '_' only; see policy::comparison_key.
CREATE INDEX package_similar ON package (language, replace(replace(replace(normalized_name, '.', ''), '-', ''), '_', ''));

-- The following tables of imports have no foreign keys: each key would cost a lookup for every row of CRAN.
CREATE TABLE release (
    id BIGINT PRIMARY KEY, origin_id BIGINT NOT NULL, package_id BIGINT NOT NULL, version TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL, published_at BIGINT, UNIQUE (package_id, version, origin_id, revision)
);

CREATE TABLE record (
    release_id BIGINT NOT NULL, variant BIGINT NOT NULL, stanza BYTEA NOT NULL, PRIMARY KEY (release_id, variant)
);

-- `system_requirements` are those of releases whose index record has none.
CREATE TABLE detail (
    release_id BIGINT PRIMARY KEY, description BYTEA NOT NULL, readme_sha256 TEXT COLLATE "C", system_requirements TEXT COLLATE "C"
);
CREATE INDEX detail_readme ON detail (readme_sha256) WHERE readme_sha256 IS NOT NULL;

CREATE TABLE blob (
    sha256 TEXT COLLATE "C" PRIMARY KEY, class TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL, state BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The last day on which a client requested a stored package file.
CREATE TABLE blob_access (sha256 TEXT COLLATE "C" PRIMARY KEY, day BIGINT NOT NULL);

CREATE TABLE file (
    id BIGINT PRIMARY KEY, release_id BIGINT NOT NULL, role TEXT COLLATE "C" NOT NULL, platform TEXT COLLATE "C" NOT NULL, build BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL, locator TEXT COLLATE "C" NOT NULL, size BIGINT, md5 TEXT COLLATE "C", sha256 TEXT COLLATE "C", facts BYTEA,
    state BIGINT NOT NULL, UNIQUE (release_id, role, platform, build, name)
);
CREATE INDEX file_sha256 ON file (sha256) WHERE sha256 IS NOT NULL;

-- Facts of a file that changed after its first reading: those of lives with this variant. Variant 0 is `file.facts`.
CREATE TABLE file_fact (
    file_id BIGINT NOT NULL, variant BIGINT NOT NULL, facts BYTEA NOT NULL, PRIMARY KEY (file_id, variant)
);

-- The time of the first reading of a project that found a file, if an earlier reading lacked the file.
CREATE TABLE file_reading (file_id BIGINT PRIMARY KEY, read_at BIGINT NOT NULL);

CREATE TABLE life (
    tree_id BIGINT NOT NULL, state BIGINT NOT NULL, package_id BIGINT NOT NULL, path TEXT COLLATE "C" NOT NULL,
    from_seq BIGINT NOT NULL, to_seq BIGINT NOT NULL, release_id BIGINT NOT NULL, variant BIGINT NOT NULL,
    file_id BIGINT NOT NULL, mark BIGINT NOT NULL, note TEXT COLLATE "C",
    PRIMARY KEY (tree_id, state, package_id, path, from_seq, release_id, file_id)
);
CREATE INDEX life_release ON life (release_id);

-- `changes` are the changes that the repository takes.
CREATE TABLE repo (
    id BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE, kind TEXT COLLATE "C" NOT NULL, description TEXT COLLATE "C" NOT NULL, hidden BIGINT NOT NULL,
    authenticated BIGINT NOT NULL, changes TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL
);

-- The lists of subscriptions of a repository. Of a list that a promotion made: `pinned_at` is the end of the time from which
-- the states of its sources are taken, `withheld` the versions that rules withheld then (see policy::Withheld), NULL for none.
CREATE TABLE repo_step (
    repo_id BIGINT NOT NULL REFERENCES repo(id), seq BIGINT NOT NULL, at BIGINT NOT NULL, tx_id BIGINT NOT NULL,
    pinned_at BIGINT, withheld BYTEA, PRIMARY KEY (repo_id, seq)
);

CREATE TABLE subscription (
    repo_id BIGINT NOT NULL, seq BIGINT NOT NULL, position BIGINT NOT NULL, source_id BIGINT NOT NULL,
    label TEXT COLLATE "C" NOT NULL, PRIMARY KEY (repo_id, seq, position)
);

CREATE TABLE rendered (
    key TEXT COLLATE "C" PRIMARY KEY, content TEXT COLLATE "C" NOT NULL, encoder TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX rendered_sha256 ON rendered (sha256);

CREATE TABLE upstream (
    url TEXT COLLATE "C" PRIMARY KEY, etag TEXT COLLATE "C", modified TEXT COLLATE "C", sha256 TEXT COLLATE "C" NOT NULL, fetched_at BIGINT NOT NULL
);

CREATE TABLE lease (name TEXT COLLATE "C" PRIMARY KEY, holder TEXT COLLATE "C" NOT NULL, fence BIGINT NOT NULL, until BIGINT NOT NULL);

-- Ended jobs of all servers, for the page of jobs.
CREATE TABLE job_run (
    id TEXT COLLATE "C" PRIMARY KEY, key TEXT COLLATE "C" NOT NULL, node TEXT COLLATE "C" NOT NULL, started_at BIGINT NOT NULL, ended_at BIGINT NOT NULL,
    succeeded BIGINT NOT NULL, message TEXT COLLATE "C" NOT NULL
);

-- Requests of back-fills, and the index records that back-fills read from archives.
CREATE TABLE backfill (
    source_id BIGINT PRIMARY KEY, since BIGINT NOT NULL, rate BIGINT NOT NULL, actor TEXT COLLATE "C" NOT NULL, asked_at BIGINT NOT NULL
);

-- Exactly one of `stanza` and `error` is empty.
CREATE TABLE backfill_record (
    source_id BIGINT NOT NULL, file TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL, published_at BIGINT NOT NULL,
    stanza BYTEA NOT NULL, error TEXT COLLATE "C" NOT NULL, PRIMARY KEY (source_id, file, size, published_at)
);

-- The versions of Bioconductor, as the mirror declares them: one row with the text of `config.yaml`.
CREATE TABLE bioconductor (id BIGINT PRIMARY KEY CHECK (id = 1), config TEXT COLLATE "C" NOT NULL);

-- The marker of each storage class as this database wrote it: the place, whether the marker was written there, the
-- token of its adoption (empty: never adopted), and its generations, newest first; and the number of objects that the
-- sweep removed since a time.
CREATE TABLE storage_class (
    class TEXT COLLATE "C" PRIMARY KEY, place TEXT COLLATE "C" NOT NULL, marked BIGINT NOT NULL, adoption TEXT COLLATE "C" NOT NULL,
    generations TEXT COLLATE "C" NOT NULL, removed BIGINT NOT NULL, removed_since BIGINT NOT NULL
);

-- Days on which a sweep ran.
CREATE TABLE sweep_day (day BIGINT PRIMARY KEY);

-- The fingerprint of the encryption key that values in this database are encrypted with; no row before its first use.
CREATE TABLE encryption_key (id BIGINT PRIMARY KEY CHECK (id = 1), fingerprint TEXT COLLATE "C" NOT NULL);

-- The servers that use this database, each with a heartbeat and the mode that an administrator requested. Times are those of
-- the database's clock.
CREATE TABLE node (
    id TEXT COLLATE "C" PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, address TEXT COLLATE "C" NOT NULL, version TEXT COLLATE "C" NOT NULL, schema BIGINT NOT NULL,
    started_at BIGINT NOT NULL, beat_at BIGINT NOT NULL, clock_ahead BIGINT NOT NULL, mode TEXT COLLATE "C" NOT NULL,
    mode_at BIGINT NOT NULL, message TEXT COLLATE "C" NOT NULL, config TEXT COLLATE "C" NOT NULL, classes TEXT COLLATE "C" NOT NULL, requested_mode TEXT COLLATE "C",
    requested_by TEXT COLLATE "C", requested_at BIGINT, requested_timeout BIGINT, answered_at BIGINT
);

-- Holds of running backups: while one has not expired, no object is removed from storage. Times are those of the database's
-- clock.
CREATE TABLE hold (id TEXT COLLATE "C" PRIMARY KEY, until BIGINT NOT NULL);

-- The last backup, and the last test of a backup, of each folder: `command` is 'create' or 'test', `at` the time of the
-- backup or of the test, `error` why it failed (empty if it did not), `succeeded_at` the value of `at` for the last
-- success (0: none), `missing` the number of files that storage lacked.
CREATE TABLE backup_result (
    place TEXT COLLATE "C" NOT NULL, command TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL, error TEXT COLLATE "C" NOT NULL, succeeded_at BIGINT NOT NULL,
    missing BIGINT NOT NULL, PRIMARY KEY (place, command)
);

-- Progress of the scrub through the stored objects: one row for each storage directory and first byte of the digest.
-- `position` is the last digest read of a range that is being read, `read_at` when the whole range was read last (0:
-- never). The row with an empty directory records the start of an unfinished scrub of all objects.
CREATE TABLE scrub (
    directory TEXT COLLATE "C" NOT NULL, prefix BIGINT NOT NULL, position TEXT COLLATE "C" NOT NULL, read_at BIGINT NOT NULL,
    objects BIGINT NOT NULL, bad BIGINT NOT NULL, PRIMARY KEY (directory, prefix)
);

-- Access tokens: their digests, never the tokens. `revision` is the value of `clock.catalog` at the last change, so that a
-- server reads only changed tokens. `token_scope.object` is the id of a repository or source, 0 for all, and for scopes
-- without objects.
CREATE TABLE token (
    id BIGINT PRIMARY KEY, guid TEXT COLLATE "C" NOT NULL UNIQUE, digest TEXT COLLATE "C" NOT NULL UNIQUE, excerpt TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL, description TEXT COLLATE "C" NOT NULL, created_by TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL,
    expires_at BIGINT, revoked_at BIGINT, revision BIGINT NOT NULL
);
CREATE INDEX token_revision ON token (revision);

CREATE TABLE token_scope (
    token_id BIGINT NOT NULL REFERENCES token (id), scope TEXT COLLATE "C" NOT NULL, object BIGINT NOT NULL,
    PRIMARY KEY (token_id, scope, object)
);

-- The last day on which a token was used; no row for a token that was never used.
CREATE TABLE token_use (token_id BIGINT PRIMARY KEY REFERENCES token (id), day BIGINT NOT NULL);

-- Signed tokens that were revoked one by one, until they expire. `revision` is that of tokens.
CREATE TABLE revoked_signed_token (guid TEXT COLLATE "C" PRIMARY KEY, expires_at BIGINT NOT NULL, revision BIGINT NOT NULL);
CREATE INDEX revoked_signed_token_revision ON revoked_signed_token (revision);

-- Sign-in with an identity provider. `digest` is the SHA-256 of a secret that only the browser or the device has. `scopes`
-- is a list of `scope=object`, separated by spaces; the object is an id, or 0 for all. `revision` is the value of
-- `clock.catalog` that the server knew; `revoked_user` has that of the revocation of all that a user has.
CREATE TABLE session (
    digest TEXT COLLATE "C" PRIMARY KEY, guid TEXT COLLATE "C" NOT NULL UNIQUE, user_name TEXT COLLATE "C" NOT NULL, unique_id TEXT COLLATE "C" NOT NULL,
    scopes TEXT COLLATE "C" NOT NULL, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX session_user_name ON session (user_name);

CREATE TABLE login (
    digest TEXT COLLATE "C" PRIMARY KEY, return_to TEXT COLLATE "C" NOT NULL, expires_at BIGINT NOT NULL
);

-- `user_code` is NULL if the provider has the code. `state` is pending, allowed or denied.
CREATE TABLE device_login (
    digest TEXT COLLATE "C" PRIMARY KEY, user_code TEXT COLLATE "C" UNIQUE, challenge TEXT COLLATE "C" NOT NULL, address TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL, unique_id TEXT COLLATE "C" NOT NULL, scopes TEXT COLLATE "C" NOT NULL, pause BIGINT NOT NULL, polled_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE revoked_user (
    user_name TEXT COLLATE "C" PRIMARY KEY, revoked_at BIGINT NOT NULL, revision BIGINT NOT NULL
);
CREATE INDEX revoked_user_revision ON revoked_user (revision);

-- Proofs that may be used once: tokens of other issuers that were exchanged for a token with the right to change
-- something, and requests that are signed with the bootstrap key. A row is removed after the time at which its proof is
-- refused as expired.
CREATE TABLE used_proof (
    sha256 TEXT COLLATE "C" PRIMARY KEY, expires_at BIGINT NOT NULL
);
CREATE INDEX used_proof_expires ON used_proof (expires_at);

-- The audit trail. Rows are never changed and never removed: `previous` is the `sha256` of the row before, which is a
-- digest of all other columns; `audit_head` names the newest row.
CREATE TABLE audit (
    id BIGINT PRIMARY KEY, at BIGINT NOT NULL, actor_kind TEXT COLLATE "C" NOT NULL, actor TEXT COLLATE "C" NOT NULL, address TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL, object_kind TEXT COLLATE "C" NOT NULL, object TEXT COLLATE "C" NOT NULL, outcome TEXT COLLATE "C" NOT NULL, detail TEXT COLLATE "C" NOT NULL,
    previous TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY, last BIGINT NOT NULL, sha256 TEXT COLLATE "C" NOT NULL
);
INSERT INTO audit_head (id, last, sha256) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Credentials for git servers. `secret` is encrypted with the server's key, NULL if that key was lost.
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
    vignettes BIGINT NOT NULL, credential_id BIGINT, webhook_secret TEXT COLLATE "C", created_at BIGINT NOT NULL, deleted_at BIGINT,
    polled_at BIGINT, due_at BIGINT NOT NULL, failures BIGINT NOT NULL, head TEXT COLLATE "C" NOT NULL, error TEXT COLLATE "C" NOT NULL
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

-- Uploads that are not part of a source yet: `owner` is the author who sent it, `sha256` the digest of the stored package,
-- `other_sha256` that of its README or of METADATA of a wheel, `facts` what the server read from it, in a format of its
-- own. Both objects have a row in `blob`, and are stored before this row is written. Times are those of the database's clock.
CREATE TABLE upload (
    id BIGINT PRIMARY KEY, owner TEXT COLLATE "C" NOT NULL, kind TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL, other_sha256 TEXT COLLATE "C",
    size BIGINT NOT NULL, facts BYTEA NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL
);
CREATE INDEX upload_sha256 ON upload (sha256);
CREATE INDEX upload_other ON upload (other_sha256);
CREATE INDEX upload_expiry ON upload (expires_at);

-- Every project of an index of Python packages, also those of which nothing was read. `name` is set where it is not
-- `normalized_name`. A project that was removed and listed again has several rows.
CREATE TABLE project (
    source_id BIGINT NOT NULL, normalized_name TEXT COLLATE "C" NOT NULL, from_at BIGINT NOT NULL, to_at BIGINT NOT NULL, name TEXT COLLATE "C",
    serial BIGINT, changed_at BIGINT NOT NULL, PRIMARY KEY (source_id, normalized_name, from_at)
);

-- The last reading of the page of a project.
CREATE TABLE reading (
    source_id BIGINT NOT NULL, package_id BIGINT NOT NULL, serial BIGINT, etag TEXT COLLATE "C", page_sha256 TEXT COLLATE "C" NOT NULL,
    fetched_at BIGINT NOT NULL, valid_at BIGINT NOT NULL, status TEXT COLLATE "C" NOT NULL, reason TEXT COLLATE "C",
    PRIMARY KEY (source_id, package_id)
);

-- Curated sources: the state from which a step selects, and the snapshot that the administrator named. `sha256` is the digest
-- of the files of the definition; `include`, of a source of R packages, the kinds of dependencies that it includes.
CREATE TABLE curation (
    tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, base_tree_id BIGINT NOT NULL, base_seq BIGINT NOT NULL, snapshot TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL, include TEXT COLLATE "C", PRIMARY KEY (tree_id, seq)
);

-- The definition of a step: its files as the administrator wrote them.
CREATE TABLE curation_file (
    tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, position BIGINT NOT NULL, name TEXT COLLATE "C" NOT NULL, content BYTEA NOT NULL,
    PRIMARY KEY (tree_id, seq, position)
);

-- What the definition allows of a Python project, as the lines of a requirements file without the name. `chain`, of a project
-- that the definition does not name, is the shortest chain of projects from one that it names, separated by spaces.
CREATE TABLE curation_rule (
    tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, normalized_name TEXT COLLATE "C" NOT NULL, rule TEXT COLLATE "C" NOT NULL, chain TEXT COLLATE "C",
    PRIMARY KEY (tree_id, seq, normalized_name)
);

-- The last plan of an update: the selected releases, one on each line. `request` is the digest of what was requested.
CREATE TABLE curation_plan (
    tree_id BIGINT NOT NULL, request TEXT COLLATE "C" NOT NULL, planned_at BIGINT NOT NULL, selection BYTEA NOT NULL,
    PRIMARY KEY (tree_id, request)
);

-- Metadata that administrators give packages. `name` is the package as written, `normalized_name` its normal name as a Python
-- project. An empty `version` is every version, `source_id` 0 every source, `repo_id` 0 every repository.
CREATE TABLE metadata (
    id BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL, normalized_name TEXT COLLATE "C" NOT NULL, version TEXT COLLATE "C" NOT NULL, source_id BIGINT NOT NULL,
    repo_id BIGINT NOT NULL, key TEXT COLLATE "C" NOT NULL, value TEXT COLLATE "C" NOT NULL, actor TEXT COLLATE "C" NOT NULL, changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX metadata_scope ON metadata (name, version, source_id, repo_id, key);
CREATE INDEX metadata_normalized_name ON metadata (normalized_name);

-- A fixed URL. `token` is the snapshot in it. `repo_seq` is the number of the list of subscriptions, NULL for the list at
-- the end of the snapshot; `at` is that end, NULL for the newest state.
CREATE TABLE fixed_url (
    token TEXT COLLATE "C" PRIMARY KEY, repo_id BIGINT NOT NULL, repo_seq BIGINT, at BIGINT, actor TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL
);

-- The lists of packages that a fixed URL has at another state than that of its end.
CREATE TABLE fixed_url_tree (
    token TEXT COLLATE "C" NOT NULL, tree_id BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (token, tree_id)
);

-- Promotions: a copy of the subscriptions of the repository `from_name` at a snapshot, for the repository `repo_id`. `plan` is
-- JSON, `withheld` has the versions that rules withhold from the promoted state. `requested_by_id` is the identity of the
-- person at the identity provider (UniqueIdClaim), NULL for a request with another credential. `decided_by` is empty and
-- `decided_at` NULL before the decision; `tx_id` is NULL unless it was applied.
CREATE TABLE promotion (
    id BIGINT PRIMARY KEY, repo_id BIGINT NOT NULL, to_name TEXT COLLATE "C" NOT NULL, from_name TEXT COLLATE "C" NOT NULL, snapshot TEXT COLLATE "C" NOT NULL,
    pinned_at BIGINT NOT NULL, plan BYTEA NOT NULL, plan_sha256 TEXT COLLATE "C" NOT NULL, withheld BYTEA NOT NULL, state TEXT COLLATE "C" NOT NULL,
    requested_by TEXT COLLATE "C" NOT NULL, requested_by_id TEXT COLLATE "C", requested_at BIGINT NOT NULL, comment TEXT COLLATE "C" NOT NULL,
    decided_by TEXT COLLATE "C" NOT NULL, decided_at BIGINT, reason TEXT COLLATE "C" NOT NULL, tx_id BIGINT
);
CREATE INDEX promotion_repo ON promotion (repo_id);

CREATE TABLE promotion_source (
    promotion_id BIGINT NOT NULL, position BIGINT NOT NULL, source_id BIGINT NOT NULL, label TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (promotion_id, position)
);

-- What rules and advisories started or ceased to withhold, for alerts.
CREATE TABLE withheld_alarm (
    repo_id BIGINT NOT NULL, at BIGINT NOT NULL, message TEXT COLLATE "C" NOT NULL, PRIMARY KEY (repo_id, at)
);

-- Rules that block packages.
CREATE TABLE block_rule (
    id BIGINT PRIMARY KEY, priority BIGINT NOT NULL, exception BIGINT NOT NULL, source_id BIGINT, repo_id BIGINT,
    criteria TEXT COLLATE "C" NOT NULL, description TEXT COLLATE "C" NOT NULL, created_by TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL
);

-- The ids of the rules that a change of the table `block_rule` created, changed or deleted, so that servers read only these.
CREATE TABLE block_rule_change (
    revision BIGINT PRIMARY KEY, first_id BIGINT NOT NULL, last_id BIGINT NOT NULL
);

-- Guarded names: packages that only one source may provide. `state` is 0 for a guard in force, 1 if another source listed the
-- name before, 2 if an administrator ended the guard.
CREATE TABLE name_guard (
    id BIGINT PRIMARY KEY, language TEXT COLLATE "C" NOT NULL, pattern TEXT COLLATE "C" NOT NULL, source_id BIGINT NOT NULL, automatic BIGINT NOT NULL,
    state BIGINT NOT NULL, description TEXT COLLATE "C" NOT NULL, created_by TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL
);
CREATE INDEX name_guard_pattern ON name_guard (language, pattern);

-- Guarded names that another source lists. `appeared` is 1 if a sync found it after the guard existed.
CREATE TABLE name_overlap (
    language TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, source_id BIGINT NOT NULL, seen_at BIGINT NOT NULL, appeared BIGINT NOT NULL,
    PRIMARY KEY (language, name, source_id)
);
