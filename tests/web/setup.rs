//! The setup text is executed as the pages print it.

use std::path::Path;
use std::process::Command;

use super::document::unescape;
use crate::clients::bioconductor::mirror;
use crate::python::clients::{command, program, run, text};
use crate::support::python::form::publisher;
use crate::support::python::package::{Package, add, repository};
use crate::support::rscript;
use crate::support::server::{Builder, Server};

/// The lines of a client to copy, with where they belong.
fn snippets(html: &str, client: &str) -> Vec<(String, String)> {
    let start = html.split_once(&format!("id=\"for-{client}\"")).expect(client).1;
    let part = start.split("</details>").next().expect("an end");
    let figures = part.split("<figcaption><span>").skip(1).map(|figure| {
        let (place, rest) = figure.split_once("</span></figcaption>").expect("a place");
        let code = rest.split_once("<code>").expect("lines").1.split("</code>").next().expect("an end");
        (unescape(place), unescape(code))
    });
    figures.collect()
}

fn lines(html: &str, client: &str, place: &str) -> String {
    let snippets = snippets(html, client);
    let found = snippets.iter().find(|(other, _)| other == place);
    found.unwrap_or_else(|| panic!("{client} has no text for {place}: {snippets:?}")).1.clone()
}

/// Executes a command of a page with a shell; returns what it prints.
fn shell(mut command: Command, line: &str) -> String {
    command.args(["-c", line]);
    let output = run(command);
    assert!(output.status.success(), "{line}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A shell that finds a client by its name.
fn sh_with(server: &Server, client: &Path, home: &str) -> Command {
    let folder = client.parent().expect("a folder").display();
    let mut sh = command(server, "sh".as_ref(), home);
    sh.env("PATH", format!("{folder}:{}", std::env::var("PATH").expect("a PATH")));
    sh
}

#[test]
fn r_finds_the_packages_with_the_text_for_every_system() {
    let server = super::server();
    for platform in ["linux", "source", "noble", "windows"] {
        let page = server.get(&format!("/team/latest/?platform={platform}")).text();
        let show = "cat(getOption('repos')[['CRAN']], available.packages()['alpha', 'Version'])";
        let output = rscript::run::<&str>(&format!("{}\n{show}", lines(&page, "r", "R")), &[]);
        let (url, version) = output.split_once(' ').expect("two words");
        assert_eq!(version, "1.1", "{platform}");
        assert!(url.starts_with(&server.url("/team/")) && url.ends_with("/latest"), "{platform}: {url}");
        assert_eq!(url.contains("/__linux__/noble/"), platform == "noble", "{platform}: {url}");
    }
}

#[test]
fn the_lines_for_images_and_workflows_set_the_repository_of_r() {
    let server = super::server();
    let page = server.get("/team/latest/?platform=source").text();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    // `R RHOME` of the image, with a folder that a test may write.
    std::fs::create_dir_all(path("R/etc")).expect("a folder");
    std::fs::write(path("bin-R"), format!("#!/bin/sh\necho '{}'\n", path("R").display())).expect("written");
    let line = lines(&page, "docker", "Dockerfile");
    let line = line.strip_prefix("RUN ").expect("an instruction");
    let r = format!("R() {{ sh '{}' \"$@\"; }}", path("bin-R").display());
    shell(Command::new("sh"), &format!("{r}\n{line}"));
    let step = lines(&page, "github", "A step after the one that installs R");
    let (line, rest) = step.split_once('\n').expect("two lines");
    assert_eq!(rest, "  shell: bash");
    let line = line.strip_prefix("- run: ").expect("a command");
    let mut bash = Command::new("bash");
    bash.env("HOME", folder.path());
    shell(bash, line);
    for file in ["R/etc/Rprofile.site", ".Rprofile"] {
        let mut shown = Command::new("sh");
        shown.env("R_PROFILE_USER", path(file));
        assert_eq!(
            shell(shown, "Rscript -e 'cat(getOption(\"repos\")[[\"CRAN\"]])'"),
            server.url("/team/latest"),
            "{file}"
        );
    }
}

#[test]
fn the_command_for_r_prints_the_version_that_the_page_names() {
    let server = super::server();
    let page = server.get("/team/latest/?platform=source").text();
    let test = lines(&page, "r", "Test it");
    assert!(test.ends_with("# prints 1.1"), "{test}");
    assert_eq!(shell(Command::new("sh"), &test), "1.1");
}

#[test]
fn pip_and_uv_find_the_packages_with_the_text_of_the_page() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    let page = server.get("/py/latest/").text();

    let pip = program("pip-newest", "pip");
    let configuration = server.dir().join("pip.conf");
    std::fs::write(&configuration, lines(&page, "pip", "/etc/pip.conf")).expect("written");
    let mut download = command(&server, &pip, "web-pip-conf");
    download.env("PIP_CONFIG_FILE", &configuration);
    download.args(["download", "--no-deps", "--dest", ".", "odd-lib"]);
    let output = run(download);
    assert!(output.status.success() && text(&output).contains("odd_lib-1.0"), "{}", text(&output));

    let test = lines(&page, "pip", "Test it");
    assert!(test.ends_with("# version 1.0"), "{test}");
    assert!(shell(sh_with(&server, &pip, "web-pip"), &test).contains("odd_lib-1.0"));

    let mut settings = sh_with(&server, &pip, "web-pip-set");
    // The other commands of these tests read no file of the user.
    settings.env_remove("PIP_CONFIG_FILE");
    let line = lines(&page, "pip", "Command line");
    let download = "pip download --no-deps --dest . odd-lib";
    assert!(shell(settings, &format!("{line} && {download}")).contains("odd_lib-1.0"));
    // An instruction of a Dockerfile, as the shell of the image gets it.
    let environment = lines(&page, "docker", "Dockerfile");
    let environment = environment.strip_prefix("ENV ").expect("an instruction");
    let line = format!("export {environment}\n{download}\necho odd-lib | uv pip compile --no-header -");
    let mut image = sh_with(&server, &pip, "web-docker");
    let uv_folder = program("uv", "uv").parent().expect("a folder").display().to_string();
    let folders = format!("{}:{uv_folder}:/usr/bin:/bin", pip.parent().expect("a folder").display());
    image.env("PATH", folders);
    let output = shell(image, &line);
    assert!(output.contains("odd_lib-1.0") && output.contains("odd-lib==1.0"), "{output}");

    let environment = lines(&page, "uv", "Environment");
    let uv = program("uv", "uv").display().to_string();
    let line = format!("{environment}\necho odd-lib | {uv} pip compile --no-header -");
    assert!(shell(sh_with(&server, &pip, "web-uv"), &line).contains("odd-lib==1.0"));
}

/// The lock file that a client writes for a project that requires `odd-lib`. `head` is the beginning of its
/// pyproject.toml, to which the lines of the page are appended.
fn locked(server: &Server, page: &str, client: &str, head: &str, lock_file: &str) -> String {
    let folder = server.dir().join(format!("web-{client}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let lines = lines(page, client, "pyproject.toml");
    std::fs::write(folder.join("pyproject.toml"), format!("{head}{lines}\n")).expect("written");
    let mut lock = command(server, &program(client, client), &format!("home-web-{client}"));
    lock.env_remove("UV_NO_CONFIG").arg("lock").current_dir(&folder);
    let output = run(lock);
    assert!(output.status.success(), "{client}: {}", text(&output));
    std::fs::read_to_string(folder.join(lock_file)).expect("a lock file")
}

#[test]
fn poetry_pdm_and_uv_lock_a_project_with_the_text_of_the_page() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    let page = server.get("/py/latest/").text();
    let project = "[project]\nname = \"mine\"\nversion = \"0.1\"\nrequires-python = \">=3.9\"\n\
                   dependencies = [\"odd-lib\"]\n";
    let poetry = "[tool.poetry]\nname = \"mine\"\nversion = \"0.1\"\ndescription = \"\"\nauthors = []\n\
                  package-mode = false\n[tool.poetry.dependencies]\npython = \">=3.9,<4\"\nodd-lib = \"*\"\n";
    for (client, head, lock_file) in
        [("poetry", poetry, "poetry.lock"), ("pdm", project, "pdm.lock"), ("uv", project, "uv.lock")]
    {
        let lock = locked(&server, &page, client, head, lock_file);
        let compact = lock.to_lowercase();
        assert!(
            compact.contains("name = \"odd-lib\"") && compact.contains("version = \"1.0\""),
            "{client}: {lock}"
        );
    }
}

#[test]
fn biocmanager_finds_the_version_with_the_text_of_the_page() {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/mirror").start();
    mirror(&server.dir().join("mirror"), "4.2");
    server.rspm_stdout("create repo --name=bioc --type=bioconductor");
    server.rspm_stdout("sync --type=Bioconductor");
    let page = server.get("/bioc/latest/").text();
    // The options have no code that detects a distribution.
    let browser = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")];
    let of_linux = crate::support::http::request("GET", &server.url("/bioc/latest/"), &browser, b"").text();
    assert!(!of_linux.contains("detected by R"), "{of_linux}");
    assert!(of_linux.contains("<option value=\"source\" selected>"), "{of_linux}");
    let options = lines(&page, "biocmanager", "R");
    let version = page.split("BiocManager::install(version = &quot;").nth(1).expect("a version");
    let version = version.split("&quot;").next().expect("its end").to_owned();
    let show = format!(
        "cat(as.character(BiocManager::version()), BiocManager::repositories(version = '{version}')[['BioCsoft']])"
    );
    let output = rscript::run::<&str>(
        &format!("{options}\noptions(repos = c(CRAN = 'file:///nowhere'))\n{show}"),
        &[],
    );
    let expected = server.url(&format!("/bioc/latest/packages/{version}/bioc"));
    assert!(output.ends_with(&expected), "{output}, not {expected}");
    let test = lines(&page, "biocmanager", "Test it");
    let expected = test.rsplit_once("# prints ").expect("the result").1.to_owned();
    assert_eq!(shell(Command::new("sh"), &test), expected);
}

#[test]
fn twine_publishes_with_the_text_of_the_page() {
    let server = Server::start();
    repository(&server);
    let token = publisher(&server);
    let line = lines(&server.get("/py/latest/").text(), "twine", "Command line");
    let package = Package::new("Odd.Lib", "1.0");
    let mut sh = sh_with(&server, &program("twine", "twine"), "web-twine");
    let folder = server.dir().join("web-twine");
    std::fs::create_dir_all(folder.join("dist")).expect("a folder");
    std::fs::write(folder.join("dist").join(package.wheel_name()), package.wheel()).expect("written");
    sh.current_dir(&folder).env("TWINE_PASSWORD", token);
    shell(sh, &line);
    assert_eq!(server.get("/py/latest/simple/odd-lib/").status, 200);
}

#[test]
fn install_packages_installs_with_the_text_of_the_page() {
    let server = super::server();
    let page = server.get("/team/latest/?platform=source").text();
    let library = tempfile::tempdir().expect("a folder");
    let code = format!(
        "{}\nlibrary <- commandArgs(TRUE)\n.libPaths(library)\ninstall.packages('beta', quiet = TRUE)\n\
         cat(as.character(packageVersion('beta', library)), as.character(packageVersion('alpha', library)))",
        lines(&page, "r", "R")
    );
    assert_eq!(rscript::run(&code, &[library.path()]), "2.0 1.1", "with its dependency");
}
