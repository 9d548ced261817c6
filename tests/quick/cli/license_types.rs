//! Types of licenses: the list, and those of packages in the public API and on their pages.

use serde_json::json;

use super::{add, team};
use crate::support::http;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

#[test]
fn the_list_has_the_identifiers_of_spdx_and_the_types_in_use_with_their_numbers() {
    let server = team();
    assert_eq!(server.rspm_stdout("list license-types --current"), "No packages.\n");
    let all = server.json("list license-types");
    let all = all.as_array().expect("rows");
    assert!(all.contains(&json!({"id": "MIT", "name": "MIT License"})), "{}", all.len());
    assert_eq!(all.last().map(|row| &row["id"]), Some(&json!("Unknown")));
    add(
        &server,
        "team",
        &[
            Tarball::new("alpha", "1.0"),
            Tarball::new("beta", "1.0").field("License: GPL-2 | GPL-3 | file LICENSE"),
            Tarball::new("gamma", "1.0").field("License: GPL (>= 3)"),
            Tarball::new("gamma", "1.1").field("License: MIT + file LICENSE"),
        ],
    );
    server.rspm_stdout("create source --name=other");
    add(&server, "other", &[Tarball::new("alpha", "1.0").field("License: Apache License 2.0")]);
    let expected = "Type           Packages  License\n\
                    Apache-2.0            1  Apache License 2.0\n\
                    GPL-2.0-only          1  GNU General Public License v2.0 only\n\
                    GPL-3.0-only          1  GNU General Public License v3.0 only\n\
                    MIT                   2  MIT License\n\
                    Unknown               1  A license without an identifier of SPDX\n";
    let columns = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(columns(&server.rspm_stdout("list license-types --current")), columns(expected));
}

/// The lines of `POST /filter/packages` for all packages of `prod`.
fn filter(server: &Server, names: &[&str]) -> Vec<serde_json::Value> {
    let body = json!({"repo": "prod", "names": names}).to_string();
    let answer = http::request("POST", &server.url("/__api__/filter/packages"), &[], body.as_bytes());
    answer.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn the_api_and_the_page_of_a_package_have_its_expression() {
    let server = team();
    let (old, new) = ("License: GPL (>= 2) | file LICENSE", "License: GPL-3");
    add(&server, "team", &[Tarball::new("alpha", "1.0").field(old), Tarball::new("alpha", "1.1").field(new)]);
    let package = server.get("/__api__/repos/prod/packages/alpha").json();
    assert_eq!(
        (&package["license"], &package["license_expression"], &package["license_types"]),
        (&json!("GPL-3"), &json!("GPL-3.0-only"), &json!(["GPL-3.0-only"]))
    );
    let rows = server.get("/__api__/repos/prod/packages").json();
    assert_eq!(rows[0]["license_expression"], "GPL-3.0-only");
    let rows = filter(&server, &["alpha==1.0"]);
    assert_eq!(rows[0]["license_types"], json!(["GPL-2.0-or-later", "Unknown"]));
    assert_eq!(rows[0]["licenses"], json!(["GPL (>= 2)", "file LICENSE"]));
    let page = server.get("/prod/latest/web/packages/alpha/?version=1.0").text();
    assert!(page.contains("GPL-2.0-or-later OR LicenseRef-Unknown"), "{page}");
}
