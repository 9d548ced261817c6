//! Tests of reading and writing pages.

use proptest::prelude::*;
use url::Url;

use super::page::{PageFile, ProjectPage, Yank};
use super::read::{BadPage, ReadPage, read};
use super::write;
use crate::python::accept::SimpleFormat;
use crate::python::file_name::FileName;
use crate::python::name;
use base::model::digest::Sha256;
use base::model::project_page::{MetadataFile, ProjectStatus};
use base::model::time::Timestamp;

const BASE: &str = "https://index.example.org/simple/odd/";

fn read_text(format: SimpleFormat, text: &str) -> Result<ReadPage, BadPage> {
    read(format, text.as_bytes(), &Url::parse(BASE).unwrap(), &name::parse("odd").unwrap())
}

fn json(text: &str) -> ReadPage {
    read_text(SimpleFormat::Json, text).expect(text)
}

fn html(text: &str) -> ReadPage {
    read_text(SimpleFormat::TextHtml, text).expect(text)
}

/// Returns a page with one file that has these additional keys.
fn with_keys(keys: &str) -> ReadPage {
    json(&format!(r#"{{"files":[{{"filename":"odd-1.0.tar.gz","url":"odd-1.0.tar.gz"{keys}}}]}}"#))
}

#[test]
fn a_list_with_too_many_elements_is_refused_while_it_is_read() {
    let count = super::page::MAX_FILES;
    for (list, rest) in [("files", ""), ("versions", ",\"files\":[]")] {
        let page = |count: usize| {
            let elements = vec![if list == "files" { "{}" } else { "0" }; count].join(",");
            // The end of the document is missing: nothing after the list is read.
            read_text(SimpleFormat::Json, &format!("{{\"{list}\":[{elements}]{rest}"))
        };
        let error = page(count + 1).expect_err(list).to_string();
        assert!(error.contains("a list has more than 200000 elements"), "{error}");
        assert!(page(count).expect_err(list).to_string().contains("EOF"), "{list}");
    }
    let html = format!("<a href='odd-1.tar.gz'>odd-1.tar.gz</a>{}", "<a href='x'>x</a>".repeat(count));
    assert!(matches!(read_text(SimpleFormat::TextHtml, &html), Err(BadPage::TooManyFiles)));
}

#[test]
fn every_key_of_json_is_read() {
    let hex = "0A".repeat(32);
    let result = json(&format!(
        r#"{{"meta":{{"api-version":"1.9","_last-serial":5,"tracks":["x"]}},"name":"Odd","versions":["1.0",null,"2"],
        "project-status":{{"status":"deprecated","reason":"use even"}},"later":{{"a":[1.5,-1]}},
        "files":[{{"filename":"odd-1.0-py3-none-any.whl","url":"../../p/odd-1.0-py3-none-any.whl?x=1#md5={md5}",
        "hashes":{{"sha256":"{hex}","egg":"odd"}},"requires-python":" >=3.8 ","core-metadata":{{"sha256":"{hex}"}},
        "gpg-sig":false,"yanked":"broken","size":5000000000,"upload-time":"2023-05-06T07:08:09.5Z",
        "provenance":"https://index.example.org/p","later":1}}]}}"#,
        md5 = "0b".repeat(16)
    ));
    let page = result.page;
    assert_eq!(
        (page.last_serial, page.status, result.skipped_files.len()),
        (Some(5), ProjectStatus::Deprecated, 0)
    );
    assert_eq!(page.versions.as_deref(), Some(&["1.0".to_owned(), "2".to_owned()][..]));
    let file = &page.files[0];
    assert_eq!(file.url, "https://index.example.org/p/odd-1.0-py3-none-any.whl?x=1");
    assert_eq!(file.sha256(), Some(Sha256([10; 32])));
    assert_eq!(file.hashes.keys().collect::<Vec<_>>(), ["md5", "sha256"]);
    assert_eq!(file.core_metadata, MetadataFile::Sha256(Sha256([10; 32])));
    assert_eq!(
        (file.requires_python.as_deref(), file.size, file.gpg_sig),
        (Some(">=3.8"), Some(5_000_000_000), Some(false))
    );
    assert_eq!(file.upload_time.map(|time| time.to_string()).as_deref(), Some("2023-05-06T07:08:09.500000Z"));
    assert_eq!(file.yanked, Some(Yank { reason: "broken".into() }));
}

#[test]
fn values_of_other_types_count_as_missing() {
    let plain = with_keys("").page.files.remove(0);
    for keys in [
        r#","size":null,"upload-time":null,"yanked":null,"hashes":null,"requires-python":null,"core-metadata":null"#,
        r#","size":"1","upload-time":"","yanked":"","hashes":[],"requires-python":"","provenance":null,"gpg-sig":1"#,
        r#","size":-1,"upload-time":"2024-01-02T03:04:05","yanked":false,"hashes":{"sha256":"00"},"core-metadata":false"#,
        r#","core-metadata":false,"dist-info-metadata":true"#,
    ] {
        assert_eq!(with_keys(keys).page.files, std::slice::from_ref(&plain), "{keys}");
    }
    let metadata = |keys| with_keys(keys).page.files.remove(0).core_metadata;
    assert_eq!(metadata(r#","core-metadata":null,"dist-info-metadata":true"#), MetadataFile::Unverified);
    assert_eq!(metadata(r#","data-dist-info-metadata":{"md5":"0"}"#), MetadataFile::Unverified);
    assert_eq!(with_keys(r#","yanked":true"#).page.files[0].yanked, Some(Yank::default()));
    assert_eq!(json(r#"{"files":[],"project-status":"archived"}"#).page.status, ProjectStatus::Archived);
    assert_eq!(json(r#"{"files":[],"project-status":"new","versions":null}"#).page.versions, None);
}

#[test]
fn nul_characters_are_replaced_in_the_texts_that_a_database_stores() {
    let page = json(
        r#"{"files":[{"filename":"odd-1.0.tar.gz","url":"odd-1.0.tar.gz","yanked":"a\u0000b"}],
            "project-status":{"status":"archived","reason":"c\u0000"}}"#,
    )
    .page;
    assert_eq!(page.files[0].yanked, Some(Yank { reason: "a\u{fffd}b".into() }));
    assert_eq!(page.status_reason.as_deref(), Some("c\u{fffd}"));
}

#[test]
fn loose_html_is_read() {
    let hex = "0a".repeat(32);
    let result = html(&format!(
        "<HTML><META NAME='pypi:repository-version' CONTENT='1.0'><base href='/x/'>\
         <A HREF='odd-1.0.tar.gz#sha256={hex}' data-requires-python='&gt;=3.6' data-yanked data-upload-time=2023-05-06T07:08:09Z>1</A>\
         <a href=../p/odd-2.0%2Blocal-py3-none-any.whl#sha256={hex} data-dist-info-metadata=true data-gpg-sig=true>x</a>\
         <a href='http://odd.example.org/'>home</a><a>nothing</a><!-- <a href=odd-9.tar.gz>x</a> --><!--SERIAL 7-->\
         <a href='odd-1.0.tar.gz'>again</a>"
    ));
    let names: Vec<&str> = result.page.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["odd-1.0.tar.gz", "odd-2.0+local-py3-none-any.whl"]);
    assert_eq!(result.page.files[0].url, "https://index.example.org/x/odd-1.0.tar.gz");
    assert_eq!(result.page.files[0].yanked, Some(Yank::default()));
    assert!(result.page.files[0].upload_time.is_some());
    assert_eq!(result.page.files[1].core_metadata, MetadataFile::Unverified);
    assert_eq!((result.page.last_serial, result.skipped_files.len()), (Some(7), 2));
    assert_eq!(result.skipped_files[1].to_string(), "'odd-1.0.tar.gz': it is listed twice");
}

#[test]
fn documents_that_are_not_the_page_are_refused() {
    let error = |format, text: &str| read_text(format, text).expect_err(text).to_string();
    for (text, reason) in [
        ("<html></html>", "the page was sent as application/vnd.pypi.simple.v1+json, but is HTML"),
        (r#"{"meta":{"api-version":"2.0"},"files":[]}"#, "the page has version '2.0'"),
        (r#"{"meta":{"api-version":"1"},"files":[]}"#, "the page has version '1'"),
        (r#"{"name":"even","files":[]}"#, "the page is that of 'even', not of 'odd'"),
        (r#"{"files":null}"#, "the page is not the JSON of a simple index"),
        (r#"{"name":"odd"}"#, "the page is not the JSON of a simple index"),
        (
            r#"{"files":[{"filename":"a/b.whl","url":"b.whl"}]}"#,
            "none of the 1 files of the page can be used",
        ),
        (r#"{"files":[{"filename":"odd-1.tar.gz","url":"odd-2.tar.gz"}]}"#, "none of the 1 files"),
        (r#"{"files":[{"filename":"odd-1.tar.gz","url":"data:odd-1.tar.gz"}]}"#, "none of the 1 files"),
        (r#"{"files":[{"url":"odd-1.tar.gz"}]}"#, "none of the 1 files"),
    ] {
        let error = error(SimpleFormat::Json, text);
        assert!(error.starts_with(reason), "{text}: {error}");
    }
    for (text, reason) in [
        ("{}", "the page was sent as text/html, but is JSON"),
        ("<html>Please sign in</html>", "the page is HTML, but not that of a simple index"),
        (
            "<a href='/login'>sign in</a>",
            "none of the 1 files of the page can be used; the first is '/login'",
        ),
        ("<meta name=pypi:repository-version content=2.0>", "the page has version '2.0'"),
    ] {
        let error = error(SimpleFormat::TextHtml, text);
        assert!(error.starts_with(reason), "{text}: {error}");
    }
    assert!(html("<title>Links for odd</title>").page.files.is_empty());
}

#[test]
fn a_quarantined_project_offers_no_file() {
    let page = ProjectPage {
        status: ProjectStatus::Quarantined,
        ..json(r#"{"files":[{"filename":"odd-1.tar.gz","url":"odd-1.tar.gz"}],"versions":["1"]}"#).page
    };
    let text = String::from_utf8(write::json(&page).unwrap()).unwrap();
    assert_eq!(
        text,
        "{\"files\":[],\"meta\":{\"api-version\":\"1.4\"},\"name\":\"odd\",\"project-status\":{\"status\":\
         \"quarantined\"},\"versions\":[]}\n"
    );
    assert!(!write::html(&page).contains("<a"));
}

#[test]
fn pages_are_written_for_every_client() {
    let mut page = with_keys(r#","core-metadata":true,"yanked":true,"requires-python":">=3""#).page;
    page.files[0].url = "../../packages/x/odd-1.0.tar.gz".to_owned();
    page.files[0].hashes =
        [("sha256".to_owned(), "00".to_owned()), ("md5".to_owned(), "11".to_owned())].into();
    let text = String::from_utf8(write::json(&page).unwrap()).unwrap();
    assert_eq!(
        text,
        "{\"files\":[{\"core-metadata\":true,\"data-dist-info-metadata\":true,\"filename\":\"odd-1.0.tar.gz\",\"hashes\":\
         {\"md5\":\"11\",\"sha256\":\"00\"},\"requires-python\":\">=3\",\"url\":\"../../packages/x/odd-1.0.tar.gz\",\
         \"yanked\":true}],\"meta\":{\"api-version\":\"1.4\"},\"name\":\"odd\",\"project-status\":{\"status\":\"active\"},\
         \"versions\":[\"1.0\"]}\n"
    );
    let anchor = "<a href=\"../../packages/x/odd-1.0.tar.gz#sha256=00\" data-requires-python=\"&gt;=3\" \
        data-dist-info-metadata=\"true\" data-core-metadata=\"true\" data-yanked=\"\">odd-1.0.tar.gz</a><br />\n";
    assert!(write::html(&page).contains(anchor), "{}", write::html(&page));
}

fn file() -> impl Strategy<Value = PageFile> {
    let hashes = proptest::option::of(proptest::array::uniform32(any::<u8>()));
    let yank = proptest::option::of("\\PC{0,10}");
    let time = proptest::option::of(0_i64..4_000_000_000_000_000);
    (hashes, 0_u8..3, yank, time, any::<(Option<u64>, Option<bool>, bool)>()).prop_map(
        |(sha256, metadata, yank, time, (size, gpg_sig, has_facts))| PageFile {
            hashes: sha256.iter().map(|bytes| ("sha256".to_owned(), Sha256(*bytes).to_string())).collect(),
            requires_python: has_facts.then(|| ">=3.9,<4 & \"x\"".to_owned()),
            core_metadata: match (metadata, sha256) {
                (2, Some(bytes)) => MetadataFile::Sha256(Sha256(bytes)),
                (1, _) => MetadataFile::Unverified,
                _ => MetadataFile::None,
            },
            gpg_sig,
            yanked: yank.map(|reason| Yank { reason }),
            size,
            upload_time: time.map(Timestamp),
            provenance: has_facts.then(|| "https://index.example.org/p?a=1&b=2".to_owned()),
            ..PageFile::new(FileName::parse("odd-1.tar.gz").unwrap(), String::new())
        },
    )
}

fn page() -> impl Strategy<Value = ProjectPage> {
    let files = proptest::collection::vec(file(), 0..5);
    (files, proptest::option::of(any::<u64>()), 0_usize..4, proptest::option::of("[a-z<&]{1,9}")).prop_map(
        |(mut files, last_serial, status, status_reason)| {
            for (number, file) in files.iter_mut().enumerate() {
                file.name = FileName::parse(&format!("odd-{number}.0+x.tar.gz")).unwrap();
                file.url = format!("https://files.example.org/a/odd-{number}.0+x.tar.gz?x=%2F");
            }
            let status = ProjectStatus::ALL[status];
            if status == ProjectStatus::Quarantined {
                files.clear();
            }
            let versions = Some((0..files.len()).map(|number| format!("{number}.0+x")).collect());
            ProjectPage {
                name: name::parse("odd").unwrap(),
                last_serial,
                status,
                status_reason,
                versions,
                files,
            }
        },
    )
}

/// Returns the JSON that serde_json writes for the same values, with sorted keys.
fn canonical(json: &[u8]) -> String {
    format!("{}\n", serde_json::from_slice::<serde_json::Value>(json).unwrap())
}

#[test]
fn texts_are_escaped_in_json() {
    for text in ["a\"b", "back\\slash", "line\nbreak", "\u{1}\u{1f}\u{7f}", "é\u{2028}\u{1f4e6}"] {
        let mut page = with_keys("").page;
        page.files[0].yanked = Some(Yank { reason: text.to_owned() });
        page.files[0].requires_python = Some(text.to_owned());
        page.status_reason = Some(text.to_owned());
        page.versions = Some(vec![text.to_owned(), "1".to_owned()]);
        let bytes = write::json(&page).unwrap();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), canonical(&bytes));
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&value["files"][0]["yanked"], &value["versions"][0]), (&text.into(), &text.into()));
    }
}

proptest! {
    #[test]
    fn a_written_page_is_read_back(page in page()) {
        let bytes = write::json(&page).unwrap();
        let expected = canonical(&bytes);
        prop_assert_eq!(expected.as_bytes(), &*bytes);
        let base = Url::parse(BASE).unwrap();
        let reread = read(SimpleFormat::Json, &bytes, &base, &page.name).unwrap();
        prop_assert_eq!(&reread.page, &page);
        prop_assert!(reread.skipped_files.is_empty());
        let reread = read(SimpleFormat::Html, write::html(&page).as_bytes(), &base, &page.name).unwrap().page;
        // HTML lacks these properties.
        let mut expected = ProjectPage { versions: None, ..page };
        for file in &mut expected.files {
            (file.size, file.upload_time) = (None, None);
        }
        prop_assert_eq!(reread, expected);
    }

    #[test]
    fn no_document_panics(text in "(<|>|a|href=|\"|'|odd-1.tar.gz|#sha256=|base|\\{|\\}|:|,|\"files\"|\\[|\\]|\\PC){0,40}") {
        for format in SimpleFormat::ALL {
            let _ = read_text(format, &text);
        }
    }
}
