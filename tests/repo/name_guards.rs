//! Guarded names in repositories with a mirror that has them too: a package comes from its own source, or the response is
//! 403, in every form of every address. All other packages of the mirror are served.

use std::io::Read;

use rstudio_pm::r::rds::{RdsLimits, archive_meta::read_archive_meta};
use serde_json::{Value, json};
use sha2::Digest;

use crate::support::http::{self, Answer};
use crate::support::mirror::{Entry, Mirror};
use crate::support::rules;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::today::stable_today;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// The first upload creates it; the mirror lists the name later.
    Automatic,
    /// An administrator creates it for the name; the mirror listed the name before.
    Exact,
    /// An administrator creates it for a prefix of the name; the mirror listed the name before.
    Prefix,
}

/// The state of the package in the source of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Present,
    /// The source had it, and all versions were removed.
    Absent,
    /// The source has it, but the repository does not subscribe to the source any more.
    Unsubscribed,
    /// The source has it, but a rule blocks it.
    Blocked,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    guard: Guard,
    own: Own,
    /// Whether the own versions are higher than those of the mirror.
    is_higher: bool,
}

impl Case {
    fn all() -> Vec<Case> {
        let guards = [Guard::Automatic, Guard::Exact, Guard::Prefix];
        let own = [Own::Present, Own::Absent, Own::Unsubscribed, Own::Blocked];
        let lower = guards.into_iter().flat_map(|guard| own.map(|own| Case { guard, own, is_higher: false }));
        let own = [Own::Present, Own::Blocked];
        let higher = guards.into_iter().flat_map(|guard| own.map(|own| Case { guard, own, is_higher: true }));
        lower.chain(higher).collect()
    }

    /// The package, its source and its repository.
    fn name(self) -> String {
        let mark = if self.is_higher { "h" } else { "" };
        format!("{:?}.{mark}{:?}", self.guard, self.own).to_lowercase()
    }

    /// The own version in the archive.
    fn archived(self) -> &'static str {
        if self.is_higher { "100.0" } else { "1.0" }
    }

    /// The own version in the index.
    fn listed(self) -> &'static str {
        if self.is_higher { "100.1" } else { "1.1" }
    }

    /// A name that resembles the guarded one and is not guarded: of another package for R.
    fn neighbour(self) -> String {
        match self.guard {
            Guard::Automatic => format!("{}2", self.name()),
            Guard::Exact => self.name().replace("exact", "Exact"),
            Guard::Prefix => self.name().replace("prefix.", "prefix.x"),
        }
    }

    /// The pattern of the guard that an administrator creates.
    fn pattern(self) -> Option<String> {
        match self.guard {
            Guard::Automatic => None,
            Guard::Exact => Some(self.name()),
            Guard::Prefix => Some(format!("{}*", &self.name()[.."prefix.ab".len()])),
        }
    }

    fn upload(self, version: &str) -> Tarball {
        Tarball::new(&self.name(), version)
            .field("SystemRequirements: ownlib")
            .with("R/origin.R", "origin <- 'own'\n")
    }
}

/// A package of the mirror.
fn upstream(name: &str, version: &str) -> Entry {
    let tarball = Tarball::new(name, version)
        .field("SystemRequirements: upstreamlib")
        .with("R/origin.R", "origin <- 'upstream'\n");
    Entry { package: name.to_owned(), version: version.to_owned(), bytes: tarball.bytes() }
}

/// The trees of binaries of the mirror, the extensions of their files and the system in `Built`.
const BINARIES: [(&str, &str, &str); 2] =
    [("bin/windows/contrib/4.5", "zip", "windows"), ("bin/macosx/big-sur-arm64/contrib/4.5", "tgz", "unix")];
/// The beginning of the binaries of the mirror.
const BINARY_BYTES: &[u8] = b"a binary of the mirror: ";

/// Publishes binaries of version 99.0 of these packages.
fn publish_binaries(mirror: &Mirror, names: &[String]) {
    for (tree, extension, system) in BINARIES {
        let mut index = String::new();
        for name in names {
            let bytes = [BINARY_BYTES, name.as_bytes()].concat();
            index.push_str(&format!(
                "Package: {name}\nVersion: 99.0\nLicense: MIT\nBuilt: R 4.5.0; ; 2026-01-01 00:00:00 UTC; {system}\n\
                 MD5sum: {}\n\n",
                hex::encode(md5::Md5::digest(&bytes))
            ));
            mirror.put(&format!("{tree}/{name}_99.0.{extension}"), bytes);
        }
        mirror.put(&format!("{tree}/PACKAGES"), index);
    }
}

/// A server with a repository for each case, which subscribes to the mirror first.
fn start(mirror: &Mirror) -> Server {
    let gcfg = format!(
        "[CRAN]\nURL = {0}\nBinaryURL = {0}\n[SystemRequirements]\nURL = file://{{dir}}/requirements",
        mirror.url()
    );
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    rules::folder(&server.dir().join("requirements"), &["ownlib", "upstreamlib"]);
    server.sync_of("sysreqs").expect("rules");
    let publish = |is_listed: &dyn Fn(&Case) -> bool| {
        let cases = Case::all();
        let guarded = cases.iter().filter(|case| is_listed(case)).map(|case| case.name());
        let names: Vec<String> = guarded.chain(cases.iter().map(|case| case.neighbour())).collect();
        let of = |version| names.iter().map(|name| upstream(name, version)).collect::<Vec<_>>();
        mirror.publish(&of("99.0"), &of("98.0"));
        publish_binaries(mirror, &names);
        server.sync().expect("a mirror");
    };
    publish(&|case| case.guard != Guard::Automatic);
    server.repository("open", "cran");
    for case in Case::all() {
        let name = case.name();
        server.rspm_stdout(&format!("create source --name={name}"));
        server.repository(&name, "cran");
        server.rspm_stdout(&format!("subscribe --repo={name} --source={name}"));
        let stored = server.get(&format!("/open/latest/src/contrib/{name}_99.0.tar.gz"));
        assert_eq!(stored.status == 200, case.guard != Guard::Automatic, "{case:?}: before the guard");
        if case.own != Own::Absent || case.guard == Guard::Automatic {
            server.add(&name, &case.upload(case.archived()));
            server.add(&name, &case.upload(case.listed()));
        }
        match case.own {
            Own::Present => {}
            Own::Absent if case.guard == Guard::Automatic => {
                drop(server.rspm_stdout(&format!("remove package --source={name} --name={name}@all")));
            }
            Own::Absent => {}
            Own::Unsubscribed => {
                drop(server.rspm_stdout(&format!("unsubscribe --repo={name} --source={name}")));
            }
            Own::Blocked => {
                drop(server.rspm_stdout(&format!("create blocklist-rule --package-name={name}")));
            }
        }
        if let Some(pattern) = case.pattern() {
            let created = server.rspm_stdout(&format!("create name-guard --name={pattern} --source={name}"));
            assert!(
                created.contains(&format!("hides 1 package of other sources: {name} (cran)")),
                "{created}"
            );
        }
    }
    publish(&|_| true);
    server
}

/// Counts and checks answers.
struct Checks<'a> {
    server: &'a Server,
    count: usize,
}

impl Checks<'_> {
    fn request(&mut self, case: Case, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.count += 1;
        let answer = http::request(method, &self.server.url(path), headers, b"");
        for version in ["99.0", "98.0"] {
            let foreign = upstream(&case.name(), version).bytes;
            let is_foreign = !answer.body.is_empty() && foreign.starts_with(&answer.body);
            let is_foreign = is_foreign || answer.body.starts_with(BINARY_BYTES);
            assert!(!is_foreign, "{case:?}: {method} {path} answers bytes of the mirror");
        }
        answer
    }

    fn assert_forbidden(&mut self, case: Case, path: &str) {
        let requests: [(&str, &[(&str, &str)]); 4] = [
            ("GET", &[]),
            ("HEAD", &[]),
            ("GET", &[("Range", "bytes=0-9")]),
            ("GET", &[("If-None-Match", "*")]),
        ];
        for (method, headers) in requests {
            let answer = self.request(case, method, path, headers);
            assert_eq!(answer.status, 403, "{case:?}: {method} {path} {headers:?}: {}", answer.text());
            let reason = answer.header("x-pm-reason").unwrap_or_default().to_owned();
            let is_known = reason.starts_with("name guard ")
                || (case.own == Own::Blocked && reason.starts_with("rule "));
            assert!(is_known, "{case:?}: {method} {path}: {reason}");
        }
    }

    /// The own package at an address; 403 if it is not available.
    fn assert_own(&mut self, case: Case, path: &str, version: &str) {
        if case.own != Own::Present {
            return self.assert_forbidden(case, path);
        }
        let answer = self.request(case, "GET", path, &[]);
        assert_eq!(answer.status, 200, "{case:?}: {path}: {}", answer.text());
        // The server completes the DESCRIPTION of an uploaded package.
        let text = gunzip(&answer.body);
        assert!(text.contains("origin <- 'own'") && !text.contains("upstream"), "{case:?}: {path}: {text}");
        assert!(text.contains(&format!("Version: {version}\n")), "{case:?}: {path}: {text}");
    }

    /// The versions of the package in the text of an index are those of its own source.
    fn assert_index(&mut self, case: Case, path: &str, text: &str) {
        self.count += 1;
        let name = case.name();
        let record = |name: &str| {
            let mut records = text.split("\n\n");
            let begin = format!("Package: {name}\nVersion: ");
            records
                .find_map(|record| record.trim_start().strip_prefix(&begin)?.lines().next())
                .map(str::to_owned)
        };
        let expected = (case.own == Own::Present).then(|| case.listed().to_owned());
        assert_eq!(record(&name), expected, "{case:?}: {path}");
        assert_eq!(record(&case.neighbour()).as_deref(), Some("99.0"), "{case:?}: {path}: another name");
    }
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).expect("a gzip");
    text
}

#[test]
fn a_guarded_name_has_its_own_source_or_none_at_every_address_of_r() {
    let mirror = Mirror::start();
    let server = start(&mirror);
    let today = stable_today().to_string();
    let mut checks = Checks { server: &server, count: 0 };
    for case in Case::all() {
        let (name, neighbour) = (case.name(), case.neighbour());
        let encoded = name.replace('.', "%2E");
        for snapshot in ["latest", &today] {
            let bases = [
                format!("/{name}/{snapshot}/src/contrib"),
                format!("/{name}/__linux__/noble/{snapshot}/src/contrib"),
                format!("/{name}/{snapshot}/bin/linux/noble-x86_64/4.4/src/contrib"),
            ];
            for base in bases {
                let path = format!("{base}/PACKAGES");
                let index = checks.request(case, "GET", &path, &[]);
                checks.assert_index(case, &path, &index.text());
                let path = format!("{base}/PACKAGES.gz");
                let index = checks.request(case, "GET", &path, &[]);
                checks.assert_index(case, &path, &gunzip(&index.body));
                let index = checks.request(case, "GET", &format!("{base}/PACKAGES.rds"), &[]);
                assert_eq!(index.status, 200, "{case:?}: {base}");
                for name in [&name, &encoded] {
                    let (listed, archived) = (case.listed(), case.archived());
                    checks.assert_own(case, &format!("{base}/{name}_{listed}.tar.gz"), listed);
                    let path = format!("{base}/Archive/{name}/{name}_{archived}.tar.gz");
                    checks.assert_own(case, &path, archived);
                    checks.assert_forbidden(case, &format!("{base}/{name}_99.0.tar.gz"));
                    checks.assert_forbidden(case, &format!("{base}/Archive/{name}/{name}_98.0.tar.gz"));
                    checks.assert_forbidden(case, &format!("{base}/Archive/{name}/{name}_99.0.tar.gz"));
                }
                let other = checks.request(case, "GET", &format!("{base}/{neighbour}_99.0.tar.gz"), &[]);
                assert_eq!(other.body, upstream(&neighbour, "99.0").bytes, "{case:?}: another name");
            }
            for (tree, extension, _) in BINARIES {
                let base = format!("/{name}/{snapshot}/{tree}");
                let index = checks.request(case, "GET", &format!("{base}/PACKAGES"), &[]).text();
                let is_listed = |name: &str| index.contains(&format!("Package: {name}\nVersion: 99.0\n"));
                assert!(!is_listed(&name) && is_listed(&neighbour), "{case:?}: {base}: {index}");
                for name in [&name, &encoded] {
                    checks.assert_forbidden(case, &format!("{base}/{name}_99.0.{extension}"));
                }
            }
            let base = format!("/{name}/{snapshot}/src/contrib");
            let archive = checks.request(case, "GET", &format!("{base}/Meta/archive.rds"), &[]);
            let rows = read_archive_meta(archive.body.as_slice(), RdsLimits::META).expect("a table");
            let of = |name: &str| {
                let rows = rows.iter().filter(|row| row.package == name);
                rows.map(|row| row.file.trim_start_matches(&format!("{name}/")).to_owned())
                    .collect::<Vec<_>>()
            };
            let expected = (case.own == Own::Present).then(|| format!("{name}_{}.tar.gz", case.archived()));
            assert_eq!(of(&name), expected.into_iter().collect::<Vec<_>>(), "{case:?}: archive.rds");
            assert_eq!(of(&neighbour), [format!("{neighbour}_98.0.tar.gz")], "{case:?}: archive.rds");
            let current = checks.request(case, "GET", &format!("{base}/Meta/current.rds"), &[]);
            assert_eq!(current.status, 200, "{case:?}: current.rds");
        }
        assert_no_other_repository(&mut checks, case);
    }
    assert!(checks.count >= 240, "{} requests", checks.count);
}

/// A repository of the mirror alone, also one that was created after the guard.
fn assert_no_other_repository(checks: &mut Checks<'_>, case: Case) {
    let name = case.name();
    checks.assert_forbidden(case, &format!("/open/latest/src/contrib/{name}_99.0.tar.gz"));
    let index = checks.request(case, "GET", "/open/latest/src/contrib/PACKAGES", &[]).text();
    assert!(!index.contains(&format!("Package: {name}\n")), "{case:?}: {index}");
}

#[test]
fn the_api_pages_and_explanations_have_a_guarded_name_from_its_own_source_only() {
    let mirror = Mirror::start();
    let server = start(&mirror);
    let mut checks = Checks { server: &server, count: 0 };
    for case in Case::all() {
        let name = case.name();
        let api = format!("/__api__/repos/{name}");
        // The details of a blocked package state that it is blocked.
        let is_known = matches!(case.own, Own::Present | Own::Blocked);
        for parameter in ["", "?snapshot=latest", &format!("?snapshot={}", stable_today())] {
            let path = format!("{api}/packages/{name}{parameter}");
            let detail = checks.request(case, "GET", &path, &[]);
            assert_eq!(
                detail.status,
                if is_known { 200 } else { 403 },
                "{case:?}: {path}: {}",
                detail.text()
            );
            if is_known {
                assert_eq!(detail.json()["version"], case.listed(), "{case:?}");
                assert_eq!(detail.json()["blocked"], case.own == Own::Blocked, "{case:?}");
            }
            assert_no_trace(case, &path, &detail);
        }
        for path in [
            format!("{api}/packages/{name}?version=99.0"),
            format!("{api}/packages/{name}?version=98.0"),
            format!("/open/latest/web/packages/{name}/"),
            format!("/__api__/repos/open/packages/{name}"),
            format!("/__api__/repos/open/packages/{name}/builds"),
            format!("/__api__/sources/cran/packages/{name}/releases"),
            format!("/__api__/sources/1/packages/{name}/releases"),
            format!("/__api__/repos/open/packages/{name}/sysreqs?distribution=ubuntu&release=24.04"),
        ] {
            let answer = checks.request(case, "GET", &path, &[]);
            assert_eq!(answer.status, 403, "{case:?}: {path}: {}", answer.text());
        }
        let listed = checks.request(case, "GET", &format!("{api}/packages?name={name}"), &[]).json();
        let versions: Vec<&Value> =
            listed.as_array().expect("a list").iter().map(|row| &row["version"]).collect();
        let expected = if case.own == Own::Present { vec![json!(case.listed())] } else { Vec::new() };
        assert_eq!(versions, expected.iter().collect::<Vec<_>>(), "{case:?}: the list");

        let neighbour = case.neighbour();
        let path = format!("/__api__/sources/cran/packages?name_search={}", name.replace('.', "%2E"));
        let of_mirror = checks.request(case, "GET", &path, &[]).text();
        assert!(!of_mirror.contains(&format!("\"name\":\"{name}\"")), "{case:?}: {of_mirror}");
        let path = format!("/__api__/sources/cran/packages/{neighbour}/releases");
        let releases = checks.request(case, "GET", &path, &[]);
        assert_eq!((releases.status, &releases.json()[0]["version"]), (200, &json!("99.0")), "{case:?}");
        let releases =
            checks.request(case, "GET", &format!("/__api__/sources/{name}/packages/{name}/releases"), &[]);
        match case.own {
            Own::Absent => assert_ne!(releases.status, 200, "{case:?}"),
            Own::Present | Own::Unsubscribed | Own::Blocked => {
                assert_eq!(releases.json()[0]["version"], case.listed(), "{case:?}: {}", releases.text());
            }
        }

        let path = format!("{api}/packages/{name}/sysreqs?distribution=ubuntu&release=24.04");
        let needs = checks.request(case, "GET", &path, &[]);
        assert_eq!(
            needs.status,
            if case.own == Own::Present { 200 } else { 403 },
            "{case:?}: {}",
            needs.text()
        );
        assert_eq!(needs.text().contains("ownlib"), case.own == Own::Present, "{case:?}: {}", needs.text());
        assert_no_trace(case, &path, &needs);
        for query in [format!("pkgname={name}"), "all=true".to_owned()] {
            let path = format!("{api}/sysreqs?{query}&distribution=ubuntu&release=24.04");
            let needs = checks.request(case, "GET", &path, &[]);
            assert_eq!(needs.status, 200, "{case:?}: {path}: {}", needs.text());
            let rows = needs.json()["requirements"].as_array().expect("a list").clone();
            let own: Vec<&Value> = rows.iter().filter(|row| row["name"] == name.as_str()).collect();
            assert_eq!(own.len(), usize::from(case.own == Own::Present), "{case:?}: {path}: {rows:?}");
            assert!(!format!("{own:?}").contains("upstreamlib"), "{case:?}: {path}: {own:?}");
        }
        let body = json!({ "repo": name, "names": [name, format!("{name}==99.0")] }).to_string();
        let json = [("Content-Type", "application/json")];
        let filtered = http::request("POST", &server.url("/__api__/filter/packages"), &json, body.as_bytes());
        let lines = filtered.text();
        let own_version = format!("\"version\":\"{}\"", case.listed());
        assert_eq!(lines.contains(&own_version), is_known, "{case:?}: {lines}");
        assert_no_trace(case, "filter/packages", &filtered);

        let path = format!("/{name}/latest/web/packages/{name}/");
        let page = checks.request(case, "GET", &path, &[]);
        assert_eq!(page.status, if is_known { 200 } else { 403 }, "{case:?}: {path}");
        assert_no_trace(case, &path, &page);
        let explained = server.rspm_stdout(&format!("explain {name} {name} --version=99.0"));
        assert!(explained.contains("403: "), "{case:?}: {explained}");
        let explained = server.rspm_stdout(&format!("explain {name} {name}"));
        assert!(explained.contains("hidden by name guard "), "{case:?}: {explained}");
    }
    assert!(checks.count >= 120, "{} requests", checks.count);
}

/// Asserts that an answer has no fact about the package of the mirror.
fn assert_no_trace(case: Case, path: &str, answer: &Answer) {
    let text = answer.text();
    for trace in ["99.0", "98.0", "upstreamlib"] {
        assert!(!text.contains(trace), "{case:?}: {path} has '{trace}': {text}");
    }
}

#[test]
fn a_guarded_name_is_hidden_in_curated_sources_and_snapshots_of_the_mirror_too() {
    let mirror = Mirror::start();
    let server =
        Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).env("NO_PROXY", "*").start();
    let case = |is_higher| Case { guard: Guard::Exact, own: Own::Present, is_higher };
    let cases = [case(false), case(true)];
    let of = |version| {
        let names = cases.iter().flat_map(|case| [case.name(), case.neighbour()]);
        names.map(|name| upstream(&name, version)).collect::<Vec<_>>()
    };
    mirror.publish(&of("99.0"), &of("98.0"));
    server.sync().expect("a mirror");
    let synced = server.json("info --source=cran")["last_transaction"]["id"].clone();
    let definition = server.dir().join("packages.txt");
    let lines = cases.map(|case| format!("{}\n{}\n", case.name(), case.neighbour()));
    std::fs::write(&definition, lines.concat()).expect("written");
    server.rspm_stdout("create source --name=subset --type=curated-cran");
    let update =
        format!("update --source=subset --file-in={} --snapshot={synced} --commit", definition.display());
    server.rspm_stdout(&update);
    server.rspm_stdout(&format!("create source --name=pinned --type=cran-snapshot --snapshot={synced}"));
    server.rspm_stdout("create source --name=internal");
    for curated in ["subset", "pinned"] {
        server.repository(&format!("of-{curated}"), curated);
        server.rspm_stdout(&format!("subscribe --repo=of-{curated} --source=internal"));
    }
    let today = stable_today().to_string();
    let bases = ["subset", "pinned"].into_iter().flat_map(|curated| {
        ["latest", &today].map(|snapshot| format!("/of-{curated}/{snapshot}/src/contrib"))
    });
    let bases: Vec<String> = bases.collect();
    let file = |base: &str, name: &str| server.get(&format!("{base}/{name}_99.0.tar.gz"));
    for (base, case) in bases.iter().flat_map(|base| cases.map(|case| (base, case))) {
        assert_eq!(
            file(base, &case.name()).body,
            upstream(&case.name(), "99.0").bytes,
            "{base}: before the guard"
        );
    }
    for case in cases {
        server.add("internal", &case.upload(case.archived()));
        server.add("internal", &case.upload(case.listed()));
        server.rspm_stdout(&format!("create name-guard --name={} --source=internal", case.name()));
    }

    let mut checks = Checks { server: &server, count: 0 };
    for (base, case) in bases.iter().flat_map(|base| cases.map(|case| (base, case))) {
        let (name, neighbour) = (case.name(), case.neighbour());
        let path = format!("{base}/PACKAGES");
        let index = checks.request(case, "GET", &path, &[]);
        checks.assert_index(case, &path, &index.text());
        checks.assert_own(case, &format!("{base}/{name}_{}.tar.gz", case.listed()), case.listed());
        let archived = format!("{base}/Archive/{name}/{name}_{}.tar.gz", case.archived());
        checks.assert_own(case, &archived, case.archived());
        checks.assert_forbidden(case, &format!("{base}/{name}_99.0.tar.gz"));
        checks.assert_forbidden(case, &format!("{base}/Archive/{name}/{name}_98.0.tar.gz"));
        assert_eq!(file(base, &neighbour).body, upstream(&neighbour, "99.0").bytes, "{base}: another name");
    }
    for (curated, case) in
        ["subset", "pinned"].into_iter().flat_map(|curated| cases.map(|case| (curated, case)))
    {
        let name = case.name();
        let detail = server.get(&format!("/__api__/repos/of-{curated}/packages/{name}"));
        assert_eq!(detail.json()["version"], case.listed(), "{curated}: {}", detail.text());
        assert_no_trace(case, curated, &detail);
        let releases = server.get(&format!("/__api__/sources/{curated}/packages/{name}/releases"));
        assert_eq!(releases.status, 403, "{curated}: {}", releases.text());
    }
    // Without the own source, nothing takes the place of the mirror's package.
    for curated in ["subset", "pinned"] {
        server.rspm_stdout(&format!("unsubscribe --repo=of-{curated} --source=internal"));
        for case in cases {
            let (base, name) = (format!("/of-{curated}/latest/src/contrib"), case.name());
            let index = server.get(&format!("{base}/PACKAGES")).text();
            assert!(!index.contains(&format!("Package: {name}\n")), "{index}");
            for version in ["99.0", case.listed()] {
                checks.assert_forbidden(case, &format!("{base}/{name}_{version}.tar.gz"));
            }
        }
    }
}

#[test]
fn the_report_of_a_new_guard_names_curated_sources_and_snapshots() {
    let mirror = Mirror::start();
    let server =
        Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).env("NO_PROXY", "*").start();
    mirror.publish(&[upstream("acme.db", "1.0"), upstream("acme.web", "1.0"), upstream("other", "1.0")], &[]);
    server.sync().expect("a mirror");
    let synced = server.json("info --source=cran")["last_transaction"]["id"].clone();
    let definition = server.dir().join("packages.txt");
    server.rspm_stdout("create source --name=subset --type=curated-cran");
    for lines in ["acme.db\n", "other\n"] {
        std::fs::write(&definition, lines).expect("written");
        let file = definition.display();
        server.rspm_stdout(&format!("update --source=subset --file-in={file} --snapshot={synced} --commit"));
    }
    for name in ["pinned", "gone"] {
        server.rspm_stdout(&format!("create source --name={name} --type=cran-snapshot --snapshot={synced}"));
    }
    server.rspm_stdout("delete source --name=gone --with-packages");
    server.rspm_stdout("create source --name=internal");
    let create = "create name-guard --name=acme.* --source=internal";
    let hidden = "5 packages of other sources: acme.db (cran), acme.db (subset), acme.db (pinned), acme.web (cran), \
                  acme.web (pinned)";
    let planned = server.rspm_stdout(&format!("{create} --dry-run"));
    assert!(planned.contains(&format!("It would hide {hidden}\n")), "{planned}");
    let created = server.rspm_stdout(create);
    assert!(created.contains(&format!("It hides {hidden}\n")), "{created}");
    // The audit names the mirror only, of which the others are copies.
    let audit = server.rspm_stdout("audit names --format=csv");
    assert!(!audit.contains("subset") && !audit.contains("pinned"), "{audit}");
}

#[test]
fn the_effects_of_a_guard_include_curated_sources_and_snapshots() {
    let mirror = Mirror::start();
    let server =
        Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).env("NO_PROXY", "*").start();
    mirror.publish(&[upstream("acme.db", "1.0"), upstream("other", "1.0")], &[]);
    server.sync().expect("a mirror");
    let synced = server.json("info --source=cran")["last_transaction"]["id"].clone();
    server.rspm_stdout("create source --name=subset --type=curated-cran");
    let definition = server.dir().join("packages.txt");
    std::fs::write(&definition, "acme.db\n").expect("written");
    let file = definition.display();
    server.rspm_stdout(&format!("update --source=subset --file-in={file} --snapshot={synced} --commit"));
    server.rspm_stdout(&format!("create source --name=pinned --type=cran-snapshot --snapshot={synced}"));
    let repositories = [("curated", "subset"), ("dated", "pinned")];
    repositories.iter().for_each(|(repo, source)| server.repository(repo, source));
    let listing = || {
        repositories.map(|(repo, _)| {
            server.get(&format!("/{repo}/latest/src/contrib/PACKAGES")).text().contains("Package: acme.db\n")
        })
    };
    assert_eq!(listing(), [true, true]);
    server.rspm_stdout("create name-guard --name=acme.* --source=cran");
    assert_eq!(listing(), [false, false]);
    let table = "Repository  Package  Before  After\n\
                 curated     acme.db  none    1.0 of subset\n\
                 dated       acme.db  none    1.0 of pinned\n";
    assert_eq!(
        server.rspm_stdout("delete name-guard --id=1 --dry-run"),
        format!(
            "Without name guard 1, other sources could provide 'acme.*'.\n{table}Nothing was deleted: --dry-run\n"
        )
    );
    let renamed = server.json("edit name-guard --id=1 --name=acme.w* --dry-run");
    assert_eq!(renamed["changes"].as_array().map(Vec::len), Some(2), "{renamed}");
    assert_eq!(listing(), [false, false], "dry runs");
    let deleted = server.rspm_stdout("delete name-guard --id=1");
    assert_eq!(deleted, format!("Deleted name guard 1: other sources may provide 'acme.*'.\n{table}"));
    assert_eq!(listing(), [true, true]);
}
