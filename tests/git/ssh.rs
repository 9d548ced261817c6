//! Repositories over SSH: a real server of OpenSSH, keys with and without a passphrase, host keys.

use std::fs;
use std::path::{Path, PathBuf};

use super::ssh_server::{SshServer, ssh_keygen};
use super::{installed_version, is_anywhere, listed_version, repository, server, wait_for_build};

const PASSPHRASE: &str = "a passphrase of the test";

/// Creates a key pair; returns the path of the private key.
fn key(directory: &Path, kind: &str, passphrase: &str) -> PathBuf {
    let file = directory.join(format!("id_{kind}"));
    ssh_keygen(&["-q", "-t", kind, "-N", passphrase, "-a", "4", "-f", file.to_str().unwrap()]);
    file
}

fn public(key: &Path) -> PathBuf {
    key.with_extension("pub")
}

#[test]
fn a_repository_over_ssh_is_built_with_a_key_that_stays_in_the_server() {
    let server = server("PollInterval = 1s");
    let keys = tempfile::tempdir().unwrap();
    let (encrypted_key, clear_key) = (key(keys.path(), "ed25519", PASSPHRASE), keys.path().join("clear"));
    fs::copy(&encrypted_key, &clear_key).unwrap();
    ssh_keygen(&["-q", "-p", "-P", PASSPHRASE, "-N", "", "-f", clear_key.to_str().unwrap()]);
    let ssh = SshServer::start(&public(&encrypted_key));
    let repository = repository("1.0");
    let (right_passphrase, wrong_passphrase) = (keys.path().join("right"), keys.path().join("wrong"));
    fs::write(&right_passphrase, format!("{PASSPHRASE}\n")).unwrap();
    fs::write(&wrong_passphrase, "another\n").unwrap();

    let import = format!("import ssh-key --name=deploy --path={}", encrypted_key.display());
    for (flags, text) in [
        (String::new(), "--passphrase-path"),
        (format!(" --passphrase-path={}", wrong_passphrase.display()), "the passphrase is wrong"),
    ] {
        let refusal = server.rspm(&format!("{import}{flags}"));
        assert!(refusal.code == 1 && refusal.err.contains(text), "{}", refusal.err);
    }
    let import = format!("{import} --passphrase-path={}", right_passphrase.display());
    let import_output = server.rspm_stdout(&import);
    let fingerprint = ssh_keygen(&["-l", "-f", public(&encrypted_key).to_str().unwrap()]);
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    assert_eq!(import_output, format!("Imported SSH key 'deploy', ED25519 {fingerprint}.\n"));
    let repeated_import = server.rspm(&import);
    assert!(
        repeated_import.code == 1 && repeated_import.err.contains("--succeed-on-existing"),
        "{}",
        repeated_import.err
    );
    server.rspm_stdout(&format!("{import} --succeed-on-existing"));

    let create = format!("create git-builder --source=dev --url={}", ssh.url(repository.path()));
    let refusal = server.rspm(&create);
    assert!(refusal.code == 1 && refusal.err.contains("rspm import ssh-key"), "{}", refusal.err);
    let create_output = server.rspm(&format!("{create} --credential=deploy"));
    assert_eq!(create_output.code, 0, "{}", create_output.err);
    let accepted_line = format!("Accepted the host key {} (ED25519): ", ssh.fingerprint());
    assert!(
        create_output.out.starts_with(&accepted_line) && create_output.out.contains("    Key: deploy\n"),
        "{}",
        create_output.out
    );
    assert_eq!(installed_version(&server), "1.0");

    repository.package("", "1.1");
    let commit = repository.commit();
    wait_for_build(&server, "commit", &commit, "published");
    assert_eq!(listed_version(&server).as_deref(), Some("1.1"));
    let credential = server.json("list git-credentials")[0].clone();
    assert_eq!(credential["fingerprint"], format!("ED25519 {fingerprint}"), "{credential}");
    assert!(credential.to_string().contains("\"tested\""), "{credential}");
    let refused_delete = server.rspm("delete ssh-key --name=deploy");
    assert!(
        refused_delete.code == 1 && refused_delete.err.contains("--remove-credential"),
        "{}",
        refused_delete.err
    );

    // A line of the clear key, which contains its secret part.
    let text = fs::read_to_string(&clear_key).unwrap();
    let secret = text.lines().nth(3).unwrap();
    assert!(!is_anywhere(server.dir(), secret) && !is_anywhere(server.dir(), PASSPHRASE));
    assert!(!server.log_lines().iter().any(|line| line.contains(secret) || line.contains(PASSPHRASE)));
}

#[test]
fn a_changed_host_key_is_refused_until_an_administrator_accepts_it() {
    let server = server("PollInterval = 1h");
    let keys = tempfile::tempdir().unwrap();
    let key = key(keys.path(), "rsa", "");
    let mut ssh = SshServer::start(&public(&key));
    let repository = repository("1.0");
    server.rspm_stdout(&format!("import ssh-key --name=deploy --path={}", key.display()));
    let url = ssh.url(repository.path());
    server.rspm_stdout(&format!("create git-builder --source=dev --url={url} --credential=deploy"));

    let old_fingerprint = ssh.fingerprint();
    ssh.change_host_key();
    repository.package("", "1.1");
    repository.commit();
    let run = "run git-builder --source=dev --name=tested";
    let refusal = server.rspm(run);
    assert_eq!(refusal.code, 1, "{}", refusal.out);
    for part in [old_fingerprint.as_str(), &ssh.fingerprint(), "--accept-host-key"] {
        assert!(refusal.err.contains(part), "{part}: {}", refusal.err);
    }
    let builders = server.rspm_stdout("list git-builders");
    assert!(builders.contains("failed: the host key of [127.0.0.1]"), "{builders}");
    let edit_output = server.rspm_stdout("edit git-builder --source=dev --name=tested --accept-host-key");
    assert!(
        edit_output.contains(&ssh.fingerprint()) && !edit_output.contains(&old_fingerprint),
        "{edit_output}"
    );
    server.rspm_stdout(run);
    super::wait_for("the new commit is listed", || {
        listed_version(&server).filter(|version| version == "1.1")
    });
}

#[test]
pub(crate) fn a_strict_policy_needs_imported_host_keys_and_a_key_is_for_its_host() {
    let server = server("PollInterval = 1h\nHostKeyPolicy = strict");
    let keys = tempfile::tempdir().unwrap();
    let key = key(keys.path(), "ecdsa", "");
    let ssh = SshServer::start(&public(&key));
    let repository = repository("1.0");
    let import = format!("import ssh-key --path={}", key.display());
    server.rspm_stdout(&format!("{import} --name=deploy"));
    server.rspm_stdout(&format!("{import} --name=other --host=git.example.com"));
    server.rspm_stdout("import https-credential --name=password --username=u --password=p");
    let url = ssh.url(repository.path());
    let create = format!("create git-builder --source=dev --url={url} --credential=");
    for (credential, text) in [
        ("deploy", "is not known"),
        ("other", "is for the host git.example.com"),
        ("password", "there is no ssh credential 'password'"),
    ] {
        let refusal = server.rspm(&format!("{create}{credential}"));
        assert!(refusal.code == 1 && refusal.err.contains(text), "{credential}: {}", refusal.err);
    }
    let known_hosts = keys.path().join("known_hosts");
    fs::write(&known_hosts, "nonsense\n").unwrap();
    let edit = format!("edit ssh-key --name=deploy --known-hosts={}", known_hosts.display());
    let refusal = server.rspm(&edit);
    assert!(refusal.code == 1 && refusal.err.contains("line 1 is not a host key"), "{}", refusal.err);
    fs::write(&known_hosts, ssh.known_host()).unwrap();
    server.rspm_stdout(&edit);
    let create_output = server.rspm(&format!("{create}deploy"));
    assert!(
        create_output.code == 0 && !create_output.out.contains("Accepted the host key"),
        "{}",
        create_output.err
    );
    assert_eq!(listed_version(&server).as_deref(), Some("1.0"));

    let refused_import = server.rspm(&format!("import ssh-key --name=x --path={}", public(&key).display()));
    assert!(
        refused_import.code == 1 && refused_import.err.contains("the file is a public key"),
        "{}",
        refused_import.err
    );
}
