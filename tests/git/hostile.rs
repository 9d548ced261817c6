//! Hostile repositories, built by the server: each attempt fails, and the table in `docs/admin/git.md` names what stops it.

use std::fmt::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::vignettes::{ENGINE, with_vignette};
use crate::builder::attempts::{Attempt, Targets, attempts, check, script};
use crate::builder::repository::Repository;
use crate::support::tarball::Tarball;

/// A server, and the directory for repositories that it may read.
pub(super) trait Host {
    /// Runs `rspm`; returns whether it succeeded, and its output.
    fn rspm(&self, line: &str) -> (bool, String);
    /// A file of the server.
    fn get(&self, path: &str) -> Vec<u8>;
    /// The directory for repositories, as this process sees it.
    fn repositories(&self) -> PathBuf;
    /// The same directory as the server sees it.
    fn visible_repositories(&self) -> PathBuf;

    /// Adds a package to a local source.
    fn add(&self, source: &str, package: &Tarball) {
        let file = self.repositories().join(package.file());
        std::fs::write(&file, package.bytes()).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        let visible = self.visible_repositories().join(package.file());
        let (is_success, output) = self.rspm(&format!("add --source={source} --path={}", visible.display()));
        std::fs::remove_file(&file).unwrap();
        assert!(is_success, "{output}");
    }
}

/// A hostile repository, which is refused with a message.
struct Refusal {
    name: &'static str,
    obstacle: &'static str,
    /// Flags of `rspm create git-builder`.
    flags: &'static str,
    create: fn(&Repository),
    /// A part of the message.
    message: &'static str,
}

/// A setting, hook or file of a repository that names a program. Each runs the same script, with its own number.
struct Program {
    name: &'static str,
    obstacle: &'static str,
    place: Place,
}

enum Place {
    /// A value of `.git/config` of the repository on the server of repositories.
    Config(&'static str),
    /// A hook of the same repository.
    Hook(&'static str),
    /// A file of the commit, in which `{}` is the command.
    File(&'static str, &'static str),
}

const fn program(name: &'static str, obstacle: &'static str, place: Place) -> Program {
    Program { name, obstacle, place }
}

const fn refusal(
    name: &'static str,
    obstacle: &'static str,
    flags: &'static str,
    create: fn(&Repository),
    message: &'static str,
) -> Refusal {
    Refusal { name, obstacle, flags, create, message }
}

const OWN_CONFIG: &str = "git reads no configuration but that of the server";
const NO_HOOKS: &str = "core.hooksPath, and no template directory";
const NO_FILTERS: &str = "filters of a repository are not configured; Git LFS is not supported";
const NO_VIGNETTES: &str = "vignettes are built only with --vignettes";
const LINKS: &str = "links that leave the tree are refused";
const OBJECTS: &str = "git verifies objects (transfer.fsckObjects)";
const SUBMODULES: &str = "submodules only over HTTPS, HTTP and SSH, from the same or a configured host";
const RECURSIVE: &str = " --recurse-submodules=1";
const URLS: &str = "the syntax of URLs";
const LOCAL: &str = "Git.LocalPaths";

const PROGRAMS: &[Program] = &[
    program("filter.evil.smudge in .git/config", OWN_CONFIG, Place::Config("filter.evil.smudge")),
    program("filter.evil.process in .git/config", OWN_CONFIG, Place::Config("filter.evil.process")),
    program("core.fsmonitor in .git/config", OWN_CONFIG, Place::Config("core.fsmonitor")),
    program("core.sshCommand in .git/config", OWN_CONFIG, Place::Config("core.sshCommand")),
    program("core.gitProxy in .git/config", OWN_CONFIG, Place::Config("core.gitProxy")),
    program(
        "core.alternateRefsCommand in .git/config",
        OWN_CONFIG,
        Place::Config("core.alternateRefsCommand"),
    ),
    program("core.pager in .git/config", OWN_CONFIG, Place::Config("core.pager")),
    program(
        "uploadpack.packObjectsHook in .git/config",
        "git reads it only from protected configuration",
        Place::Config("uploadpack.packObjectsHook"),
    ),
    program("credential.helper in .git/config", OWN_CONFIG, Place::Config("credential.helper")),
    program("diff.evil.textconv in .git/config", OWN_CONFIG, Place::Config("diff.evil.textconv")),
    program("gpg.program in .git/config", OWN_CONFIG, Place::Config("gpg.program")),
    program("remote.origin.uploadpack in .git/config", OWN_CONFIG, Place::Config("remote.origin.uploadpack")),
    program("the hook post-checkout", NO_HOOKS, Place::Hook("post-checkout")),
    program("the hook post-merge", NO_HOOKS, Place::Hook("post-merge")),
    program("the hook reference-transaction", NO_HOOKS, Place::Hook("reference-transaction")),
    program("the hook post-index-change", NO_HOOKS, Place::Hook("post-index-change")),
    program("the hook post-upload-pack", NO_HOOKS, Place::Hook("post-upload-pack")),
    program("the hook pre-auto-gc", NO_HOOKS, Place::Hook("pre-auto-gc")),
    program(
        "a filter in .gitattributes",
        NO_FILTERS,
        Place::File(".gitattributes", "*.R filter=evil diff=evil merge=evil\npointer filter=lfs\n"),
    ),
    program(
        "a transfer agent of Git LFS in .lfsconfig",
        NO_FILTERS,
        Place::File(
            ".lfsconfig",
            "[lfs]\n\turl = https://git.invalid/lfs\n\tstandalonetransferagent = evil\n[lfs \"customtransfer.evil\"]\n\tpath = {}\n",
        ),
    ),
    program(
        "a pointer of Git LFS",
        NO_FILTERS,
        Place::File(
            "pointer",
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
        ),
    ),
    program(
        "code in a vignette (Sweave)",
        NO_VIGNETTES,
        Place::File(
            "vignettes/v.Rnw",
            "%\\VignetteIndexEntry{v}\n\\documentclass{article}\\begin{document}\n<<>>=\nsystem(\"{}\")\n@\n\\end{document}\n",
        ),
    ),
    program("code in a vignette (Makefile)", NO_VIGNETTES, Place::File("vignettes/Makefile", "all:\n\t{}\n")),
    program(
        "code in a test of the package",
        "tests are not run",
        Place::File("tests/t.R", "system(\"{}\")\n"),
    ),
];

const REFUSALS: &[Refusal] = &[
    refusal("a link to /etc/passwd", LINKS, "", |r| link(r, "/etc/passwd"), "points outside"),
    refusal("a link to /proc/self/environ", LINKS, "", |r| link(r, "/proc/self/environ"), "points outside"),
    refusal(
        "a link to a parent of the tree",
        LINKS,
        "",
        |r| link(r, "../../home/gitconfig"),
        "points outside",
    ),
    refusal(
        "a link through a directory and out of it",
        LINKS,
        "",
        |r| link(r, "x/../../../home/gitconfig"),
        "points outside",
    ),
    refusal("a link to .git/config", LINKS, "", |r| link(r, "../.git/config"), "points outside"),
    refusal("a link to .GIT/config", LINKS, "", |r| link(r, "../.GIT/config"), "points outside"),
    refusal(
        "DESCRIPTION as a link",
        LINKS,
        "",
        |r| {
            std::fs::remove_file(r.path().join("DESCRIPTION")).unwrap();
            symlink("/etc/passwd", r.path().join("DESCRIPTION")).unwrap();
            r.commit();
        },
        "points outside",
    ),
    refusal(
        "a link as the directory of the package",
        LINKS,
        " --sub-dir=R/link",
        |r| link(r, "/etc"),
        "has no directory 'R/link'",
    ),
    refusal(
        "a directory outside of the tree",
        "the syntax of --sub-dir",
        " --sub-dir=../../etc",
        |r| drop(r.commit()),
        "is not a relative path",
    ),
    refusal("a file .git/hooks/post-checkout in the tree", OBJECTS, "", |r| entry(r, ".git"), "hasDotgit"),
    refusal("a directory .GIT in the tree", OBJECTS, "", |r| entry(r, ".GIT"), "hasDotgit"),
    refusal("a directory git~1 in the tree", OBJECTS, "", |r| entry(r, "git~1"), "hasDotgit"),
    refusal("a directory .g\\u200cit in the tree", OBJECTS, "", |r| entry(r, ".g\u{200c}it"), "hasDotgit"),
    refusal("a directory .. in the tree", OBJECTS, "", |r| entry(r, ".."), "hasDotdot"),
    refusal("a path with slashes in one entry", OBJECTS, "", |r| entry(r, "a/../../x"), "fullPathname"),
    refusal(
        ".gitmodules as a link",
        OBJECTS,
        RECURSIVE,
        |r| {
            let target = r.write("target", "/etc/passwd").display().to_string();
            let target = r.git(&["hash-object", "-w", &target]);
            head(r, ("120000", ".gitmodules", &target));
        },
        "gitmodulesSymlink",
    ),
    refusal(
        "a submodule named ../../x",
        OBJECTS,
        RECURSIVE,
        |r| modules(r, "[submodule \"../../x\"]\n\tpath = x\n\turl = https://git.invalid/x\n"),
        "gitmodulesName",
    ),
    refusal(
        "a submodule with an option as its URL",
        OBJECTS,
        RECURSIVE,
        |r| modules(r, "[submodule \"x\"]\n\tpath = x\n\turl = --upload-pack=touch\n"),
        "gitmodulesUrl",
    ),
    refusal(
        "a submodule with an option as its path",
        OBJECTS,
        RECURSIVE,
        |r| modules(r, "[submodule \"x\"]\n\tpath = --x\n\turl = https://git.invalid/x\n"),
        "gitmodulesPath",
    ),
    refusal(
        "a submodule with a command as its update",
        OBJECTS,
        RECURSIVE,
        |r| modules(r, "[submodule \"x\"]\n\tpath = x\n\turl = https://git.invalid/x\n\tupdate = !touch x\n"),
        "gitmodulesUpdate",
    ),
    refusal(
        "a submodule ext::sh -c …",
        SUBMODULES,
        RECURSIVE,
        |r| submodule(r, "ext::sh -c touch% x"),
        "the submodule ext::",
    ),
    refusal(
        "a submodule of the file system",
        SUBMODULES,
        RECURSIVE,
        |r| submodule(r, "file:///srv/git/secret"),
        "submodules of local repositories are not supported",
    ),
    refusal(
        "a submodule beside a local repository",
        SUBMODULES,
        RECURSIVE,
        |r| submodule(r, "../secret"),
        "the submodule ",
    ),
    refusal(
        "a submodule of another host",
        SUBMODULES,
        RECURSIVE,
        |r| submodule(r, "https://git.invalid/x"),
        "Git.SubmoduleHosts",
    ),
    refusal(
        "a submodule of a cloud's metadata",
        SUBMODULES,
        RECURSIVE,
        |r| submodule(r, "http://169.254.169.254/x"),
        "Git.SubmoduleHosts",
    ),
    refusal(
        "a submodule with an option of SSH as its host",
        SUBMODULES,
        RECURSIVE,
        |r| submodule(r, "ssh://-oProxyCommand=touch/x"),
        "the submodule ",
    ),
    refusal(
        "a tree of 101 directories",
        "the limit of the depth",
        "",
        |r| {
            r.write(&format!("{}f", "d/".repeat(101)), "");
            r.commit();
        },
        "is too long",
    ),
    refusal(
        "another result beside that of R",
        "more than one result is refused",
        "",
        |r| cleanup(r, "cd \"$TMPDIR/../result\" && echo x > evil_1.0.tar.gz"),
        "2 files",
    ),
    refusal(
        "a process that changes the result later",
        "a build that leaves processes behind fails",
        "",
        |r| {
            cleanup(
                r,
                "setsid sh -c 'sleep 5; echo x > \"$TMPDIR/../result/tested_1.0.tar.gz\"' > /dev/null 2>&1 &",
            )
        },
        "left processes behind",
    ),
    refusal(
        "a package with the name of another one",
        "the name is bound to the builder",
        "",
        |r| cleanup(r, "sed -i s/tested/other/ DESCRIPTION"),
        "'other'",
    ),
];

/// URLs that `rspm create git-builder` refuses, with the message.
const WRONG_URLS: &[(&str, &str, &str)] = &[
    ("ext::sh%20-c%20touch", URLS, "--url"),
    ("-oProxyCommand=touch", URLS, "--url"),
    ("ssh://-oProxyCommand=touch/x", URLS, "--url"),
    ("https://user:password@host/x", URLS, "contains a password"),
    ("https:///x", URLS, "--url"),
    ("file:///etc", LOCAL, "Git.LocalPaths"),
    ("file:///var/lib/rstudio-pm", LOCAL, "Git.LocalPaths"),
    ("file:///srv/git/../../var/lib/rstudio-pm", LOCAL, "--url"),
];

fn link(repository: &Repository, target: &str) {
    symlink(target, repository.path().join("R/link")).unwrap();
    repository.commit();
}

fn modules(repository: &Repository, content: &str) {
    repository.write(".gitmodules", content);
    repository.commit();
}

fn cleanup(repository: &Repository, command: &str) {
    let script = repository.write("cleanup", &format!("#!/bin/sh\n{command}\n"));
    std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    repository.commit();
}

fn submodule(repository: &Repository, url: &str) {
    repository.write(".gitmodules", &format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n"));
    let commit = repository.commit();
    repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},x")]);
    repository.git(&["commit", "--quiet", "--message=x"]);
}

/// Adds a directory with a hook, with a name that git itself does not write.
fn entry(repository: &Repository, name: &str) {
    repository.commit();
    let blob = repository.git(&["hash-object", "-w", "R/f.R"]);
    let hooks = tree(repository, &[("100755", "post-checkout", &blob)]);
    let directory = tree(repository, &[("40000", "hooks", &hooks)]);
    head(repository, ("40000", name, &directory));
}

/// Commits a package with this entry, without git's checks.
fn head(repository: &Repository, entry: (&str, &str, &str)) {
    repository.commit();
    let description = repository.git(&["rev-parse", "HEAD:DESCRIPTION"]);
    let root = tree(repository, &[entry, ("100644", "DESCRIPTION", &description)]);
    let commit = repository.git(&["commit-tree", "-m", "x", &root]);
    repository.git(&["update-ref", "refs/heads/main", &commit]);
}

/// Writes a tree object without git's checks; returns its name.
fn tree(repository: &Repository, entries: &[(&str, &str, &str)]) -> String {
    let mut entries = entries.to_vec();
    entries.sort_by_key(
        |(mode, name, _)| if *mode == "40000" { format!("{name}/") } else { (*name).to_owned() },
    );
    let mut bytes = Vec::new();
    for (mode, name, object) in entries {
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend_from_slice(&hex::decode(object).unwrap());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let path = file.path().display().to_string();
    repository.git(&["hash-object", "-t", "tree", "--literally", "-w", &path])
}

/// Creates a source of builds with a repository of the same name.
fn source(host: &dyn Host, name: &str) {
    for line in [
        format!("create source --name={name} --type=git"),
        format!("create repo --name={name}"),
        format!("subscribe --repo={name} --source={name}"),
    ] {
        succeed(host, &line);
    }
}

/// Runs `rspm`, which must succeed.
fn succeed(host: &dyn Host, line: &str) {
    let (is_success, output) = host.rspm(line);
    assert!(is_success, "{line}: {output}");
}

/// A repository with a package, and the URL by which the server reads it.
fn repository(host: &dyn Host) -> (Repository, String) {
    let repository = Repository::below(&host.repositories());
    repository.package("", "1.0");
    let path = host.visible_repositories().join(repository.path().file_name().unwrap());
    (repository, format!("file://{}", path.display()))
}

/// Runs all attempts through the server: from a `configure` script, and from a vignette.
pub(super) fn builds_reach_nothing(host: &dyn Host, targets: &Targets) {
    let attempts = attempts(targets);
    configure_reaches_nothing(host, &attempts);
    vignette_reaches_nothing(host, &attempts);
}

fn configure_reaches_nothing(host: &dyn Host, attempts: &[Attempt]) {
    source(host, "configure");
    let (repository, url) = repository(host);
    let configure = repository.write("configure", &script(attempts));
    std::fs::set_permissions(configure, PermissionsExt::from_mode(0o755)).unwrap();
    // A help page that is computed at build time makes R install the package, which runs `configure`.
    let page = "\\name{f}\\title{t}\\description{\\Sexpr[stage=build,results=text]{1+1}}\n";
    repository.write("man/f.Rd", page);
    repository.commit();
    succeed(host, &format!("create git-builder --source=configure --url={url}"));
    let package = host.get("/configure/latest/src/contrib/tested_1.0.tar.gz");
    check(attempts, &crate::builder::job::member(&package, "tested/attempts.txt"));
}

/// The engine is a package of the server: R does not find the engine of a vignette in the package itself. A library of the
/// host may have an older engine without attempts.
fn vignette_reaches_nothing(host: &dyn Host, attempts: &[Attempt]) {
    const WEAVE: &str = "weave <- function(file, ...) {\n";
    const RUN: &str = "    root <- if (file.exists(\"tools/attempts.sh\")) \".\" else \"..\"\n    \
                       stopifnot(system(paste(\"cd\", root, \"&& sh tools/attempts.sh\")) == 0)\n";
    source(host, "vignette");
    for line in ["create source --name=engines", "subscribe --repo=vignette --source=engines"] {
        succeed(host, line);
    }
    assert!(ENGINE.contains(WEAVE));
    let engine = ENGINE.replacen(WEAVE, &format!("{WEAVE}{RUN}"), 1);
    host.add("engines", &Tarball::new("engine", "2.0").with("R/engine.R", &engine));
    let (repository, url) = repository(host);
    repository.write("tools/attempts.sh", &script(attempts));
    with_vignette(&repository, "1.0", "Suggests: engine (>= 2.0)\n");
    repository.commit();
    succeed(host, &format!("create git-builder --source=vignette --url={url} --vignettes"));
    let package = host.get("/vignette/latest/src/contrib/tested_1.0.tar.gz");
    check(attempts, &crate::builder::job::member(&package, "tested/attempts.txt"));
}

/// Builds hostile repositories: programs that they name are not run, and the others are refused.
pub(super) fn repositories_reach_nothing(host: &dyn Host) {
    programs_are_not_run(host);
    source(host, "refusals");
    let mut mismatches = Vec::new();
    for Refusal { name, obstacle, flags, create, message } in REFUSALS {
        let (repository, url) = repository(host);
        create(&repository);
        let (is_success, output) =
            host.rspm(&format!("create git-builder --source=refusals --url={url}{flags}"));
        // Most are refused before there is a builder; a failed build has one.
        host.rspm("delete git-builder --source=refusals --name=tested");
        let line = output.lines().find(|line| line.contains(message));
        println!("{name:45} | {obstacle:55} | {}", line.unwrap_or("-"));
        if is_success || line.is_none() {
            mismatches.push(format!("{name}: {output}"));
        }
    }
    for (url, obstacle, message) in WRONG_URLS {
        let (is_success, output) = host.rspm(&format!("create git-builder --source=refusals --url={url}"));
        println!("{url:45} | {obstacle:55} | {}", output.trim());
        if is_success || !output.contains(message) {
            mismatches.push(format!("{url}: {output}"));
        }
    }
    println!("{} attempts", PROGRAMS.len() + REFUSALS.len() + WRONG_URLS.len());
    assert!(mismatches.is_empty(), "{mismatches:#?}");
    let index = String::from_utf8(host.get("/refusals/latest/src/contrib/PACKAGES")).unwrap();
    assert!(!index.contains("Package:"), "{index}");
}

/// The text that the program of an attempt writes.
const RAN: &str = "the-program-of-attempt";

fn programs_are_not_run(host: &dyn Host) {
    source(host, "programs");
    let (repository, url) = repository(host);
    let path = url.strip_prefix("file://").unwrap();
    let evil = repository.write(
        ".git/evil",
        &format!("#!/bin/sh\necho {RAN} $1 >&2\ntouch /build/sources/ran-$1 ran-$1\nexit 0\n"),
    );
    std::fs::set_permissions(evil, PermissionsExt::from_mode(0o755)).unwrap();
    let command = |number: usize| format!("{path}/.git/evil {number}");
    for (number, Program { place, .. }) in PROGRAMS.iter().enumerate() {
        if let Place::File(file, content) = place {
            repository.write(file, &content.replace("{}", &command(number)));
        }
    }
    // The control: a program of the package itself runs, and its output is in the log.
    repository.run_in_build(&format!("echo {RAN} control"));
    repository.commit();
    // Only now: the commit above must not run them.
    for (number, Program { place, .. }) in PROGRAMS.iter().enumerate() {
        match place {
            Place::Config(key) => drop(repository.git(&["config", key, &command(number)])),
            Place::Hook(hook) => {
                let script = format!("#!/bin/sh\n{}\n", command(number));
                let hook = repository.write(&format!(".git/hooks/{hook}"), &script);
                std::fs::set_permissions(hook, PermissionsExt::from_mode(0o755)).unwrap();
            }
            Place::File(..) => {}
        }
    }
    let (is_success, log) = host.rspm(&format!("create git-builder --source=programs --url={url}"));
    assert!(is_success && log.contains(&format!("{RAN} control")), "{log}");
    let package = host.get("/programs/latest/src/contrib/tested_1.0.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package.as_slice()));
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    for (number, Program { name, obstacle, .. }) in PROGRAMS.iter().enumerate() {
        println!("{name:45} | {obstacle:55} | not run");
        assert!(!log.lines().any(|line| line.contains(&format!("{RAN} {number}"))), "{name}: {log}");
        assert!(!names.iter().any(|name| name.ends_with(&format!("ran-{number}"))), "{name}: {names:?}");
    }
    assert!(log.contains("1 files are Git LFS pointers"), "{log}");
}

/// The table of all attempts of this file, and of those of builds on a booted system, in Markdown.
fn table() -> String {
    let mut rows: Vec<(String, String, String)> = attempts(&super::booted::targets())
        .into_iter()
        .filter_map(|Attempt { name, obstacle, .. }| {
            Some(("`configure`, vignette".to_owned(), name, obstacle?.to_owned()))
        })
        .collect();
    let place = |place: &Place| match place {
        Place::Config(_) | Place::Hook(_) => "repository",
        Place::File(..) => "commit",
    };
    rows.extend(
        PROGRAMS.iter().map(|p| (place(&p.place).to_owned(), p.name.to_owned(), p.obstacle.to_owned())),
    );
    rows.extend(REFUSALS.iter().map(|r| ("commit".to_owned(), r.name.to_owned(), r.obstacle.to_owned())));
    rows.extend(
        WRONG_URLS
            .iter()
            .map(|(url, obstacle, _)| ("URL".to_owned(), (*url).to_owned(), (*obstacle).to_owned())),
    );
    let mut text = format!("{} attempts.\n\n| from | attempt | what stops it |\n|---|---|---|\n", rows.len());
    for (from, name, obstacle) in rows {
        let escaped = |text: &str| text.replace('|', "\\|").replace('*', "\\*").replace('_', "\\_");
        writeln!(text, "| {from} | {} | {} |", escaped(&name), escaped(&obstacle)).unwrap();
    }
    text
}

#[test]
fn the_page_lists_all_attempts() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/admin/git.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) =
        ("<!-- generated from tests/git/hostile.rs: begin -->\n\n", "\n<!-- generated: end -->");
    let (before, rest) = page.split_once(begin).expect("the page marks where the table begins");
    let (_, after) = rest.split_once(end).expect("the page marks where the table ends");
    let expected = format!("{before}{begin}{}{end}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(page == expected, "docs/admin/git.md is out of date; run this test with UPDATE_DOCS=1");
    }
}

/// A server of this machine, which builds in bubblewrap.
struct Fallback(crate::support::server::Server);

impl Host for Fallback {
    fn rspm(&self, line: &str) -> (bool, String) {
        let output = self.0.rspm(line);
        (output.code == 0, output.out + &output.err)
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let answer = self.0.get(path);
        assert_eq!(answer.status, 200, "{path}");
        answer.body
    }

    fn repositories(&self) -> PathBuf {
        PathBuf::from("/tmp")
    }

    fn visible_repositories(&self) -> PathBuf {
        self.repositories()
    }
}

#[test]
fn hostile_repositories_reach_nothing_in_bubblewrap() {
    repositories_reach_nothing(&Fallback(super::builder_with("PollInterval = 1h").start()));
}

#[test]
fn hostile_builds_reach_nothing_in_bubblewrap() {
    let host = Fallback(super::builder_with("PollInterval = 1h").start());
    let (directory, socket) = (host.0.dir().to_owned(), host.0.admin_socket());
    let key = directory.join("secret");
    std::fs::write(&key, "5e0f1c").unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let port = host.0.host().rsplit_once(':').unwrap().1.parse().unwrap();
    let text = |path: PathBuf| path.display().to_string();
    let database = directory.join("data/db/rstudio-pm.db");
    for path in [&key, &host.0.config_file(), &database] {
        assert!(path.exists(), "{} does not exist: the attempt would prove nothing", path.display());
    }
    let mut process = std::process::Command::new("sleep").arg("86410").spawn().unwrap();
    let targets = Targets {
        files: vec![
            text(key),
            text(host.0.config_file()),
            text(database),
            text(directory.join("access.log")),
        ],
        sockets: vec![text(socket)],
        packet_sockets: Vec::new(),
        addresses: vec![("127.0.0.1".to_owned(), port)],
        process: "86410".to_owned(),
        other_build: None,
    };
    builds_reach_nothing(&host, &targets);
    process.kill().unwrap();
    process.wait().unwrap();
}
