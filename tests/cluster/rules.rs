//! Block rules on several servers.

use std::time::{Duration, Instant};

use super::{Shared, modes, within};
use crate::support::fixtures::until;
use crate::support::tarball::Tarball;

/// Number of rules that are created and deleted.
const ROUNDS: usize = 10;

#[test]
fn a_rule_of_one_server_is_in_force_on_the_other() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    let packages = [Tarball::new("blocked", "1.0"), Tarball::new("other", "1.0")];
    pm1.local_repository("r", &packages);
    let status = |package: &Tarball| pm2.get(&format!("/r/latest/src/contrib/{}", package.file())).status;
    until("the second server has the packages", || packages.iter().all(|package| status(package) == 200));
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        pm1.rspm_stdout("create blocklist-rule --package-name=blocked");
        let start = Instant::now();
        within(Duration::from_secs(30), "the rule is in force", || status(&packages[0]) == 403);
        times.push(start.elapsed());
        assert_eq!(status(&packages[1]), 200);
        assert!(!pm2.get("/r/latest/src/contrib/PACKAGES").text().contains("blocked"));
        pm1.rspm_stdout(&format!("delete blocklist-rule --id={round}"));
        within(Duration::from_secs(30), "the rule has no effect any more", || status(&packages[0]) == 200);
    }
    println!("a rule is in force on another server after {times:?}");
}
