-- The first schema: history as steps and lives. Not expand-only.
-- Times are microseconds since the epoch, booleans 0 and 1, digests lower-case hexadecimal.

CREATE TABLE sequence (name TEXT COLLATE "C" PRIMARY KEY, next BIGINT NOT NULL);
INSERT INTO sequence (name, next) VALUES
    ('source', 4), ('tree', 2), ('repo', 1), ('package', 1), ('release', 1), ('file', 1);

CREATE TABLE clock (
    id BIGINT PRIMARY KEY CHECK (id = 1), tx BIGINT NOT NULL, at BIGINT NOT NULL, catalog BIGINT NOT NULL
);
INSERT INTO clock (id, tx, at, catalog) VALUES (1, 0, 0, 0);

CREATE TABLE source (
    id BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE, kind TEXT COLLATE "C" NOT NULL, language TEXT COLLATE "C" NOT NULL, created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
INSERT INTO source (id, name, kind, language, created_at) VALUES
    (1, 'cran', 'cran', 'r', 0), (2, 'bioconductor', 'bioconductor', 'r', 0), (3, 'pypi', 'pypi', 'python', 0);

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
    id BIGINT PRIMARY KEY, language TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, fold TEXT COLLATE "C" NOT NULL, UNIQUE (language, name)
);
CREATE INDEX package_fold ON package (language, fold);

-- The following tables of imports have no foreign keys: each key would cost a lookup for every row of CRAN.
CREATE TABLE release (
    id BIGINT PRIMARY KEY, origin_id BIGINT NOT NULL, package_id BIGINT NOT NULL, version TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL, published_at BIGINT, UNIQUE (package_id, version, origin_id, revision)
);

CREATE TABLE record (
    release_id BIGINT NOT NULL, variant BIGINT NOT NULL, stanza BYTEA NOT NULL, PRIMARY KEY (release_id, variant)
);

CREATE TABLE detail (release_id BIGINT PRIMARY KEY, description BYTEA NOT NULL, readme_sha256 TEXT COLLATE "C");
CREATE INDEX detail_readme ON detail (readme_sha256) WHERE readme_sha256 IS NOT NULL;

CREATE TABLE blob (
    sha256 TEXT COLLATE "C" PRIMARY KEY, class TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL, state BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE file (
    id BIGINT PRIMARY KEY, release_id BIGINT NOT NULL, role TEXT COLLATE "C" NOT NULL, platform TEXT COLLATE "C" NOT NULL, build BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL, locator TEXT COLLATE "C" NOT NULL, size BIGINT, md5 TEXT COLLATE "C", sha256 TEXT COLLATE "C", facts BYTEA,
    state BIGINT NOT NULL, UNIQUE (release_id, role, platform, build, name)
);
CREATE INDEX file_sha256 ON file (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE life (
    tree_id BIGINT NOT NULL, state BIGINT NOT NULL, package_id BIGINT NOT NULL, path TEXT COLLATE "C" NOT NULL,
    from_seq BIGINT NOT NULL, to_seq BIGINT NOT NULL, release_id BIGINT NOT NULL, variant BIGINT NOT NULL,
    file_id BIGINT NOT NULL, mark BIGINT NOT NULL, note TEXT COLLATE "C",
    PRIMARY KEY (tree_id, state, package_id, path, from_seq, release_id, file_id)
);
CREATE INDEX life_release ON life (release_id);

CREATE TABLE repo (
    id BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL UNIQUE, kind TEXT COLLATE "C" NOT NULL, description TEXT COLLATE "C" NOT NULL, hidden BIGINT NOT NULL,
    authenticated BIGINT NOT NULL, created_at BIGINT NOT NULL
);

CREATE TABLE repo_step (
    repo_id BIGINT NOT NULL REFERENCES repo(id), seq BIGINT NOT NULL, at BIGINT NOT NULL, tx_id BIGINT NOT NULL,
    PRIMARY KEY (repo_id, seq)
);

CREATE TABLE subscription (
    repo_id BIGINT NOT NULL, seq BIGINT NOT NULL, position BIGINT NOT NULL, source_id BIGINT NOT NULL,
    label TEXT COLLATE "C" NOT NULL, PRIMARY KEY (repo_id, seq, position)
);

CREATE TABLE rendered (
    key TEXT COLLATE "C" PRIMARY KEY, content TEXT COLLATE "C" NOT NULL, encoder TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE upstream (
    url TEXT COLLATE "C" PRIMARY KEY, etag TEXT COLLATE "C", modified TEXT COLLATE "C", sha256 TEXT COLLATE "C" NOT NULL, fetched_at BIGINT NOT NULL
);

CREATE TABLE lease (name TEXT COLLATE "C" PRIMARY KEY, holder TEXT COLLATE "C" NOT NULL, fence BIGINT NOT NULL, until BIGINT NOT NULL);
