//! Requests of other clients, replayed on a server with binaries of `greeting` and `tally` for Ubuntu 24.04: each row
//! names the client, its version, and the line of its code that sends the request.

use super::add;
use crate::support::binary;
use crate::support::http::{self, Answer};
use crate::support::server::Server;

/// The answer that a client expects.
enum Expected {
    /// A package file: a binary with the tag that pak reads.
    Binary,
    /// A package file: the source.
    Source,
    /// An index of these packages, in the format of its name.
    Index(&'static [&'static str]),
    /// An index in which uvr finds binaries of these packages for this machine.
    UvrBinaries(&'static [&'static str]),
    /// A serialized list that R reads.
    Rds,
    /// The status document, with a check of the fields that the client reads.
    Status(fn(&serde_json::Value) -> bool),
    /// An existing file: the client sends HEAD.
    Exists,
}

struct Request {
    /// Client and version.
    client: &'static str,
    /// File and line.
    line: &'static str,
    method: &'static str,
    /// `{r}` is the minor version of the installed R.
    path: &'static str,
    /// `{r}` as in the path; empty if the client sends no `User-Agent`.
    agent: &'static str,
    expected: Expected,
}

/// The packages of the repository.
const ALL_PACKAGES: &[&str] = &["greeting", "ledger", "tally"];
/// The packages that have a binary.
const PACKAGES_WITH_BINARY: &[&str] = &["greeting", "tally"];

const RENV: &str = "renv 1.2.4";
/// `R/http.R:16`.
const RENV_AGENT: &str = "R/{r}.2 R ({r}.2 x86_64-pc-linux-gnu x86_64 linux-gnu)";
const PAK: &str = "pak (pkgcache 2.2.5)";
/// The option of R that pak passes to its own curl.
const PAK_AGENT: &str = "R ({r}.2 x86_64-pc-linux-gnu x86_64 linux-gnu)";
const RV: &str = "rv 0.22.2";
/// Its HTTP library, from `Cargo.lock`.
const RV_AGENT: &str = "ureq/3.3.0";
const UVR: &str = "uvr 0.4.6";
/// `crates/uvr-core/src/r_version/downloader.rs:600`.
const UVR_AGENT: &str = "R ({r}.0 x86_64-pc-linux-gnu x86_64 linux-gnu)";
/// `crates/uvr/src/commands/util.rs:6`: for all requests except indexes and binaries on Linux.
const UVR_CLIENT: &str = "uvr/0.4.6";
const RIG: &str = "rig 0.10.0-beta";
const REMOTES: &str = "remotes 2.5.0";

const fn get(
    client: &'static str,
    line: &'static str,
    agent: &'static str,
    path: &'static str,
    expected: Expected,
) -> Request {
    Request { client, line, method: "GET", path, agent, expected }
}

/// renv compares these two fields alone.
fn renv_finds_noble(status: &serde_json::Value) -> bool {
    let rows = status["distros"].as_array().into_iter().flatten();
    rows.into_iter().any(|row| row["binaryURL"] == "noble" && row["binaries"] == true)
}

/// pkgcache fails if one of these fields is missing in any row or has another type.
fn pkgcache_reads_every_row(status: &serde_json::Value) -> bool {
    let rows = status["distros"].as_array().cloned().unwrap_or_default();
    let texts = ["name", "os", "binaryURL", "distribution", "release"];
    let has_all_fields = |row: &serde_json::Value| {
        texts.iter().all(|key| row[key].is_string()) && row["binaries"].is_boolean()
    };
    let versions = status["r_versions"].as_array().cloned().unwrap_or_default();
    !rows.is_empty() && rows.iter().all(has_all_fields) && versions.iter().all(serde_json::Value::is_string)
}

/// uvr selects a row by distribution and release and checks that it lists the processor.
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

const REQUESTS: &[Request] = &[
    get(RENV, "R/ppm.R:161", RENV_AGENT, "/__api__/status", Expected::Status(renv_finds_noble)),
    get(
        RENV,
        "R/available-packages.R:105",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.rds",
        Expected::Rds,
    ),
    get(
        RENV,
        "R/available-packages.R:113",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.gz",
        Expected::Index(ALL_PACKAGES),
    ),
    get(
        RENV,
        "R/available-packages.R:121",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES",
        Expected::Index(ALL_PACKAGES),
    ),
    get(
        RENV,
        "R/available-packages.R:523",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/Meta/archive.rds",
        Expected::Rds,
    ),
    get(
        RENV,
        "R/http.R:16",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz",
        Expected::Binary,
    ),
    get(
        RENV,
        "R/retrieve.R:978",
        RENV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Expected::Binary,
    ),
    // The head of the answer determines the path of the archive: `Server: Nexus` would select another one.
    Request {
        client: RENV,
        line: "R/retrieve.R:1005",
        method: "HEAD",
        path: "/prod/__linux__/noble/latest/src/contrib/PACKAGES",
        agent: RENV_AGENT,
        expected: Expected::Exists,
    },
    // install(type = "source") removes `__linux__` from the address.
    get(RENV, "R/ppm.R:33", RENV_AGENT, "/prod/latest/src/contrib/tally_0.2.1.tar.gz", Expected::Source),
    get(PAK, "R/ppm.R:188", PAK_AGENT, "/__api__/status", Expected::Status(pkgcache_reads_every_row)),
    get(
        PAK,
        "R/metadata-cache.R:495",
        PAK_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.gz",
        Expected::Index(ALL_PACKAGES),
    ),
    get(
        PAK,
        "R/metadata-cache.R:581",
        PAK_AGENT,
        "/prod/latest/bin/linux/{r}-noble/contrib/{r}/PACKAGES.gz",
        Expected::Index(PACKAGES_WITH_BINARY),
    ),
    get(
        PAK,
        "R/package-cache.R:502",
        PAK_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz",
        Expected::Binary,
    ),
    get(
        PAK,
        "R/package-cache.R:502",
        PAK_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/ledger_2.0-1.tar.gz",
        Expected::Source,
    ),
    // pak requests both addresses of a source package and uses the first answer.
    get(
        PAK,
        "R/packages-gz.R:424",
        PAK_AGENT,
        "/prod/latest/src/contrib/tally_0.2.1.tar.gz",
        Expected::Source,
    ),
    get(
        PAK,
        "R/packages-gz.R:425",
        PAK_AGENT,
        "/prod/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Expected::Source,
    ),
    get(PAK, "R/archive.R:398", PAK_AGENT, "/prod/latest/src/contrib/Meta/archive.rds", Expected::Rds),
    Request {
        client: PAK,
        line: "R/repo-status.R:117",
        method: "HEAD",
        path: "/prod/latest/bin/windows/contrib/{r}/PACKAGES.rds",
        agent: PAK_AGENT,
        expected: Expected::Exists,
    },
    get(
        RV,
        "src/repository_urls.rs:302",
        RV_AGENT,
        "/prod/latest/src/contrib/PACKAGES",
        Expected::Index(ALL_PACKAGES),
    ),
    get(
        RV,
        "src/repository_urls.rs:303",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES?r_version={r}&arch=x86_64",
        Expected::Index(ALL_PACKAGES),
    ),
    get(
        RV,
        "src/repository_urls.rs:284",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz?r_version={r}&arch=x86_64",
        Expected::Binary,
    ),
    get(
        RV,
        "src/repository_urls.rs:88",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz?r_version={r}&arch=x86_64",
        Expected::Binary,
    ),
    // "even if __linux__ is contained within the url, source content will be returned because no query string"
    get(
        RV,
        "src/repository_urls.rs:66",
        RV_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/tally_0.2.1.tar.gz",
        Expected::Source,
    ),
    get(
        RV,
        "src/repository_urls.rs:137",
        RV_AGENT,
        "/prod/latest/bin/windows/contrib/{r}/PACKAGES",
        Expected::Index(&[]),
    ),
    get(
        RV,
        "src/repository_urls.rs:165",
        RV_AGENT,
        "/prod/latest/bin/macosx/big-sur-arm64/contrib/{r}/PACKAGES",
        Expected::Index(&[]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m_status.rs:95",
        UVR_CLIENT,
        "/__api__/status",
        Expected::Status(uvr_finds_a_processor),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:208",
        UVR_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/PACKAGES.gz",
        Expected::Index(ALL_PACKAGES),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:229",
        UVR_AGENT,
        "/prod/__linux__/noble/latest/src/contrib/greeting_1.0.0.tar.gz",
        Expected::Binary,
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:211",
        UVR_CLIENT,
        "/prod/latest/bin/macosx/big-sur-arm64/contrib/4.5/PACKAGES.gz",
        Expected::Index(&[]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:393",
        UVR_CLIENT,
        "/prod/latest/bin/macosx/sonoma-arm64/contrib/4.6/PACKAGES.gz",
        Expected::Index(&[]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/p3m.rs:346",
        UVR_CLIENT,
        "/prod/latest/bin/windows/contrib/{r}/PACKAGES.gz",
        Expected::Index(&[]),
    ),
    // [[sources]] of uvr.toml: the address of binaries, distinguished from sources by `Built`.
    get(
        UVR,
        "crates/uvr-core/src/registry/cran.rs:296",
        UVR_AGENT,
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES.gz",
        Expected::UvrBinaries(&["tally"]),
    ),
    get(
        UVR,
        "crates/uvr-core/src/registry/cran.rs:359",
        UVR_AGENT,
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/tally_0.2.1.tar.gz",
        Expected::Binary,
    ),
    // Sources are requested without R in the `User-Agent`, and then in the archive.
    get(
        UVR,
        "crates/uvr-core/src/registry/cran.rs:549",
        UVR_CLIENT,
        "/prod/latest/src/contrib/tally_0.2.1.tar.gz",
        Expected::Source,
    ),
    get(
        UVR,
        "crates/uvr-core/src/installer/download.rs:176",
        UVR_CLIENT,
        "/prod/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Expected::Source,
    ),
    get(RIG, "src/repos/binaries/mod.rs:919", "", "/__api__/status", Expected::Status(rig_reads_folders)),
    get(
        RIG,
        "src/repos/cranlike_metadata.rs:95",
        "",
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES.gz",
        Expected::Index(ALL_PACKAGES),
    ),
    get(
        RIG,
        "src/repos/cranlike_metadata.rs:96",
        "",
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/PACKAGES.rds",
        Expected::Rds,
    ),
    get(
        RIG,
        "src/repos/binaries/mod.rs:15",
        "",
        "/prod/latest/bin/linux/noble-x86_64/{r}/src/contrib/tally_0.2.1.tar.gz",
        Expected::Binary,
    ),
    get(
        RIG,
        "src/repos/binaries/mod.rs:12",
        "",
        "/prod/latest/src/contrib/tally_0.2.1.tar.gz",
        Expected::Source,
    ),
    get(
        RIG,
        "src/repos/cranlike_metadata.rs:55",
        "",
        "/prod/latest/bin/macosx/big-sur-arm64/contrib/{r}/PACKAGES.gz",
        Expected::Index(&[]),
    ),
    get(
        REMOTES,
        "R/install-version.R:226",
        "libcurl/8.5.0",
        "/prod/latest/src/contrib/Archive/tally/tally_0.2.1.tar.gz",
        Expected::Source,
    ),
    get(
        REMOTES,
        "R/install-version.R:149",
        "libcurl/8.5.0",
        "/prod/latest/src/contrib/Meta/archive.rds",
        Expected::Rds,
    ),
];

/// The packages that uvr treats as binaries, by R's minor version, the platform without its vendor, and the family of
/// the system. uvr treats a package without a platform, that is without compiled code, as a source until it has fetched
/// the file.
fn binaries_for_uvr(index: &str) -> Vec<&str> {
    let is_binary = |record: &'_ str| {
        let value = |tag: &str| record.lines().find_map(|line| line.strip_prefix(tag)).map(str::to_owned);
        let built = value("Built: ")?;
        let parts: Vec<&str> = built.split(';').map(str::trim).collect();
        let [r, platform, _, "unix"] = parts[..] else { return None };
        let minor = r.strip_prefix("R ")?.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let (arch, rest) = platform.split_once('-')?;
        let is_this_system = arch == "x86_64" && rest.split_once('-')?.1 == "linux-gnu";
        (minor == binary::r_version() && is_this_system).then_some(())
    };
    let records = index.split("\n\n").filter(|record| is_binary(record).is_some());
    records.filter_map(|record| record.lines().find_map(|line| line.strip_prefix("Package: "))).collect()
}

fn decompress(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut plain).expect("gzip");
    plain
}

/// Whether pak treats the answer as a binary: an exact version, a tag in two parts, the second one in the status.
fn pak_treats_as_a_binary(server: &Server, answer: &Answer) -> bool {
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
    for Request { client, line, method, path, agent, expected } in REQUESTS {
        let (path, agent) = (path.replace("{r}", &r), agent.replace("{r}", &r));
        let headers: Vec<(&str, &str)> =
            (!agent.is_empty()).then_some(("User-Agent", agent.as_str())).into_iter().collect();
        let answer = http::request(method, &server.url(&path), &headers, b"");
        let request = format!("{client}, {line}: {method} {path} ({agent}) → {}", answer.status);
        assert_eq!(answer.status, 200, "{request}: {}", answer.text());
        assert_eq!(answer.header("x-repository-type"), Some("RSPM"), "{request}");
        match expected {
            Expected::Binary => {
                assert!(pak_treats_as_a_binary(&server, &answer), "{request}: {:?}", answer.headers)
            }
            Expected::Source => assert_eq!(answer.header("x-package-type"), Some("source"), "{request}"),
            Expected::UvrBinaries(expected) => {
                let text = String::from_utf8(decompress(&answer.body)).expect("UTF-8");
                assert_eq!(binaries_for_uvr(&text), *expected, "{request}: {text}");
            }
            Expected::Index(expected) => {
                let text = if path.contains(".gz") { decompress(&answer.body) } else { answer.body.clone() };
                let text = String::from_utf8(text).expect("UTF-8");
                let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
                assert_eq!(names, *expected, "{request}");
                // Clients revalidate each day with this ETag.
                let etag = answer.header("etag").unwrap_or_else(|| panic!("{request}: no ETag"));
                let headers = [headers.as_slice(), &[("If-None-Match", etag)]].concat();
                let second_answer = http::request(method, &server.url(&path), &headers, b"");
                assert_eq!(second_answer.status, 304, "{request}");
            }
            // The binary format of RDS, version 2 or 3, which R's readRDS detects.
            Expected::Rds => assert!(decompress(&answer.body).starts_with(b"X\n"), "{request}"),
            Expected::Status(reads) => assert!(reads(&answer.json()), "{request}: {}", answer.text()),
            Expected::Exists => assert!(answer.body.is_empty(), "{request}"),
        }
    }
}
