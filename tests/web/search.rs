//! Searches for packages by what they do.

use super::document;
use crate::support::data;
use crate::support::fixtures::until;
use crate::support::python::package::{Package, add, repository};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// The packages that a page lists, in its order.
fn found(server: &Server, path: &str) -> Vec<String> {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    document::page(&answer, path);
    let html = answer.text();
    let Some((_, rows)) = html.split_once("<tbody>") else { return Vec::new() };
    let rows = rows.split("</tbody>").next().expect("its end");
    let name =
        |row: &str| row.split_once("</a>").and_then(|(link, _)| link.rsplit('>').next().map(str::to_owned));
    rows.split("<tr>").skip(1).filter_map(name).collect()
}

fn until_found(server: &Server, path: &str, names: &[&str]) {
    until(path, || found(server, path) == names);
}

fn package(name: &str, title: &str, description: &str) -> Tarball {
    // The first fields of a DESCRIPTION count.
    Tarball::new(name, "1.0").field(&format!("Title: {title}")).field(&format!("Description: {description}"))
}

#[test]
fn packages_are_found_by_words_of_title_description_and_people_best_first() {
    let server = Server::start();
    server.local_repository(
        "team",
        &[
            package("alpha", "Random Forests", "Grows trees.").field("biocViews: Clustering"),
            package("beta", "Tables", "Tables of forests.").field("Author: Wanda Ranger [aut]"),
            package("forest", "Woods", "Nothing else."),
        ],
    );
    let list = "/team/latest/web/packages/";
    until_found(&server, &format!("{list}?q=forests"), &["forest", "alpha", "beta"]);
    assert_eq!(found(&server, &format!("{list}?q=forest")), ["forest", "alpha", "beta"]);
    assert_eq!(found(&server, &format!("{list}?q=growing+tree")), ["alpha"]);
    assert_eq!(found(&server, &format!("{list}?q=clustering")), ["alpha"]);
    assert_eq!(found(&server, &format!("{list}?q=wanda")), ["beta"]);
    assert_eq!(found(&server, "/?q=random+forests"), ["alpha"]);
    assert_eq!(found(&server, &format!("{list}?q=forest&sort=name&order=desc")), ["forest", "beta", "alpha"]);
    let page = server.get(&format!("{list}?q=rand")).text();
    assert!(page.contains("<mark>Random</mark> Forests") && page.contains("1 package for “rand”"), "{page}");
    let json = server.get("/__api__/repos/team/packages?search=forest").json();
    let names: Vec<&str> =
        json.as_array().expect("rows").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["forest", "alpha", "beta"]);
    let by_name = server.get("/__api__/repos/team/packages?name_search=forest").json();
    assert_eq!(by_name.as_array().expect("rows").len(), 1, "{by_name}");
    let sheet = server.get(&format!("{list}?q=trees&format=csv")).text();
    assert!(sheet.contains("alpha,") && !sheet.contains("beta,"), "{sheet}");
}

#[test]
fn a_changed_package_is_found_by_its_new_texts_only_also_after_a_restart() {
    let mut server = Server::start();
    server.local_repository(
        "team",
        &[package("alpha", "Bears", "Brown ones."), package("beta", "Wolves", "Grey.")],
    );
    let list = "/team/latest/web/packages/";
    until_found(&server, &format!("{list}?q=bears"), &["alpha"]);
    let changed = Tarball::new("alpha", "1.1").field("Title: Foxes").field("Description: Red ones.");
    server.add("team", &changed);
    until_found(&server, &format!("{list}?q=foxes"), &["alpha"]);
    assert_eq!(found(&server, &format!("{list}?q=bears")), [""; 0]);
    server.rspm_stdout("remove package --source=team --name=beta@all");
    until_found(&server, &format!("{list}?q=wolves"), &[]);
    server.restart();
    until_found(&server, &format!("{list}?q=foxes"), &["alpha"]);
    let files = std::fs::read_dir(server.dir().join("data")).expect("the data directory");
    let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    assert!(!names.collect::<Vec<_>>().iter().any(|name| name.contains("search")), "the file has no name");
}

#[test]
fn a_search_finds_nothing_that_the_client_or_the_repository_does_not_have() {
    let server = Server::start();
    server.local_repository(
        "team",
        &[
            package("alpha", "Secret bears", "x"),
            package("beta", "Blocked bears", "x"),
            package("gamma", "Bears", "x"),
        ],
    );
    server.local_repository("closed", &[package("delta", "Private bears", "x")]);
    server.rspm_stdout("edit repo --name=closed --authenticated=true");
    server.local_repository("unlisted", &[package("epsilon", "Hidden bears", "x")]);
    server.rspm_stdout("edit repo --name=unlisted --hide=true");
    server.rspm_stdout("create blocklist-rule --package-name=beta --description=unwanted");
    let list = "/team/latest/web/packages/?q=bears";
    until(list, || found(&server, list).len() == 2);
    assert_eq!(found(&server, "/?q=bears"), found(&server, list));
    until_found(&server, "/unlisted/latest/web/packages/?q=bears", &["epsilon"]);
    for path in ["/?q=bears", list, "/?q=delt", "/?q=epsilom", "/__api__/repos/team/packages?search=bears"] {
        let text = server.get(path).text();
        for name in ["beta", "delta", "epsilon", "Private", "Hidden", "Blocked", "closed", "unlisted"] {
            assert!(!text.contains(name), "{path} has {name}: {text}");
        }
    }
    assert_eq!(server.get("/closed/latest/web/packages/?q=bears").status, 401);
    assert!(server.get(list).text().contains("2 packages for “bears”"));
}

#[test]
fn similar_names_are_proposed_if_nothing_is_found() {
    let server = super::server();
    for path in ["/team/latest/web/packages/?q=alhpa", "/?q=alhpa"] {
        let page = server.get(path);
        document::page(&page, path);
        let text = page.text();
        assert!(
            text.contains("Did you mean <a href=") && text.contains("web/packages/alpha/\">alpha</a>"),
            "{text}"
        );
    }
    assert!(!server.get("/?q=zzzzzz").text().contains("Did you mean"));
}

#[test]
fn hostile_searches_are_words_and_never_an_error() {
    let server = super::server();
    for query in [
        "%22%20OR%20*",
        "%22",
        "*",
        "NEAR(a%20b)",
        "title:alpha",
        "^alpha",
        "-alpha",
        "(((",
        "%27;--",
        "%E2%80%AEalpha",
        "%3Cmark%3Ealpha",
        "%F0%9F%A6%80",
    ] {
        for path in ["/?q=", "/team/latest/web/packages/?q=", "/team/latest/web/packages/?format=html&q="] {
            let path = format!("{path}{query}");
            let answer = server.get(&path);
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            document::page(&answer, &path);
        }
        for path in ["/team/latest/web/packages/?format=csv&q=", "/__api__/repos/team/packages?search="] {
            let path = format!("{path}{query}");
            assert_eq!(server.get(&path).status, 200, "{path}");
        }
    }
    assert_eq!(server.get("/?q=%00").status, 400, "no address has control characters");
    let long = "alpha%22".repeat(200);
    assert_eq!(server.get(&format!("/?q={long}")).status, 200);
}

#[test]
fn python_projects_are_found_by_their_summary() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    let list = "/py/latest/web/packages/?q=test";
    until_found(&server, list, &["Odd.Lib"]);
    assert_eq!(found(&server, "/?q=more+test"), ["Odd.Lib"]);
    assert_eq!(found(&server, "/?q=more+absent"), [""; 0]);
}

#[test]
fn the_packages_of_a_mirror_are_found_by_each_word_of_their_titles() {
    let mirror = format!("[CRAN]\nURL = file://{}", data::path("cran-mirror").display());
    let server = Builder::default().gcfg(&mirror).start();
    server.rspm_stdout("create repo --name=cran");
    server.rspm_stdout("subscribe --repo=cran --source=cran");
    server.rspm_stdout("sync --quiet");
    // The details of a package are known once its archive was read.
    let name = "cli";
    let page = format!("/cran/latest/web/packages/{name}/");
    let file =
        data::cran().listed.into_iter().find(|file| file.starts_with("cli_")).expect("the package cli");
    assert_eq!(server.get(&format!("/cran/latest/src/contrib/{file}")).status, 200);
    until(&page, || server.get(&page).text().contains("command line"));
    let list = "/cran/latest/web/packages/?q=command+line";
    until(list, || found(&server, list).iter().any(|found| found == name));
    assert!(
        !found(&server, "/cran/latest/web/packages/?q=command+absentword").iter().any(|found| found == name)
    );
}
