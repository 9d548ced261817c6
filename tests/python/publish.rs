//! Real clients publish: twine, uv, Poetry, Hatch and Flit, with a token in each place where they accept one; pip
//! installs what they published, also from an authenticated repository.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::attached::{SIGNATURE, attestations};
use super::clients::{command, installed_version, program, run, text};
use super::local::files;
use crate::support::issuer::Issuer;
use crate::support::pypi::hex;
use crate::support::python::form::{publisher, token};
use crate::support::python::package::{Package, add, repository, write};
use crate::support::server::{Builder, Server};
use crate::support::tls::Pair;

const UPLOAD: &str = "/upload/pypi/team";

/// A server with the source `team`, and a token for it.
fn start() -> (Server, String) {
    let server = Server::start();
    repository(&server);
    let token = publisher(&server);
    (server, token)
}

/// Writes both files of a package into a new folder `dist`.
fn dist(server: &Server, folder: &str, package: &Package) -> [String; 2] {
    let path = server.dir().join(folder).join("dist");
    std::fs::create_dir_all(&path).expect("a folder");
    let file = |name: String, bytes: Vec<u8>| {
        std::fs::write(path.join(&name), bytes).expect("written");
        format!("dist/{name}")
    };
    [file(package.wheel_name(), package.wheel()), file(package.sdist_name(), package.sdist())]
}

/// Runs a command, which succeeds if and only if `is_success`, and returns its output.
fn run_client(command: Command, is_success: bool) -> String {
    let command_line = format!("{command:?}");
    let output = run(command);
    assert_eq!(output.status.success(), is_success, "{command_line}: {}", text(&output));
    text(&output)
}

/// The number of files of a project on its page.
fn count(server: &Server, project: &str) -> usize {
    files(server, "latest", project).len()
}

/// pip installs a version of a project from the open repository.
fn installs(server: &Server, project: &str, version: &str) {
    let target = server.dir().join(format!("installed-{project}-{version}"));
    let mut pip = command(server, &program("pip-newest", "python"), &format!("home-{project}-{version}"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir", "--target"])
        .arg(&target);
    pip.args(["-i", &server.url("/py/latest/simple"), &format!("{project}=={version}")]);
    run_client(pip, true);
    assert_eq!(installed_version(&target, &project.replace('-', "_")).as_deref(), Some(version));
}

#[test]
fn twine_uploads_with_a_token_from_pypirc_environment_and_command_line() {
    let (server, token) = start();
    let url = server.url(UPLOAD);
    let twine = |folder: &str, package: &Package| {
        let files = dist(&server, folder, package);
        let mut twine = command(&server, &program("twine", "twine"), folder);
        twine.args(["upload", "--non-interactive", "--disable-progress-bar"]);
        (twine, files)
    };
    let (mut pypirc, files) = twine("pypirc", &Package::new("Odd.Name", "1.0"));
    let text = format!(
        "[distutils]\nindex-servers = ppm\n[ppm]\nrepository = {url}\nusername = __token__\npassword = {token}\n"
    );
    write(&server, "pypirc/.pypirc", text.as_bytes());
    pypirc.args(["-r", "ppm"]).args(files);
    run_client(pypirc, true);
    installs(&server, "odd-name", "1.0");
    let (mut environment, files) = twine("environment", &Package::new("Odd.Name", "1.1+local"));
    environment.env("TWINE_REPOSITORY_URL", format!("{url}/")).env("TWINE_USERNAME", "__token__");
    environment.env("TWINE_PASSWORD", &token).args(files);
    run_client(environment, true);
    installs(&server, "odd-name", "1.1+local");
    let (mut flags, files) = twine("flags", &Package::new("Odd.Name", "1.2"));
    flags.args(["--repository-url", &url, "-u", "ann", "-p", &token]).args(&files);
    run_client(flags, true);
    assert_eq!(count(&server, "odd-name"), 6);

    // Again: the same bytes are a success, other bytes are refused. twine has --skip-existing for PyPI only.
    let (mut same, files) = twine("same", &Package::new("Odd.Name", "1.2"));
    same.args(["--repository-url", &url, "-u", "__token__", "-p", &token]).args(files);
    run_client(same, true);
    let (mut other, files) = twine("other", &Package::new("Odd.Name", "1.2").code("other = 1\n"));
    other.args(["--repository-url", &url, "-u", "__token__", "-p", &token]).args(files);
    let joined = |output: String| output.split_whitespace().collect::<Vec<_>>().join(" ");
    let output = joined(run_client(other, false));
    assert!(output.contains("Bad Request: File already exists ('odd_name-1.2"), "{output}");
    for (folder, password, words) in [
        ("wrong", "rspm_000000000000000000000000000000000000".to_owned(), "Unauthorized: "),
        ("scope", self::token(&server, "--scope=repos:read --repos=py"), "Forbidden: the token"),
    ] {
        let (mut refused, files) = twine(folder, &Package::new("Odd.Name", "1.3"));
        refused.args(["--repository-url", &url, "-u", "__token__", "-p", &password]).args(files);
        let output = joined(run_client(refused, false));
        assert!(output.contains(words), "{output}");
    }
    assert_eq!(count(&server, "odd-name"), 6);
}

#[test]
fn uv_publishes_and_checks_what_exists() {
    let (server, token) = start();
    let (url, index) = (server.url(UPLOAD), server.url("/py/latest/simple/"));
    let uv = |folder: &str, package: &Package, words: &[&str]| {
        let files = dist(&server, folder, package);
        let mut uv = command(&server, &program("uv", "uv"), folder);
        uv.arg("publish").args(words).args(files);
        uv
    };
    let first = Package::new("uv-made", "1.0");
    run_client(uv("token", &first, &["--publish-url", &url, "--token", &token]), true);
    installs(&server, "uv-made", "1.0");
    let mut environment = uv("environment", &Package::new("uv-made", "1.1"), &[]);
    environment.env("UV_PUBLISH_URL", &url).env("UV_PUBLISH_TOKEN", &token);
    run_client(environment, true);
    let user = ["--publish-url", &url, "--username", "__token__", "--password", &token];
    run_client(uv("user", &Package::new("uv-made", "1.2"), &user), true);
    assert_eq!(count(&server, "uv-made"), 6);
    // The same bytes, and other bytes under the same name.
    let check = ["--publish-url", &url, "--check-url", &index, "--token", &token];
    let output = run_client(uv("same", &first, &check), true);
    assert!(output.contains("already exists"), "{output}");
    let output = run_client(uv("other", &first.clone().code("other = 1\n"), &check), false);
    assert!(output.contains("do not match"), "{output}");
    let wrong = ["--publish-url", &url, "--token", "wrong"];
    let output = run_client(uv("wrong", &Package::new("uv-made", "2.0"), &wrong), false);
    assert!(output.contains("the token or password is not valid"), "{output}");
    let output = run_client(
        uv("index", &Package::new("uv-made", "2.0"), &["--publish-url", &index, "--token", &token]),
        false,
    );
    assert!(output.contains("are you using the simple index URL instead of the upload URL?"), "{output}");
    assert_eq!(count(&server, "uv-made"), 6);
}

/// Writes the attestations of a file beside it, as tools that sign files do.
fn attest(server: &Server, folder: &str, name: &str, bytes: &[u8]) -> (String, Value) {
    let list = attestations(name, bytes);
    let path = format!("dist/{name}.publish.attestation");
    write(server, &format!("{folder}/{path}"), list[0].to_string().as_bytes());
    (path, list)
}

/// The attestations that the server has for a file.
fn served(server: &Server, name: &str, bytes: &[u8]) -> Value {
    let answer = server.get(&format!("/py/latest/packages/{}/{name}.provenance", hex(bytes)));
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    answer.json()["attestation_bundles"][0]["attestations"].clone()
}

#[test]
fn twine_uploads_signatures_and_attestations() {
    let (server, token) = start();
    let package = Package::new("signed", "1.0");
    let url = server.url(UPLOAD);
    let twine = |folder: &str, more: &[String], words: &[&str]| {
        let files = dist(&server, folder, &package);
        let mut twine = command(&server, &program("twine", "twine"), folder);
        twine.args(["upload", "--non-interactive", "--disable-progress-bar", "--verbose"]).args(words);
        twine.args(["--repository-url", &url, "-u", "__token__", "-p", &token]).args(files).args(more);
        twine
    };
    dist(&server, "signed", &package);
    let (wheel, sdist) = ((package.wheel_name(), package.wheel()), (package.sdist_name(), package.sdist()));
    let (of_wheel, wheel_list) = attest(&server, "signed", &wheel.0, &wheel.1);
    let (of_sdist, sdist_list) = attest(&server, "signed", &sdist.0, &sdist.1);
    let asc = format!("dist/{}.asc", wheel.0);
    write(&server, &format!("signed/{asc}"), SIGNATURE.as_bytes());
    run_client(twine("signed", &[asc.clone(), of_wheel, of_sdist], &["--attestations"]), true);
    installs(&server, "signed", "1.0");
    assert_eq!(served(&server, &wheel.0, &wheel.1), wheel_list);
    assert_eq!(served(&server, &sdist.0, &sdist.1), sdist_list);
    let path = |(name, bytes): &(String, Vec<u8>)| format!("/py/latest/packages/{}/{name}.asc", hex(bytes));
    assert_eq!(server.get(&path(&wheel)).text(), SIGNATURE);
    assert_eq!(server.get(&path(&sdist)).status, 404, "it has no signature");

    // A file that is not a signature is refused, and so are attestations about another file; the client prints why.
    write(&server, &format!("signed/{asc}"), b"not a signature");
    let output = run_client(twine("signed", &[asc], &[]), false);
    assert!(output.contains("400 Bad Request"), "{output}");
    let other = attestations(&sdist.0, &sdist.1)[0].to_string();
    dist(&server, "other", &package);
    let paths = [&wheel.0, &sdist.0].map(|name| format!("dist/{name}.publish.attestation"));
    for path in &paths {
        write(&server, &format!("other/{path}"), other.as_bytes());
    }
    let output = run_client(twine("other", &paths, &["--attestations"]), false);
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.contains("400 Bad Request"), "{output}");
    assert!(output.contains("Invalid attestations supplied during upload"), "{output}");
    assert_eq!(served(&server, &wheel.0, &wheel.1), wheel_list);
}

#[test]
fn uv_publishes_attestations() {
    let (server, token) = start();
    let package = Package::new("attested", "1.0");
    let url = server.url(UPLOAD);
    let uv = |folder: &str, words: &[&str]| {
        let mut uv = command(&server, &program("uv", "uv"), folder);
        uv.args(["publish", "--publish-url", &url, "--token", &token]).args(words);
        uv
    };
    let files = dist(&server, "uv", &package);
    let (wheel, bytes) = (package.wheel_name(), package.wheel());
    let (of_wheel, list) = attest(&server, "uv", &wheel, &bytes);
    run_client(uv("uv", &["--no-attestations", &files[0], &of_wheel]), true);
    let path = format!("/py/latest/packages/{}/{wheel}.provenance", hex(&bytes));
    assert_eq!(server.get(&path).status, 404);
    run_client(uv("uv", &[&files[0], &files[1], &of_wheel]), true);
    assert_eq!(served(&server, &wheel, &bytes), list);
    installs(&server, "attested", "1.0");
    // Those of another file.
    let other = Package::new("attested", "1.1");
    let files = dist(&server, "other", &other);
    let of_other = format!("dist/{}.publish.attestation", other.wheel_name());
    write(&server, &format!("other/{of_other}"), list[0].to_string().as_bytes());
    let output = run_client(uv("other", &[&files[0], &of_other]), false);
    assert!(output.contains("Invalid attestations supplied during upload"), "{output}");
    assert_eq!(count(&server, "attested"), 2);
}

/// A project without dependencies and without a build.
fn project(server: &Server, folder: &str, name: &str, backend: &str) {
    let toml = format!(
        "[build-system]\nrequires = [\"{backend}\"]\nbuild-backend = \"{backend}.buildapi\"\n[project]\nname = \"{name}\"\n\
         version = \"1.0\"\ndescription = \"A test\"\nrequires-python = \">=3.7\"\n"
    );
    std::fs::create_dir_all(server.dir().join(folder)).expect("a folder");
    write(server, &format!("{folder}/pyproject.toml"), toml.as_bytes());
}

#[test]
fn poetry_publishes_with_a_token_from_environment_and_command_line() {
    let (server, token) = start();
    let package = Package::new("poetry-made", "1.0");
    project(&server, "poetry", "poetry-made", "flit_core");
    dist(&server, "poetry", &package);
    let poetry = |words: &[&str]| {
        let mut poetry = command(&server, &program("poetry", "poetry"), "poetry");
        poetry.env("POETRY_REPOSITORIES_PPM_URL", server.url(UPLOAD));
        poetry.args(["publish", "-r", "ppm", "--no-interaction"]).args(words);
        poetry
    };
    let output = run_client(poetry(&["-u", "__token__", "-p", "wrong"]), false);
    assert!(output.contains("401"), "{output}");
    let mut environment = poetry(&[]);
    environment
        .env("POETRY_HTTP_BASIC_PPM_USERNAME", "__token__")
        .env("POETRY_HTTP_BASIC_PPM_PASSWORD", &token);
    run_client(environment, true);
    installs(&server, "poetry-made", "1.0");
    dist(&server, "poetry", &package.code("other = 1\n"));
    let output = run_client(poetry(&["-u", "__token__", "-p", &token, "--skip-existing"]), true);
    assert!(output.contains("File exists"), "{output}");
    let output = run_client(poetry(&["-u", "__token__", "-p", &token]), false);
    assert!(output.contains("File already exists"), "{output}");
    assert_eq!(count(&server, "poetry-made"), 2);
}

#[test]
fn hatch_publishes_with_a_token() {
    let (server, token) = start();
    let files = dist(&server, "hatch", &Package::new("hatch-made", "1.0"));
    let hatch = |user: &[&str]| {
        let mut hatch = command(&server, &program("hatch", "hatch"), "hatch");
        hatch
            .args(["--no-color", "publish", "--no-prompt", "-r", &server.url(UPLOAD)])
            .args(user)
            .args(&files);
        hatch
    };
    let output = run_client(hatch(&["-u", "__token__", "-a", "wrong"]), false);
    assert!(output.contains("401"), "{output}");
    let mut environment = hatch(&[]);
    environment.env("HATCH_INDEX_USER", "__token__").env("HATCH_INDEX_AUTH", token);
    run_client(environment, true);
    installs(&server, "hatch-made", "1.0");
    assert_eq!(count(&server, "hatch-made"), 2);
}

#[test]
fn flit_builds_and_publishes_with_a_token() {
    let (server, token) = start();
    project(&server, "flit", "flit-made", "flit_core");
    std::fs::create_dir_all(server.dir().join("flit/flit_made")).expect("a folder");
    write(&server, "flit/flit_made/__init__.py", b"\"\"\"A test.\"\"\"\n");
    let flit = |password: &str| {
        let mut flit = command(&server, &program("flit", "flit"), "flit");
        flit.env("FLIT_INDEX_URL", server.url(UPLOAD)).env("FLIT_USERNAME", "__token__");
        flit.env("FLIT_PASSWORD", password).args(["publish", "--no-use-vcs"]);
        flit
    };
    let output = run_client(flit("wrong"), false);
    assert!(output.contains("401"), "{output}");
    run_client(flit(&token), true);
    installs(&server, "flit-made", "1.0");
    assert_eq!(count(&server, "flit-made"), 2);
}

/// pip and uv with an authenticated repository.
#[test]
fn an_authenticated_repository_is_installed_from_with_a_token_in_url_and_netrc() {
    let (server, _) = start();
    server.rspm_stdout("edit repo --name=py --authenticated");
    add(&server, "team", &Package::new("lib", "1.0"));
    add(&server, "team", &Package::new("app", "1.0").requires("lib"));
    let (reader, other) = (
        token(&server, "--scope=repos:read --repos=py"),
        token(&server, "--scope=sources:write --sources=team"),
    );
    let (open, host) = (server.url("/py/latest/simple"), server.host().to_owned());
    let with_user = |user: &str| format!("http://{user}@{host}/py/latest/simple");
    let netrc = |folder: &str| {
        std::fs::create_dir_all(server.dir().join(folder)).expect("a folder");
        let machine = host.split(':').next().unwrap_or_default();
        write(
            &server,
            &format!("{folder}/.netrc"),
            format!("machine {machine} login __token__ password {reader}\n").as_bytes(),
        );
    };
    let pip = |folder: &str, url: &str| {
        let mut pip = command(&server, &program("pip-newest", "python"), folder);
        pip.args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--no-input",
            "--target",
        ]);
        pip.arg(server.dir().join(folder).join("target")).args(["-i", url, "app"]);
        pip
    };
    let uv = |folder: &str, url: &str| {
        let mut uv = command(&server, &program("uv", "uv"), folder);
        uv.args(["pip", "install", "--target"]).arg(server.dir().join(folder).join("target"));
        uv.args(["--default-index", url, "app"]);
        uv
    };
    for (client, make) in [("pip", &pip as &dyn Fn(&str, &str) -> Command), ("uv", &uv)] {
        let cases: [(&str, String, bool); 5] = [
            ("url", with_user(&format!("__token__:{reader}")), true),
            ("token-as-user", with_user(&reader), true),
            ("netrc", open.clone(), true),
            ("anonymous", open.clone(), false),
            ("other", with_user(&format!("__token__:{other}")), false),
        ];
        for (case, url, is_installed) in cases {
            let folder = format!("{client}-{case}");
            if case == "netrc" {
                netrc(&folder);
            }
            let output = run_client(make(&folder, &url), is_installed);
            let target = server.dir().join(&folder).join("target");
            let found =
                ["app", "lib"].map(|package| installed_version(Path::new(&target), package).is_some());
            assert_eq!(found, [is_installed; 2], "{folder}: {output}");
            assert!(!output.contains(&reader), "{folder} prints the token: {output}");
        }
    }
}

#[test]
fn uv_publishes_from_a_job_of_github_without_a_password() {
    let issuer = Issuer::start();
    let gcfg = format!(
        "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {{dir}}/server.crt\nKey = {{dir}}/server.key\n\
         [IdentityFederation \"ci\"]\nIssuer = {}\nAudience = packages\nSubject = repo:org/name:.*\n\
         Scope = sources:write:team",
        issuer.url()
    );
    let builder = Builder::default().env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512)).gcfg(&gcfg);
    let mut server = builder.prepare();
    Pair::new().write(server.dir());
    server.launch();
    repository(&server);
    let url = format!("{}{UPLOAD}/", server.urls()[1]);
    let job = |version: &str, subject: &str| {
        let claims = json!({"aud": "packages", "sub": subject, "jti": version});
        issuer.write("token?api=2&audience=packages", &json!({"value": issuer.token(&claims)}));
        let package = Package::new("uv-made", version);
        let files = dist(&server, version, &package);
        let (attestation, _) = attest(&server, version, &package.wheel_name(), &package.wheel());
        let mut uv = command(&server, &program("uv", "uv"), version);
        uv.env("SSL_CERT_FILE", server.dir().join("server.crt")).env("NO_PROXY", "*");
        uv.env("GITHUB_ACTIONS", "true").env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t");
        uv.env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/token?api=2", issuer.url()));
        uv.args(["publish", "--trusted-publishing", "always", "--publish-url", &url])
            .args(files)
            .arg(attestation);
        uv
    };
    run_client(job("1.0", "repo:org/name:ref:refs/heads/main"), true);
    installs(&server, "uv-made", "1.0");
    let package = Package::new("uv-made", "1.0");
    let path = format!("/py/latest/packages/{}/{}.provenance", hex(&package.wheel()), package.wheel_name());
    let publisher = server.get(&path).json()["attestation_bundles"][0]["publisher"].take();
    let claims = json!({ "iss": issuer.url(), "sub": "repo:org/name:ref:refs/heads/main" });
    assert_eq!(publisher, json!({ "kind": "rstudio-pm-federation", "claims": claims }));
    let output = run_client(job("1.1", "repo:org/other:ref:refs/heads/main"), false);
    assert!(output.contains("[IdentityFederation]"), "{output}");
    assert_eq!(count(&server, "uv-made"), 2);
}
