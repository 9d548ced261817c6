//! The watchdog hears from a server that answers, whatever it answers, and nothing from one that does not.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::manager::Manager;

const PING: &str = "WATCHDOG=1";

#[test]
fn it_is_fed_online_offline_and_without_the_admin_socket_and_not_by_a_server_that_stands_still() {
    let mut manager = Manager::new("");
    manager.env("WATCHDOG_USEC", "200000");
    manager.env("WATCHDOG_PID", "PID");
    manager.start();
    let mut since = manager.heard();
    for _ in 0..5 {
        manager.told(since, PING);
        since = manager.heard();
    }
    manager.server.told("offline");
    for _ in 0..5 {
        manager.told(since, PING);
        since = manager.heard();
    }
    manager.server.told("online");
    // A file that somebody removed must not have systemd end the server again and again.
    std::fs::remove_file(manager.server.admin_socket()).expect("removed");
    let mut since = manager.heard();
    for _ in 0..5 {
        manager.told(since, PING);
        since = manager.heard();
    }
    manager.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(300));
    let since = manager.heard();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(manager.count(since, PING), 0, "{}", manager.log());
    manager.signal(Signal::SIGCONT);
    manager.told(since, PING);
    manager.stop();
}

#[test]
fn it_is_fed_while_the_server_cannot_serve() {
    let manager = Manager::new("[SQLite]\nDir = {dir}/db");
    std::fs::write(manager.server.dir().join("db"), "not a directory").expect("written");
    let mut manager = manager;
    manager.env("WATCHDOG_USEC", "200000");
    manager.start();
    let since = manager.heard();
    manager.told(since, PING);
    manager.stop();
}

#[test]
fn one_that_is_meant_for_another_process_is_left_alone() {
    let mut manager = Manager::new("");
    manager.env("WATCHDOG_USEC", "100000");
    manager.env("WATCHDOG_PID", "1");
    manager.start();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(manager.count(0, PING), 0);
    manager.stop();
}
