//! The roots in the log: those of fixed states never change, whatever the version, and servers with the same packages have the
//! same ones.

use rstudio_pm::model::digest::Sha256;
use rstudio_pm::tlog::record_proof::records_of;
use rstudio_pm::tlog::tree::Root;

use crate::backup::machines::database;
use crate::support::data;
use crate::support::history::{self, value};
use crate::support::python::package::{self, Package};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// The index of a mirror: a folded field, one with letters that are not ASCII, and one in Latin-1.
const MIRROR: &[u8] = b"Package: alpha\nVersion: 1.0\nDepends: R (>= 3.5),\n        beta (>= 0.1),\n        gamma\nLicense: MIT\n\
    MD5sum: 00000000000000000000000000000001\nNeedsCompilation: no\n\n\
    Package: beta\nVersion: 0.1-2\nLicense: Lizenz f\xc3\xbcr \xe6\x9c\xac\nMD5sum: 00000000000000000000000000000002\n\
    NeedsCompilation: yes\n\n\
    Package: gamma\nVersion: 2.0\nLicense: Libert\xe9\nMD5sum: 00000000000000000000000000000003\nNeedsCompilation: no\n";

/// The index of a local source.
const LOCAL: &str = "Package: local
Version: 1.0-1
Depends: R (>= 3.5), alpha
License: MIT
MD5sum: aadb77f09d3644f917698ba3e0b5f8f4
NeedsCompilation: no
SHA256: 99551c87aa89e8aaebf792a579ce8cb5549ba6d7501dd8b22edb16749b262204
Filesize: 283

Package: other
Version: 0.9
License: MIT
MD5sum: 8f4756b5e3b6f3aaa349bcbefa296047
NeedsCompilation: no
SystemRequirements: C++17
SHA256: b0512f142726d184dfe4e52fbe67b26f9af9c8841c5305c0a347628a0199e276
Filesize: 305
";

/// The numbers of records and the roots of these states, and of one with files of Python projects.
const CRAN_ROOT: &str = "3 723afb73ba64f012a4a58f071cc5da8534575fa1076bb38ff080ecf38fc71fe3";
const LOCAL_ROOT: &str = "2 e8cf7d67721c23cc4f4b212cb0075a1fb5f3e062a57d172772cc541ae362d152";
const PYTHON_ROOT: &str = "3 dc297c97b9e8b82f6cc2a8bca67de0ec19ce060efd22d5ba4b887975d82bc186";

/// The steps of a source: number, number of records, root.
fn trees(server: &Server, source: &str) -> Vec<String> {
    server.signed();
    let entries = server.log_entries();
    let publishes = entries.iter().filter(|entry| entry.starts_with("rspm-log/1 publish\n"));
    let steps = publishes.flat_map(|entry| entry.lines()).filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let ["tree", name, _, step, records, root, ..] = words[..] else { return None };
        (name == source).then(|| format!("{step} {records} {root}"))
    });
    steps.collect()
}

/// The number of records and the root of an index.
fn root_of(index: &[u8]) -> String {
    let root = Root::of(records_of(index));
    format!("{} {}", root.count, hex::encode(root.hash))
}

/// A change of what is rendered would make every root in the logs of all servers wrong: it needs another name of the document
/// in the entries, and not other constants here.
#[test]
fn the_roots_of_fixed_states_never_change() {
    let mut server = history::builder().gcfg("[CRAN]\nURL = file://{dir}/mirror").prepare();
    let mirror = server.dir().join("mirror/src/contrib");
    std::fs::create_dir_all(&mirror).expect("a directory");
    std::fs::write(mirror.join("PACKAGES"), MIRROR).expect("written");
    server.launch();
    server.sync().expect("a mirror");
    server.repository("mirrored", "cran");
    let folded = Tarball::new("local", "1.0-1").field("Depends: R (>= 3.5),\n    alpha");
    let other = Tarball::new("other", "0.9")
        .field("Encoding: UTF-8\nTitle: f\u{fc}r \u{672c}\nSystemRequirements: C++17");
    server.local_repository("crew", &[folded.uncompressed(), other.uncompressed()]);
    package::repository(&server);
    let wheels = [("acme-tools", "1.0"), ("acme-tools", "1.1"), ("Zeta_One", "2.0")];
    let wheels = wheels.map(|(name, version)| Package::new(name, version));
    wheels.iter().for_each(|wheel| package::add(&server, "team", wheel));
    server.json("history init --origin=example.org/log");

    let index = |repository: &str| server.get(&format!("/{repository}/latest/src/contrib/PACKAGES")).body;
    assert_eq!(String::from_utf8_lossy(&index("mirrored")), String::from_utf8_lossy(MIRROR));
    assert_eq!(String::from_utf8_lossy(&index("crew")), LOCAL);
    let leaves = ["acme-tools", "acme-tools", "zeta-one"]
        .iter()
        .zip(&wheels)
        .map(|(project, wheel)| format!("{project} {} {}", wheel.wheel_name(), Sha256::of(wheel.wheel())));
    let leaves: Vec<String> = leaves.collect();
    for (source, repository, kind, state, expected) in [
        ("cran", "mirrored", "r", root_of(MIRROR), CRAN_ROOT),
        ("crew", "crew", "r", root_of(LOCAL.as_bytes()), LOCAL_ROOT),
        ("team", "py", "python", root_of(leaves.join("\n\n").as_bytes()), PYTHON_ROOT),
    ] {
        assert_eq!(state, expected, "{source}");
        let newest = trees(&server, source).pop().expect("a step");
        assert_eq!(newest.split_once(' ').expect("a number").1, expected, "{source}");
        // The whole repository, whose state is logged at once if it is promoted.
        server.rspm_stdout(&format!("create repo --name=fixed-{repository} --type={kind}"));
        server.rspm_stdout(&format!("edit repo --name=fixed-{repository} --changes=promotion"));
        server.json(&format!("promote --from={repository} --to=fixed-{repository}"));
        server.signed();
        let entries = server.log_entries();
        let view = entries.iter().rfind(|entry| entry.starts_with("rspm-log/1 view\n")).expect("a state");
        assert_eq!(value(view, "repository"), format!("fixed-{repository}"));
        assert_eq!(format!("{} {}", value(view, "records"), value(view, "root")), expected, "{source}");
    }
}

#[test]
fn servers_with_the_same_packages_have_the_same_roots() {
    let mirror = format!("[CRAN]\nURL = file://{}\n", data::path("cran-mirror").display());
    let start = |gcfg: &str| {
        let server = history::builder().gcfg(gcfg).start();
        server.json("history init --origin=example.org/log");
        server.sync().expect("a mirror");
        server.repository("prod", "cran");
        server
    };
    let first = start(&format!("{mirror}{}", database("sqlite")));
    let second = start(&format!("{mirror}{}", database("postgres")));
    let third = start(&format!("[CRAN]\nURL = {}\n", second.url("/prod/latest")));
    let index = std::fs::read(data::path("cran-mirror/src/contrib/PACKAGES")).expect("an index");
    let expected = vec![format!("1 {}", root_of(&index))];
    assert!(records_of(&index).count() > 1);
    for server in [&first, &second, &third] {
        assert_eq!(trees(server, "cran"), expected);
        assert_eq!(root_of(&server.get("/prod/latest/src/contrib/PACKAGES").body), root_of(&index));
    }
}
