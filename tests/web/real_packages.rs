//! Pages of the packages of the test mirror, with their own READMEs, NEWS and licences, in a browser that cannot resolve
//! any name.

use serde_json::json;

use super::{appearance, document};
use crate::support::chromium::Chromium;
use crate::support::data;
use crate::support::fixtures::until;
use crate::support::server::Builder;

#[test]
fn texts_of_real_packages_are_valid_load_nothing_and_cause_no_message() {
    let mirror = format!("[CRAN]\nURL = file://{}", data::path("cran-mirror").display());
    let server = Builder::default().gcfg(&mirror).start();
    server.rspm_stdout("create repo --name=cran");
    server.rspm_stdout("subscribe --repo=cran --source=cran");
    server.rspm_stdout("sync --quiet");
    let chromium = Chromium::start();
    chromium.resize(360, 900);
    let listed = data::cran().listed;
    assert!(listed.len() > 50, "{listed:?}");
    let mut pages = Vec::new();
    for file in &listed {
        assert_eq!(server.get(&format!("/cran/latest/src/contrib/{file}")).status, 200, "{file}");
        let name = file.split('_').next().expect("a name");
        // The row of a fetched file is written after its last byte was sent.
        let files = format!("/cran/latest/web/packages/{name}/files/");
        until(&files, || server.get(&files).status == 200);
        for page in ["", "news/", "license/", "files/", "files/DESCRIPTION"] {
            let path = format!("/cran/latest/web/packages/{name}/{page}");
            let answer = server.get(&path);
            if answer.status == 404 && ["news/", "license/"].contains(&page) {
                continue;
            }
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            document::page(&answer, &path);
            chromium.open(&server.url(&path));
            let wide = "const root = document.documentElement; return root.scrollWidth > root.clientWidth;";
            assert_eq!(chromium.run(wide, &[]), json!(false), "{path} is wider than the window");
            assert_eq!(chromium.messages(), Vec::<String>::new(), "{path}");
            pages.push((path, answer.text()));
        }
    }
    assert!(pages.len() > 200, "{} pages", pages.len());
    // Rules about the style of texts that the authors of packages wrote.
    let style = json!({ "no-trailing-whitespace": "off", "valid-id": ["error", { "relaxed": true }] });
    appearance::assert_valid(pages, &style);
}
