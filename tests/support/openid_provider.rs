//! Real identity providers: `oidc-provider-mock` (Python, without device codes) and `oidc-provider` (Node, certified,
//! with device codes).

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::fixtures::{free_port, until};
use super::http;

/// The secret of the client at `oidc-provider`, with characters that a form encodes.
pub(crate) const SECRET: &str = "client secret+/%";

/// A running provider.
pub(crate) struct OpenIdProvider {
    child: Child,
    port: u16,
}

impl OpenIdProvider {
    /// Starts `oidc-provider-mock`.
    pub(crate) fn mock() -> OpenIdProvider {
        let program = folder("RSPM_TEST_PYTHON_CLIENTS").join("oidc-provider-mock/bin/oidc-provider-mock");
        OpenIdProvider::start(|port| {
            let mut command = Command::new(&program);
            command.args(["-p", &port.to_string()]);
            command
        })
    }

    /// Starts `oidc-provider` with the client `packages` and its redirect address.
    pub(crate) fn node(redirect: &str) -> OpenIdProvider {
        let modules = folder("RSPM_TEST_NODE").join("node_modules");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/openid_provider.mjs");
        OpenIdProvider::start(|port| {
            let mut command = Command::new("node");
            command.arg(script).arg(&modules).args([&port.to_string(), SECRET, redirect]);
            command
        })
    }

    fn start(command: impl Fn(u16) -> Command) -> OpenIdProvider {
        let port = free_port();
        let mut command = command(port);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/setup"));
        until("the provider listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        OpenIdProvider { child, port }
    }

    /// The issuer.
    pub(crate) fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets the claims of a user of `oidc-provider-mock`.
    pub(crate) fn set_user(&self, name: &str, claims: &serde_json::Value) {
        let url = format!("{}/users/{name}", self.issuer());
        let json = [("Content-Type", "application/json")];
        let answer = http::request("PUT", &url, &json, claims.to_string().as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

impl Drop for OpenIdProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder(variable: &str) -> PathBuf {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run tests/setup, and source tests/setup.env"))
        .into()
}
