-- The first schema: history as steps and lives.
-- Times are microseconds since the epoch, days are counted from the epoch, booleans are 0 and 1, digests lower-case
-- hexadecimal.

CREATE TABLE sequence (name TEXT PRIMARY KEY, next BIGINT NOT NULL);
INSERT INTO sequence (name, next) VALUES
    ('source', 4), ('tree', 2), ('repo', 1), ('package', 1), ('release', 1), ('file', 1), ('token', 1), ('git_credential', 1),
    ('git_builder', 1), ('git_build', 1), ('metadata', 1), ('fixed_url', 1), ('promotion', 1), ('block_rule', 1),
    ('block_rule_change', 1), ('name_guard', 1), ('name_guard_change', 1),
    -- The number of changes of `name_guard` that only added automatic guards, so that servers read only these.
    ('name_guard_addition', 1);

-- `catalog` is the revision of what servers have in memory. `history` identifies the history of transactions: a restored
-- database gets another one.
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1), tx BIGINT NOT NULL, at BIGINT NOT NULL, catalog BIGINT NOT NULL, history TEXT NOT NULL
);
INSERT INTO clock (id, tx, at, catalog, history) VALUES (1, 0, 0, 0, lower(hex(randomblob(16))));

-- The identity of this database, which the owner markers in storage contain.
CREATE TABLE identity (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL);
INSERT INTO identity (id, value) VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE source (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, language TEXT NOT NULL, created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
INSERT INTO source (id, name, kind, language, created_at) VALUES
    (1, 'cran', 'cran', 'r', 0), (2, 'bioconductor', 'bioconductor', 'r', 0), (3, 'pypi', 'pypi', 'python', 0);

-- The sequence numbers of a tree are the numbers of its steps (`axis` is 'step'), or times (`time`).
CREATE TABLE tree (
    id INTEGER PRIMARY KEY, source_id BIGINT NOT NULL REFERENCES source(id), label TEXT NOT NULL, role TEXT NOT NULL,
    axis TEXT NOT NULL, first BIGINT, head BIGINT, pending BIGINT, pending_job BIGINT,
    UNIQUE (source_id, role, label)
);
INSERT INTO tree (id, source_id, label, role, axis) VALUES (1, 1, 'src/contrib', 'source', 'step');

CREATE TABLE tx (
    id INTEGER PRIMARY KEY, at BIGINT NOT NULL UNIQUE, source_id BIGINT, repo_id BIGINT, kind TEXT NOT NULL,
    started_at BIGINT NOT NULL, published_from BIGINT, published_to BIGINT, added BIGINT NOT NULL,
    updated BIGINT NOT NULL, archived BIGINT NOT NULL, removed BIGINT NOT NULL, actor TEXT NOT NULL,
    comment TEXT NOT NULL
);
CREATE INDEX tx_source_at ON tx (source_id, at);

CREATE TABLE step (
    tree_id BIGINT NOT NULL REFERENCES tree(id), seq BIGINT NOT NULL, at BIGINT NOT NULL,
    tx_id BIGINT NOT NULL REFERENCES tx(id), PRIMARY KEY (tree_id, seq)
) WITHOUT ROWID;
CREATE INDEX step_tx ON step (tx_id);

CREATE TABLE package (
    id INTEGER PRIMARY KEY, language TEXT NOT NULL, name TEXT NOT NULL, normalized_name TEXT NOT NULL, UNIQUE (language, name)
);
CREATE INDEX package_normalized_name ON package (language, normalized_name);
-- Finds the names that differ from another one in case, '.', '-' and '_' only; see policy::comparison_key.
CREATE INDEX package_similar ON package (language, replace(replace(replace(normalized_name, '.', ''), '-', ''), '_', ''));

-- The following tables of imports have no foreign keys: each key would cost a lookup for every row of CRAN.
CREATE TABLE release (
    id INTEGER PRIMARY KEY, origin_id BIGINT NOT NULL, package_id BIGINT NOT NULL, version TEXT NOT NULL,
    revision BIGINT NOT NULL, published_at BIGINT, UNIQUE (package_id, version, origin_id, revision)
);

CREATE TABLE record (
    release_id BIGINT NOT NULL, variant BIGINT NOT NULL, stanza BLOB NOT NULL, PRIMARY KEY (release_id, variant)
) WITHOUT ROWID;

-- `system_requirements` are those of releases whose index record has none.
CREATE TABLE detail (
    release_id INTEGER PRIMARY KEY, description BLOB NOT NULL, readme_sha256 TEXT, system_requirements TEXT
);
CREATE INDEX detail_readme ON detail (readme_sha256) WHERE readme_sha256 IS NOT NULL;

CREATE TABLE blob (
    sha256 TEXT PRIMARY KEY, class TEXT NOT NULL, size BIGINT NOT NULL, state BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The last day on which a client requested a stored package file.
CREATE TABLE blob_access (sha256 TEXT PRIMARY KEY, day INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE file (
    id INTEGER PRIMARY KEY, release_id BIGINT NOT NULL, role TEXT NOT NULL, platform TEXT NOT NULL, build BIGINT NOT NULL,
    name TEXT NOT NULL, locator TEXT NOT NULL, size BIGINT, md5 TEXT, sha256 TEXT, facts BLOB,
    state BIGINT NOT NULL, UNIQUE (release_id, role, platform, build, name)
);
CREATE INDEX file_sha256 ON file (sha256) WHERE sha256 IS NOT NULL;

-- Facts of a file that changed after its first reading: those of lives with this variant. Variant 0 is `file.facts`.
CREATE TABLE file_fact (
    file_id INTEGER NOT NULL, variant INTEGER NOT NULL, facts BLOB NOT NULL, PRIMARY KEY (file_id, variant)
);

-- The time of the first reading of a project that found a file, if an earlier reading lacked the file.
CREATE TABLE file_reading (file_id INTEGER PRIMARY KEY, read_at INTEGER NOT NULL);

CREATE TABLE life (
    tree_id BIGINT NOT NULL, state BIGINT NOT NULL, package_id BIGINT NOT NULL, path TEXT NOT NULL,
    from_seq BIGINT NOT NULL, to_seq BIGINT NOT NULL, release_id BIGINT NOT NULL, variant BIGINT NOT NULL,
    file_id BIGINT NOT NULL, mark BIGINT NOT NULL, note TEXT,
    PRIMARY KEY (tree_id, state, package_id, path, from_seq, release_id, file_id)
) WITHOUT ROWID;
CREATE INDEX life_release ON life (release_id);

-- `changes` are the changes that the repository takes.
CREATE TABLE repo (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, description TEXT NOT NULL, hidden BIGINT NOT NULL,
    authenticated BIGINT NOT NULL, changes TEXT NOT NULL, created_at BIGINT NOT NULL
);

-- The lists of subscriptions of a repository. Of a list that a promotion made: `pinned_at` is the end of the time from which
-- the states of its sources are taken, `withheld` the versions that rules withheld then (see policy::Withheld), NULL for none.
CREATE TABLE repo_step (
    repo_id BIGINT NOT NULL REFERENCES repo(id), seq BIGINT NOT NULL, at BIGINT NOT NULL, tx_id BIGINT NOT NULL,
    pinned_at BIGINT, withheld BLOB, PRIMARY KEY (repo_id, seq)
);

CREATE TABLE subscription (
    repo_id BIGINT NOT NULL, seq BIGINT NOT NULL, position BIGINT NOT NULL, source_id BIGINT NOT NULL,
    label TEXT NOT NULL, PRIMARY KEY (repo_id, seq, position)
);

CREATE TABLE rendered (
    key TEXT PRIMARY KEY, content TEXT NOT NULL, encoder TEXT NOT NULL, sha256 TEXT NOT NULL, size BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX rendered_sha256 ON rendered (sha256);

CREATE TABLE upstream (
    url TEXT PRIMARY KEY, etag TEXT, modified TEXT, sha256 TEXT NOT NULL, fetched_at BIGINT NOT NULL
);

CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence BIGINT NOT NULL, until BIGINT NOT NULL);

-- Ended jobs of all servers, for the page of jobs.
CREATE TABLE job_run (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, node TEXT NOT NULL, started_at INTEGER NOT NULL, ended_at INTEGER NOT NULL,
    succeeded INTEGER NOT NULL, message TEXT NOT NULL
);

-- Requests of back-fills, and the index records that back-fills read from archives.
CREATE TABLE backfill (
    source_id INTEGER PRIMARY KEY, since BIGINT NOT NULL, rate BIGINT NOT NULL, actor TEXT NOT NULL, asked_at BIGINT NOT NULL
);

-- Exactly one of `stanza` and `error` is empty.
CREATE TABLE backfill_record (
    source_id BIGINT NOT NULL, file TEXT NOT NULL, size BIGINT NOT NULL, published_at BIGINT NOT NULL,
    stanza BLOB NOT NULL, error TEXT NOT NULL, PRIMARY KEY (source_id, file, size, published_at)
) WITHOUT ROWID;

-- The versions of Bioconductor, as the mirror declares them: one row with the text of `config.yaml`.
CREATE TABLE bioconductor (id INTEGER PRIMARY KEY CHECK (id = 1), config TEXT NOT NULL);

-- The marker of each storage class as this database wrote it: the place, whether the marker was written there, the
-- token of its adoption (empty: never adopted), and its generations, newest first; and the number of objects that the
-- sweep removed since a time.
CREATE TABLE storage_class (
    class TEXT PRIMARY KEY, place TEXT NOT NULL, marked BIGINT NOT NULL, adoption TEXT NOT NULL,
    generations TEXT NOT NULL, removed BIGINT NOT NULL, removed_since BIGINT NOT NULL
) WITHOUT ROWID;

-- Days on which a sweep ran.
CREATE TABLE sweep_day (day INTEGER PRIMARY KEY);

-- The fingerprint of the encryption key that values in this database are encrypted with; no row before its first use.
CREATE TABLE encryption_key (id INTEGER PRIMARY KEY CHECK (id = 1), fingerprint TEXT NOT NULL);

-- The servers that use this database, each with a heartbeat and the mode that an administrator requested. Times are those of
-- the database's clock. Not used with SQLite, which has one server.
CREATE TABLE node (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, address TEXT NOT NULL, version TEXT NOT NULL, schema BIGINT NOT NULL,
    started_at BIGINT NOT NULL, beat_at BIGINT NOT NULL, clock_ahead BIGINT NOT NULL, mode TEXT NOT NULL,
    mode_at BIGINT NOT NULL, message TEXT NOT NULL, config TEXT NOT NULL, classes TEXT NOT NULL, requested_mode TEXT,
    requested_by TEXT, requested_at BIGINT, requested_timeout BIGINT, answered_at BIGINT
) WITHOUT ROWID;

-- Holds of running backups: while one has not expired, no object is removed from storage. Times are those of the database's
-- clock.
CREATE TABLE hold (id TEXT PRIMARY KEY, until BIGINT NOT NULL) WITHOUT ROWID;

-- The last backup, and the last test of a backup, of each folder: `command` is 'create' or 'test', `at` the time of the
-- backup or of the test, `error` why it failed (empty if it did not), `succeeded_at` the value of `at` for the last
-- success (0: none), `missing` the number of files that storage lacked.
CREATE TABLE backup_result (
    place TEXT NOT NULL, command TEXT NOT NULL, at BIGINT NOT NULL, error TEXT NOT NULL, succeeded_at BIGINT NOT NULL,
    missing BIGINT NOT NULL, PRIMARY KEY (place, command)
) WITHOUT ROWID;

-- Progress of the scrub through the stored objects: one row for each storage directory and first byte of the digest.
-- `position` is the last digest read of a range that is being read, `read_at` when the whole range was read last (0:
-- never). The row with an empty directory records the start of an unfinished scrub of all objects.
CREATE TABLE scrub (
    directory TEXT NOT NULL, prefix BIGINT NOT NULL, position TEXT NOT NULL, read_at BIGINT NOT NULL,
    objects BIGINT NOT NULL, bad BIGINT NOT NULL, PRIMARY KEY (directory, prefix)
) WITHOUT ROWID;

-- Access tokens: their digests, never the tokens. `revision` is the value of `clock.catalog` at the last change, so that a
-- server reads only changed tokens. `token_scope.object` is the id of a repository or source, 0 for all, and for scopes
-- without objects.
CREATE TABLE token (
    id INTEGER PRIMARY KEY, guid TEXT NOT NULL UNIQUE, digest TEXT NOT NULL UNIQUE, excerpt TEXT NOT NULL,
    user_name TEXT NOT NULL, description TEXT NOT NULL, created_by TEXT NOT NULL, created_at BIGINT NOT NULL,
    expires_at BIGINT, revoked_at BIGINT, revision BIGINT NOT NULL
);
CREATE INDEX token_revision ON token (revision);

CREATE TABLE token_scope (
    token_id BIGINT NOT NULL REFERENCES token (id), scope TEXT NOT NULL, object BIGINT NOT NULL,
    PRIMARY KEY (token_id, scope, object)
) WITHOUT ROWID;

-- The last day on which a token was used; no row for a token that was never used.
CREATE TABLE token_use (token_id INTEGER PRIMARY KEY REFERENCES token (id), day BIGINT NOT NULL);

-- Signed tokens that were revoked one by one, until they expire. `revision` is that of tokens.
CREATE TABLE revoked_signed_token (guid TEXT PRIMARY KEY, expires_at BIGINT NOT NULL, revision BIGINT NOT NULL);
CREATE INDEX revoked_signed_token_revision ON revoked_signed_token (revision);

-- Sign-in with an identity provider. `digest` is the SHA-256 of a secret that only the browser or the device has. `scopes`
-- is a list of `scope=object`, separated by spaces; the object is an id, or 0 for all. `revision` is the value of
-- `clock.catalog` that the server knew; `revoked_user` has that of the revocation of all that a user has.
CREATE TABLE session (
    digest TEXT PRIMARY KEY, guid TEXT NOT NULL UNIQUE, user_name TEXT NOT NULL, unique_id TEXT NOT NULL,
    scopes TEXT NOT NULL, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX session_user_name ON session (user_name);

CREATE TABLE login (
    digest TEXT PRIMARY KEY, return_to TEXT NOT NULL, expires_at BIGINT NOT NULL
);

-- `user_code` is NULL if the provider has the code. `state` is pending, allowed or denied.
CREATE TABLE device_login (
    digest TEXT PRIMARY KEY, user_code TEXT UNIQUE, challenge TEXT NOT NULL, address TEXT NOT NULL, state TEXT NOT NULL,
    user_name TEXT NOT NULL, unique_id TEXT NOT NULL, scopes TEXT NOT NULL, pause BIGINT NOT NULL, polled_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE revoked_user (
    user_name TEXT PRIMARY KEY, revoked_at BIGINT NOT NULL, revision BIGINT NOT NULL
);
CREATE INDEX revoked_user_revision ON revoked_user (revision);

-- Proofs that may be used once: tokens of other issuers that were exchanged for a token with the right to change
-- something, and requests that are signed with the bootstrap key. A row is removed after the time at which its proof is
-- refused as expired.
CREATE TABLE used_proof (
    sha256 TEXT PRIMARY KEY, expires_at BIGINT NOT NULL
);
CREATE INDEX used_proof_expires ON used_proof (expires_at);

-- The audit trail. Rows are never changed and never removed: `previous` is the `sha256` of the row before, which is a
-- digest of all other columns; `audit_head` names the newest row.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, at BIGINT NOT NULL, actor_kind TEXT NOT NULL, actor TEXT NOT NULL, address TEXT NOT NULL,
    action TEXT NOT NULL, object_kind TEXT NOT NULL, object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL,
    previous TEXT NOT NULL, sha256 TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY, last BIGINT NOT NULL, sha256 TEXT NOT NULL
);
INSERT INTO audit_head (id, last, sha256) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Credentials for git servers. `secret` is encrypted with the server's key, NULL if that key was lost.
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
    vignettes INTEGER NOT NULL, credential_id INTEGER, webhook_secret TEXT, created_at INTEGER NOT NULL, deleted_at INTEGER,
    polled_at INTEGER, due_at INTEGER NOT NULL, failures INTEGER NOT NULL, head TEXT NOT NULL, error TEXT NOT NULL
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

-- Uploads that are not part of a source yet: `owner` is the author who sent it, `sha256` the digest of the stored package,
-- `other_sha256` that of its README or of METADATA of a wheel, `facts` what the server read from it, in a format of its
-- own. Both objects have a row in `blob`, and are stored before this row is written. Times are those of the database's clock.
CREATE TABLE upload (
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL, kind TEXT NOT NULL, sha256 TEXT NOT NULL, other_sha256 TEXT,
    size BIGINT NOT NULL, facts BLOB NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL
);
CREATE INDEX upload_sha256 ON upload (sha256);
CREATE INDEX upload_other ON upload (other_sha256);
CREATE INDEX upload_expiry ON upload (expires_at);

-- Every project of an index of Python packages, also those of which nothing was read. `name` is set where it is not
-- `normalized_name`. A project that was removed and listed again has several rows.
CREATE TABLE project (
    source_id INTEGER NOT NULL, normalized_name TEXT NOT NULL, from_at INTEGER NOT NULL, to_at INTEGER NOT NULL, name TEXT,
    serial INTEGER, changed_at INTEGER NOT NULL, PRIMARY KEY (source_id, normalized_name, from_at)
) WITHOUT ROWID;

-- The last reading of the page of a project.
CREATE TABLE reading (
    source_id INTEGER NOT NULL, package_id INTEGER NOT NULL, serial INTEGER, etag TEXT, page_sha256 TEXT NOT NULL,
    fetched_at INTEGER NOT NULL, valid_at INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT,
    PRIMARY KEY (source_id, package_id)
);

-- Curated sources: the state from which a step selects, and the snapshot that the administrator named. `sha256` is the digest
-- of the files of the definition; `include`, of a source of R packages, the kinds of dependencies that it includes.
CREATE TABLE curation (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, base_tree_id INTEGER NOT NULL, base_seq INTEGER NOT NULL, snapshot TEXT NOT NULL,
    sha256 TEXT NOT NULL, include TEXT, PRIMARY KEY (tree_id, seq)
) WITHOUT ROWID;

-- The definition of a step: its files as the administrator wrote them.
CREATE TABLE curation_file (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (tree_id, seq, position)
);

-- What the definition allows of a Python project, as the lines of a requirements file without the name. `chain`, of a project
-- that the definition does not name, is the shortest chain of projects from one that it names, separated by spaces.
CREATE TABLE curation_rule (
    tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, normalized_name TEXT NOT NULL, rule TEXT NOT NULL, chain TEXT,
    PRIMARY KEY (tree_id, seq, normalized_name)
) WITHOUT ROWID;

-- The last plan of an update: the selected releases, one on each line. `request` is the digest of what was requested.
CREATE TABLE curation_plan (
    tree_id INTEGER NOT NULL, request TEXT NOT NULL, planned_at INTEGER NOT NULL, selection BLOB NOT NULL,
    PRIMARY KEY (tree_id, request)
);

-- Metadata that administrators give packages. `name` is the package as written, `normalized_name` its normal name as a Python
-- project. An empty `version` is every version, `source_id` 0 every source, `repo_id` 0 every repository.
CREATE TABLE metadata (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, normalized_name TEXT NOT NULL, version TEXT NOT NULL, source_id INTEGER NOT NULL,
    repo_id INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, actor TEXT NOT NULL, changed_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX metadata_scope ON metadata (name, version, source_id, repo_id, key);
CREATE INDEX metadata_normalized_name ON metadata (normalized_name);

-- A fixed URL. `token` is the snapshot in it. `repo_seq` is the number of the list of subscriptions, NULL for the list at
-- the end of the snapshot; `at` is that end, NULL for the newest state.
CREATE TABLE fixed_url (
    token TEXT PRIMARY KEY, repo_id INTEGER NOT NULL, repo_seq INTEGER, at INTEGER, actor TEXT NOT NULL, created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- The lists of packages that a fixed URL has at another state than that of its end.
CREATE TABLE fixed_url_tree (
    token TEXT NOT NULL, tree_id INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (token, tree_id)
) WITHOUT ROWID;

-- Promotions: a copy of the subscriptions of the repository `from_name` at a snapshot, for the repository `repo_id`. `plan` is
-- JSON, `withheld` has the versions that rules withhold from the promoted state. `requested_by_id` is the identity of the
-- person at the identity provider (UniqueIdClaim), NULL for a request with another credential. `decided_by` is empty and
-- `decided_at` NULL before the decision; `tx_id` is NULL unless it was applied.
CREATE TABLE promotion (
    id INTEGER PRIMARY KEY, repo_id BIGINT NOT NULL, to_name TEXT NOT NULL, from_name TEXT NOT NULL, snapshot TEXT NOT NULL,
    pinned_at BIGINT NOT NULL, plan BLOB NOT NULL, plan_sha256 TEXT NOT NULL, withheld BLOB NOT NULL, state TEXT NOT NULL,
    requested_by TEXT NOT NULL, requested_by_id TEXT, requested_at BIGINT NOT NULL, comment TEXT NOT NULL,
    decided_by TEXT NOT NULL, decided_at BIGINT, reason TEXT NOT NULL, tx_id BIGINT
);
CREATE INDEX promotion_repo ON promotion (repo_id);

CREATE TABLE promotion_source (
    promotion_id BIGINT NOT NULL, position BIGINT NOT NULL, source_id BIGINT NOT NULL, label TEXT NOT NULL,
    PRIMARY KEY (promotion_id, position)
) WITHOUT ROWID;

-- What rules and advisories started or ceased to withhold, for alerts.
CREATE TABLE withheld_alarm (
    repo_id BIGINT NOT NULL, at BIGINT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (repo_id, at)
) WITHOUT ROWID;

-- Rules that block packages.
CREATE TABLE block_rule (
    id INTEGER PRIMARY KEY, priority BIGINT NOT NULL, exception BIGINT NOT NULL, source_id BIGINT, repo_id BIGINT,
    criteria TEXT NOT NULL, description TEXT NOT NULL, created_by TEXT NOT NULL, created_at BIGINT NOT NULL
);

-- The ids of the rules that a change of the table `block_rule` created, changed or deleted, so that servers read only these.
CREATE TABLE block_rule_change (
    revision INTEGER PRIMARY KEY, first_id BIGINT NOT NULL, last_id BIGINT NOT NULL
);

-- Guarded names: packages that only one source may provide. `state` is 0 for a guard in force, 1 if another source listed the
-- name before, 2 if an administrator ended the guard.
CREATE TABLE name_guard (
    id INTEGER PRIMARY KEY, language TEXT NOT NULL, pattern TEXT NOT NULL, source_id BIGINT NOT NULL, automatic BIGINT NOT NULL,
    state BIGINT NOT NULL, description TEXT NOT NULL, created_by TEXT NOT NULL, created_at BIGINT NOT NULL
);
CREATE INDEX name_guard_pattern ON name_guard (language, pattern);

-- Guarded names that another source lists. `appeared` is 1 if a sync found it after the guard existed.
CREATE TABLE name_overlap (
    language TEXT NOT NULL, name TEXT NOT NULL, source_id BIGINT NOT NULL, seen_at BIGINT NOT NULL, appeared BIGINT NOT NULL,
    PRIMARY KEY (language, name, source_id)
) WITHOUT ROWID;
