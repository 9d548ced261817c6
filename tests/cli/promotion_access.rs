//! `rspm promote`: who may see and approve promotions from repositories that require a token.

use super::add;
use super::promotion::with_token;
use crate::support::rspm::RspmOutput;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// The package of `dev`, in the repository that is promoted to.
const FILE: &str = "/live/latest/src/contrib/hush_1.0.tar.gz";

/// All packages of the source of `dev`.
const PACKAGES: &str = "/__api__/sources/team/packages";

/// A server, and tokens that may promote to `live`.
struct Setup {
    server: Server,
    /// May also read `dev` and the repositories of its other names.
    ann: String,
    /// As `ann`, for another person.
    bob: String,
    /// May not read `dev`.
    carl: String,
}

impl Setup {
    /// Creates the source `team` with a package, `dev`, which subscribes to it, and `live`, which two persons promote to.
    fn new(dev: &str, live: &str) -> Setup {
        let server = Server::start();
        server.rspm_stdout("create source --name=team");
        server.rspm_stdout(format!("create repo --name=dev {dev}").trim_end());
        server.rspm_stdout("subscribe --repo=dev --source=team");
        add(&server, "team", &[Tarball::new("hush", "1.0")]);
        server.rspm_stdout(format!("create repo --name=live --changes=two-persons {live}").trim_end());
        let token = |user: &str, flags: &str| {
            let line = format!("create token {flags} --user={user} --description=x --quiet");
            server.rspm_stdout(&line).trim().to_owned()
        };
        let reader = "--scope=repos:promote,repos:read --repos=live,dev";
        let (ann, bob) = (token("ann", reader), token("bob", reader));
        let carl = token("carl", "--scope=repos:promote --repos=live");
        Setup { server, ann, bob, carl }
    }

    fn run(&self, token: &str, line: &str) -> RspmOutput {
        with_token(&self.server, token, line)
    }

    /// Asserts that a command is refused with these words.
    fn assert_refused(&self, token: &str, line: &str, words: &str) {
        let output = self.run(token, line);
        assert!(output.code == 1 && output.err.contains(words), "{line}: {output:?}");
    }

    /// Returns the status of the package of `dev` in `live` for a client without a token.
    fn status(&self) -> u16 {
        self.server.get(FILE).status
    }

    /// Asserts that only an administrator can approve promotion 1, which makes the package readable for everyone.
    fn assert_only_administrators_approve(&self) {
        self.assert_refused(
            &self.bob,
            "promote --approve=1",
            "the token lacks the scope global:admin: this promotion makes packages of an authenticated repository readable \
             for everyone, because 'live' requires no token",
        );
        assert_eq!(self.status(), 404);
        let rows = self.server.json("audit list --action=approve~promotion");
        assert_eq!((&rows[0]["outcome"], &rows[0]["object"]), (&"refused".into(), &"live".into()), "{rows}");
        assert_eq!(self.server.json("list promotions")[0]["state"], "requested");
        let promoted = self.server.rspm_stdout("promote --approve=1");
        assert!(promoted.starts_with("Promoted 'dev' to 'live' in transaction "), "{promoted}");
        assert_eq!(self.status(), 200);
    }
}

#[test]
fn a_repository_that_is_opened_after_a_request_gets_private_packages_from_administrators_only() {
    let setup = Setup::new("--authenticated", "--authenticated");
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    setup.assert_refused(
        &setup.bob,
        "edit repo --name=live --authenticated=false",
        "the token lacks the scope global:admin",
    );
    let opened = setup.server.rspm("edit repo --name=live --authenticated=false");
    assert!(opened.code == 0 && opened.err.contains("can now read the repository 'live'"), "{opened:?}");
    setup.assert_only_administrators_approve();
    // A new request is refused in the same way.
    add(&setup.server, "team", &[Tarball::new("hush", "1.1")]);
    let again = setup.run(&setup.ann, "promote --from=dev --to=live");
    assert!(again.code == 1 && again.err.contains("lacks the scope global:admin"), "{again:?}");
}

#[test]
fn packages_that_become_private_after_a_request_are_opened_by_administrators_only() {
    let setup = Setup::new("", "");
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    assert_eq!(setup.server.rspm("edit repo --name=dev --authenticated").code, 0);
    setup.assert_only_administrators_approve();
}

#[test]
fn another_name_of_the_promoted_repository_does_not_open_its_packages() {
    let setup = Setup::new("", "");
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    assert_eq!(setup.server.rspm("edit repo --name=dev --authenticated --new-name=hidden").code, 0);
    // An open repository has the name of the request now.
    setup.server.rspm_stdout("create repo --name=dev");
    let lacking = "lacks the scope repos:read for repositories with the sources of promotion 1";
    setup.assert_refused(&setup.carl, "promote --show=1", lacking);
    setup.assert_refused(&setup.carl, "promote --approve=1", lacking);
    setup.assert_only_administrators_approve();
}

#[test]
fn a_repository_that_stays_authenticated_is_promoted_to_without_an_administrator() {
    let setup = Setup::new("--authenticated", "--authenticated");
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    let promoted = setup.run(&setup.bob, "promote --approve=1");
    assert!(promoted.out.starts_with("Promoted 'dev' to 'live'"), "{promoted:?}");
    assert_eq!(setup.status(), 401);
    // Only `dev`, which is authenticated, subscribes to `team` then: a return to a snapshot makes all of `team` readable.
    add(&setup.server, "team", &[Tarball::new("hush", "2.0")]);
    setup.server.rspm_stdout("create repo --name=empty --authenticated");
    setup.server.rspm_stdout("create source --name=other");
    setup.server.rspm_stdout("subscribe --repo=empty --source=other");
    setup.server.rspm_stdout("edit repo --name=live --changes=promotion");
    let first = setup.server.json("list promotions")[0]["transaction"].as_i64().expect("a transaction");
    setup.server.rspm_stdout("promote --from=empty --to=live");
    setup.server.rspm_stdout("edit repo --name=live --changes=two-persons");
    assert_eq!(setup.server.rspm("edit repo --name=live --authenticated=false").code, 0);
    let back = format!("promote --from=live --to=live --snapshot={first}");
    setup.assert_refused(&setup.ann, &back, "the token lacks the scope global:admin");
    assert_eq!(setup.server.get(PACKAGES).status, 401);
    assert!(setup.server.rspm_stdout(&back).starts_with("Requested promotion 3"));
    setup.assert_refused(&setup.carl, "promote --approve=3", "the token lacks the scope global:admin");
    assert_eq!(setup.server.get(PACKAGES).status, 401);
    // Approved by another administrator.
    let bob =
        setup.server.rspm_stdout("create token --scope=global:admin --user=bob --description=x --quiet");
    let promoted = setup.run(bob.trim(), "promote --approve=3");
    assert!(promoted.out.starts_with("Promoted 'live' to 'live'"), "{promoted:?}");
    assert_eq!((setup.status(), setup.server.get(PACKAGES).status), (200, 200));
}

#[test]
fn a_return_to_a_snapshot_whose_sources_are_readable_needs_no_administrator() {
    let setup = Setup::new("", "");
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    assert_eq!(setup.run(&setup.bob, "promote --approve=1").code, 0);
    add(&setup.server, "team", &[Tarball::new("hush", "2.0")]);
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    assert_eq!(setup.run(&setup.bob, "promote --approve=2").code, 0);
    let first = setup.server.json("list promotions");
    let first = first.as_array().expect("promotions").iter().find(|row| row["id"] == 1).expect("the first");
    let first = first["transaction"].as_i64().expect("a transaction");
    let requested = setup.run(&setup.ann, &format!("promote --from=live --to=live --snapshot={first}"));
    assert!(requested.out.starts_with("Requested promotion 3"), "{requested:?}");
    let promoted = setup.run(&setup.carl, "promote --approve=3");
    assert!(promoted.out.starts_with("Promoted 'live' to 'live'"), "{promoted:?}");
    assert_eq!(setup.server.get("/live/latest/src/contrib/hush_2.0.tar.gz").status, 404);
    assert_eq!(setup.status(), 200);
}

#[test]
fn a_requested_promotion_is_visible_to_clients_that_may_read_its_packages() {
    let setup = Setup::new("--authenticated", "--authenticated");
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    let lacking = "the token lacks the scope repos:read for the repository 'dev' (--repos)";
    for line in ["promote --from=dev --to=live --plan", "promote --show=1", "promote --approve=1"] {
        setup.assert_refused(&setup.carl, line, lacking);
        assert!(!setup.run(&setup.carl, line).err.contains("hush"), "{line}");
    }
    let shown = setup.run(&setup.bob, "promote --show=1");
    assert!(shown.code == 0 && shown.out.contains("hush     added         1.0  team"), "{shown:?}");
    let rejected = setup.run(&setup.carl, "promote --reject=1");
    assert!(rejected.code == 0 && rejected.out.contains("is rejected"), "{rejected:?}");
    setup.assert_refused(&setup.carl, "promote --show=1", lacking);
    // The packages of an applied promotion are in a repository that the token reads.
    assert_eq!(setup.run(&setup.ann, "promote --from=dev --to=live").code, 0);
    assert_eq!(setup.run(&setup.bob, "promote --approve=2").code, 0);
    let shown = setup.run(&setup.carl, "promote --show=2");
    assert!(shown.code == 0 && shown.out.contains("hush     added         1.0  team"), "{shown:?}");
}
