-- The first schema: history as steps and lives. Not expand-only.
-- Times are microseconds since the epoch, booleans 0 and 1, digests lower-case hexadecimal.

CREATE TABLE sequence (name TEXT PRIMARY KEY, next BIGINT NOT NULL);
INSERT INTO sequence (name, next) VALUES
    ('source', 4), ('tree', 2), ('repo', 1), ('package', 1), ('release', 1), ('file', 1);

CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1), tx BIGINT NOT NULL, at BIGINT NOT NULL, catalog BIGINT NOT NULL
);
INSERT INTO clock (id, tx, at, catalog) VALUES (1, 0, 0, 0);

CREATE TABLE source (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, language TEXT NOT NULL, created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
INSERT INTO source (id, name, kind, language, created_at) VALUES
    (1, 'cran', 'cran', 'r', 0), (2, 'bioconductor', 'bioconductor', 'r', 0), (3, 'pypi', 'pypi', 'python', 0);

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
    id INTEGER PRIMARY KEY, language TEXT NOT NULL, name TEXT NOT NULL, fold TEXT NOT NULL, UNIQUE (language, name)
);
CREATE INDEX package_fold ON package (language, fold);

-- The following tables of imports have no foreign keys: each key would cost a lookup for every row of CRAN.
CREATE TABLE release (
    id INTEGER PRIMARY KEY, origin_id BIGINT NOT NULL, package_id BIGINT NOT NULL, version TEXT NOT NULL,
    revision BIGINT NOT NULL, published_at BIGINT, UNIQUE (package_id, version, origin_id, revision)
);

CREATE TABLE record (
    release_id BIGINT NOT NULL, variant BIGINT NOT NULL, stanza BLOB NOT NULL, PRIMARY KEY (release_id, variant)
) WITHOUT ROWID;

CREATE TABLE detail (release_id INTEGER PRIMARY KEY, description BLOB NOT NULL, readme_sha256 TEXT);
CREATE INDEX detail_readme ON detail (readme_sha256) WHERE readme_sha256 IS NOT NULL;

CREATE TABLE blob (
    sha256 TEXT PRIMARY KEY, class TEXT NOT NULL, size BIGINT NOT NULL, state BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE file (
    id INTEGER PRIMARY KEY, release_id BIGINT NOT NULL, role TEXT NOT NULL, platform TEXT NOT NULL, build BIGINT NOT NULL,
    name TEXT NOT NULL, locator TEXT NOT NULL, size BIGINT, md5 TEXT, sha256 TEXT, facts BLOB,
    state BIGINT NOT NULL, UNIQUE (release_id, role, platform, build, name)
);
CREATE INDEX file_sha256 ON file (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE life (
    tree_id BIGINT NOT NULL, state BIGINT NOT NULL, package_id BIGINT NOT NULL, path TEXT NOT NULL,
    from_seq BIGINT NOT NULL, to_seq BIGINT NOT NULL, release_id BIGINT NOT NULL, variant BIGINT NOT NULL,
    file_id BIGINT NOT NULL, mark BIGINT NOT NULL, note TEXT,
    PRIMARY KEY (tree_id, state, package_id, path, from_seq, release_id, file_id)
) WITHOUT ROWID;
CREATE INDEX life_release ON life (release_id);

CREATE TABLE repo (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, description TEXT NOT NULL, hidden BIGINT NOT NULL,
    authenticated BIGINT NOT NULL, created_at BIGINT NOT NULL
);

CREATE TABLE repo_step (
    repo_id BIGINT NOT NULL REFERENCES repo(id), seq BIGINT NOT NULL, at BIGINT NOT NULL, tx_id BIGINT NOT NULL,
    PRIMARY KEY (repo_id, seq)
);

CREATE TABLE subscription (
    repo_id BIGINT NOT NULL, seq BIGINT NOT NULL, position BIGINT NOT NULL, source_id BIGINT NOT NULL,
    label TEXT NOT NULL, PRIMARY KEY (repo_id, seq, position)
);

CREATE TABLE rendered (
    key TEXT PRIMARY KEY, content TEXT NOT NULL, encoder TEXT NOT NULL, sha256 TEXT NOT NULL, size BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE upstream (
    url TEXT PRIMARY KEY, etag TEXT, modified TEXT, sha256 TEXT NOT NULL, fetched_at BIGINT NOT NULL
);

CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, fence BIGINT NOT NULL, until BIGINT NOT NULL);
