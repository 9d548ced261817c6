//! The recipes of `docs/admin/state.md`: what the page gives to other programs is run as they run it, with a real server.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::access::token;
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const SITE: &str = "format = 1\n[sources.team]\n[repositories.prod]\nsources = [\"team\"]\n";
const RSPM: &str = env!("CARGO_BIN_EXE_rspm");

/// The text of a recipe.
fn recipe(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/admin/state.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let (_, recipes) = page.split_once("\n## Recipes\n").expect("the section");
    let (_, text) = recipes.split_once(&format!("\n**{name}**")).unwrap_or_else(|| panic!("no {name}"));
    text.split("\n**").next().unwrap_or_default().to_owned()
}

/// The only block of a language in a recipe.
fn block<'a>(recipe: &'a str, language: &str) -> &'a str {
    let (_, rest) = recipe.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("{recipe}"));
    let (block, rest) = rest.split_once("```").expect("an end");
    assert!(!rest.contains(&format!("```{language}\n")), "one block: {recipe}");
    block
}

fn yaml(text: &str) -> Value {
    let python = std::env::var("RSPM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    let output = Command::new(python).args(["-c", script, text]).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

/// A machine with `rspm` and other programs, and the environment of a job.
struct Machine {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { folder: tempfile::tempdir().expect("a folder"), environment: Vec::new() };
        machine.program("rspm", &format!("exec {RSPM} \"$@\""));
        machine
    }

    /// A machine whose jobs may change everything on a server.
    fn with_token(server: &Server) -> Machine {
        let mut machine = Machine::new();
        machine.set("PACKAGEMANAGER_ADDRESS", &server.url(""));
        machine.set("PACKAGEMANAGER_TOKEN", &token(server, "--scope=global:admin"));
        machine
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).expect(path)
    }

    /// Installs a program.
    fn program(&self, name: &str, script: &str) {
        self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(self.path().join("bin").join(name), mode).expect("executable");
    }

    /// Runs a script as the shells of CI systems do.
    fn run(&self, script: &str) -> ProcessOutput {
        let path = format!("{}:{}", self.path().join("bin").display(), std::env::var("PATH").expect("set"));
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(self.path()).env("PATH", path);
        bash.env("HOME", self.path()).env("NO_PROXY", "*");
        bash.envs(self.environment.iter().map(|(name, value)| (name, value)));
        run_to_end(&mut bash)
    }

    /// Runs a script, which must succeed; returns its standard output.
    fn must_run(&self, script: &str) -> String {
        let output = self.run(script);
        assert_eq!(output.code, Some(0), "{script}\n{output:?}");
        output.out
    }
}

fn description(server: &Server) -> String {
    server.json("export state")["repositories"]["prod"]["description"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_ci_job_commits_exactly_the_plan_of_another_one() {
    let server = Server::start();
    let mut machine = Machine::with_token(&server);
    machine.program("glab", "printf '%s|' \"$@\" > comment");
    machine.set("CI_COMMIT_SHA", "0123abcd");
    let jobs = yaml(block(&recipe("CI"), "yaml"));
    let script = |job: &str| {
        let lines: Vec<&str> = jobs[job]["script"].as_array().expect("lines").iter().map(text).collect();
        lines.join("\n")
    };
    assert_eq!(jobs["plan"]["artifacts"]["paths"][0], "plan.txt");
    assert_eq!(jobs["commit"]["needs"][0], "plan");
    machine.write("site/site.toml", SITE);
    machine.must_run(&script("plan"));
    assert!(!machine.path().join("comment").exists(), "a comment outside of a merge request");
    machine.must_run(&script("commit"));
    let trail = server.json("audit list --action=apply~state").to_string();
    assert!(trail.contains("0123abcd"), "{trail}");

    let described = SITE.replace("sources =", "description = \"a\"\nsources =");
    machine.write("site/site.toml", &described);
    server.rspm_stdout("edit repo --name=prod --description=b");
    machine.set("CI_MERGE_REQUEST_IID", "7");
    machine.must_run(&script("plan"));
    let comment = machine.read("comment");
    let expected = "mr|note|7|--message|~ repository  prod  description: \"b\" → \"a\"\n1 changed; ";
    assert!(comment.starts_with(expected), "{comment}");
    server.rspm_stdout("edit repo --name=prod --description=c");
    let stale = machine.run(&script("commit"));
    assert!(stale.code == Some(1) && stale.err.contains("changed since the plan with the base"), "{stale:?}");
    assert_eq!(description(&server), "c");
    machine.must_run(&script("plan"));
    machine.must_run(&script("commit"));
    assert_eq!(description(&server), "a");

    // Without a difference there is nothing to commit.
    machine.must_run(&script("plan"));
    assert_eq!(machine.must_run(&script("commit")), "");
    machine.write("site/site.toml", "format = 1\n[repositories.prod]\nsources = [\"nope\"]\n");
    let refused = machine.run(&script("plan"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for text in [machine.read("plan.txt"), machine.read("comment")] {
        assert!(text.contains("there is no source 'nope'"), "{text}");
    }

    // Drift.
    machine.write("site/site.toml", SITE);
    let drift = recipe("Drift");
    let command = drift.split('`').nth(1).expect("a command");
    assert_eq!(machine.run(command).code, Some(5));
    server.rspm_stdout("edit repo --name=prod --description=");
    assert_eq!(machine.run(command).code, Some(0));
}

#[test]
fn ansible_changes_only_what_differs() {
    let server = Server::start();
    let machine = Machine::with_token(&server);
    let tasks = yaml(block(&recipe("Ansible"), "yaml"));
    assert_eq!(tasks[0]["register"], "difference");
    assert_eq!(tasks[0]["failed_when"], "difference.rc not in [0, 5]");
    assert_eq!(tasks[0]["changed_when"], "difference.rc == 5");
    assert_eq!(tasks[1]["when"], "difference.rc == 5");
    let path = machine.path().join("site.toml").display().to_string();
    let task = |number: usize| text(&tasks[number]["command"]).replace("/etc/rstudio-pm/site.toml", &path);
    machine.write("site.toml", SITE);
    server.rspm_stdout("create source --name=other");
    assert_eq!(machine.run(&task(0)).code, Some(5));
    machine.must_run(&task(1));
    assert_eq!(machine.run(&task(0)).code, Some(0));
    let sources = server.json("export state")["sources"].clone();
    assert!(sources["team"].is_object() && sources["other"].is_object(), "{sources}");
    machine.write("site.toml", "format = 2\n");
    assert_eq!(machine.run(&task(0)).code, Some(1));
}

#[test]
fn a_job_of_kubernetes_applies_a_config_map_with_a_token_of_bootstrap() {
    let machine = Machine::new();
    let keys = machine.path().join(".ppm/keys/public.key");
    let server = Builder::default().gcfg(&format!("[Bootstrap]\nPublicKey = {}", keys.display())).start();
    machine.must_run("rspm bootstrap keys");
    machine.program("kubectl", "[ \"$*\" != 'apply -f -' ] || cat; echo \"$*\" >> calls");
    machine.write("site/site.toml", SITE);
    let recipe = recipe("Kubernetes");
    let local =
        |text: &str| text.replace("https://packages.example.org", server.url("").trim_end_matches('/'));
    machine.must_run(&local(block(&recipe, "sh")));
    let calls = machine.read("calls");
    let calls: Vec<&str> = calls.lines().collect();
    let made = " --dry-run=client -o yaml";
    let secret = calls[2].strip_prefix("create secret generic rspm --from-literal=token=");
    let secret = secret.and_then(|rest| rest.strip_suffix(made)).expect("a token");
    let map = format!("create configmap site --from-file=site/{made}");
    let replaced = "replace --force -f job.yaml";
    assert_eq!(calls, [&*map, "apply -f -", calls[2], "apply -f -", replaced]);

    let job = yaml(block(&recipe, "yaml"));
    assert_eq!((&job["apiVersion"], &job["kind"]), (&"batch/v1".into(), &"Job".into()));
    let pod = &job["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let [address, token] = [&container["env"][0], &container["env"][1]];
    let reference = &token["valueFrom"]["secretKeyRef"];
    assert_eq!((&reference["name"], &reference["key"]), (&"rspm".into(), &"token".into()));
    let [volume, mount] = [&pod["volumes"][0], &container["volumeMounts"][0]];
    assert_eq!((&volume["configMap"]["name"], &volume["name"]), (&"site".into(), &mount["name"]));
    // A volume consists of links.
    let mut pod = Machine::new();
    pod.write("volume/..1/site.toml", SITE);
    for (target, link) in [("..1", "volume/..data"), ("..data/site.toml", "volume/site.toml")] {
        std::os::unix::fs::symlink(target, pod.path().join(link)).expect("a link");
    }
    pod.set(text(&address["name"]), &local(text(&address["value"])));
    pod.set(text(&token["name"]), secret);
    let path = pod.path().join("volume").display().to_string();
    let words: Vec<&str> = container["command"].as_array().expect("words").iter().map(text).collect();
    let command = words.join(" ").replace(text(&mount["mountPath"]), &path);
    assert!(pod.must_run(&command).ends_with("2 created; done\n"));
    assert_eq!(pod.must_run(&command), "no changes; done\n");
}

#[test]
fn terraform_applies_a_file_by_its_command() {
    let server = Server::start();
    let machine = Machine::with_token(&server);
    machine.write("site.toml", SITE);
    let recipe = recipe("Terraform");
    let resource = block(&recipe, "hcl");
    let (_, command) = resource.split_once("command = \"").expect("a command");
    let (command, _) = command.split_once('"').expect("its end");
    assert!(resource.contains("filesha256(\"site.toml\")") && command.contains(" site.toml "), "{resource}");
    assert!(machine.must_run(command).ends_with("2 created; done\n"));
}

#[test]
fn a_test_server_has_the_packages_of_production_with_their_days() {
    let [production, test] = [Server::start(), Server::start()];
    let machine = Machine::new();
    let mut list = String::new();
    for (version, time) in [("1.0", "2024-01-10T09:00:00Z"), ("1.1", "2024-05-10T09:00:00Z")] {
        let tarball = Tarball::new("greeting", version);
        std::fs::write(machine.path().join(tarball.file()), tarball.bytes()).expect("written");
        list += &format!("{{\"op\":\"add\",\"at\":\"{time}\",\"file\":\"{}\"}}\n", tarball.file());
    }
    machine.write("list.ndjson", &list);
    for line in ["create source --name=team", "create repo --name=team", "create repo --name=prod"] {
        production.rspm_stdout(line);
    }
    let path = machine.path().join("list.ndjson").display().to_string();
    let imported = production.rspm(&format!("import list {path} --source=team --commit"));
    assert_eq!(imported.code, 0, "{imported:?}");
    production.rspm_stdout("subscribe --repo=team --source=team");
    production.rspm_stdout("subscribe --repo=prod --source=team");
    production.rspm_stdout("edit repo --name=prod --changes=promotion");

    // Without the flag, `rspm` on this machine is that of production.
    let config = production.config_file();
    let script = format!(
        "case \"$1\" in --config) exec {RSPM} \"$@\" ;; esac\nexec {RSPM} --config {} \"$@\"",
        config.display()
    );
    machine.program("rspm", &script);
    std::fs::copy(test.config_file(), machine.path().join("test.gcfg")).expect("copied");
    let recipe = recipe("A test server from production");
    machine.must_run(block(&recipe, "sh"));
    let command = block(&recipe, "console").strip_prefix("$ ").expect("a command");
    let address = production.url("");
    machine.must_run(&command.replace("https://packages.example.org", address.trim_end_matches('/')));
    for repo in ["team", "prod"] {
        for (day, version) in [("2024-03-01", "1.0"), ("2024-05-10", "1.1"), ("latest", "1.1")] {
            let path = format!("/{repo}/{day}/src/contrib/PACKAGES");
            let index = test.get(&path).text();
            assert!(index.contains(&format!("Version: {version}\n")), "{path}: {index}");
            assert_eq!(index, production.get(&path).text(), "{path}");
        }
    }
}
