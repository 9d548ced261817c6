//! What the script of the pages adds: links of the original, suggestions, copied text, the key of the search field.

use serde_json::json;

use crate::support::chromium::Chromium;
use crate::support::fixtures::until;
use crate::support::today::stable_today;

#[test]
fn links_of_the_original_open_their_pages() {
    let server = super::server();
    let today = stable_today().to_string();
    let chromium = Chromium::start();
    let setup = format!(
        "/client/#/repos/team/setup?distribution=ubuntu-24.04&r_environment=workbench&snapshot={today}"
    );
    let of_day = format!("/team/{today}/?platform=ubuntu-24.04");
    for (link, page) in [
        ("/client/#/repos/team/overview", "/team/latest/"),
        ("/client/#/repos/1/overview", "/team/latest/"),
        ("/client/#/repos/team", "/team/latest/"),
        ("/client/#/repos/team/packages", "/team/latest/web/packages/"),
        ("/client/#/repos/team/packages/overview", "/team/latest/web/packages/"),
        ("/client/#/repos/team/packages/overview?search=al%20p", "/team/latest/web/packages/?q=al%20p"),
        ("/#/repos/team/packages?search=alpha", "/team/latest/web/packages/?q=alpha"),
        ("/client/#/repos/1/packages/alpha", "/team/latest/web/packages/alpha/"),
        ("/client/#/repos/team/packages/alpha/overview", "/team/latest/web/packages/alpha/"),
        ("/client/#/repos/team/activity", "/team/latest/web/changes/"),
        ("/client/#/repos/team/setup", "/team/latest/"),
        (setup.as_str(), of_day.as_str()),
        // Not a page of another host, and nothing that is executed.
        ("/#/repos///evil.example/overview", "/evil.example/latest/"),
        ("/#/repos/%2F%2Fevil.example/packages", "/%2F%2Fevil.example/latest/web/packages/"),
        ("/#/repos/javascript:alert(1)/overview", "/javascript%3Aalert(1)/latest/"),
    ] {
        chromium.open("about:blank");
        chromium.open(&server.url(link));
        let expected = server.url(page);
        until(link, || chromium.url() == expected);
    }
    for link in ["/client/#/repos/99/overview", "/#/repos/99/packages/alpha"] {
        chromium.open("about:blank");
        chromium.open(&server.url(link));
        chromium.wait_for_text("The link names a repository that is not listed here");
        assert_eq!(chromium.url(), server.url(link));
    }
    for link in ["/client/#/", "/#/repos", "/#other"] {
        chromium.open("about:blank");
        chromium.open(&server.url(link));
        chromium.wait_for_text("Packages");
        assert_eq!(chromium.url(), server.url(link));
    }
}

#[test]
fn names_are_suggested_while_they_are_typed_and_text_is_copied() {
    let server = super::server();
    let chromium = Chromium::start();
    chromium.resize(1280, 900);
    let permissions = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    chromium.devtools("Browser.grantPermissions", &permissions);
    chromium.open(&server.url("/team/latest/"));
    let key =
        json!({ "type": "keyDown", "key": "k", "code": "KeyK", "modifiers": 2, "windowsVirtualKeyCode": 75 });
    chromium.devtools("Input.dispatchKeyEvent", &key);
    assert_eq!(chromium.run("return document.activeElement.name;", &[]), json!("q"));
    let suggestions = || {
        let script =
            "return [...document.querySelectorAll('#suggestions option')].map((option) => option.value);";
        chromium.run(script, &[])
    };
    chromium.fill("header input[name=q]", "alp");
    until("a suggestion", || suggestions() == json!(["alpha"]));
    chromium.fill("header input[name=q]", "nothing");
    until("no suggestion", || suggestions() == json!([]));
    let snippets = chromium.run(
        "return [document.querySelectorAll('.snippet').length, document.querySelectorAll('.snippet button').length];",
        &[],
    );
    assert_eq!(snippets[0], snippets[1], "each text has a button");
    chromium.click(".snippet button");
    chromium.wait_for_text("Copied");
    let messages = chromium.messages();
    assert!(messages.is_empty(), "{messages:?}");
}
