//! Pictures of the main pages: `make screenshots` writes those of the README to `docs/images/`, and all of them, in both
//! schemes and two widths, to the folder `RSPM_SCREENSHOTS`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::administration;
use crate::support::chromium::Chromium;
use crate::support::data;
use crate::support::fixtures::until;
use crate::support::server::Builder;

/// Name and path of each page.
const PAGES: [(&str, &str); 10] = [
    ("home", "/"),
    ("repository", "/cran/latest/"),
    ("packages", "/cran/latest/web/packages/"),
    ("package", "/cran/latest/web/packages/cli/"),
    ("versions", "/cran/latest/web/packages/cli/versions/"),
    ("history", "/cran/latest/web/packages/cli/history/"),
    ("changes", "/cran/latest/web/changes/"),
    ("downloads", "/cran/latest/web/packages/cli/downloads/"),
    ("why", "/cran/latest/web/packages/cli/why/?platform=noble&agent=R+%284.4.1%29"),
    ("lockfile", "/cran/latest/web/lockfile/"),
];
/// Those of administrators.
const ADMINISTRATION: [(&str, &str); 7] = [
    ("admin-health", "/__ui__/admin/health/"),
    ("admin-sources", "/__ui__/admin/sources/"),
    ("admin-repository", "/__ui__/admin/repositories/cran/"),
    ("admin-jobs", "/__ui__/admin/jobs/"),
    ("admin-storage", "/__ui__/admin/storage/"),
    ("admin-rules", "/__ui__/admin/rules/"),
    ("admin-tokens", "/__ui__/admin/tokens/"),
];
/// Those in the README, in the light scheme at 1280 pixels.
const README: [&str; 2] = ["repository", "package"];
/// Maximum size of a picture of the README, in bytes.
const MAX_SIZE: usize = 200_000;

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images")
}

/// Width and height of a PNG (RFC 2083, section 4.1.1).
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "not a PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

#[test]
fn pictures_of_the_main_pages_are_taken() {
    let mirror = format!("[CRAN]\nURL = file://{}", data::path("cran-mirror").display());
    let server = Builder::default().gcfg(&mirror).start();
    server.rspm_stdout("create repo --name=cran");
    server.rspm_stdout("subscribe --repo=cran --source=cran");
    server.rspm_stdout("sync --quiet");
    server.rspm_stdout("backfill --since=2015-01-01 --rate=1000");
    // The page of a package has the title and the README of its archive.
    let archive = format!("/cran/latest/src/contrib/{}", data::cran().file("cli"));
    assert_eq!(server.get(&archive).status, 200, "{archive}");
    let package = "/cran/latest/web/packages/cli/";
    until("the page has a README", || server.get(package).text().contains("class=\"prose readme\""));
    let chromium = Chromium::start();
    let folder = std::env::var_os("RSPM_SCREENSHOTS").map(PathBuf::from);
    if folder.is_some() {
        std::fs::create_dir_all(images()).expect("a folder");
    }
    let token = administration::token(&server);
    let of_all = PAGES.map(|(name, path)| (name, path, server.url(path)));
    let of_administrators =
        ADMINISTRATION.map(|(name, path)| (name, path, administration::url(&server, &token, path)));
    for (name, path, url) in of_all.into_iter().chain(of_administrators) {
        for scheme in ["light", "dark"] {
            chromium.emulate(scheme, "screen");
            for width in [360, 1280] {
                chromium.resize(width, 900);
                chromium.open(&url);
                let picture = chromium.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
                let picture = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
                assert_eq!(size(&picture), (width, 900), "{path}");
                let Some(folder) = &folder else { continue };
                std::fs::create_dir_all(folder).expect("a folder");
                std::fs::write(folder.join(format!("{name}-{scheme}-{width}.png")), &picture)
                    .expect("a file");
                if (scheme, width) == ("light", 1280) && README.contains(&name) {
                    std::fs::write(images().join(format!("{name}.png")), &picture).expect("a file");
                }
            }
        }
    }
}

#[test]
fn the_readme_has_two_small_pictures() {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a file");
    for name in README {
        assert!(readme.contains(&format!("docs/images/{name}.png")), "{name}");
        let picture =
            std::fs::read(images().join(format!("{name}.png"))).expect("a picture: make screenshots");
        assert_eq!(size(&picture), (1280, 900), "{name}");
        assert!(picture.len() <= MAX_SIZE, "{name}: {} bytes", picture.len());
    }
}
