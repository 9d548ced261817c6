//! Every page, and every address of sign-in, has a row in the table of addresses and clients. The OpenAPI documents do not
//! list them, so their addresses are read from the doc comments of the routes.

use super::matrix::ADDRESSES;

/// The addresses in the doc comments of the variants of an enum: the first text in backticks, below `prefix`.
fn documented(file: &str, name: &str, prefix: &str) -> Vec<String> {
    let path = format!("{}/src/http/route/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the source");
    let start = text.find(&format!("pub enum {name} {{")).unwrap_or_else(|| panic!("{path} has no {name}"));
    let variants = text[start..].split("\n}").next().expect("the enum");
    // The first line of each comment.
    let lines: Vec<&str> = variants.lines().collect();
    let comments = lines.windows(2).filter(|pair| !pair[0].starts_with("    ///")).map(|pair| pair[1]);
    let addresses = comments.filter_map(|line| line.strip_prefix("    /// `"));
    let addresses = addresses.filter_map(|rest| Some(rest.split_once('`')?.0)).map(|address| {
        let (method, path) = address.split_once(' ').unwrap_or(("", address));
        let path = path.split('?').next().unwrap_or_default();
        let path =
            path.replace("[/{snapshot}]", "").replace("{snapshot}", "latest").replace("{repo}", "private");
        let path = path.replace("{path}", "DESCRIPTION").replace("{file}", "ui.0000000000000000.css");
        let path = path.replace("/package={name}", "/package=alpha");
        format!("{method} {prefix}{path}").trim_start().to_owned()
    });
    // Other enums have these addresses.
    addresses.filter(|address| !address.contains('…')).collect()
}

#[test]
fn every_page_and_address_of_sign_in_has_a_row() {
    let mut addresses = documented("mod.rs", "Route", "");
    let pages = documented("web.rs", "WebPath", "/private/latest/web/");
    addresses.extend(pages.iter().map(|page| page.replace("{name}", "alpha")));
    addresses.extend(documented("web.rs", "PackagePage", "/private/latest/web/packages/alpha/"));
    let pages = documented("administration.rs", "AdministrationPage", "/__ui__/admin/");
    addresses.extend(pages.iter().map(|page| page.replace("{name}", "private")));
    addresses.extend(documented("login.rs", "LoginRoute", ""));
    for known in [
        "/private",
        "/private/latest/web/changes/",
        "/private/latest/web/packages/alpha/news/",
        "/__ui__/admin/tokens/",
        "POST /__logout__",
    ] {
        assert!(addresses.iter().any(|address| address == known), "{known}: {addresses:#?}");
    }
    let has_row = |address: &String| {
        ADDRESSES.iter().any(|(method, path, _)| address == path || *address == format!("{method} {path}"))
    };
    let missing: Vec<&String> = addresses.iter().filter(|address| !has_row(address)).collect();
    assert!(missing.is_empty(), "addresses without a row in tests/access/matrix.rs: {missing:#?}");
}
