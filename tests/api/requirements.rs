//! System requirements of packages, as remotes, pak, rv, uvr and others request them.

use serde_json::{Value, json};

use crate::support::data;
use crate::support::http::{self, Answer};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// A server with the rules of the test data and a few packages.
fn server() -> Server {
    let rules = data::path("sysreqs");
    let rules = rules.canonicalize().expect("it exists");
    let server =
        Builder::default().gcfg(&format!("[SystemRequirements]\nURL = file://{}", rules.display())).start();
    let count = data::files(&rules.join("rules"), ".json").len();
    let message = server.sync_of("sysreqs").expect("the rules");
    assert!(message.contains(&format!("{count} rules for system requirements are in use now")), "{message}");
    let packages = [
        Tarball::new("app", "1.0").field("Imports: maps, plain, elsewhere").field("Suggests: jvm"),
        Tarball::new("maps", "1.0")
            .field("SystemRequirements: GDAL (>= 2.0.1),\n        GEOS")
            .field("LinkingTo: web"),
        Tarball::new("web", "1.0").field("SystemRequirements: libcurl: libcurl4-openssl-dev"),
        Tarball::new("jvm", "1.0").field("SystemRequirements: Java, GNU make"),
        Tarball::new("plain", "1.0"),
    ];
    server.local_repository("team", &packages);
    server
}

const JAMMY: &str = "distribution=ubuntu&release=22.04";

fn get(server: &Server, query: &str) -> Value {
    let answer = server.get(&format!("/__api__/repos/team/sysreqs?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

fn names(answer: &Value) -> String {
    let rows = answer["requirements"].as_array().expect("a list");
    rows.iter().map(|row| row["name"].as_str().expect("a name")).collect::<Vec<_>>().join(" ")
}

fn post(server: &Server, query: &str, body: &str) -> Answer {
    // As curl --data-binary sends it.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    http::request(
        "POST",
        &server.url(&format!("/__api__/repos/team/sysreqs?{query}")),
        &form,
        body.as_bytes(),
    )
}

#[test]
fn named_packages_include_all_their_dependencies() {
    let server = server();
    assert_eq!(names(&get(&server, &format!("all=false&pkgname=app&{JAMMY}"))), "maps web");
    assert_eq!(names(&get(&server, &format!("pkgname=web&pkgname=jvm&{JAMMY}"))), "jvm web");
    assert_eq!(names(&get(&server, &format!("pkgname=web,jvm,nothing&{JAMMY}"))), "jvm web");
    assert_eq!(get(&server, &format!("pkgname=plain&{JAMMY}"))["requirements"], json!([]));
    let maps = &get(&server, &format!("pkgname=maps&{JAMMY}"))["requirements"][0];
    assert_eq!(
        maps["requirements"],
        json!({
            "packages": ["libgdal-dev", "gdal-bin", "libgeos-dev"],
            "install_scripts":
                ["apt-get install -y libgdal-dev", "apt-get install -y gdal-bin", "apt-get install -y libgeos-dev"],
            "pre_install": [], "post_install": []
        })
    );
}

#[test]
fn a_whole_repository_is_one_answer() {
    let server = server();
    let all = get(&server, &format!("all=true&{JAMMY}"));
    assert_eq!(names(&all), "jvm maps web");
    let scripts = all["install_scripts"].as_array().expect("a list");
    assert!(scripts.contains(&json!("apt-get install -y default-jdk")), "{scripts:?}");
    assert_eq!(all["post_install"], json!([{ "command": "R CMD javareconf" }]));
    // The text of `web` matches the rule of openssl too.
    assert_eq!(
        all["requirements"][2]["requirements"]["packages"],
        json!(["libcurl4-openssl-dev", "libssl-dev"])
    );
}

#[test]
fn a_description_is_answered_with_the_requirements_of_it_and_its_dependencies() {
    let server = server();
    let description =
        "Package: mine\nVersion: 0.1\nImports: web, R6\nSuggests: jvm\nSystemRequirements: pandoc\n";
    let answer = post(&server, &format!("{JAMMY}&suggests=true"), description).json();
    let dependency_names = |answer: &Value| {
        let rows = answer["dependencies"].as_array().expect("a list").clone();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(dependency_names(&answer), "mine jvm web");
    assert_eq!(answer["dependencies"][0]["install_scripts"], json!(["apt-get install -y pandoc"]));
    assert!(
        answer["install_scripts"]
            .as_array()
            .expect("a list")
            .contains(&json!("apt-get install -y libssl-dev"))
    );
    assert_eq!(
        (&answer["pre_install"], answer["post_install"].as_array().map(Vec::len)),
        (&json!([]), Some(1))
    );
    assert_eq!(
        dependency_names(&post(&server, JAMMY, description).json()),
        "mine web",
        "suggested packages only on request"
    );
    // pkgdepends sends only the field `SystemRequirements`.
    let answer = post(&server, JAMMY, "SystemRequirements: java\n").json();
    assert_eq!(answer["install_scripts"], json!(["apt-get install -y default-jdk"]));
    // A package in the body replaces the one in the repository.
    let answer = post(&server, JAMMY, "Package: web\nImports: app\nSystemRequirements: pandoc\n").json();
    assert_eq!(dependency_names(&answer), "web maps");
    for bad in ["", "<html></html>", "no field"] {
        let answer = post(&server, JAMMY, bad);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(1)), "{bad}: {}", answer.text());
    }
    assert_eq!(
        post(&server, JAMMY, &format!("Package: a\nDescription: {}\n", "x".repeat(1 << 20))).status,
        413
    );
}

#[test]
fn one_package_is_described_rule_by_rule() {
    let server = server();
    let answer =
        server.get("/__api__/repos/team/packages/maps/sysreqs?distribution=rockylinux&release=8").json();
    assert_eq!(answer["name"], "maps");
    assert_eq!(
        answer["source_files"],
        json!(["gdal.json", "geos.json", "libcurl.json", "openssl.json"]),
        "its own rules first"
    );
    let gdal = &answer["dependencies"][0];
    assert_eq!(
        (&gdal["name"], &gdal["packages"]),
        (&json!("gdal"), &json!(["gdal-devel", "gdal", "sqlite-devel"]))
    );
    assert_eq!(gdal["install_scripts"][0], "dnf install -y gdal-devel");
    assert!(gdal["pre_install"][0]["command"].as_str().unwrap().starts_with("dnf install"), "{gdal}");
    assert_eq!(server.get(&format!("/__api__/repos/team/packages/nothing/sysreqs?{JAMMY}")).status, 404);
}

#[test]
fn systems_have_the_names_that_clients_send() {
    let server = server();
    let same = |a: &str, b: &str| {
        let answer = |query: &str| get(&server, &format!("all=true&{query}"));
        assert_eq!(answer(a), answer(b), "{a} {b}");
    };
    same("distribution=rockylinux&release=8", "distribution=centos&release=8");
    same("distribution=almalinux&release=8.10", "distribution=centos&release=8");
    same("distribution=almalinux&release=9.4", "distribution=rockylinux&release=9");
    same("distribution=rhel&release=9.4", "distribution=redhat&release=9");
    same("distribution=Ubuntu&release=jammy", JAMMY);
    same("distribution=debian&release=12.7", "distribution=debian&release=12");
    same("distribution=sles&release=15.6", "distribution=sle&release=15.6");
    // Of all rows, exactly those with `sysReqs` are supported.
    for row in server.get("/__api__/status").json()["distros"].as_array().expect("rows") {
        let (distribution, release) =
            (row["distribution"].as_str().unwrap(), row["release"].as_str().unwrap());
        let answer = server.get(&format!(
            "/__api__/repos/team/sysreqs?all=true&distribution={distribution}&release={release}"
        ));
        // manylinux identifies itself as CentOS 8, which is supported.
        let expected = row["sysReqs"] == true || row["name"] == "manylinux_2_28";
        assert_eq!(answer.status == 200, expected, "{row}: {}", answer.text());
    }
}

#[test]
fn an_unknown_system_has_its_own_error_code() {
    let server = server();
    for (distribution, release) in
        [("fedora", "41"), ("alpine", "3.20"), ("foobar", "11"), ("ubuntu", "7.04")]
    {
        let query = format!("distribution={distribution}&release={release}");
        for answer in [
            server.get(&format!("/__api__/repos/team/sysreqs?all=true&{query}")),
            server.get(&format!("/__api__/repos/team/packages/app/sysreqs?{query}")),
            post(&server, &query, "Package: a\n"),
        ] {
            let error = answer.json();
            assert_eq!(
                (answer.status, &error["code"], &error["error"]),
                (400, &json!(14), &json!("Unsupported system"))
            );
            assert!(error["payload"]["known"].as_array().expect("a list").contains(&json!("ubuntu 22.04")));
        }
    }
    for (query, word) in [
        ("all=true&release=22.04", "distribution"),
        ("all=true&distribution=ubuntu", "release"),
        (JAMMY, "pkgname"),
    ] {
        let answer = server.get(&format!("/__api__/repos/team/sysreqs?{query}"));
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(1)), "{query}");
        assert!(answer.text().contains(word), "{query}: {}", answer.text());
    }
    assert_eq!(server.get(&format!("/__api__/repos/unknown/sysreqs?all=true&{JAMMY}")).status, 404);
}

#[test]
fn requirements_of_packages_of_a_mirror_are_known_once_their_files_are_fetched() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut mirror = crate::support::mirror_dir::MirrorDir::new(dir.path().join("mirror"));
    let web = Tarball::new("web", "1.0").field("SystemRequirements: libcurl: libcurl4-openssl-dev");
    for tarball in
        [web, Tarball::new("plain", "1.0"), Tarball::new("far", "1.0").field("SystemRequirements: GDAL")]
    {
        mirror.publish(&tarball, "2026-01-01");
    }
    mirror.write();
    // A mirror's index does not have the field.
    let index = mirror.root.join("src/contrib/PACKAGES");
    let text = std::fs::read_to_string(&index).expect("an index");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("SystemRequirements")).collect();
    std::fs::write(&index, lines.join("\n") + "\n").expect("written");
    let rules = data::path("sysreqs").canonicalize().expect("it exists");
    let gcfg =
        format!("[CRAN]\nURL = {}\n[SystemRequirements]\nURL = file://{}", mirror.url(), rules.display());
    let server = Builder::default().gcfg(&gcfg).start();
    server.sync_of("cran").expect("a sync");
    server.call("POST", "/repos", &json!({ "name": "team" }));
    server.call("POST", "/repos/team/sources", &json!({ "source": "cran" }));
    let message = server.sync_of("sysreqs").expect("the rules");
    assert!(message.contains("; 3 packages have not been fetched yet"), "{message}");
    let requirements = || get(&server, &format!("pkgname=web&pkgname=plain&{JAMMY}"));
    let before = requirements();
    assert_eq!((names(&before), &before["unknown_count"]), (String::new(), &json!(2)));
    assert_eq!(before["unknown"], json!(["plain", "web"]));
    for package in ["web", "plain"] {
        assert_eq!(server.get(&format!("/team/latest/src/contrib/{package}_1.0.tar.gz")).status, 200);
    }
    // Rows are written shortly after the last byte.
    let start = std::time::Instant::now();
    let mut after = requirements();
    while after.get("unknown").is_some() && start.elapsed() < std::time::Duration::from_secs(90) {
        std::thread::sleep(std::time::Duration::from_millis(20));
        after = requirements();
    }
    assert_eq!(
        (names(&after), after.get("unknown")),
        ("web".to_owned(), None),
        "it is known that plain needs nothing"
    );
    let all = get(&server, &format!("all=true&{JAMMY}"));
    assert_eq!((names(&all), &all["unknown"]), ("web".to_owned(), &json!(["far"])));
    let one = server.get(&format!("/__api__/repos/team/packages/far/sysreqs?{JAMMY}")).json();
    assert_eq!((&one["dependencies"], &one["unknown"]), (&json!([]), &json!(["far"])));
    let body = post(&server, JAMMY, "Package: mine\nVersion: 1\nImports: far, web\n").json();
    assert_eq!(body["unknown"], json!(["far"]));
    let message = server.sync_of("sysreqs").expect("the rules");
    assert!(message.contains("; 1 package has not been fetched yet"), "{message}");
}
