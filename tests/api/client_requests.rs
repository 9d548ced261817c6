//! Recorded requests of clients to the JSON API: each row names the client, its version, and the line of its code that
//! makes the request. The answer is parsed with the types of that client, so that a key of another type is a failure.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::support::data;
use crate::support::fixtures;
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

struct Row {
    /// Client and version.
    client: &'static str,
    /// File and line.
    line: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// Sent by POST; empty for GET.
    body: &'static str,
    status: u16,
    /// Whether the client finds its data.
    reads: fn(&str) -> bool,
}

const RV: &str = "rv 0.22.2";
/// Version of its HTTP library by `Cargo.lock`; `src/system_req.rs:161`.
const RV_HEADERS: &[(&str, &str)] = &[("User-Agent", "ureq/3.3.0"), ("Accept", "application/json")];
const UVR: &str = "uvr 0.4.6";
/// `crates/uvr/src/commands/util.rs:6`.
const UVR_HEADERS: &[(&str, &str)] = &[("User-Agent", "uvr/0.4.6"), ("Accept", "*/*")];
const REMOTES: &str = "remotes 2.5.0";
/// Headers of the program curl, not of the R package.
const CURL: &[(&str, &str)] = &[("User-Agent", "curl/8.5.0"), ("Accept", "*/*")];
const PAK: &str = "pak (pkgdepends 0.9.1)";
/// `R/sysreqs.R:439`.
const PAK_HEADERS: &[(&str, &str)] =
    &[("User-Agent", "R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)"), ("Content-Type", "text/plain")];
const OLD_PAK: &str = "pak (pkgcache 2.2.2)";
const RENV: &str = "renv 1.2.4";
/// `R/vulns.R:68`.
const RENV_HEADERS: &[(&str, &str)] = &[("Content-Type", "application/json")];
const RSPMAPI: &str = "rspmapi 0.0.0.9000";
const HTTR2: &[(&str, &str)] = &[("User-Agent", "httr2/1.0.0 r-curl/5.2.0 libcurl/8.5.0")];
const VIP: &str = "vip 2026.8.0";
const OSV: &str = "osv.dev (commit 14482f8)";
const PYTHON: &[(&str, &str)] = &[("User-Agent", "python-requests/2.32.3"), ("Accept", "*/*")];

const fn get(
    (client, headers): (&'static str, &'static [(&'static str, &'static str)]),
    line: &'static str,
    path: &'static str,
    reads: fn(&str) -> bool,
) -> Row {
    Row { client, line, path, headers, body: "", status: 200, reads }
}

/// Parses as the client does; panics on a value of another type.
fn parse<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|known| known == value)
}

/// `src/system_req.rs:59`: strict except for absent keys.
#[derive(Deserialize)]
struct RvAnswer {
    requirements: Vec<RvPackage>,
}

#[derive(Deserialize)]
struct RvPackage {
    name: String,
    requirements: RvNeeds,
}

#[derive(Deserialize)]
struct RvNeeds {
    #[serde(default)]
    packages: Vec<String>,
}

fn rv_finds(text: &str, of: &str, expected: &str) -> bool {
    let answer: RvAnswer = parse(text);
    let known: HashMap<String, Vec<String>> = answer
        .requirements
        .into_iter()
        .map(|package| (package.name, package.requirements.packages))
        .collect();
    known.get(of).is_some_and(|packages| has(packages, expected)) && !known.contains_key("plain")
}

/// `crates/uvr-core/src/sysreqs.rs:249`: an absent key is empty, `null` fails.
#[derive(Deserialize)]
struct UvrAnswer {
    #[serde(default)]
    requirements: Vec<UvrRequirement>,
}

#[derive(Deserialize)]
struct UvrRequirement {
    #[serde(default)]
    name: String,
    #[serde(default)]
    requirements: UvrDetail,
}

#[derive(Default, Deserialize)]
struct UvrDetail {
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    pre_install: Vec<UvrCommand>,
    #[serde(default)]
    post_install: Vec<UvrCommand>,
}

#[derive(Deserialize)]
struct UvrCommand {
    #[serde(default)]
    command: String,
}

fn uvr_entry(text: &str, of: &str) -> UvrDetail {
    let answer: UvrAnswer = parse(text);
    assert!(answer.requirements.iter().all(|entry| !entry.name.is_empty()), "{text}");
    let entry = answer.requirements.into_iter().find(|entry| entry.name == of);
    entry.unwrap_or_else(|| panic!("no {of}: {text}")).requirements
}

fn uvr_finds_packages_and_post_install(text: &str) -> bool {
    let (maps, jvm) = (uvr_entry(text, "maps"), uvr_entry(text, "jvm"));
    let after: Vec<&str> = jvm.post_install.iter().map(|action| action.command.as_str()).collect();
    has(&maps.packages, "libgeos-dev") && after == ["R CMD javareconf"]
}

fn uvr_finds_pre_install(text: &str) -> bool {
    let maps = uvr_entry(text, "maps");
    !maps.packages.is_empty() && maps.pre_install.iter().any(|action| !action.command.is_empty())
}

/// The lists at the top and below `key` as remotes and pkgdepends read them: all strings, at any depth.
fn all_texts(text: &str, key: &str, list: &str) -> Vec<String> {
    fn texts(value: &Value, strings: &mut Vec<String>) {
        match value {
            Value::String(text) => strings.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| texts(value, strings)),
            Value::Object(fields) => fields.values().for_each(|value| texts(value, strings)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let answer: Value = parse(text);
    assert!(answer.get("error").is_none(), "remotes stops at any error: {text}");
    let mut strings = Vec::new();
    texts(&answer[list], &mut strings);
    for row in answer[key].as_array().unwrap_or_else(|| panic!("no {key}: {text}")) {
        texts(&row[list], &mut strings);
        texts(&row["requirements"][list], &mut strings);
    }
    strings.sort();
    strings.dedup();
    strings
}

/// `R/vulns.R:108`: one line per package, none of them an error.
fn renv_reads(text: &str) -> bool {
    let rows: Vec<Value> = text.lines().map(parse).collect();
    let of =
        |row: &Value| (row["name"].as_str().map(str::to_owned), row["version"].as_str().map(str::to_owned));
    rows.iter().all(|row| row.get("error").is_none())
        && rows.iter().map(of).collect::<Vec<_>>() == [(Some("maps".to_owned()), Some("1.0".to_owned()))]
}

/// `R/ppm.R:127`: number and day of each row, as strings.
fn old_pak_reads(text: &str) -> bool {
    let rows: Vec<Value> = parse(text);
    let day = |row: &Value| row["published_to"].as_str().and_then(|at| at.get(..10)).map(str::to_owned);
    !rows.is_empty()
        && rows.iter().all(|row| {
            row["id"].is_i64() && day(row).is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok())
        })
}

fn is_list(text: &str) -> bool {
    parse::<Value>(text).is_array()
}

fn names_its_version(text: &str) -> bool {
    parse::<Value>(text)["version"].is_string()
}

/// `osv/ecosystems/cran.py:42`: the listed version, and those of the archive.
fn osv_reads(text: &str) -> bool {
    let package: Value = parse(text);
    let archived = package["archived"].as_array().expect("a list");
    package["version"] == "1.0" && archived.iter().all(|row| row["version"].is_string())
}

const ROWS: &[Row] = &[
    get(
        (RV, RV_HEADERS),
        "src/system_req.rs:159",
        "/__api__/repos/team/sysreqs?all=true&distribution=ubuntu&release=24.04",
        |text| rv_finds(text, "maps", "libgeos-dev"),
    ),
    // src/system_info.rs:213 names the distributions: Rocky Linux as os-release does, SUSE as `sle`.
    get(
        (RV, RV_HEADERS),
        "src/system_req.rs:159",
        "/__api__/repos/team/sysreqs?all=true&distribution=rocky&release=8",
        |text| rv_finds(text, "maps", "geos-devel"),
    ),
    get(
        (RV, RV_HEADERS),
        "src/system_req.rs:159",
        "/__api__/repos/team/sysreqs?all=true&distribution=sle&release=15.6",
        |text| rv_finds(text, "web", "libcurl-devel"),
    ),
    get(
        (UVR, UVR_HEADERS),
        "crates/uvr-core/src/sysreqs.rs:535",
        "/__api__/repos/1/sysreqs?all=true&distribution=ubuntu&release=22.04",
        uvr_finds_packages_and_post_install,
    ),
    get(
        (UVR, UVR_HEADERS),
        "crates/uvr-core/src/sysreqs.rs:240",
        "/__api__/repos/1/sysreqs?all=true&distribution=redhat&release=8",
        uvr_finds_pre_install,
    ),
    Row {
        status: 400,
        ..get(
            (UVR, UVR_HEADERS),
            "crates/uvr-core/src/sysreqs.rs:510",
            "/__api__/repos/1/sysreqs?all=true&distribution=alpine&release=3.20",
            |text| text.contains("Unsupported system"),
        )
    },
    get(
        (REMOTES, CURL),
        "R/system_requirements.R:52",
        "/__api__/repos/1/sysreqs?all=false&pkgname=maps&pkgname=jvm&distribution=ubuntu&release=20.04",
        |text| {
            let scripts = all_texts(text, "requirements", "install_scripts");
            ["libgeos-dev", "default-jdk"]
                .iter()
                .all(|name| has(&scripts, &format!("apt-get install -y {name}")))
        },
    ),
    Row {
        body: "Package: own\nVersion: 0.1\nImports: maps\nSuggests: jvm\n",
        ..get(
            (REMOTES, CURL),
            "R/system_requirements.R:72",
            "/__api__/repos/1/sysreqs?distribution=ubuntu&release=20.04&suggests=true",
            |text| {
                let scripts = all_texts(text, "dependencies", "install_scripts");
                ["libgeos-dev", "default-jdk"]
                    .iter()
                    .all(|name| has(&scripts, &format!("apt-get install -y {name}")))
            },
        )
    },
    Row {
        status: 400,
        ..get(
            (REMOTES, CURL),
            "R/system_requirements.R:61",
            "/__api__/repos/1/sysreqs?all=false&pkgname=maps&distribution=centos&release=6",
            |text| parse::<Value>(text)["error"] == "Unsupported system",
        )
    },
    Row {
        body: "Package: pkgdependssysreqs\nVersion: 1.0.0\nSystemRequirements: \n    GDAL (>= 2.0.1)\n    Java\nNote: \
               and thank you!\n",
        ..get(
            (PAK, PAK_HEADERS),
            "R/sysreqs.R:443",
            "/__api__/repos/1/sysreqs?distribution=ubuntu&release=22.04",
            |text| {
                has(&all_texts(text, "dependencies", "install_scripts"), "apt-get install -y libgdal-dev")
                    && all_texts(text, "dependencies", "post_install") == ["R CMD javareconf"]
                    && all_texts(text, "dependencies", "pre_install").is_empty()
            },
        )
    },
    get((OLD_PAK, CURL), "R/ppm.R:124", "/__api__/sources/1/transactions?_limit=10000", old_pak_reads),
    Row {
        body: r#"{"repo":"team","snapshot":"latest","names":["maps==1.0"],"metadata":true,"vulns":true,
                  "omit_dependencies":true,"omit_downloads":true,"omit_package_details":true}"#,
        ..get((RENV, RENV_HEADERS), "R/vulns.R:105", "/__api__/filter/packages", renv_reads)
    },
    get((RSPMAPI, HTTR2), "R/misc_endpoints.R:9", "/__api__/alerts", is_list),
    get((RSPMAPI, HTTR2), "R/misc_endpoints.R:19", "/__api__/status", names_its_version),
    get(
        (RSPMAPI, HTTR2),
        "R/misc_endpoints.R:35",
        "/__api__/metrics/packages?_sourceType=r&_days=7",
        is_list,
    ),
    get((RSPMAPI, HTTR2), "R/repos.R:8", "/__api__/repos?type=R", is_list),
    get((RSPMAPI, HTTR2), "R/repos.R:23", "/__api__/repos/1/first-transaction", |text| {
        parse::<Value>(text)["date"].is_string()
    }),
    get((RSPMAPI, HTTR2), "R/repos.R:45", "/__api__/repos/1/packages/maps", names_its_version),
    get((RSPMAPI, HTTR2), "R/repos.R:45", "/__api__/repos/1/packages/?name=maps", is_list),
    get((RSPMAPI, HTTR2), "R/repos.R:87", "/__api__/repos/1/sources", is_list),
    get(
        (RSPMAPI, HTTR2),
        "R/repos.R:106",
        "/__api__/repos/1/sysreqs?all=true&distribution=ubuntu&release=22.04",
        |text| parse::<Value>(text)["requirements"].is_array(),
    ),
    get((RSPMAPI, HTTR2), "R/sources.R:7", "/__api__/sources", is_list),
    get((RSPMAPI, HTTR2), "R/sources.R:20", "/__api__/sources/team/packages?_limit=5", is_list),
    get((RSPMAPI, HTTR2), "R/sources.R:40", "/__api__/sources/team/packages/maps/releases", is_list),
    get((RSPMAPI, HTTR2), "R/sources.R:61", "/__api__/sources/1/transactions", is_list),
    get((VIP, PYTHON), "src/vip/clients/packagemanager.py:63", "/__api__/repos", |text| {
        // `auth` states that no repository needs a token.
        let repos: Vec<Value> = parse(text);
        repos.len() == 2 && repos.iter().all(|repo| repo["name"].is_string() && repo["auth"] == false)
    }),
    get((OSV, PYTHON), "osv/ecosystems/cran.py:35", "/__api__/repos/2/packages/alpha", osv_reads),
    Row {
        status: 404,
        ..get((OSV, PYTHON), "osv/ecosystems/cran.py:36", "/__api__/repos/2/packages/nothing", |text| {
            let error: Value = parse(text);
            error["code"] == 4
                && error["error"] == "Package 'nothing' not found"
                && error["payload"].is_null()
        })
    },
];

/// Repository 1 has local packages, repository 2 those of a mirror of CRAN.
fn server() -> Server {
    let rules = data::path("sysreqs").canonicalize().expect("it exists");
    let gcfg = format!("[SystemRequirements]\nURL = file://{}", rules.display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.sync_of("sysreqs").expect("the rules");
    let packages = [
        Tarball::new("maps", "1.0").field("SystemRequirements: GDAL (>= 2.0.1), GEOS"),
        Tarball::new("web", "1.0").field("SystemRequirements: libcurl"),
        Tarball::new("jvm", "1.0").field("SystemRequirements: Java, GNU make"),
        Tarball::new("plain", "1.0"),
    ];
    server.local_repository("team", &packages);
    fixtures::create_mirror(&server.dir().join("no-mirror"));
    server.sync().expect("a mirror");
    server.repository("cran", "cran");
    server
}

#[test]
fn every_recorded_request_gets_an_answer_that_its_client_reads() {
    let server = server();
    for Row { client, line, path, headers, body, status, reads } in ROWS {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let answer = http::request(method, &server.url(path), headers, body.as_bytes());
        let request = format!("{client}, {line}: {method} {path} → {}", answer.status);
        assert_eq!(answer.status, *status, "{request}: {}", answer.text());
        assert_eq!(answer.header("x-repository-type"), Some("RSPM"), "{request}");
        assert!(reads(&answer.text()), "{request}: {}", answer.text());
    }
}
