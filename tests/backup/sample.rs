//! A database with generated releases, their history, and values that are difficult to copy.

use rstudio_pm::db::{Conn, DbError, Value};

/// Number of steps of the CRAN tree.
const STEPS: i64 = 40;
/// The end of a life that is still open.
const OPEN: i64 = 1 << 62;
/// 2024-01-01, in microseconds since 1970.
const BEGIN: i64 = 1_704_067_200_000_000;

const TX: [&str; 14] = [
    "id",
    "at",
    "source_id",
    "repo_id",
    "kind",
    "started_at",
    "published_from",
    "published_to",
    "added",
    "updated",
    "archived",
    "removed",
    "actor",
    "comment",
];
const FILE: [&str; 12] = [
    "id",
    "release_id",
    "role",
    "platform",
    "build",
    "name",
    "locator",
    "size",
    "md5",
    "sha256",
    "facts",
    "state",
];
const LIFE: [&str; 11] = [
    "tree_id",
    "state",
    "package_id",
    "path",
    "from_seq",
    "to_seq",
    "release_id",
    "variant",
    "file_id",
    "mark",
    "note",
];

fn int(number: i64) -> Value {
    Value::Int(number)
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// Writes releases into a new database; every seventh is current, the others are archived.
pub(crate) fn fill(c: &mut dyn Conn, releases: i64) -> Result<(), DbError> {
    transactions(c)?;
    let packages = (0..=releases / 7).map(|id| {
        let name = format!("Päckage{id}");
        vec![int(id + 1), text("r"), text(name.clone()), text(name.to_lowercase())]
    });
    c.batch_insert("package", &["id", "language", "name", "normalized_name"], &packages.collect::<Vec<_>>())?;
    let (mut rows, mut records, mut files, mut lives, mut details) = (vec![], vec![], vec![], vec![], vec![]);
    for id in 1..=releases {
        let (package, version) = (id / 7 + 1, format!("1.{}", id % 7));
        let step = id % STEPS + 1;
        let published = if id % 11 == 0 { Value::Null } else { int(BEGIN + id) };
        rows.push(vec![int(id), int(1), int(package), text(version.clone()), int(0), published]);
        let stanza =
            format!("Package: Päckage{}\nVersion: {version}\nDepends: R (>= 4.{})\n", package - 1, id % 5);
        records.push(vec![int(id), int(0), Value::Bytes(stanza.into_bytes())]);
        let md5 = match id % 3 {
            0 => Value::Null,
            1 => text(""),
            _ => text(format!("{id:032x}")),
        };
        let facts = if id % 5 == 0 { Value::Bytes(vec![0, 255, (id % 256) as u8]) } else { Value::Null };
        let name = format!("Päckage{}_{version}.tar.gz", package - 1);
        files.push(vec![
            int(id),
            int(id),
            text("source"),
            text(""),
            int(0),
            text(name.clone()),
            text(name),
            int(id * 100),
            md5,
            Value::Null,
            facts,
            int(0),
        ]);
        let last = id % 7 == 6 || id == releases;
        let note = if id % 13 == 0 { text("") } else { Value::Null };
        let life = |state, from, to, note| {
            vec![
                int(1),
                int(state),
                int(package),
                text(""),
                int(from),
                int(to),
                int(id),
                int(0),
                int(0),
                int(0),
                note,
            ]
        };
        if last {
            lives.push(life(0, step, OPEN, note));
        } else {
            if step < STEPS {
                lives.push(life(0, step, step + 1, Value::Null));
            }
            lives.push(life(1, (step + 1).min(STEPS), OPEN, note));
        }
        if id % 4 == 0 {
            let description = Value::Bytes(format!("Title: {id}\0\u{1f4e6}\n").into_bytes());
            details.push(vec![
                int(id),
                description,
                Value::Null,
                if id % 8 == 0 { text("") } else { Value::Null },
            ]);
        }
    }
    c.batch_insert(
        "release",
        &["id", "origin_id", "package_id", "version", "revision", "published_at"],
        &rows,
    )?;
    c.batch_insert("record", &["release_id", "variant", "stanza"], &records)?;
    c.batch_insert("file", &FILE, &files)?;
    c.batch_insert("life", &LIFE, &lives)?;
    c.batch_insert(
        "detail",
        &["release_id", "description", "readme_sha256", "system_requirements"],
        &details,
    )?;
    repository(c)?;
    c.execute("UPDATE sequence SET next = CAST($1 AS BIGINT) WHERE name = 'release'", &[int(releases + 1)])?;
    extremes(c)
}

fn transactions(c: &mut dyn Conn) -> Result<(), DbError> {
    let tx = |id: i64| {
        vec![
            int(id),
            int(BEGIN + id * 86_400_000_000),
            int(1),
            Value::Null,
            text("sync"),
            int(BEGIN),
            Value::Null,
            int(i64::MAX - id),
            int(1),
            int(0),
            int(0),
            int(0),
            text("o'brien \"\\"),
            text(""),
        ]
    };
    c.batch_insert("tx", &TX, &(1..=STEPS).map(tx).collect::<Vec<_>>())?;
    let step = |seq: i64| vec![int(1), int(seq), int(BEGIN + seq * 86_400_000_000), int(seq)];
    c.batch_insert("step", &["tree_id", "seq", "at", "tx_id"], &(1..=STEPS).map(step).collect::<Vec<_>>())?;
    const HEAD: &str = "UPDATE tree SET first = 1, head = CAST($1 AS BIGINT) WHERE id = 1";
    c.execute(HEAD, &[int(STEPS)])?;
    const CLOCK: &str =
        "UPDATE clock SET tx = CAST($1 AS BIGINT), at = CAST($2 AS BIGINT), catalog = 77 WHERE id = 1";
    c.execute(CLOCK, &[int(STEPS), int(BEGIN + STEPS * 86_400_000_000)]).map(drop)
}

fn repository(c: &mut dyn Conn) -> Result<(), DbError> {
    c.batch_insert(
        "repo",
        &["id", "name", "kind", "description", "hidden", "authenticated", "changes", "created_at"],
        &[vec![int(1), text("prod"), text("r"), text(""), int(0), int(0), text("any"), int(BEGIN)]],
    )?;
    let step = vec![int(1), int(1), int(BEGIN + 1), int(1)];
    c.batch_insert("repo_step", &["repo_id", "seq", "at", "tx_id"], &[step])?;
    let columns = &["repo_id", "seq", "position", "source_id", "label"];
    c.batch_insert("subscription", columns, &[vec![int(1), int(1), int(0), int(1), text("")]])
}

/// The largest and smallest numbers, long texts, and names whose order depends on the collation.
fn extremes(c: &mut dyn Conn) -> Result<(), DbError> {
    let lease = |name: &str, fence, until| vec![text(name), text(""), int(fence), int(until)];
    c.batch_insert(
        "lease",
        &["name", "holder", "fence", "until"],
        &[
            lease("b", i64::MAX, i64::MIN),
            lease("A", i64::MIN, i64::MAX),
            lease("a", -1, 0),
            lease("ä", 1, 0),
            lease("", 0, 0),
            lease("\u{1f600}", 0, 0),
        ],
    )?;
    let upstream = vec![text("u:\u{fffd}\t\n\r\u{7f}"), Value::Null, text(""), text("00"), int(0)];
    c.batch_insert("upstream", &["url", "etag", "modified", "sha256", "fetched_at"], &[upstream])?;
    let (long, bytes) = ("é".repeat(500_000), (0..=255).cycle().take(1 << 20).collect());
    let detail = vec![int(i64::MAX), Value::Bytes(bytes), Value::Null, text(long)];
    c.batch_insert(
        "detail",
        &["release_id", "description", "readme_sha256", "system_requirements"],
        &[detail, vec![int(i64::MIN), Value::Bytes(Vec::new()), text(""), text("")]],
    )
}

/// Writes the download counts of a number of days.
pub(crate) fn fill_usage(c: &mut dyn Conn, days: i64) -> Result<(), DbError> {
    let count = |day: i64| {
        vec![
            int(day),
            text("r"),
            text("cran"),
            text(format!("p{day}")),
            text("1"),
            text("source"),
            int(day + 1),
        ]
    };
    c.batch_insert(
        "usage_download",
        &["day", "language", "source", "package", "version", "platform", "count"],
        &(0..days).map(count).collect::<Vec<_>>(),
    )
}

/// Writes one more download count.
pub(crate) fn add_download_count(c: &mut dyn Conn) -> Result<(), DbError> {
    const MORE: &str = "INSERT INTO usage_download (day, language, source, package, version, platform, count) \
        VALUES (9999, 'r', 'cran', 'p', '1', 'source', 1)";
    c.execute(MORE, &[]).map(drop)
}
