//! Real identity providers: `oidc-provider-mock` (Python, without device codes) and `oidc-provider` (Node, certified,
//! with device codes).

use std::path::PathBuf;
use std::process::Command;

use super::helper_program::HelperProgram;
use super::http;
use super::node;

/// The secret of the client at `oidc-provider`, with characters that a form encodes.
pub(crate) const SECRET: &str = "client secret+/%";

/// A running provider.
pub(crate) struct OpenIdProvider {
    _program: HelperProgram,
    port: u16,
}

impl OpenIdProvider {
    /// Starts `oidc-provider-mock`.
    pub(crate) fn mock() -> OpenIdProvider {
        let clients =
            std::env::var("RSPM_TEST_PYTHON_CLIENTS").expect("RSPM_TEST_PYTHON_CLIENTS: run tests/setup");
        let program = PathBuf::from(clients).join("oidc-provider-mock/bin/oidc-provider-mock");
        OpenIdProvider::start(|port| {
            let mut command = Command::new(&program);
            command.args(["-p", &port.to_string()]);
            command
        })
    }

    /// Starts `oidc-provider` with the client `packages` and its redirect address.
    pub(crate) fn node(redirect: &str) -> OpenIdProvider {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/openid_provider.mjs");
        OpenIdProvider::start(|port| {
            let mut command = node::command();
            command.arg(script).arg(node::module("")).args([&port.to_string(), SECRET, redirect]);
            command
        })
    }

    fn start(command: impl Fn(u16) -> Command) -> OpenIdProvider {
        let (program, port) = HelperProgram::on_free_port(command);
        OpenIdProvider { _program: program, port }
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
