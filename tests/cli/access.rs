//! No server, no right to talk to it, no usable configuration.

use std::os::unix::fs::PermissionsExt;

use crate::support::rspm::Ran;
use crate::support::server::{Builder, Server};

#[test]
fn no_server_is_exit_code_3_with_how_to_start_it() {
    let server = Builder::default().prepare();
    let ran = server.rspm("list");
    let expected = format!(
        "Error: the server cannot be reached: there is no socket {}\n\
         Start it with: sudo systemctl start rstudio-pm\n\
         If it runs with another configuration file, name it: rspm --config FILE …\n",
        server.admin_socket().display()
    );
    assert_eq!((ran.code, ran.err), (3, expected));
}

#[test]
fn a_socket_that_a_killed_server_left_is_told_apart() {
    let mut server = Server::start();
    server.kill();
    assert!(server.admin_socket().exists(), "it was killed");
    let ran = server.rspm("list");
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("the socket is there, but no server listens on it"), "{}", ran.err);
}

#[test]
fn another_user_is_told_which_group_to_join() {
    assert!(nix::unistd::geteuid().is_root(), "run the tests as root: they change users");
    let group =
        nix::unistd::Group::from_name("daemon").expect("the group database").expect("every Unix has it");
    let server = Server::start();
    std::os::unix::fs::chown(server.admin_socket(), None, Some(group.gid.as_raw()))
        .expect("root can change it");
    // The way to the socket and the configuration is open; the socket is not.
    std::fs::set_permissions(server.dir(), PermissionsExt::from_mode(0o755)).expect("our own directory");
    let ask = |extra: &str| -> Ran {
        let inner = server.rspm_command("list");
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", extra])
            .arg(inner.get_program())
            .args(inner.get_args());
        command.output().expect("setpriv is part of util-linux").into()
    };
    let ran = ask("--clear-groups");
    let name = nix::unistd::User::from_uid(65534.into())
        .expect("the user database")
        .map_or("65534".to_owned(), |u| u.name);
    let expected = format!(
        "Error: user {name} may not talk to the server: {} belongs to group daemon\n\
         Use sudo, or join the group and log in again: sudo usermod -aG daemon {name}\n",
        server.admin_socket().display()
    );
    assert_eq!((ran.code, ran.err), (3, expected));
    let member = ask(&format!("--groups={}", group.gid));
    assert_eq!(member.code, 0, "a member of the group may: {}", member.err);
    assert!(member.out.contains("cran"), "{}", member.out);
}

#[test]
fn a_configuration_that_cannot_be_used_is_no_missing_server() {
    let server = Builder::default().gcfg("[HTTP]\nListen = nowhere").prepare();
    let ran = server.rspm("list");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("nowhere") && ran.err.contains("rspm check-config"), "{}", ran.err);
}
