//! Clients of Python repositories.

use super::{Client, Instructions, Setup, VersionToInstall};

pub(super) static PYTHON: Instructions = Instructions { url, clients, install_command, first_install };

fn url(setup: &Setup) -> String {
    let Setup { repository, snapshot, .. } = setup;
    format!("{repository}/{snapshot}/simple/")
}

fn install_command(version: &VersionToInstall<'_>) -> Option<String> {
    Some(format!("pip install {}=={}", version.package, version.version))
}

fn first_install(setup: &Setup) -> Option<String> {
    let url = setup.url();
    let trusted = insecure_host(&url).map(|host| format!("--trusted-host {host} ")).unwrap_or_default();
    Some(format!("pip install --index-url {url} {trusted}six"))
}

fn clients(setup: &Setup) -> Vec<Client> {
    let url = setup.url();
    let host = insecure_host(&url);
    let trusted = host.map(|host| format!("trusted-host = {host}\n")).unwrap_or_default();
    let mut pip =
        Client::new("pip", "pip").snippet("Command line", format!("pip config set global.index-url {url}"));
    if let Some(host) = host {
        pip = pip
            .remark("The connection is not encrypted; pip accepts that only for trusted hosts:")
            .snippet("Command line", format!("pip config set global.trusted-host {host}"));
    }
    let pip = pip
        .remark("Or for all users of a machine:")
        .snippet("/etc/pip.conf", format!("[global]\nindex-url = {url}\n{trusted}"))
        .snippet("Test it", check_command(setup, &url, host));
    let mut clients = vec![
        pip,
        Client::new("uv", "uv")
            .snippet("pyproject.toml", format!("[[tool.uv.index]]\nurl = \"{url}\"\ndefault = true"))
            .remark("Or for all projects:")
            .snippet("Environment", format!("export UV_DEFAULT_INDEX={url}")),
        Client::new("poetry", "Poetry").snippet(
            "pyproject.toml",
            format!("[[tool.poetry.source]]\nname = \"packages\"\nurl = \"{url}\"\npriority = \"primary\""),
        ),
        Client::new("pdm", "PDM").snippet(
            "pyproject.toml",
            format!("[[tool.pdm.source]]\nname = \"pypi\"\nurl = \"{url}\"\nverify_ssl = true"),
        ),
        Client::new("conda", "conda, pixi")
            .remark(
                "This server has no conda packages. Packages that pip installs into a conda environment come from here \
                 with these lines or with the settings of pip. pixi reads the index of a project from pixi.toml.",
            )
            .snippet(
                "environment.yml",
                format!("dependencies:\n  - pip\n  - pip:\n      - --index-url {url}\n"),
            )
            .snippet("pixi.toml", format!("[pypi-options]\nindex-url = \"{url}\"")),
        Client::new("docker", "Dockerfile").snippet("Dockerfile", format!("ENV PIP_INDEX_URL={url} UV_DEFAULT_INDEX={url}")),
        Client::new("github", "GitHub Actions").snippet(
            "In the job",
            format!("env:\n  PIP_INDEX_URL: {url}\n  UV_DEFAULT_INDEX: {url}"),
        ),
    ];
    if !setup.uploads.is_empty() {
        let mut twine = Client::new("twine", "twine, to publish")
            .remark("The password is a token with the scope sources:write.");
        for source in &setup.uploads {
            let address = format!("{}/upload/pypi/{source}", setup.server);
            twine = twine.snippet(
                "Command line",
                format!("twine upload --repository-url {address} -u __token__ dist/*"),
            );
        }
        clients.push(twine);
    }
    clients
}

fn check_command(setup: &Setup, url: &str, host: Option<&str>) -> String {
    let trusted = host.map(|host| format!(" --trusted-host {host}")).unwrap_or_default();
    match &setup.example {
        Some((package, version)) => {
            format!(
                "pip download --no-deps --dest . --index-url {url}{trusted} {package}\n# version {version}"
            )
        }
        None => format!("curl --fail {url}\n# an empty list"),
    }
}

/// Returns the host of an `http` URL, unless it is a loopback host.
fn insecure_host(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("http://")?.split('/').next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    (!["localhost", "127.0.0.1", "[::1]"].contains(&host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_without_encryption_must_be_trusted() {
        assert_eq!(insecure_host("http://pm.example:4242/py/latest/simple/"), Some("pm.example"));
        assert_eq!(insecure_host("http://pm.example/py/latest/simple/"), Some("pm.example"));
        assert_eq!(insecure_host("http://127.0.0.1:1/py/latest/simple/"), None);
        assert_eq!(insecure_host("https://pm.example/py/latest/simple/"), None);
    }
}
