//! A stored file that its mirror has withdrawn, requested while its storage class is in a wrong place: once the place is
//! right again, the file is served, its row is unchanged, and the sweep takes nothing.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::binary_server::{self, AGENT, TREE};
use crate::support::faulty_s3::{self, FaultyProxy};
use crate::support::fixtures::{make_old, until};
use crate::support::http::{self, Answer};
use crate::support::pypi::{Pypi, hex};
use crate::support::python::package::Package;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};
use crate::support::{data, s3};

const CLASSES: [&str; 5] = ["cran", "bioconductor", "pypi", "binaries", "packages"];

/// A file of a class.
struct Stored {
    class: &'static str,
    /// Its path on this server.
    path: String,
    /// Its paths below the root of the mirrors, one for each candidate of a fetch; none for a local package.
    upstream: Vec<String>,
    bytes: Vec<u8>,
}

/// The mirrors of all classes below one directory, which is served over HTTP, too.
struct Mirrors {
    dir: tempfile::TempDir,
    upstream: Upstream,
    pypi: Pypi,
    wheel: Package,
}

impl Mirrors {
    fn new() -> Mirrors {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("mirror");
        binary_server::write_sources(&root.join("cran"), &["alpha", "beta"]);
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(data::path("bioc-mirror"))
            .arg(root.join("bioc"))
            .status();
        assert!(copied.expect("cp runs").success());
        let (tree, binary) = (root.join(TREE), binary_server::binary("beta", "1.0").bytes());
        std::fs::create_dir_all(&tree).expect("a folder");
        std::fs::write(tree.join("PACKAGES"), binary_server::record("beta", "1.0", &binary))
            .expect("written");
        std::fs::write(tree.join("beta_1.0.tar.gz"), binary).expect("written");
        let (upstream, pypi, wheel) = (Upstream::of(&root), Pypi::start(), Package::new("one", "1.0"));
        upstream.put(&format!("packages/{}/{}", hex(&wheel.wheel()), wheel.wheel_name()), wheel.wheel());
        pypi.add(&wheel.name, &wheel.wheel_name(), &wheel.wheel(), "2020-01-01T00:00:00Z");
        pypi.set_file_server(&upstream.url());
        Mirrors { dir, upstream, pypi, wheel }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    /// The configuration of a server whose mirrors are below this address.
    fn gcfg(&self, base: &str) -> String {
        format!(
            "[CRAN]\nURL = {base}/cran\nBinaryURL = {base}/bin/linux/noble-x86_64/4.5\n[Bioconductor]\nURL = {base}/bioc\n\
             [PyPI]\nURL = {}\nFileHosts = {}\n",
            self.pypi.url(),
            self.upstream.url().trim_start_matches("http://")
        )
    }

    /// Syncs, requests one file of each class, and waits until all of them are stored.
    fn store(&self, server: &Server) -> Vec<Stored> {
        for kind in ["cran", "bioconductor", "pypi"] {
            server.sync_of(kind).expect("a valid mirror");
        }
        server.repository("r", "cran");
        server.call("POST", "/repos", &json!({ "name": "bioc", "type": "bioconductor" }));
        server.rspm_stdout("create repo --name=py --type=python");
        server.rspm_stdout("subscribe --repo=py --source=pypi");
        server.local_repository("team", &[Tarball::new("gamma", "1.0")]);
        let page = server.get("/py/latest/simple/one/").text();
        let address = page.split("href=\"../../").nth(1).expect("a file").split(['"', '#']).next();
        let wheel_path = format!("/py/latest/{}", address.expect("an address"));
        let biobase = "packages/3.20/bioc/src/contrib/Biobase_2.66.0.tar.gz";
        let file = |path: &str| std::fs::read(self.root().join(path)).expect("a file");
        let upstream_wheel = format!("packages/{}/{}", hex(&self.wheel.wheel()), self.wheel.wheel_name());
        let mut files = vec![
            Stored {
                class: "cran",
                path: "/r/latest/src/contrib/alpha_1.0.tar.gz".to_owned(),
                upstream: vec![
                    "cran/src/contrib/alpha_1.0.tar.gz".to_owned(),
                    "cran/src/contrib/Archive/alpha/alpha_1.0.tar.gz".to_owned(),
                ],
                bytes: file("cran/src/contrib/alpha_1.0.tar.gz"),
            },
            Stored {
                class: "bioconductor",
                path: format!("/bioc/latest/{biobase}"),
                upstream: vec![
                    format!("bioc/{biobase}"),
                    "bioc/packages/3.20/bioc/src/contrib/Archive/Biobase/Biobase_2.66.0.tar.gz".to_owned(),
                ],
                bytes: file(&format!("bioc/{biobase}")),
            },
            Stored {
                class: "pypi",
                path: wheel_path,
                upstream: vec![upstream_wheel],
                bytes: self.wheel.wheel(),
            },
            Stored {
                class: "binaries",
                path: "/r/__linux__/noble/latest/src/contrib/beta_1.0.tar.gz".to_owned(),
                upstream: vec![format!("{TREE}/beta_1.0.tar.gz")],
                bytes: file(&format!("{TREE}/beta_1.0.tar.gz")),
            },
            Stored {
                class: "packages",
                path: "/team/latest/src/contrib/gamma_1.0.tar.gz".to_owned(),
                upstream: Vec::new(),
                bytes: Tarball::new("gamma", "1.0").bytes(),
            },
        ];
        for file in &mut files {
            until(file.class, || server.storage_class(file.class)["owner"] == "own");
            let answer = get(server, file);
            if file.upstream.is_empty() {
                // The server writes a field into the DESCRIPTION of an upload.
                file.bytes = answer.body.clone();
            }
            assert!(answer.status == 200 && answer.body == file.bytes, "{}: {}", file.class, answer.status);
            // READMEs are in the class `packages`, too.
            until(file.class, || server.storage_class(file.class)["files"].as_u64() >= Some(1));
        }
        files
    }
}

fn get(server: &Server, file: &Stored) -> Answer {
    http::request("GET", &server.url(&file.path), &[("User-Agent", AGENT)], b"")
}

fn database(server: &Server) -> rusqlite::Connection {
    rusqlite::Connection::open(server.dir().join("data/db/rstudio-pm.db")).expect("a database")
}

/// The number of file rows by state.
fn states(server: &Server) -> Vec<(i64, i64)> {
    let database = database(server);
    let mut query =
        database.prepare("SELECT state, count(*) FROM file GROUP BY state ORDER BY state").expect("SQL");
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

/// Makes rows and objects three hours older, as if the clock were ahead.
fn age(server: &Server, folders: &[PathBuf]) {
    folders.iter().for_each(|folder| make_old(folder));
    database(server).execute("UPDATE blob SET created_at = created_at - 10800000000", []).expect("SQL");
}

/// Asserts that all files are served from storage, with unchanged rows, and that a sweep takes nothing.
fn assert_intact(
    server: &mut Server,
    files: &[Stored],
    rows: &[(i64, i64)],
    folders: &[PathBuf],
    case: &str,
) {
    let check = |server: &Server| {
        for file in files {
            let answer = get(server, file);
            let class = file.class;
            assert!(answer.status == 200 && answer.body == file.bytes, "{case}: {class} {}", answer.status);
        }
    };
    check(server);
    assert_eq!(states(server), rows, "{case}");
    server.stop();
    age(server, folders);
    server.launch();
    let swept = server.rspm("storage sweep");
    assert!(swept.out.contains("0 objects were moved to the trash"), "{case}: {swept:?}");
    check(server);
    for class in CLASSES {
        let state = server.storage_class(class);
        assert_eq!((&state["owner"], &state["trash_objects"]), (&"own".into(), &0.into()), "{case}");
    }
    assert_eq!(states(server), rows, "{case}");
}

/// Puts the classes of a stopped server into a wrong place; the value undoes it.
type WrongPlace = fn(&Path) -> Box<dyn FnOnce()>;

fn data_folders(server: &Server) -> Vec<PathBuf> {
    CLASSES.iter().map(|class| server.dir().join("data").join(class)).collect()
}

/// The wrong places of the storage of a class: its directory is absent, empty, without marker and objects, with the marker
/// of another database, or has the objects of another path.
const WRONG_PLACES: [(&str, WrongPlace); 5] = [
    ("absent", |folder| {
        let away = folder.with_extension("away");
        std::fs::rename(folder, &away).expect("moved away");
        let folder = folder.to_owned();
        Box::new(move || {
            std::fs::remove_dir_all(&folder).expect("removed");
            std::fs::rename(away, folder).expect("moved back");
        })
    }),
    ("empty", |folder| {
        let away = folder.with_extension("away");
        std::fs::rename(folder, &away).expect("moved away");
        std::fs::create_dir(folder).expect("a mount point");
        let folder = folder.to_owned();
        Box::new(move || {
            std::fs::remove_dir_all(&folder).expect("removed");
            std::fs::rename(away, folder).expect("moved back");
        })
    }),
    ("marker of another database", |folder| {
        let away = folder.with_extension("away");
        std::fs::rename(folder, &away).expect("moved away");
        std::fs::create_dir_all(folder.join("owner")).expect("a folder");
        for entry in std::fs::read_dir(away.join("owner")).expect("a folder").flatten() {
            let text = std::fs::read_to_string(entry.path()).expect("a marker");
            // The same form, with another identity.
            let flip = |c: char| if c.is_ascii_hexdigit() && c.is_ascii_digit() { '7' } else { c };
            let other: String = text.chars().map(flip).collect();
            std::fs::write(folder.join("owner").join(entry.file_name()), other).expect("written");
        }
        let folder = folder.to_owned();
        Box::new(move || {
            std::fs::remove_dir_all(&folder).expect("removed");
            std::fs::rename(away, folder).expect("moved back");
        })
    }),
    ("marker removed with the objects moved below", |folder| {
        let away = folder.with_extension("away");
        std::fs::rename(folder, &away).expect("moved away");
        std::fs::create_dir(folder).expect("a folder");
        std::fs::rename(&away, folder.join("below")).expect("moved below");
        let folder = folder.to_owned();
        Box::new(move || {
            std::fs::rename(folder.join("below"), &away).expect("moved");
            std::fs::remove_dir_all(&folder).expect("removed");
            std::fs::rename(away, folder).expect("moved back");
        })
    }),
    ("other files", |folder| {
        let away = folder.with_extension("away");
        std::fs::rename(folder, &away).expect("moved away");
        std::fs::create_dir(folder).expect("a folder");
        std::fs::write(folder.join("notes.txt"), "not an object").expect("written");
        let folder = folder.to_owned();
        Box::new(move || {
            std::fs::remove_dir_all(&folder).expect("removed");
            std::fs::rename(away, folder).expect("moved back");
        })
    }),
];

#[test]
fn no_answer_of_a_mirror_loses_a_stored_file_whose_class_is_in_a_wrong_place() {
    let mirrors = Mirrors::new();
    let upstream = &mirrors.upstream;
    let mut server = Builder::default().gcfg(&mirrors.gcfg(&upstream.url())).env("NO_PROXY", "*").start();
    let files = mirrors.store(&server);
    let (rows, folders) = (states(&server), data_folders(&server));
    let paths: Vec<&String> = files.iter().flat_map(|file| &file.upstream).collect();
    for (place, put) in WRONG_PLACES {
        for answer in ["404", "403", "410", "500", "other bytes", "connection closed"] {
            let case = format!("{place}, {answer}");
            server.stop();
            let undo: Vec<_> = folders.iter().map(|folder| put(folder)).collect();
            server.launch();
            server.wait_for_log("storage class");
            for path in &paths {
                upstream.always(
                    path,
                    match answer {
                        "other bytes" => Fault::Html,
                        "connection closed" => Fault::CutAfter(0),
                        status => Fault::Status(status.parse().expect("a status"), "X-Test: 1"),
                    },
                );
            }
            for file in &files {
                let answer = get(&server, file);
                // Instead of a binary that cannot be read, its source package is served; no class loses a file for good.
                assert!(
                    answer.status >= 502 || file.class == "binaries",
                    "{case}: {} {}",
                    file.class,
                    answer.status
                );
            }
            for path in &paths {
                upstream.release(path);
            }
            server.stop();
            undo.into_iter().for_each(|undo| undo());
            server.launch();
            assert_intact(&mut server, &files, &rows, &folders, &case);
        }
    }
    // The connection is refused: nothing listens at the address any more.
    drop(mirrors);
    server.stop();
    let undo: Vec<_> = folders.iter().map(|folder| WRONG_PLACES[1].1(folder)).collect();
    server.launch();
    for file in &files {
        assert!(get(&server, file).status >= 502, "refused: {}", file.class);
    }
    server.stop();
    undo.into_iter().for_each(|undo| undo());
    server.launch();
    assert_intact(&mut server, &files, &rows, &folders, "refused");
}

#[test]
fn an_absent_directory_of_a_mirror_is_unavailable_and_loses_nothing() {
    let mirrors = Mirrors::new();
    let base = format!("file://{}", mirrors.root().display());
    let mut server = Builder::default().gcfg(&mirrors.gcfg(&base)).env("NO_PROXY", "*").start();
    let never_fetched = "/r/latest/src/contrib/beta_1.0.tar.gz";
    let files = mirrors.store(&server);
    let (rows, folders) = (states(&server), data_folders(&server));
    let (root, away) = (mirrors.root(), mirrors.dir.path().join("away"));
    let roots = [root.join("cran"), root.join("bioc"), root.join("bin/linux/noble-x86_64/4.5")];
    for (place, put) in WRONG_PLACES {
        for answer in ["absent root", "empty root", "absent file", "other bytes"] {
            let case = format!("{place}, {answer}");
            server.stop();
            let undo: Vec<_> = folders.iter().map(|folder| put(folder)).collect();
            std::fs::rename(&root, &away).expect("moved away");
            let absent_files = |bytes: Option<&[u8]>| {
                let copied = std::process::Command::new("cp").arg("-r").arg(&away).arg(&root).status();
                assert!(copied.expect("cp runs").success());
                for path in files.iter().flat_map(|file| &file.upstream) {
                    let path = root.join(path);
                    match bytes {
                        Some(bytes) if path.exists() => std::fs::write(path, bytes).expect("written"),
                        _ if path.exists() => std::fs::remove_file(path).expect("removed"),
                        _ => {}
                    }
                }
            };
            match answer {
                "absent root" => {}
                "empty root" => {
                    roots.iter().for_each(|root| std::fs::create_dir_all(root).expect("a folder"))
                }
                "absent file" => absent_files(None),
                _ => absent_files(Some(b"other bytes")),
            }
            server.launch();
            for file in files.iter().filter(|file| file.class != "pypi") {
                let answer = get(&server, file);
                assert!(
                    answer.status >= 502 || file.class == "binaries",
                    "{case}: {} {}",
                    file.class,
                    answer.status
                );
            }
            if matches!(answer, "absent root" | "empty root") {
                assert_eq!(server.get(never_fetched).status, 503, "{case}");
            }
            if root.exists() {
                std::fs::remove_dir_all(&root).expect("removed");
            }
            std::fs::rename(&away, &root).expect("moved back");
            if answer == "absent root" && place == "absent" {
                // At once, without a restart.
                assert_eq!(server.get(never_fetched).status, 200, "{case}");
            }
            server.stop();
            undo.into_iter().for_each(|undo| undo());
            server.launch();
            let rows_now = states(&server);
            assert_intact(&mut server, &files, &rows_now, &folders, &case);
            assert!(rows_now.iter().all(|(state, _)| *state <= 1), "{case}: {rows_now:?} {rows:?}");
        }
    }
}

/// Asserts that no stored file is a 404: storage cannot give it, and its mirror has it no more.
fn assert_unavailable(server: &Server, files: &[Stored], case: &str) {
    for file in files {
        for method in ["GET", "HEAD"] {
            let answer = http::request(method, &server.url(&file.path), &[("User-Agent", AGENT)], b"");
            // Instead of a binary that cannot be read, its source package is served. A HEAD request does not read the
            // whole object.
            let is_served = answer.status == 200 && (file.class == "binaries" || method == "HEAD");
            assert!(answer.status == 503 || is_served, "{case}: {method} {} {}", file.class, answer.status);
        }
    }
}

/// Flips a bit of all objects of a class.
fn damage(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => damage(&path),
            path => {
                let mut bytes = std::fs::read(&path).expect("an object");
                bytes[0] ^= 1;
                std::fs::write(path, bytes).expect("written");
            }
        }
    }
}

#[test]
fn a_stored_file_that_neither_storage_nor_its_mirror_has_is_a_503() {
    let mirrors = Mirrors::new();
    let gcfg = mirrors.gcfg(&mirrors.upstream.url());
    for case in ["damaged", "removed"] {
        let mut server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
        let files = mirrors.store(&server);
        server.stop();
        for class in CLASSES {
            let objects = server.dir().join("data").join(class).join(class);
            match case {
                "damaged" => damage(&objects),
                _ => std::fs::remove_dir_all(objects).expect("removed"),
            }
        }
        let paths: Vec<&String> = files.iter().flat_map(|file| &file.upstream).collect();
        for path in &paths {
            mirrors.upstream.always(path, Fault::Status(404, "X-Test: 1"));
        }
        server.launch();
        assert_unavailable(&server, &files, case);
        // Again, from what the server remembers.
        assert_unavailable(&server, &files, case);
        paths.iter().for_each(|path| mirrors.upstream.release(path));
    }
}

#[test]
fn a_class_that_follows_a_moved_one_names_its_old_place() {
    let mirrors = Mirrors::new();
    let gcfg = mirrors.gcfg(&mirrors.upstream.url());
    let mut server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    let files = mirrors.store(&server);
    let (rows, folders) = (states(&server), data_folders(&server));
    server.stop();
    // The directory of `packages` is moved; `cran`, `bioconductor` and `pypi` follow its setting, their files do not.
    let (new, old) = (server.dir().join("moved"), server.dir().join("data/packages"));
    std::fs::rename(&old, &new).expect("moved");
    let config = std::fs::read_to_string(server.config_file()).expect("a configuration");
    let section = format!("[FileStorage \"packages\"]\nLocation = {}\n", new.display());
    std::fs::write(server.config_file(), format!("{config}\n{section}")).expect("written");
    server.launch();
    for class in ["cran", "bioconductor", "pypi"] {
        let remedy = format!(
            "its objects are in {}: move them, or set [FileStorage \"{class}\"]",
            server.dir().join("data").join(class).display()
        );
        server.wait_for_log(&remedy);
        assert!(server.rspm("check-config").out.contains(&remedy), "{class}");
    }
    let place = format!("cran (its objects are in {})", server.dir().join("data/cran").display());
    until("the status names the place", || server.rspm("status").out.contains(&place));
    for file in &files {
        assert_eq!(get(&server, file).status, 200, "{}", file.class);
    }
    // Each class gets the place that it has.
    server.stop();
    let sections: String = ["cran", "bioconductor", "pypi"]
        .map(|class| {
            format!(
                "[FileStorage \"{class}\"]\nLocation = {}\n",
                server.dir().join("data").join(class).display()
            )
        })
        .concat();
    std::fs::write(server.config_file(), format!("{config}\n{section}{sections}")).expect("written");
    server.launch();
    let folders: Vec<PathBuf> =
        folders.into_iter().map(|folder| if folder == old { new.clone() } else { folder }).collect();
    assert_intact(&mut server, &files, &rows, &folders, "moved");
}

#[test]
fn a_wrong_prefix_of_a_bucket_loses_nothing() {
    if s3::rerun_with_credentials() {
        return;
    }
    let mirrors = Mirrors::new();
    let location = s3::bucket(s3::server());
    let (gcfg, prefix) = (mirrors.gcfg(&mirrors.upstream.url()), &location.prefix);
    let gcfg = format!("{gcfg}[Storage]\nDefault = s3\n{}Prefix = {prefix}\n", s3::lines(&location));
    let mut server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    let files = mirrors.store(&server);
    let rows = states(&server);
    let right = std::fs::read_to_string(server.config_file()).expect("a configuration");
    let old_prefix = format!("Prefix = {}", location.prefix);
    assert!(right.contains(&old_prefix), "{right}");
    for status in [404, 403, 410, 500] {
        server.stop();
        let wrong = right.replace(&old_prefix, &format!("Prefix = {}-other", location.prefix));
        std::fs::write(server.config_file(), wrong).expect("written");
        for path in files.iter().flat_map(|file| &file.upstream) {
            mirrors.upstream.always(path, Fault::Status(status, "X-Test: 1"));
        }
        server.launch();
        server.wait_for_log("its objects are in s3://");
        for file in &files {
            let answer = get(&server, file).status;
            assert!(answer >= 502 || file.class == "binaries", "{status}: {} {answer}", file.class);
        }
        server.stop();
        std::fs::write(server.config_file(), &right).expect("written");
        server.launch();
        assert_intact(&mut server, &files, &rows, &[], &format!("bucket, {status}"));
    }
}

#[test]
fn a_bucket_that_gives_wrong_answers_for_a_while_loses_and_hides_nothing() {
    if s3::rerun_with_credentials() {
        return;
    }
    let mirrors = Mirrors::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let proxy = runtime.block_on(FaultyProxy::start(s3::server()));
    let location = s3::bucket(proxy.address);
    let (gcfg, prefix) = (mirrors.gcfg(&mirrors.upstream.url()), &location.prefix);
    let gcfg = format!("{gcfg}[Storage]\nDefault = s3\n{}Prefix = {prefix}\n", s3::lines(&location));
    let mut server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    let files = mirrors.store(&server);
    // The source package of the binary, which is served instead of it.
    server.get("/r/latest/src/contrib/beta_1.0.tar.gz");
    until("it is stored", || server.storage_class("cran")["files"] == 2);
    let rows = states(&server);
    for path in files.iter().flat_map(|file| &file.upstream) {
        mirrors.upstream.always(path, Fault::Status(404, "X-Test: 1"));
    }
    let is_object =
        |head: &str| !head.contains("list-type") && (head.starts_with("GET") || head.starts_with("HEAD"));
    let is_own = |server: &Server| CLASSES.iter().all(|class| server.storage_class(class)["owner"] == "own");
    for (case, fault) in [
        ("no such key", faulty_s3::Fault::Answer(404, "NoSuchKey")),
        ("no bucket", faulty_s3::Fault::Answer(404, "NoSuchBucket")),
        ("forbidden", faulty_s3::Fault::Answer(403, "AccessDenied")),
        ("other bytes", faulty_s3::Fault::Flip),
    ] {
        // Nothing is in memory.
        server.stop();
        server.launch();
        until("the owners are known", || is_own(&server));
        if matches!(case, "no bucket" | "forbidden") {
            proxy.next(usize::MAX, fault, |_| true);
            let listed = server.rspm("storage list");
            assert_eq!(listed.code, 0, "{case}: {listed:?}");
            for class in CLASSES {
                let problem =
                    format!("Storage class {class} (s3://{}/{prefix}) cannot be read: ", location.bucket);
                assert!(listed.out.contains(&problem), "{case}: {listed:?}");
            }
        } else {
            proxy.next(usize::MAX, fault, is_object);
        }
        if case == "other bytes" {
            // The owner markers are wrong, too: nothing is moved to the directory `damaged`.
            for class in CLASSES {
                assert_eq!(server.storage_class(class)["owner"], "unreadable", "{class}");
            }
        }
        assert_unavailable(&server, &files, case);
        proxy.clear_faults();
        assert!(is_own(&server), "{case}");
        let is_served = |file: &Stored| get(&server, file).body == file.bytes;
        until("all files are served", || files.iter().all(is_served));
        assert_intact(&mut server, &files, &rows, &[], case);
    }
}
