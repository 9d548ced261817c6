//! Chromium without a window, driven by chromedriver (W3C WebDriver: JSON over HTTP).

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::helper_program::HelperProgram;
use super::http;

/// Timeout of one command: the first one starts Chromium.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout of a page to show what a test waits for.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Chromium's switches: no window, no requests of its own, and no host except this machine.
const SWITCHES: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/// A browser with a profile of its own.
pub(crate) struct Chromium {
    _driver: HelperProgram,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Chromium {
    pub(crate) fn start() -> Chromium {
        let profile = tempfile::tempdir().expect("a directory");
        let (driver, port) = HelperProgram::on_free_port(|port| {
            let mut command = Command::new("chromedriver");
            command.arg(format!("--port={port}")).env("HOME", profile.path());
            command
        });
        let mut switches: Vec<String> = SWITCHES.iter().map(|switch| (*switch).to_owned()).collect();
        switches.push(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let mut chromium = Chromium { _driver: driver, port, session: String::new(), _profile: profile };
        let options = json!({
            "capabilities": { "alwaysMatch": {
                "browserName": "chrome",
                "timeouts": { "pageLoad": 60_000, "script": 60_000 },
                "goog:loggingPrefs": { "browser": "ALL" },
                "goog:chromeOptions": { "args": switches },
            } }
        });
        let created = chromium.call("POST", "/session", &options);
        let created = created.unwrap_or_else(|error| panic!("Chromium does not start: {error}"));
        chromium.session = created["sessionId"].as_str().expect("a session").to_owned();
        chromium
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.command("POST", "url", &json!({ "url": url })).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// The address of the page.
    pub(crate) fn url(&self) -> String {
        let url = self.command("GET", "url", &Value::Null).expect("an address");
        url.as_str().expect("a text").to_owned()
    }

    /// The visible text of the page; empty while no page is loaded.
    pub(crate) fn text(&self) -> String {
        let text = self
            .element("body")
            .and_then(|element| self.command("GET", &format!("element/{element}/text"), &Value::Null));
        text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Clicks on the first element that a CSS selector finds, as soon as there is one.
    pub(crate) fn click(&self, selector: &str) {
        self.retry(selector, |element| self.command("POST", &format!("element/{element}/click"), &json!({})));
    }

    /// Types a text into a field.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        self.retry(selector, |element| {
            self.command("POST", &format!("element/{element}/value"), &json!({ "text": text }))
        });
    }

    /// Waits until the page contains a text.
    pub(crate) fn wait_for_text(&self, text: &str) {
        self.wait(text, || self.text().contains(text));
    }

    /// Waits until the address of the page begins with `start`.
    pub(crate) fn wait_for_url(&self, start: &str) {
        self.wait(start, || self.url().starts_with(start));
    }

    /// Runs the body of a function in the page and returns its result.
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Value {
        let body = json!({ "script": script, "args": arguments });
        self.command("POST", "execute/sync", &body).unwrap_or_else(|error| panic!("{}: {error}", self.url()))
    }

    /// As [`Chromium::run`], for a function whose last argument is called with the result.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.command("POST", "execute/async", &body).unwrap_or_else(|error| panic!("{}: {error}", self.url()))
    }

    /// Sends a command of the DevTools protocol.
    pub(crate) fn devtools(&self, name: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.command("POST", "goog/cdp/execute", &body).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Sets the size of the page in CSS pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Sets the color scheme that pages see, `light` or `dark`, and the medium, `screen` or `print`.
    pub(crate) fn emulate(&self, scheme: &str, medium: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "media": medium, "features": features }));
    }

    /// Returns the messages of the console since the last call: errors of scripts, of policies and of requests.
    pub(crate) fn messages(&self) -> Vec<String> {
        let entries = self.command("POST", "se/log", &json!({ "type": "browser" })).expect("the log");
        let entries = entries.as_array().expect("a list").iter();
        entries.map(|entry| entry["message"].as_str().expect("a text").to_owned()).collect()
    }

    /// A cookie that is sent with a request for this page.
    pub(crate) fn cookie(&self, name: &str) -> Option<Value> {
        let cookies = self.command("GET", "cookie", &Value::Null).expect("cookies");
        cookies.as_array().expect("a list").iter().find(|cookie| cookie["name"] == name).cloned()
    }

    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < PAGE_TIMEOUT, "never: {what}; {}: {}", self.url(), self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Repeats an action on an element until it succeeds: the page may not be loaded yet, or be replaced meanwhile.
    fn retry(&self, selector: &str, action: impl Fn(&str) -> Result<Value, String>) {
        self.wait(selector, || self.element(selector).and_then(|element| action(&element)).is_ok());
    }

    fn element(&self, selector: &str) -> Result<String, String> {
        let query = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "element", &query)?;
        let id = found.as_object().and_then(|object| object.values().next()).and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| format!("no element: {found}"))
    }

    fn command(&self, method: &str, name: &str, body: &Value) -> Result<Value, String> {
        self.call(method, &format!("/session/{}/{name}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let host = format!("127.0.0.1:{}", self.port);
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut stream = TcpStream::connect(&host).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(COMMAND_TIMEOUT)).map_err(|error| error.to_string())?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let answer = http::try_read(&mut stream, method).map_err(|error| error.to_string())?;
        let mut json: Value =
            serde_json::from_slice(&answer.body).map_err(|error| format!("{error}: {}", answer.text()))?;
        if answer.status == 200 {
            Ok(json["value"].take())
        } else {
            Err(json["value"]["message"].to_string())
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // chromedriver ends its browser.
        if !self.session.is_empty() {
            let _ = self.call("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
    }
}
