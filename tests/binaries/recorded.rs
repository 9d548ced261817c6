//! What other clients ask for, replayed: each row names the client, its version, and the line of its code that makes
//! the request. They are asked of a server with builds of `greeting` and `tally` for Ubuntu 24.04.

use super::add;
use crate::support::binary;
use crate::support::http::{self, Answer};
use crate::support::server::Server;

/// What a client makes of the answer.
enum Want {
    /// A package file: a build with the tag that pak reads.
    Build,
    /// A package file: the source.
    Source,
    /// An index of these packages, in the form its name tells.
    Index(&'static [&'static str]),
    /// An index in which uvr finds builds of these packages for this machine.
    Offered(&'static [&'static str]),
    /// A serialized list that R reads.
    Rds,
    /// The status document, with what this client reads of it.
    Status(fn(&serde_json::Value) -> bool),
    /// Only that it is there: the client asks by HEAD.
    There,
}

struct Row {
    /// Client and version.
    client: &'static str,
    /// File and line.
    line: &'static str,
    method: &'static str,
    /// `{r}` is the minor version of R here.
    path: &'static str,
    /// `{r}` as in the path; empty for a client that sends none.
    agent: &'static str,
    want: Want,
}

const ALL: &[&str] = &["greeting", "ledger", "tally"];
const BUILT: &[&str] = &["greeting", "tally"];

const RENV: &str = "renv 1.2.4";
/// `R/http.R:16`.
const RENV_AGENT: &str = "R/{r}.2 R ({r}.2 x86_64-pc-linux-gnu x86_64 linux-gnu)";
const PAK: &str = "pak (pkgcache 2.2.5)";
/// The option of R that pak hands to its own curl.
const PAK_AGENT: &str = "R ({r}.2 x86_64-pc-linux-gnu x86_64 linux-gnu)";
const RV: &str = "rv 0.22.2";
/// Its HTTP library, by `Cargo.lock`.
const RV_AGENT: &str = "ureq/3.3.0";
const UVR: &str = "uvr 0.4.6";
/// `crates/uvr-core/src/r_version/downloader.rs:600`.
const UVR_AGENT: &str = "R ({r}.0 x86_64-pc-linux-gnu x86_64 linux-gnu)";
/// `crates/uvr/src/commands/util.rs:6`: for all but indexes and builds on Linux.
const UVR_CLIENT: &str = "uvr/0.4.6";
const RIG: &str = "rig 0.10.0-beta";
const REMOTES: &str = "remotes 2.5.0";

const fn get(
    client: &'static str,
    line: &'static str,
    agent: &'static str,
    path: &'static str,
    want: Want,
) -> Row {
    Row { client, line, method: "GET", path, agent, want }
}

/// renv compares these two and nothing else.
fn renv_finds_noble(status: &serde_json::Value) -> bool {
    let rows = status["distros"].as_array().into_iter().flatten();
    rows.into_iter().any(|row| row["binaryURL"] == "noble" && row["binaries"] == true)
}

/// pkgcache stops when one of these is missing in any row or of another type.
fn pkgcache_reads_every_row(status: &serde_json::Value) -> bool {
    let rows = status["distros"].as_array().cloned().unwrap_or_default();
    let texts = ["name", "os", "binaryURL", "distribution", "release"];
    let complete = |row: &serde_json::Value| {
        texts.iter().all(|key| row[key].is_string()) && row["binaries"].is_boolean()
    };
    let versions = status["r_versions"].as_array().cloned().unwrap_or_default();
    !rows.is_empty() && rows.iter().all(complete) && versions.iter().all(serde_json::Value::is_string)
}

/// uvr looks a machine up by distribution and release and asks whether its processor is listed.
fn uvr_finds_a_processor(status: &serde_json::Value) -> bool {
    let mut rows = status["distros"].as_array().into_iter().flatten();
    rows.any(|row| {
        row["distribution"] == "ubuntu"
            && row["release"] == "24.04"
            && row["arch"].as_array().is_some_and(|arch| arch.contains(&"x86_64".into()))
    })
}

/// rig reads the R versions and the folders of macOS builds.
fn rig_reads_folders(status: &serde_json::Value) -> bool {
    status["r_versions"].is_array() && status["macos_urls"]["default"]["arm64"].is_string()
}

const ROWS: &[Row] = &[
    get(RENV, "R/ppm.R:161", RENV_AGENT, "/__api__/status", Want::Status(renv_finds_noble)),
    get(
        RENV,
        "R/available-packages.R:105",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.rds",
        Want::Rds,
    ),
    get(
        RENV,
        "R/available-packages.R:113",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.gz",
        Want::Index(ALL),
    ),
    get(
        RENV,
        "R/available-packages.R:121",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES",
        Want::Index(ALL),
    ),
    get(
        RENV,
        "R/available-packages.R:523",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/Meta/archive.rds",
        Want::Rds,
    ),
    get(
        RENV,
        "R/http.R:16",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz",
        Want::Build,
    ),
    get(
        RENV,
        "R/retrieve.R:978",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Want::Build,
    ),
    // By its head it is decided where the archive is: "Nexus" in `Server` would be another place.
    Row {
        client: RENV,
        line: "R/retrieve.R:1005",
        method: "HEAD",
        path: "/prod/__linux__/noble/latest/src/contrib/PACKAGES",
        agent: RENV_AGENT,
        want: Want::There,
    },
    // install(type = "source") takes `__linux__` out of the address.
    get(RENV, "R/ppm.R:33", RENV_AGENT, "/prod/latest/src/contrib/tally_0.2.1.tar.gz", Want::Source),
    get(PAK, "R/ppm.R:188", PAK_AGENT, "/__api__/status", Want::Status(pkgcache_reads_every_row)),
    get(
        PAK,
        "R/metadata-cache.R:495",
        PAK_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.gz",
        Want::Index(ALL),
    ),
    get(
        PAK,
        "R/metadata-cache.R:581",
        PAK_AGENT,
        "/prod/latest/bin/linux/{r}-noble/contrib/{r}/PACKAGES.gz",
        Want::Index(BUILT),
    ),
    get(
        PAK,
        "R/package-cache.R:502",
        PAK_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz",
        Want::Build,
    ),
    get(
        PAK,
        "R/package-cache.R:502",
        PAK_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/ledger_2.0-1.tar.gz",
        Want::Source,
    ),
    // Both of a plain source package's addresses are asked; the first that answers is taken.
    get(PAK, "R/packages-gz.R:424", PAK_AGENT, "/prod/latest/src/contrib/tally_0.2.1.tar.gz", Want::Source),
    get(
        PAK,
        "R/packages-gz.R:425",
        PAK_AGENT,
        "/prod/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Want::Source,
    ),
    get(PAK, "R/archive.R:398", PAK_AGENT, "/prod/latest/src/contrib/Meta/archive.rds", Want::Rds),
    Row {
        client: PAK,
        line: "R/repo-status.R:117",
        method: "HEAD",
        path: "/prod/latest/bin/windows/contrib/{r}/PACKAGES.rds",
        agent: PAK_AGENT,
        want: Want::There,
    },
    get(RV, "src/repository_urls.rs:302", RV_AGENT, "/prod/latest/src/contrib/PACKAGES", Want::Index(ALL)),
    get(
        RV,
        "src/repository_urls.rs:303",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES?r_version={r}&arch=x86_64",
        Want::Index(ALL),
    ),
    get(
        RV,
        "src/repository_urls.rs:284",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz?r_version={r}&arch=x86_64",
        Want::Build,
    ),
    get(
        RV,
        "src/repository_urls.rs:88",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz?r_version={r}&arch=x86_64",
        Want::Build,
    ),
    // "even if __linux__ is contained within the url, source content will be returned because no query string"
    get(
        RV,
        "src/repository_urls.rs:66",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz",
        Want::Source,
    ),
    get(
        RV,
        "src/repository_urls.rs:137",
        RV_AGENT,
        "/prod/latest/bin/windows/contrib/{r}/PACKAGES",
        Want::Index(&[]),
    ),
    get(
        RV,
        "src/repository_urls.rs:165",
        RV_AGENT,
        "/prod/latest/bin/macosx/big-sur-arm64/contrib/{r}/PACKAGES",
        Want::Index(&[]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m_status.rs:95",
        UVR_CLIENT,
        "/__api__/status",
        Want::Status(uvr_finds_a_processor),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:208",
        UVR_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.gz",
        Want::Index(ALL),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:229",
        UVR_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/greeting_1.0.0.tar.gz",
        Want::Build,
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:211",
        UVR_CLIENT,
        "/prod/latest/bin/macosx/big-sur-arm64/contrib/4.5/PACKAGES.gz",
        Want::Index(&[]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:393",
        UVR_CLIENT,
        "/prod/latest/bin/macosx/sonoma-arm64/contrib/4.6/PACKAGES.gz",
        Want::Index(&[]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:346",
        UVR_CLIENT,
        "/prod/latest/bin/windows/contrib/{r}/PACKAGES.gz",
        Want::Index(&[]),
    ),
    // [[sources]] of uvr.toml: the address of builds, told from sources by `Built`.
    get(
        UVR,
        "crates/uvr-core/src/registry/cran.rs:296",
        UVR_AGENT,
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES.gz",
        Want::Offered(&["tally"]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/cran.rs:359",
        UVR_AGENT,
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/tally_0.2.1.tar.gz",
        Want::Build,
    ),
    // What it takes for a source is asked for without naming R, and then in the archive.
    get(
        UVR,
        "crates/uvr-core/src/registry/cran.rs:549",
        UVR_CLIENT,
        "/prod/latest/src/contrib/tally_0.2.1.tar.gz",
        Want::Source,
    ),
    get(
        UVR,
        "crates/uvr-core/src/installer/download.rs:176",
        UVR_CLIENT,
        "/prod/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Want::Source,
    ),
    get(RIG, "src/repos/binaries/mod.rs:919", "", "/__api__/status", Want::Status(rig_reads_folders)),
    get(
        RIG,
        "src/repos/cranlike_metadata.rs:95",
        "",
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES.gz",
        Want::Index(ALL),
    ),
    get(
        RIG,
        "src/repos/cranlike_metadata.rs:96",
        "",
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES.rds",
        Want::Rds,
    ),
    get(
        RIG,
        "src/repos/binaries/mod.rs:15",
        "",
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/tally_0.2.1.tar.gz",
        Want::Build,
    ),
    get(RIG, "src/repos/binaries/mod.rs:12", "", "/prod/latest/src/contrib/tally_0.2.1.tar.gz", Want::Source),
    get(
        RIG,
        "src/repos/cranlike_metadata.rs:55",
        "",
        "/prod/latest/bin/macosx/big-sur-arm64/contrib/{r}/PACKAGES.gz",
        Want::Index(&[]),
    ),
    get(
        REMOTES,
        "R/install-version.R:226",
        "libcurl/8.5.0",
        "/prod/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Want::Source,
    ),
    get(
        REMOTES,
        "R/install-version.R:149",
        "libcurl/8.5.0",
        "/prod/latest/src/contrib/Meta/archive.rds",
        Want::Rds,
    ),
];

/// uvr's way from a record to a build: R's minor version, the platform but for its vendor, the family of the system. A
/// package without compiled code names no platform; it is taken for a source, and seen to be a build when it is there.
fn offered(index: &str) -> Vec<&str> {
    let of = |record: &'_ str| {
        let value = |tag: &str| record.lines().find_map(|line| line.strip_prefix(tag)).map(str::to_owned);
        let built = value("Built: ")?;
        let parts: Vec<&str> = built.split(';').map(str::trim).collect();
        let [r, platform, _, "unix"] = parts[..] else { return None };
        let minor = r.strip_prefix("R ")?.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let (arch, rest) = platform.split_once('-')?;
        let fits = arch == "x86_64" && rest.split_once('-')?.1 == "linux-gnu";
        (minor == binary::r_version() && fits).then_some(())
    };
    let records = index.split("\n\n").filter(|record| of(record).is_some());
    records.filter_map(|record| record.lines().find_map(|line| line.strip_prefix("Package: "))).collect()
}

fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut plain).expect("gzip");
    plain
}

/// pak's way from a file's headers to a platform: an exact name, a tag in two parts, the second one in the status.
fn pak_takes_for_a_build(server: &Server, answer: &Answer) -> bool {
    let tag = answer.header("x-package-binary-tag").unwrap_or_default();
    let mut parts = tag.split('-');
    let (version, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let status = server.get("/__api__/status").json();
    let mut rows = status["distros"].as_array().into_iter().flatten();
    answer.header("x-package-type") == Some("binary")
        && version == binary::r_version()
        && rows.any(|row| row["binaryURL"] == name)
}

#[test]
fn every_recorded_request_gets_what_its_client_expects() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "noble");
    let r = binary::r_version();
    for Row { client, line, method, path, agent, want } in ROWS {
        let (path, agent) = (path.replace("{r}", &r), agent.replace("{r}", &r));
        let headers: Vec<(&str, &str)> =
            (!agent.is_empty()).then_some(("User-Agent", agent.as_str())).into_iter().collect();
        let answer = http::request(method, &server.url(&path), &headers, b"");
        let told = format!("{client}, {line}: {method} {path} ({agent}) → {}", answer.status);
        assert_eq!(answer.status, 200, "{told}: {}", answer.text());
        assert_eq!(answer.header("x-repository-type"), Some("RSPM"), "{told}");
        match want {
            Want::Build => assert!(pak_takes_for_a_build(&server, &answer), "{told}: {:?}", answer.headers),
            Want::Source => assert_eq!(answer.header("x-package-type"), Some("source"), "{told}"),
            Want::Offered(expected) => {
                let text = String::from_utf8(gunzipped(&answer.body)).expect("UTF-8");
                assert_eq!(offered(&text), *expected, "{told}: {text}");
            }
            Want::Index(expected) => {
                let text = if path.contains(".gz") { gunzipped(&answer.body) } else { answer.body.clone() };
                let text = String::from_utf8(text).expect("UTF-8");
                let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
                assert_eq!(names, *expected, "{told}");
                // They ask again each day with the tag they were given.
                let tag = answer.header("etag").unwrap_or_else(|| panic!("{told}: no ETag"));
                let headers = [headers.as_slice(), &[("If-None-Match", tag)]].concat();
                let again = http::request(method, &server.url(&path), &headers, b"");
                assert_eq!(again.status, 304, "{told}");
            }
            // Version 2 or 3 in binary form: what R's readRDS looks for.
            Want::Rds => assert!(gunzipped(&answer.body).starts_with(b"X\n"), "{told}"),
            Want::Status(reads) => assert!(reads(&answer.json()), "{told}: {}", answer.text()),
            Want::There => assert!(answer.body.is_empty(), "{told}"),
        }
    }
}
