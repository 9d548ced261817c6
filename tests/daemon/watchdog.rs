//! The watchdog is notified by a server that answers, with any status, and not by one that does not answer.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::manager::Manager;

const PING: &str = "WATCHDOG=1";

#[test]
fn the_watchdog_is_notified_online_offline_and_without_the_admin_socket_and_not_by_a_stopped_process() {
    let mut manager = Manager::new("");
    manager.env("WATCHDOG_USEC", "200000");
    manager.env("WATCHDOG_PID", "PID");
    manager.start();
    let mut since = manager.notification_count();
    for _ in 0..5 {
        manager.wait_for_notification(since, PING);
        since = manager.notification_count();
    }
    manager.server.rspm_stdout("offline");
    for _ in 0..5 {
        manager.wait_for_notification(since, PING);
        since = manager.notification_count();
    }
    manager.server.rspm_stdout("online");
    // A removed socket file must not make systemd kill the server repeatedly.
    std::fs::remove_file(manager.server.admin_socket()).expect("removed");
    let mut since = manager.notification_count();
    for _ in 0..5 {
        manager.wait_for_notification(since, PING);
        since = manager.notification_count();
    }
    manager.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    let since = manager.notification_count();
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(manager.count(since, PING), 0, "{}", manager.log());
    manager.signal(Signal::SIGCONT);
    manager.wait_for_notification(since, PING);
    manager.stop();
}

#[test]
fn the_watchdog_is_notified_while_the_server_cannot_serve() {
    let manager = Manager::new("[SQLite]\nDir = {dir}/db");
    std::fs::write(manager.server.dir().join("db"), "not a directory").expect("written");
    let mut manager = manager;
    manager.env("WATCHDOG_USEC", "200000");
    manager.start();
    let since = manager.notification_count();
    manager.wait_for_notification(since, PING);
    manager.stop();
}

#[test]
fn a_watchdog_of_another_process_is_not_notified() {
    let mut manager = Manager::new("");
    manager.env("WATCHDOG_USEC", "100000");
    manager.env("WATCHDOG_PID", "1");
    manager.start();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(manager.count(0, PING), 0);
    manager.stop();
}
