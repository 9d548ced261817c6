//! Sign-in in Chromium: cookies, redirects between sites and the policies of pages as a browser applies them.

use serde_json::json;

use super::sign_in::{access_token, begin_device, poll, server, with_mock_at};
use super::{bearer, get, token};
use crate::support::chromium::Chromium;
use crate::support::openid_provider::{OpenIdProvider, SECRET};
use crate::support::port::free_port;

#[test]
fn people_sign_in_decide_about_devices_and_sign_out() {
    // A site other than 127.0.0.1, so that cookies are sent as between a company's hosts.
    let (_provider, server) = with_mock_at("localhost");
    let chromium = Chromium::start();
    let page = server.url("/team/latest/");
    chromium.open(&page);
    chromium.fill("input[name=sub]", "ann");
    chromium.click("button[type=submit]:not([name])");
    chromium.wait_for_url(&page);
    chromium.wait_for_text("Sign out");
    let cookie = chromium.cookie("ppm").expect("a session");
    assert!(cookie["httpOnly"] == true && cookie["secure"] == false, "over http: {cookie}");
    assert!(cookie["sameSite"] == "Lax" && cookie["path"] == "/", "{cookie}");
    assert_eq!(cookie["domain"], "127.0.0.1");

    let (device, verifier) = begin_device(&server);
    chromium.open(device["verification_uri_complete"].as_str().expect("an address"));
    chromium.wait_for_text(device["user_code"].as_str().expect("a code"));
    chromium.click("button[value=allow]");
    chromium.wait_for_text("The device is signed in");
    let token = access_token(&server, &device, &verifier);
    assert_eq!(get(&server, "/team/latest/src/contrib/PACKAGES", Some(&bearer(&token))).status, 200);
    let (device, verifier) = begin_device(&server);
    // The code is typed.
    chromium.open(device["verification_uri"].as_str().expect("an address"));
    chromium.fill("input[name=user_code]", device["user_code"].as_str().expect("a code"));
    chromium.click("form:not([role=search]) button");
    chromium.click("button[value=deny]");
    chromium.wait_for_text("The sign-in of the device was denied");
    assert_eq!(poll(&server, &device, &verifier).json()["error"], "access_denied");

    chromium.open(&page);
    chromium.click("a[data-automation=sign-out]");
    chromium.wait_for_text("You are signed in as ann");
    chromium.click("form[action$='/__logout__'] button");
    // The page of the provider, which redirects back to the server.
    chromium.wait_for_text("End session");
    chromium.click("button[type=submit]");
    chromium.wait_for_url(&server.url("/"));
    chromium.wait_for_text("Sign in");
    assert_eq!(chromium.cookie("ppm"), None);
    // The browser has the page on which the sign-in ended in memory.
    for _ in 0..12 {
        chromium.run("history.back()", &[]);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let sign_out = chromium.run("return document.querySelector('[data-automation=sign-out]')", &[]);
        assert!(sign_out.is_null(), "a page of the session: {}", chromium.url());
    }

    chromium.open(&page);
    chromium.fill("input[name=sub]", "bob");
    chromium.click("button[type=submit]:not([name])");
    chromium.wait_for_text("No access");
    assert!(chromium.text().contains("sales, <b>hr</b>"), "{}", chromium.text());
    assert_eq!(chromium.cookie("ppm"), None);
}

#[test]
fn people_sign_in_and_out_at_a_certified_provider() {
    let port = free_port();
    let provider = OpenIdProvider::node(&format!("http://127.0.0.1:{port}/__login__/callback"));
    let server = server(&provider.issuer(), port, &format!("ClientSecret = \"{SECRET}\""));
    let chromium = Chromium::start();
    chromium.open(&server.url("/"));
    chromium.click("a[data-automation=sign-in]");
    chromium.fill("input[name=login]", "ann");
    chromium.fill("input[name=password]", "any");
    chromium.click("button.login-submit");
    chromium.click("input[value=consent] ~ button");
    chromium.wait_for_url(&server.url("/"));
    chromium.wait_for_text("team");
    assert!(chromium.cookie("ppm").is_some());
    chromium.click("a[data-automation=sign-out]");
    chromium.click("form[action$='/__logout__'] button");
    chromium.click("button[name=logout]");
    chromium.wait_for_url(&server.url("/"));
    chromium.wait_for_text("Sign in");
    assert!(!chromium.text().contains("team"), "{}", chromium.text());
}

#[test]
fn people_sign_in_revoke_a_token_and_sign_out_without_script() {
    let provider = OpenIdProvider::mock();
    // Another site than that of the pages.
    let issuer = provider.issuer().replace("127.0.0.1", "localhost");
    let server = server(&issuer, free_port(), "ClientSecret = secret\nScope = global:admin");
    let secret = token(&server, "--scope=repos:read --repos=team");
    let tokens = server.json("list tokens");
    let guid = tokens[0]["guid"].as_str().expect("a token").to_owned();
    let index = || get(&server, "/team/latest/src/contrib/PACKAGES", Some(&bearer(&secret))).status;
    assert_eq!(index(), 200);
    let chromium = Chromium::start();
    chromium.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    let page = server.url("/__ui__/admin/tokens/");
    chromium.open(&page);
    chromium.fill("input[name=sub]", "ann");
    chromium.click("button[type=submit]:not([name])");
    chromium.wait_for_url(&page);
    chromium.wait_for_text("Sign out");
    assert!(chromium.cookie("ppm").is_some());
    chromium.click(&format!("form:has(input[value='{guid}']) button"));
    chromium.wait_for_text("Revoked.");
    assert_eq!(index(), 401);
    let trail = server.json("audit list");
    let row = trail.as_array().expect("rows").iter().find(|row| row["action"] == "revoke token");
    assert!(row.is_some_and(|row| row["actor"].to_string().contains("ann")), "{trail}");
    // The script would add buttons that copy; without script there are none.
    chromium.open(&server.url("/team/latest/"));
    chromium.wait_for_text("Set up");
    assert!(!chromium.text().contains("Copy"), "{}", chromium.text());
    chromium.click("a[data-automation=sign-out]");
    chromium.wait_for_text("You are signed in as ann");
    chromium.click("form[action$='/__logout__'] button");
    chromium.wait_for_text("End session");
    chromium.click("button[type=submit]");
    chromium.wait_for_url(&server.url("/"));
    chromium.wait_for_text("Sign in");
    assert_eq!(chromium.cookie("ppm"), None);
    chromium.open(&page);
    chromium.wait_for_url(&issuer);
    // The pages of the provider request a style sheet from another host.
    let mut messages = chromium.messages();
    messages.retain(|message| message.contains(server.host()));
    // After the sign-out, no page of the session is in memory.
    let is_cleared = |message: &String| message.ends_with("Cleared data types: \"cache\".");
    assert!(messages.iter().all(is_cleared), "{messages:?}");
}
