//! `rspm` without a server, without permission, without a usable configuration.

use std::os::unix::fs::PermissionsExt;

use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};

#[test]
fn a_missing_server_is_exit_code_3_with_the_command_to_start_it() {
    let server = Builder::default().prepare();
    let output = server.rspm("list");
    let expected = format!(
        "Error: the server cannot be reached: there is no socket {}\n\
         Start it with: sudo systemctl start rstudio-pm\n\
         If it runs with another configuration file, name it: rspm --config FILE …\n",
        server.admin_socket().display()
    );
    assert_eq!((output.code, output.err), (3, expected));
}

#[test]
fn a_socket_left_by_a_killed_server_has_its_own_message() {
    let mut server = Server::start();
    server.kill();
    assert!(server.admin_socket().exists(), "a killed server leaves its socket");
    let output = server.rspm("list");
    assert_eq!(output.code, 3);
    assert!(output.err.contains("the socket is there, but no server listens on it"), "{}", output.err);
}

#[test]
fn the_message_to_another_user_names_the_group_to_join() {
    assert!(nix::unistd::geteuid().is_root(), "run the tests as root: they change users");
    let group = nix::unistd::Group::from_name("daemon")
        .expect("the group database")
        .expect("every Unix has this group");
    let server = Server::start();
    std::os::unix::fs::chown(server.admin_socket(), None, Some(group.gid.as_raw()))
        .expect("root can change it");
    // The directory and the configuration are readable; the socket is not.
    std::fs::set_permissions(server.dir(), PermissionsExt::from_mode(0o755)).expect("our own directory");
    let list_with = |extra: &str| -> RspmOutput {
        let inner = server.rspm_command("list");
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", extra])
            .arg(inner.get_program())
            .args(inner.get_args());
        command.output().expect("setpriv is part of util-linux").into()
    };
    let output = list_with("--clear-groups");
    let name = nix::unistd::User::from_uid(65534.into())
        .expect("the user database")
        .map_or("65534".to_owned(), |u| u.name);
    let expected = format!(
        "Error: user {name} may not connect to the server: {} belongs to group daemon\n\
         Use sudo, or join the group and log in again: sudo usermod -aG daemon {name}\n",
        server.admin_socket().display()
    );
    assert_eq!((output.code, output.err), (3, expected));
    let member = list_with(&format!("--groups={}", group.gid));
    assert_eq!(member.code, 0, "a member of the group has access: {}", member.err);
    assert!(member.out.contains("cran"), "{}", member.out);
}

#[test]
fn an_unusable_configuration_is_not_reported_as_a_missing_server() {
    let server = Builder::default().gcfg("[HTTP]\nListen = nowhere").prepare();
    let output = server.rspm("list");
    assert_eq!(output.code, 1);
    assert!(output.err.contains("nowhere") && output.err.contains("rspm check-config"), "{}", output.err);
}
