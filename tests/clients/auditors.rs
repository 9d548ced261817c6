//! A log as auditors read it: `rspm history audit` and `prove`, and programs of others, for a running server and for a copy.

use std::path::Path;
use std::process::Command;

use rstudio_pm::model::digest::digest_of_row;
use serde_json::Value;

use crate::support::history;
use crate::support::rspm::RspmOutput;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const ORIGIN: &str = "example.org/log";

/// A server with a log, and its policy in a file.
fn with_policy(gcfg: &str) -> Server {
    let server = history::start(ORIGIN, gcfg);
    let key = server.history()["key"].as_str().expect("a key").to_owned();
    std::fs::write(server.dir().join("policy"), format!("log {key}\nquorum none\n")).expect("written");
    server
}

/// Runs an audit. Its warning says that the policy names no witness.
fn audit(server: &Server, flags: &str) -> RspmOutput {
    server.rspm(&format!("history audit --policy={} {flags}", server.dir().join("policy").display()))
}

/// The result of an audit that finds nothing.
fn result_of(server: &Server, flags: &str) -> Value {
    let output = audit(server, &format!("{flags} -o json"));
    assert_eq!(output.code, 0, "{}{}", output.out, output.err);
    serde_json::from_str(&output.out).expect("JSON")
}

/// The error of an audit that fails.
fn problem_of(server: &Server, flags: &str) -> String {
    let output = audit(server, flags);
    assert_eq!(output.code, 1, "{}{}", output.out, output.err);
    output.err
}

#[test]
fn an_auditor_reads_all_entries_of_a_server_and_of_a_copy() {
    let server = with_policy("");
    server.signed();
    let (copy, state) = (server.dir().join("copy"), server.dir().join("state"));
    let state_flag = format!("--state={}", state.display());
    let first = result_of(&server, &state_flag);
    assert_eq!((first["log"].as_str(), first["earlier"].as_u64()), (Some(ORIGIN), Some(0)));
    assert_eq!(first["findings"].as_array().map(Vec::len), Some(0), "{first}");
    let old = std::fs::read(&state).expect("the first checkpoint");

    for version in 0..300 {
        server.add("prod", &Tarball::new("alpha", &format!("1.{version}")));
    }
    let entries = server.signed();
    let second = result_of(&server, &state_flag);
    assert_eq!((second["entries"].as_u64(), second["earlier"].as_u64()), (Some(entries), Some(1)));
    assert!(std::fs::read_to_string(&state).expect("both").contains(&format!("\n{entries}\n")));
    assert!(problem_of(&server, "--max-age=1h").contains("requires no witness"));

    server.rspm_stdout(&format!("history export --to={}", copy.display()));
    let from = format!("--from={}", copy.display());
    result_of(&server, &format!("{from} {state_flag}"));
    let change = |path: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = copy.join(path);
        let good = std::fs::read(&path).expect("a file of the copy");
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).expect("written");
        let error = problem_of(&server, &from);
        std::fs::write(&path, good).expect("written");
        error
    };
    let changed = "it does not have the hashes of the entries";
    assert!(change("tile/entries/000", &|bytes| bytes[9] ^= 1).contains(changed));
    assert!(change("tile/0/000", &|bytes| bytes[9] ^= 1).contains(changed));
    assert!(change("tile/0/000", &|bytes| bytes.truncate(8191)).contains(changed));
    let upper = format!("tile/1/000.p/{}", entries / 256);
    assert!(change(&upper, &|bytes| bytes[9] ^= 1).contains(changed));
    assert!(change("tile/entries/000", &|bytes| bytes.truncate(99)).contains("tile/entries/000"));
    assert!(change("checkpoint", &|bytes| bytes[2] ^= 1).contains("checkpoint"));
    // Another log under the same name and with the same key, which has fewer entries.
    let (missing, older) = (copy.join("tile/entries/000"), copy.join("checkpoint"));
    std::fs::rename(&missing, copy.join("away")).expect("renamed");
    assert!(problem_of(&server, &from).contains("there is no such file"));
    std::fs::rename(copy.join("away"), &missing).expect("renamed");
    std::fs::write(&older, old).expect("written");
    let error = problem_of(&server, &format!("{from} {state_flag}"));
    assert!(error.contains("has fewer entries than a checkpoint"), "{error}");
    assert!(!server.dir().join("state.contradiction").exists());
}

#[test]
fn proofs_of_a_lock_file_are_written_and_verified() {
    let server = with_policy("");
    server.add("prod", &Tarball::new("alpha", "1.0"));
    server.add("prod", &Tarball::new("beta", "2.0"));
    server.rspm_stdout("create repo --name=stable");
    server.rspm_stdout("edit repo --name=stable --changes=promotion");
    let promoted = server.json("promote --from=prod --to=stable");
    let transaction = promoted["promotion"]["transaction"].as_i64().expect("a number");
    server.signed();
    let lock = server.dir().join("renv.lock");
    let text = |beta: &str| {
        format!(
            r#"{{"Packages": {{"alpha": {{"Package": "alpha", "Version": "1.0", "Source": "Repository"}},
            "beta": {{"Package": "beta", "Version": "{beta}", "Source": "Repository"}}}}}}"#
        )
    };
    std::fs::write(&lock, text("2.0")).expect("written");
    let out = server.dir().join("proofs");
    let line = |flags: &str| {
        format!("history prove --repo=stable --snapshot={transaction} --out={} {flags}", out.display())
    };
    let lockfile = format!("--lockfile={}", lock.display());
    let all = server.json(&line(&lockfile));
    assert_eq!(all["files"].as_array().map(Vec::len), Some(3), "{all}");
    let policy = server.dir().join("policy");
    let file = out.join("alpha_1.0.tar.gz");
    let path = format!("/stable/{transaction}/src/contrib/alpha_1.0.tar.gz");
    std::fs::write(&file, server.get(&path).body).expect("written");
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify");
    let verify = |proof: &str, flags: &str| {
        let proof = out.join(proof);
        let flags = format!(
            "{} --policy {} --repo stable --snapshot {transaction} {flags}",
            proof.display(),
            policy.display()
        );
        let output = server.rspm(&format!("history verify {flags}"));
        let mut outputs = vec![(output.code, output.out + &output.err)];
        for (program, script) in [("python3", "verify.py"), ("Rscript", "verify.R")] {
            let mut command = Command::new(program);
            let output =
                command.arg(scripts.join(script)).args(flags.split_whitespace()).output().expect(program);
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            outputs.push((output.status.code().expect("a code"), text));
        }
        outputs
    };
    let of_file = format!("--file {}", file.display());
    for (proof, flags, reason) in [
        ("PACKAGES.proof", "", None),
        ("beta_2.0.tar.gz.proof", "", None),
        ("alpha_1.0.tar.gz.proof", of_file.as_str(), None),
        ("beta_2.0.tar.gz.proof", of_file.as_str(), Some("beta_2.0.tar.gz")),
        ("PACKAGES.proof", of_file.as_str(), Some("proves no file")),
    ] {
        for (code, text) in verify(proof, flags) {
            assert_eq!(code, i32::from(reason.is_some()), "{proof} {flags}: {text}");
            assert!(reason.is_none_or(|reason| text.contains(reason)), "{proof} {flags}: {text}");
        }
    }
    std::fs::write(&lock, text("1.9")).expect("written");
    let output = server.rspm(&line(&lockfile));
    assert_eq!(output.code, 4, "{}", output.err);
    assert!(output.out.contains("Not listed: beta 1.9, but 2.0"), "{}", output.out);
    let day = line("--package=alpha").replace(&format!("={transaction} "), "=2020-01-01 ");
    let error = server.refused(&day);
    assert!(error.contains("PACKAGES.proof: "), "{error}");
}

#[test]
fn an_exported_audit_trail_is_compared_with_the_log() {
    let server = with_policy("");
    server.add("prod", &Tarball::new("alpha", "1.0"));
    server.rspm_stdout("create repo --name=other");
    server.add("prod", &Tarball::new("alpha", "1.1"));
    server.signed();
    let (trail, flag) =
        (server.dir().join("trail"), format!("--trail={}", server.dir().join("trail").display()));
    let exported = server.rspm_stdout("audit export --proof");
    assert!(exported.contains("\"salt\":"), "{exported}");
    std::fs::write(&trail, &exported).expect("written");
    result_of(&server, &flag);

    std::fs::write(&trail, exported.replace("create repository", "create no repository")).expect("written");
    assert!(problem_of(&server, &flag).contains("was changed"));
    let without = exported.lines().filter(|line| !line.contains("\"salt\":")).collect::<Vec<_>>().join("\n");
    std::fs::write(&trail, without).expect("written");
    assert!(problem_of(&server, &flag).contains("write it with --proof"));
    // A trail that was written anew, with digests that continue each other.
    let mut previous = String::new();
    let anew = exported.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).expect("JSON");
        if row["salt"].is_null() {
            if !previous.is_empty() {
                row["previous"] = previous.clone().into();
            }
            row["actor"] = "mallory".into();
            let id = row["id"].to_string();
            let text = |key: &str| row[key].as_str().expect("a text").to_owned();
            let columns = [
                text("previous"),
                id,
                text("time"),
                text("actor_kind"),
                text("actor"),
                text("address"),
                text("action"),
                text("object_kind"),
                text("object"),
                text("outcome"),
                text("detail"),
            ];
            previous = digest_of_row(columns.each_ref()).to_string();
            row["sha256"] = previous.clone().into();
        }
        format!("{row}\n")
    });
    std::fs::write(&trail, anew.collect::<String>()).expect("written");
    let output = audit(&server, &flag);
    assert!(output.out.contains("is not the one that the log names"), "{}{}", output.out, output.err);
    assert_eq!(output.code, 1);
}

#[test]
fn programs_of_others_read_the_log() {
    let server = with_policy("[History]\nPublic = true\n");
    server.signed();
    let old = server.dir().join("old");
    std::fs::write(&old, server.get("/__log__/checkpoint").body).expect("written");
    for version in 0..300 {
        server.add("prod", &Tarball::new("alpha", &format!("1.{version}")));
    }
    let entries = server.signed();
    let key = server.history()["key"].as_str().expect("a key").to_owned();
    let address = server.url("/__log__");

    let program = server.dir().join("sumdb");
    let go = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/sumdb.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", server.dir().join("go"))
        .output()
        .expect("tests/setup installs Go");
    assert!(go.status.success(), "{}", String::from_utf8_lossy(&go.stderr));
    let sumdb =
        |key: &str| Command::new(&program).args([&address, "", key]).arg(&old).output().expect("sumdb");
    let output = sumdb(&key);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), entries.to_string());
    let stranger = "example.org/other+45d3dfb9+AeqKfGy5uOXZ7OCzvD5x9eG4ZjJyzyg7Nme4MXGwKbCC";
    assert!(!sumdb(stranger).status.success());

    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || std::env::home_dir().expect("a home directory").join(".cache"),
        std::path::PathBuf::from,
    );
    let aics = cache.join("rstudio-pm/python-clients/aics-witness/bin/aics-tlog");
    let run = |command: &str, more: &[&str]| {
        let mut process = Command::new(&aics);
        process.arg(command).args(["--tiles", &address, "--log-key", &key, "--origin", ORIGIN]).args(more);
        let output = process.output().expect("tests/setup installs aics-tlog");
        assert!(output.status.success(), "{command}: {output:?}");
    };
    run("verify-checkpoint", &[]);
    run("verify-consistency", &["--old-checkpoint", &old.display().to_string()]);
    let leaf = server.dir().join("leaf");
    let bundle = server.get("/__log__/tile/entries/001").body;
    let length = usize::from(u16::from_be_bytes([bundle[0], bundle[1]]));
    std::fs::write(&leaf, &bundle[2..2 + length]).expect("written");
    run("verify-inclusion", &["--index", "256", "--leaf", &leaf.display().to_string()]);
}
