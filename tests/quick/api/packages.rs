//! Packages: searched, sorted and paged lists; all fields of one package; releases.

use serde_json::{Value, json};

use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn server() -> Server {
    let server = Server::start();
    let packages = [
        Tarball::new("alpha", "1.9").field("Date: 2020-01-02"),
        Tarball::new("Beta", "0.1").with("README.md", "# Beta\n\nIt *is*."),
        Tarball::new("gamma", "2.0").field("Imports: alpha (>= 1.0), stats").field("Collate: f.R"),
        Tarball::new("alpha", "1.10"),
    ];
    server.local_repository("team", &packages);
    server
}

fn names(answer: &Value) -> String {
    let rows = answer.as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    rows.iter().map(|row| row["name"].as_str().expect("a name")).collect::<Vec<_>>().join(" ")
}

#[test]
fn lists_are_searched_sorted_and_paged() {
    let server = server();
    let list = |query: &str| names(&server.get(&format!("/__api__/repos/team/packages?{query}")).json());
    assert_eq!(list(""), "alpha Beta gamma");
    assert_eq!(list("_order=desc"), "gamma Beta alpha");
    assert_eq!(list("_sort=version"), "Beta alpha gamma");
    assert_eq!(list("_sort=version&_order=DESC&_limit=1&_page=2"), "alpha");
    assert_eq!(list("_sort=date_publication&_order=desc&_limit=1"), "alpha", "published last");
    assert_eq!(list("name_search=ET"), "Beta");
    assert_eq!(list("name_like=%25a%25&exact_first=true"), "alpha Beta gamma");
    assert_eq!(list("name_search=gamma&exact_first"), "gamma");
    assert_eq!((list("name=alpha"), list("name=Alpha")), ("alpha".to_owned(), String::new()));
    assert_eq!(list("_limit=2&_page=2"), "gamma");
    assert_eq!(list("_limit=0"), "");
    assert_eq!(
        list("bioc_version=3.22"),
        "alpha Beta gamma",
        "only repositories of Bioconductor have versions"
    );
    let of_source = names(&server.get("/__api__/sources/team/packages?_sort=name&_order=desc").json());
    assert_eq!(of_source, "gamma Beta alpha");
    let row = server.get("/__api__/repos/team/packages?name=gamma").json();
    assert_eq!((&row[0]["title"], &row[0]["imports"]), (&json!("A Test"), &json!("alpha (>= 1.0), stats")));
    assert!(row[0].get("links").is_none() && row[0].get("archived").is_none(), "{row}");
    for bad in ["_sort=colour", "_order=up", "_limit=many", "bioc_version=new", "bioc_version=3"] {
        let answer = server.get(&format!("/__api__/repos/team/packages?{bad}"));
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(1)), "{bad}: {}", answer.text());
    }
    assert_eq!(server.get("/__api__/repos/team/packages/alpha?bioc_version=x").status, 400);
}

#[test]
fn a_package_has_every_field_that_clients_read() {
    let server = server();
    let gamma = server.get("/__api__/repos/team/packages/gamma").json();
    let repo = server.get("/__api__/repos/team").json();
    assert_eq!((&gamma["repo_id"], &gamma["collate"]), (&repo["id"], &json!("f.R")));
    for (field, value) in [
        ("id", json!(0)),
        ("source_type", json!("")),
        ("source", json!("team")),
        ("repo_type", json!("R")),
        ("repository", json!("RSPM")),
        ("tran_archive", json!(null)),
        ("type", json!("")),
        ("package_date", json!(null)),
        ("needs_compilation", json!(null)),
        ("system_requirements", json!(null)),
        ("installed", json!(false)),
        ("path", json!(null)),
        ("r_dep", json!(null)),
        ("os_type", json!(null)),
        ("readme", json!(null)),
        ("releases", json!(null)),
        ("last_serial", json!(0)),
        ("downloads", json!({ "count": 0 })),
        ("ash", json!("")),
        ("blocked", json!(false)),
        ("vulns", json!([])),
        ("is_archived", json!(false)),
        ("archived", json!([])),
    ] {
        assert_eq!(gamma.get(field), Some(&value), "{field}: {gamma}");
    }
    assert!(gamma["tran_create"].is_i64() && gamma["binary_record"]["arch"] == "", "{gamma}");
    assert!(gamma["package_size"].as_i64() > Some(0) && gamma["checksum"].as_str().map(str::len) == Some(64));
    let link = |name: &str| {
        let links = gamma["links"].as_array().expect("links").clone();
        links.into_iter().find(|link| link["name"] == name).expect(name)
    };
    assert_eq!((&link("alpha")["linked_to"], &link("stats")["linked_to"]), (&json!("alpha"), &json!(null)));
    let beta = server.get("/__api__/repos/team/packages/Beta").json();
    assert_eq!((&beta["readme"], &beta["readme_data"]), (&json!("md"), &json!("# Beta\n\nIt *is*.")));
}

#[test]
fn archived_versions_have_date_and_license_and_can_be_requested() {
    let server = server();
    let alpha = server.get("/__api__/repos/team/packages/alpha").json();
    let old = &alpha["archived"][0];
    assert_eq!((&old["version"], &old["package_date"]), (&json!("1.9"), &json!("2020-01-02")));
    assert_eq!((&old["license"], &old["blocked"], &old["vulns"]), (&json!("MIT"), &json!(false), &json!([])));
    let release = server.get("/__api__/repos/team/packages/alpha?version=1.9").json();
    assert_eq!((&release["version"], &release["is_archived"]), (&json!("1.9"), &json!(true)));
    assert_eq!((&release["package_date"], &release["title"]), (&json!("2020-01-02"), &json!("A Test")));
    assert_eq!(release["checksum"].as_str().map(str::len), Some(64), "not an empty record");
    let none = server.get("/__api__/repos/team/packages/alpha?version=7.0");
    assert_eq!((none.status, &none.json()["code"]), (404, &json!(4)));
    assert_eq!(none.json()["error"], "Package 'alpha' not found");
}

#[test]
fn a_source_lists_the_releases_of_a_package() {
    let server = server();
    let releases = server.get("/__api__/sources/team/packages/alpha/releases").json();
    let versions: Vec<_> = releases
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["version"].as_str().unwrap(), row["is_archived"].as_bool().unwrap()))
        .collect();
    assert_eq!(versions, [("1.10", false), ("1.9", true)]);
    assert!(releases[1]["date_publication"].is_string() && releases[1]["package_size"].as_i64() > Some(0));
    for missing in
        ["/__api__/sources/team/packages/nothing/releases", "/__api__/sources/99/packages/alpha/releases"]
    {
        assert_eq!(server.get(missing).status, 404, "{missing}");
    }
}

#[test]
fn days_are_listed_in_the_requested_order() {
    let server = server();
    let aliases = |query: &str| {
        let rows = server.get(&format!("/__api__/repos/team/transaction-dates?{query}")).json();
        rows.as_array()
            .expect("a list")
            .iter()
            .map(|row| row["alias"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let newest_first = aliases("");
    assert_eq!((newest_first.len(), newest_first[0].as_str()), (2, "latest"));
    let mut oldest_first = aliases("_sort=date&_order=asc");
    oldest_first.reverse();
    assert_eq!(oldest_first, newest_first);
    assert_eq!(server.get("/__api__/repos/team/transaction-dates?_sort=colour").status, 400);
}

#[test]
fn a_fetched_package_of_a_mirror_has_the_details_from_its_archive() {
    let server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/mirror").start();
    let contrib = server.dir().join("mirror/src/contrib");
    std::fs::create_dir_all(&contrib).expect("a directory");
    let mut index = String::new();
    for package in [
        Tarball::new("alpha", "1.0").with("README.md", "# Alpha").field("SystemRequirements: zlib"),
        Tarball::new("beta", "1.0"),
    ] {
        std::fs::write(contrib.join(package.file()), package.bytes()).expect("written");
        index.push_str(&format!("Package: {}\nVersion: 1.0\n\n", package.package));
    }
    std::fs::write(contrib.join("PACKAGES"), index).expect("written");
    server.sync().expect("a mirror");
    server.repository("team", "cran");
    let detail = |name: &str| server.get(&format!("/__api__/repos/team/packages/{name}")).json();
    assert_eq!((&detail("alpha")["title"], &detail("alpha")["readme"]), (&json!(null), &json!(null)));
    let fetch = |name: &str| server.get(&format!("/team/latest/src/contrib/{name}_1.0.tar.gz")).status;
    assert_eq!((fetch("alpha"), fetch("beta")), (200, 200));
    // The client has all bytes before the file is recorded.
    for name in ["alpha", "beta"] {
        until("the archive is read", || detail(name)["title"] == "A Test");
    }
    let alpha = detail("alpha");
    assert_eq!((&alpha["title"], &alpha["readme_data"]), (&json!("A Test"), &json!("# Alpha")));
    assert_eq!(alpha["system_requirements"], "zlib");
    // A package without a README has its details too, on every request.
    for _ in 0..2 {
        assert_eq!((&detail("beta")["title"], &detail("beta")["readme"]), (&json!("A Test"), &json!(null)));
    }
    let releases = server.get("/__api__/sources/cran/packages/alpha/releases").json();
    assert_eq!(releases[0]["checksum"].as_str().map(str::len), Some(64));
}
