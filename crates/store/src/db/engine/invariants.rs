//! Rules that the rows of every consistent database meet and that no constraint of the schema enforces. Examines a
//! database in use with them and with the database's own checks.

use super::{Conn, Db, DbError, Engine, Row, Value};

/// The maximum number of violations of one rule that are reported.
const MAX_VIOLATIONS: i64 = 20;

/// A rule, and the query of the rows that violate it.
struct InvariantRule {
    /// The violation in each row that the query returns, as a clause.
    violation: &'static str,
    /// The names of the query's columns.
    columns: &'static [&'static str],
    sql: &'static str,
}

const RULES: &[InvariantRule] = &[
    InvariantRule {
        violation: "the clock row does not have the newest transaction",
        columns: &["clock row", "newest"],
        sql: "SELECT tx, (SELECT coalesce(max(id), 0) FROM tx) FROM clock \
            WHERE tx <> (SELECT coalesce(max(id), 0) FROM tx) LIMIT $1",
    },
    InvariantRule {
        violation: "a transaction is later than the clock row",
        columns: &["transaction", "time", "clock row"],
        sql: "SELECT t.id, t.at, c.at FROM clock c JOIN tx t ON t.at > c.at ORDER BY t.id LIMIT $1",
    },
    InvariantRule {
        violation: "the first or the newest step of a tree is not the one in its row",
        columns: &["tree", "first", "newest", "first step", "newest step"],
        sql: "SELECT t.id, coalesce(t.first, 0), coalesce(t.head, 0), coalesce(min(s.seq), 0), coalesce(max(s.seq), 0) \
            FROM tree t LEFT JOIN step s ON s.tree_id = t.id WHERE t.axis = 'step' GROUP BY t.id, t.first, t.head \
            HAVING coalesce(t.head, 0) <> coalesce(max(s.seq), 0) OR coalesce(t.first, 0) <> coalesce(min(s.seq), 0) \
            OR count(t.head) <> count(s.seq) AND (count(t.head) = 0 OR count(s.seq) = 0) ORDER BY t.id LIMIT $1",
    },
    InvariantRule {
        violation: "the steps of a tree have gaps",
        columns: &["tree", "steps", "first", "newest"],
        sql: "SELECT t.id, count(*), min(s.seq), max(s.seq) FROM tree t JOIN step s ON s.tree_id = t.id \
            WHERE t.axis = 'step' GROUP BY t.id HAVING count(*) <> max(s.seq) - min(s.seq) + 1 ORDER BY t.id LIMIT $1",
    },
    InvariantRule {
        violation: "a step is earlier than the one before it",
        columns: &["tree", "step"],
        sql: "SELECT n.tree_id, n.seq FROM step s JOIN step n ON n.tree_id = s.tree_id AND n.seq = s.seq + 1 \
            WHERE n.at < s.at ORDER BY n.tree_id, n.seq LIMIT $1",
    },
    InvariantRule {
        violation: "a life ends before it begins",
        columns: &["tree", "release", "from", "to"],
        sql: "SELECT tree_id, release_id, from_seq, to_seq FROM life WHERE to_seq < from_seq LIMIT $1",
    },
    InvariantRule {
        violation: "two lives of a file overlap",
        columns: &["tree", "release", "file", "from", "and from"],
        sql: "SELECT a.tree_id, a.release_id, a.file_id, a.from_seq, b.from_seq FROM life a JOIN life b \
            ON b.tree_id = a.tree_id AND b.state = a.state AND b.package_id = a.package_id AND b.path = a.path \
            AND b.from_seq > a.from_seq AND b.from_seq < a.to_seq \
            AND b.release_id = a.release_id AND b.file_id = a.file_id LIMIT $1",
    },
    InvariantRule {
        violation: "two releases of a package are listed at the same time",
        columns: &["tree", "package", "release", "and release", "from"],
        sql: "SELECT a.tree_id, a.package_id, a.release_id, b.release_id, b.from_seq FROM tree t \
            JOIN life a ON a.tree_id = t.id AND a.state = 0 JOIN life b \
            ON b.tree_id = a.tree_id AND b.state = 0 AND b.package_id = a.package_id AND b.path = a.path \
            AND b.from_seq >= a.from_seq AND b.from_seq < a.to_seq AND b.release_id <> a.release_id \
            AND b.to_seq > b.from_seq JOIN source s ON s.id = t.source_id AND s.language = 'r' \
            WHERE t.role = 'source' LIMIT $1",
    },
    InvariantRule {
        violation: "two files with one name are listed at the same time",
        columns: &["tree", "file", "and file", "from"],
        // Compares each life only with the previous one of the same name, because projects have thousands of files.
        sql: "SELECT n.tree_id, n.other_id, n.file_id, n.from_seq FROM (SELECT l.tree_id, l.file_id, l.from_seq, \
            lag(l.file_id) OVER w AS other_id, lag(l.to_seq) OVER w AS other_to FROM tree t \
            JOIN source s ON s.id = t.source_id AND s.language = 'python' \
            JOIN life l ON l.tree_id = t.id AND l.state = 0 AND l.to_seq > l.from_seq \
            JOIN file f ON f.id = l.file_id \
            WINDOW w AS (PARTITION BY l.tree_id, l.package_id, f.name ORDER BY l.from_seq, l.to_seq)) n \
            WHERE n.other_to > n.from_seq LIMIT $1",
    },
    InvariantRule {
        violation: "a life of a Python package has no file",
        columns: &["tree", "release", "file"],
        sql: "SELECT l.tree_id, l.release_id, l.file_id FROM life l JOIN tree t ON t.id = l.tree_id \
            JOIN source s ON s.id = t.source_id AND s.language = 'python' WHERE NOT EXISTS \
            (SELECT 1 FROM file f WHERE f.id = l.file_id AND f.release_id = l.release_id AND f.role = 'python') LIMIT $1",
    },
    InvariantRule {
        violation: "metadata, a signature or a provenance object has no file",
        columns: &["row", "name"],
        sql: "SELECT m.id, m.name FROM file m WHERE m.role IN ('metadata', 'signature', 'provenance') \
            AND NOT EXISTS (SELECT 1 FROM file f \
            WHERE f.release_id = m.release_id AND f.role = 'python' AND f.build = m.build AND f.name = m.name) LIMIT $1",
    },
    InvariantRule {
        violation: "a row of file_reading has no file",
        columns: &["file"],
        sql: "SELECT n.file_id FROM file_reading n WHERE NOT EXISTS \
            (SELECT 1 FROM file f WHERE f.id = n.file_id AND f.role = 'python') LIMIT $1",
    },
    InvariantRule {
        violation: "two rows of a project of an index overlap",
        columns: &["source", "project", "from", "and from"],
        sql: "SELECT a.source_id, a.normalized_name, a.from_at, b.from_at FROM project a JOIN project b ON b.source_id = a.source_id \
            AND b.normalized_name = a.normalized_name AND b.from_at > a.from_at AND b.from_at < a.to_at LIMIT $1",
    },
    InvariantRule {
        violation: "a life refers to facts about its file that no row contains",
        columns: &["tree", "file", "variant"],
        sql: "SELECT l.tree_id, l.file_id, l.variant FROM tree t JOIN life l ON l.tree_id = t.id AND l.variant <> 0 \
            JOIN source s ON s.id = t.source_id AND s.language = 'python' WHERE NOT EXISTS \
            (SELECT 1 FROM file_fact v WHERE v.file_id = l.file_id AND v.variant = l.variant) LIMIT $1",
    },
    InvariantRule {
        violation: "a life has no release",
        columns: &["tree", "release"],
        sql: "SELECT tree_id, release_id FROM life l \
            WHERE NOT EXISTS (SELECT 1 FROM release r WHERE r.id = l.release_id) LIMIT $1",
    },
    InvariantRule {
        violation: "a life has no package",
        columns: &["tree", "release", "package"],
        sql: "SELECT tree_id, release_id, package_id FROM life l \
            WHERE NOT EXISTS (SELECT 1 FROM package p WHERE p.id = l.package_id) LIMIT $1",
    },
    InvariantRule {
        violation: "a file has no release",
        columns: &["file", "release"],
        sql: "SELECT id, release_id FROM file f \
            WHERE NOT EXISTS (SELECT 1 FROM release r WHERE r.id = f.release_id) LIMIT $1",
    },
    InvariantRule {
        violation: "a stored file has no object",
        columns: &["file", "name"],
        sql: "SELECT id, name FROM file f WHERE f.state = 1 \
            AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.sha256 = f.sha256) LIMIT $1",
    },
    InvariantRule {
        violation: "a builder has no source, or a credential that does not exist",
        columns: &["builder", "source"],
        sql: "SELECT id, source_id FROM git_builder b WHERE NOT EXISTS (SELECT 1 FROM source s WHERE s.id = b.source_id) \
            OR b.credential_id IS NOT NULL \
            AND NOT EXISTS (SELECT 1 FROM git_credential c WHERE c.id = b.credential_id) LIMIT $1",
    },
    InvariantRule {
        violation: "a build has no builder, or a transaction that does not exist",
        columns: &["build", "builder"],
        sql: "SELECT id, builder_id FROM git_build b \
            WHERE NOT EXISTS (SELECT 1 FROM git_builder g WHERE g.id = b.builder_id) \
            OR b.tx_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM tx t WHERE t.id = b.tx_id) LIMIT $1",
    },
    InvariantRule {
        violation: "a published build has no transaction",
        columns: &["build", "builder"],
        sql: "SELECT id, builder_id FROM git_build WHERE state = 'published' AND tx_id IS NULL LIMIT $1",
    },
    InvariantRule {
        violation: "a repository that changes only by promotion has no cut-off time, or another repository has one",
        columns: &["repository", "list"],
        sql: "SELECT s.repo_id, s.seq FROM repo_step s JOIN repo r ON r.id = s.repo_id \
            WHERE s.seq = (SELECT max(n.seq) FROM repo_step n WHERE n.repo_id = s.repo_id) \
            AND (r.changes = 'any') <> (s.pinned_at IS NULL) \
            AND EXISTS (SELECT 1 FROM subscription u WHERE u.repo_id = s.repo_id AND u.seq = s.seq) \
            ORDER BY s.repo_id LIMIT $1",
    },
    InvariantRule {
        violation: "a list of subscriptions is not the one that is read",
        columns: &["repository", "list"],
        sql: "SELECT l.repo_id, l.seq FROM repo_step s JOIN subscription_list l ON l.repo_id = s.repo_id AND l.seq = s.seq \
            WHERE l.entries <> coalesce((SELECT string_agg(u.source_id || ' ' || u.label, ',' ORDER BY u.position) \
            FROM subscription u WHERE u.repo_id = s.repo_id AND u.seq = s.seq), '') ORDER BY l.repo_id, l.seq LIMIT $1",
    },
    InvariantRule {
        violation: "a README has no object",
        columns: &["release", "SHA-256"],
        sql: "SELECT release_id, readme_sha256 FROM detail d WHERE d.readme_sha256 IS NOT NULL \
            AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.sha256 = d.readme_sha256) LIMIT $1",
    },
];

/// Returns the violations of all rules, as sentences; at most 20 per rule.
pub fn violations(c: &mut dyn Conn) -> Result<Vec<String>, DbError> {
    let mut sentences = Vec::new();
    for rule in RULES {
        for row in c.query(rule.sql, &[MAX_VIOLATIONS.into()])? {
            sentences.push(format!("{}: {}", rule.violation, values(rule.columns, &row)));
        }
    }
    Ok(sentences)
}

fn values(columns: &[&str], Row(values): &Row) -> String {
    let value = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
    };
    let pairs = columns.iter().zip(values).map(|(name, column)| format!("{name} {}", value(column)));
    pairs.collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination {
    /// The problems found, as sentences.
    pub problems: Vec<String>,
    /// The checks that were performed, and those that were omitted, with the reason.
    pub notes: Vec<String>,
}

impl Examination {
    /// Adds the violations of the rules, on one snapshot. An error caused by damage is added as a problem.
    pub(in crate::db) fn add_violations(&mut self, c: &mut dyn Conn) -> Result<(), DbError> {
        match violations(c) {
            Ok(violations) => {
                self.problems.extend(violations);
                self.notes.push("the consistency rules between rows were checked".to_owned());
            }
            Err(error @ (DbError::NotADatabase { .. } | DbError::Shape { .. })) => {
                self.problems
                    .push(format!("the consistency rules between rows could not be checked: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Examines the database on a new connection, so that the files are read and not the cache of an open connection.
///
/// # Errors
/// The database cannot be reached. Damage is not an error, but a problem in the result.
pub async fn examine(db: &Db) -> Result<Examination, DbError> {
    let db = db.clone();
    let examination = tokio::task::spawn_blocking(move || match &*db.engine {
        Engine::Sqlite(engine) => engine.examine(),
        Engine::Postgres(engine) => engine.examine(),
    });
    examination.await.unwrap_or(Err(DbError::Closed))
}
