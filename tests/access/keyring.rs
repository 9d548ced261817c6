//! The sign-in of pip and uv with Posit's keyring plug-in, as published.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::json;

use super::sign_in::confirm_device;
use crate::python::clients::{command, installed_version, program, run, text};
use crate::support::browser::Browser;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::port::free_port;
use crate::support::python::package::{Package, add, repository};
use crate::support::server::{Builder, Server};

/// The name of the client that `tests/setup` installed, with pip and the plug-in.
const CLIENT: &str = "posit-keyring";

fn start(provider: &OpenIdProvider) -> Server {
    provider.set_user("ann", &json!({"groups": ["team"], "preferred_username": "ann"}));
    let port = free_port();
    let server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n[HTTP]\nListen = 127.0.0.1:{port}\n[OpenIDConnect]\n\
             Issuer = {}\nClientId = packages\nClientSecret = secret\nLogging = true\n[GroupToScopeMapping \"team\"]\n\
             Scope = repos:read:py",
            provider.issuer()
        ))
        .start();
    repository(&server);
    server.rspm_stdout("edit repo --name=py --authenticated");
    add(&server, "team", &Package::new("app", "1.0"));
    server
}

/// A program with the settings of a user of the plug-in.
fn client(server: &Server, folder: &str, path: &Path) -> Command {
    let mut client = command(server, path, folder);
    let programs = program(CLIENT, "keyring");
    let programs = programs.parent().expect("a folder").display();
    let path = std::env::var("PATH").expect("a PATH");
    client.env("PATH", format!("{programs}:{path}")).env("HOME", server.dir().join("home"));
    // The plug-in opens a browser, which the test replaces.
    client.env("BROWSER", "true").env("NO_PROXY", "*").env_remove("PYTHON_KEYRING_BACKEND");
    client.env("PACKAGEMANAGER_ADDRESS", server.url("").trim_end_matches('/'));
    client
}

fn index(server: &Server) -> String {
    format!("http://__token__@{}/py/latest/simple", server.host())
}

fn pip(server: &Server, folder: &str) -> Command {
    let mut pip = client(server, folder, &program(CLIENT, "python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir"]);
    pip.args(["--keyring-provider", "import", "--target", "target", "-i", &index(server), "app"]);
    pip
}

fn is_installed(server: &Server, folder: &str) -> bool {
    installed_version(&server.dir().join(folder).join("target"), "app").as_deref() == Some("1.0")
}

/// Starts a client with its standard error in a pipe.
fn start_client(mut client: Command) -> Child {
    client.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs")
}

/// Returns the address that a client prints for the sign-in, and the rest of its output.
fn address_of_sign_in(client: &mut Child) -> (String, BufReader<ChildStderr>) {
    let mut output = BufReader::new(client.stderr.take().expect("piped"));
    let mut all = String::new();
    loop {
        let start = all.len();
        assert!(output.read_line(&mut all).expect("UTF-8") > 0, "no sign-in: {all}");
        let line = all[start..].trim();
        if line.starts_with("http://") {
            return (line.to_owned(), output);
        }
    }
}

#[test]
fn pip_and_uv_sign_in_with_posits_keyring_until_the_token_is_revoked() {
    let provider = OpenIdProvider::mock();
    let server = start(&provider);
    std::fs::create_dir(server.dir().join("home")).expect("a writable directory");
    let mut child = start_client(pip(&server, "first"));
    let (address, mut output) = address_of_sign_in(&mut child);
    assert!(address.starts_with(&server.url("/__login__/device?user_code=")), "{address}");
    let browser = Browser::new();
    confirm_device(&browser, &server, "ann", &address);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("UTF-8");
    assert!(child.wait().expect("it ends").success() && is_installed(&server, "first"), "{rest}");
    let file = server.dir().join("home/.ppm/tokens.toml");
    assert_eq!(std::fs::metadata(&file).expect("stored").permissions().mode() & 0o777, 0o600);
    // Later runs, other programs and rspm use the stored token.
    let output = run(pip(&server, "second"));
    assert!(output.status.success() && is_installed(&server, "second"), "{}", text(&output));
    let mut uv = client(&server, "uv", &program("uv", "uv"));
    uv.args(["pip", "install", "--keyring-provider", "subprocess", "--target", "target"]);
    uv.args(["--default-index", &index(&server), "app"]);
    let output = run(uv);
    assert!(output.status.success() && is_installed(&server, "uv"), "{}", text(&output));
    let mut rspm = client(&server, "rspm", Path::new(env!("CARGO_BIN_EXE_rspm")));
    rspm.arg("verify");
    let output = run(rspm);
    let verification = text(&output);
    assert!(verification.contains("User: ann\nScopes: repos:read:py\nExpires: 20"), "{verification}");
    // The plug-in requests the address of the server with the token, and signs in again if it is refused.
    server.rspm_stdout("revoke token --user=ann");
    let mut child = start_client(pip(&server, "third"));
    let (again, _output) = address_of_sign_in(&mut child);
    assert!(again != address && again.contains("user_code="), "{again}");
    child.kill().and_then(|()| child.wait()).expect("it runs");
    assert!(!is_installed(&server, "third"));
}

#[test]
fn rspm_signs_in_with_a_browser() {
    let provider = OpenIdProvider::mock();
    let server = start(&provider);
    std::fs::create_dir(server.dir().join("home")).expect("a writable directory");
    let rspm = |words: &[&str]| {
        let mut rspm = client(&server, "rspm", Path::new(env!("CARGO_BIN_EXE_rspm")));
        rspm.args(words);
        rspm
    };
    let mut child = start_client(rspm(&["login", "sso"]));
    let (address, mut output) = address_of_sign_in(&mut child);
    confirm_device(&Browser::new(), &server, "ann", &address);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("UTF-8");
    assert!(child.wait().expect("it ends").success(), "{rest}");
    server.wait_for_log("sign-in of ann: groups [team], scopes [repos:read:py]");
    let verification = text(&run(rspm(&["verify"])));
    assert!(verification.contains("User: ann\nScopes: repos:read:py\n"), "{verification}");
    // pip finds the token that rspm stored.
    let output = run(pip(&server, "after"));
    assert!(output.status.success() && is_installed(&server, "after"), "{}", text(&output));
    let refused = text(&run(rspm(&["create", "source", "--name=x"])));
    assert!(refused.contains("lacks the scope sources:write for all sources"), "{refused}");
    let removed = text(&run(rspm(&["logout"])));
    assert!(removed.contains("Removed the token of"), "{removed}");
}
