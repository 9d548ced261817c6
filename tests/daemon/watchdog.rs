//! The watchdog hears from a server that answers, whatever it answers, and nothing from one that does not.

use std::time::Duration;

use crate::support::manager::Manager;

const PING: &str = "WATCHDOG=1";

#[test]
fn it_is_fed_online_and_offline_and_not_by_a_server_that_does_not_answer_itself() {
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
    // What is asked must come to the listening socket, and there is no way to it any more.
    std::fs::remove_file(manager.server.admin_socket()).expect("removed");
    std::thread::sleep(Duration::from_millis(300));
    let since = manager.heard();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(manager.count(since, PING), 0, "{}", manager.log());
    assert!(manager.log().contains("does not answer its own question"), "{}", manager.log());
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
