//! `OpenIDConnect.ClientSecretFile`: a client secret in plain text or encrypted.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::sign_in::confirm;
use crate::support::browser::Browser;
use crate::support::openid_provider::{OpenIdProvider, SECRET};
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};

/// The title of the check.
const PLAIN_TEXT_CHECK: &str = "Secrets in plain text";

/// Returns the output of `rspm encrypt`.
fn encrypt(server: &Server, text: &str) -> String {
    let mut command = server.rspm_command("encrypt");
    command.env("PACKAGEMANAGER_ENCRYPTION_KEY", "5a".repeat(512));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("rspm runs");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("rspm ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_file_with_the_client_secret_is_encrypted_or_private() {
    let port = free_port();
    let provider = OpenIdProvider::node(&format!("http://127.0.0.1:{port}/__login__/callback"));
    let issuer = provider.issuer();
    let mut server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n[HTTP]\nListen = 127.0.0.1:{port}\n[OpenIDConnect]\n\
             Issuer = {issuer}\nClientId = packages\nClientSecretFile = {{dir}}/client-secret\n\
             [GroupToScopeMapping \"team\"]\nScope = repos:read:*"
        ))
        .prepare();
    let file = server.dir().join("client-secret");
    let write = |text: &str, mode: u32| {
        std::fs::write(&file, text).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    write(&encrypt(&server, SECRET), 0o644);
    server.launch();
    let signs_in = || {
        let browser = Browser::new();
        let page = confirm(&browser, browser.get(&server.url("/__login__")), &issuer);
        page.status == 200 && browser.cookie("ppm").is_some()
    };
    assert!(signs_in(), "the provider gets the decrypted secret");
    let (verdict, findings) = server.check_result("Sign-in");
    assert_eq!(verdict, "pass", "{findings:?}");
    let output = server.command(env!("CARGO_BIN_EXE_rspm")).arg("check-config").output().expect("rspm runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("[PASS] Sign-in") && !text.contains(PLAIN_TEXT_CHECK), "{text}");

    write(&format!("{SECRET}\n"), 0o644);
    let (verdict, findings) = server.check_result("Sign-in");
    let expected = format!("chmod o-rwx '{}'", file.display());
    assert!(verdict == "fail" && findings.join(" ").contains(&expected), "{verdict}: {findings:?}");
    write(&format!("{SECRET}\n"), 0o640);
    assert!(signs_in());
    assert_eq!(server.check_result("Sign-in").0, "pass");
    let (verdict, findings) = server.check_result(PLAIN_TEXT_CHECK);
    let findings = findings.join("\n");
    assert!(verdict == "info" && findings.contains(&file.display().to_string()), "{verdict}: {findings}");
    assert!(!findings.contains(SECRET), "{findings}");

    write("\n", 0o640);
    let (verdict, findings) = server.check_result("Sign-in");
    assert!(verdict == "fail" && findings.join(" ").contains("is empty"), "{verdict}: {findings:?}");
}
