//! `rspm promote`: its output, and promotions by tokens on the network.

use super::{add, team, timeless};
use crate::support::rspm::RspmOutput;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// A server whose repository `prod` of `team` has alpha 1.0, and `live`, which is promoted from it.
fn server_with_live(changes: &str) -> Server {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    server.rspm_stdout(&format!("create repo --name=live --changes={changes}"));
    server
}

fn status(server: &Server, path: &str) -> u16 {
    server.get(path).status
}

#[test]
fn a_plan_is_printed_and_the_promotion_serves_it() {
    let server = server_with_live("promotion");
    let plan = server.rspm_stdout("promote --from=prod --to=live --plan");
    assert_eq!(
        timeless(&plan),
        "Source  Before          After\n\
         team    not subscribed  1. transaction 2, <time>\n\
         \n\
         Package  Change  From  To   Source\n\
         alpha    added         1.0  team\n\
         \n\
         Packages: 1 added\n\
         To promote exactly this state, run: rspm promote --from=prod --to=live --snapshot=2\n"
    );
    assert_eq!(status(&server, "/live/latest/src/contrib/alpha_1.0.tar.gz"), 404);
    let text = server.rspm_stdout("promote --from=prod --to=live --comment=first~release");
    assert_eq!(text, "Promoted 'prod' to 'live' in transaction 3 (promotion 1).\n");
    assert_eq!(status(&server, "/live/latest/src/contrib/alpha_1.0.tar.gz"), 200);
    let text = server.rspm_stdout("promote --from=prod --to=live");
    assert_eq!(text, "Nothing to promote: repository 'live' already has this state of 'prod'.\n");
    add(&server, "team", &[Tarball::new("alpha", "1.1")]);
    assert_eq!(status(&server, "/prod/latest/src/contrib/alpha_1.1.tar.gz"), 200);
    for path in [
        "/live/latest/src/contrib/alpha_1.1.tar.gz",
        "/live/latest/src/contrib/Archive/alpha/alpha_1.1.tar.gz",
    ] {
        assert_eq!(status(&server, path), 404, "{path}");
    }
    let index = |repo: &str| server.get(&format!("/{repo}/latest/src/contrib/PACKAGES")).text();
    assert!(index("prod").contains("Version: 1.1") && index("live").contains("Version: 1.0"));
    let info = server.rspm_stdout("info --repo=live");
    assert!(timeless(&info).contains("Changes:      by promotion; serves the state of <time>\n"), "{info}");
    let shown = server.rspm_stdout("promote --show=1");
    assert!(shown.contains(": first release\n") && shown.contains("alpha    added"), "{shown}");
    let list = server.json("list promotions --repo=live");
    assert_eq!((list[0]["state"].as_str(), list[0]["transaction"].as_i64()), (Some("applied"), Some(3)));
    let refusal = server.refused("subscribe --repo=live --source=cran");
    assert!(refusal.contains("accepts changes by promotion only"), "{refusal}");
    let refusal = server.refused("promote --from=live --to=prod");
    assert!(refusal.ends_with("first run: rspm edit repo --name=prod --changes=promotion"), "{refusal}");
    let output = server.rspm("edit repo --name=live --changes=any");
    assert!(
        output.err.contains("Warning: the repository 'live' now serves the newest states of its sources"),
        "{output:?}"
    );
    assert!(index("live").contains("Version: 1.1"));
}

#[test]
fn the_plan_and_the_shown_promotion_apply_name_guards_and_block_rules() {
    let server = server_with_live("two-persons");
    server.rspm_stdout("create source --name=outside");
    add(&server, "outside", &[Tarball::new("alpha", "99.0"), Tarball::new("acme.db", "7.0")]);
    add(&server, "team", &[Tarball::new("yaml", "2.3.7")]);
    add(&server, "team", &[Tarball::new("yaml", "2.3.10"), Tarball::new("gone", "1.0")]);
    server.rspm_stdout("create repo --name=dev");
    server.rspm_stdout("subscribe --repo=dev --source=outside");
    server.rspm_stdout("subscribe --repo=dev --source=team");
    for name in ["alpha", "acme.*"] {
        server.rspm_stdout(&format!("create name-guard --name={name} --source=team"));
    }
    server.rspm_stdout("create blocklist-rule --package-name=yaml --version=2.3.10");
    server.rspm_stdout("create blocklist-rule --package-name=gone");
    let packages = "Package  Change  From  To     Source\n\
                    alpha    added         1.0    team\n\
                    yaml     added         2.3.7  team\n\
                    \n\
                    Packages: 2 added\n\
                    The block rules and name guards of the time of the plan are applied; later ones can only withhold \
                    versions.\n";
    let plan = server.rspm_stdout("promote --from=dev --to=live --plan");
    assert!(plan.contains(packages), "{plan}");
    server.rspm_stdout("promote --from=dev --to=live");
    let shown = server.rspm_stdout("promote --show=1");
    assert!(shown.ends_with(packages), "{shown}");
    assert_eq!(server.json("promote --show=1")["plan"]["has_rules"], true);
    server.rspm_stdout("delete blocklist-rule --id=2");
    let shown = server.rspm_stdout("promote --show=1");
    assert!(shown.ends_with(packages), "the plan as it was: {shown}");
}

/// Runs `rspm` with a token, without the configuration of the server.
pub(super) fn with_token(server: &Server, token: &str, line: &str) -> RspmOutput {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rspm"));
    command.args(line.split(' ').map(|word| word.replace('~', " ")));
    command.env("PACKAGEMANAGER_ADDRESS", server.url("")).env("PACKAGEMANAGER_TOKEN", token);
    command.env("NO_PROXY", "*").current_dir(server.dir());
    command.output().expect("rspm runs").into()
}

#[test]
fn two_persons_promote_from_other_machines() {
    let server = server_with_live("two-persons");
    let token = |user: &str, scope: &str| {
        let line = format!("create token --scope={scope} --user={user} --description=x --quiet");
        server.rspm_stdout(&line).trim().to_owned()
    };
    let (ann, bob) = (token("ann", "global:admin"), token("bob", "global:admin"));
    let ann_too = token("Ann", "global:admin");
    let writer = token("eve", "sources:write --sources=*");
    let output = with_token(&server, &writer, "promote --from=prod --to=live");
    assert!(output.code == 1 && output.err.contains("lacks the scope"), "{output:?}");
    let output = with_token(&server, &ann, "promote --from=prod --to=live --comment=for~May");
    assert_eq!(
        output.out,
        "Requested promotion 1 of 'prod' to 'live'. Another person must approve it: rspm promote --approve=1\n",
        "{}",
        output.err
    );
    for same in [&ann, &ann_too] {
        let output = with_token(&server, same, "promote --approve=1");
        assert!(output.code == 1 && output.err.contains("another person must approve it"), "{output:?}");
    }
    add(&server, "team", &[Tarball::new("beta", "1.0")]);
    let shown = with_token(&server, &bob, "promote --show=1").out;
    assert!(shown.contains("Requested by ann (token") && shown.contains("Packages: 1 added\n"), "{shown}");
    let output = with_token(&server, &bob, "promote --approve=1 --comment=tested");
    assert!(output.out.starts_with("Promoted 'prod' to 'live' in transaction "), "{output:?}");
    assert_eq!(status(&server, "/live/latest/src/contrib/alpha_1.0.tar.gz"), 200);
    assert_eq!(status(&server, "/live/latest/src/contrib/beta_1.0.tar.gz"), 404, "added after the request");
    let rows = server.json("audit list --action=promote");
    let detail = rows[0]["detail"].as_str().expect("a text");
    for part in ["requested by ann (token", "approved by bob (token", "for May; tested"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(server.json("audit list --action=approve~promotion").as_array().map(Vec::len), Some(2));
    let output = with_token(&server, &bob, "promote --reject=1");
    assert!(output.code == 1 && output.err.contains("promotion 1 was applied already"), "{output:?}");
}

#[test]
fn unknown_values_are_refused_with_the_known_values() {
    let server = team();
    let refusal = server.refused("create repo --name=x --changes=some");
    assert!(refusal.contains("use any, promotion or two-persons"), "{refusal}");
    let refusal = server.refused("list promotions --state=open");
    assert!(refusal.contains("use requested, applied, rejected or superseded"), "{refusal}");
    let refusal = server.refused("promote --from=prod --to=prod --snapshot=yesterday");
    assert!(refusal.contains("'yesterday' is not a snapshot"), "{refusal}");
    let refusal = server.refused("promote --approve=99");
    assert!(refusal.contains("there is no promotion 99; rspm list promotions shows all"), "{refusal}");
    assert_eq!(server.rspm_stdout("list promotions"), "No promotions.\n");
}

#[test]
fn a_token_without_a_user_is_no_second_person() {
    let server = server_with_live("two-persons");
    let token = |flags: &str| {
        let line = format!("create token --scope=repos:promote --repos=live {flags} --description=x --quiet");
        server.rspm_stdout(&line).trim().to_owned()
    };
    let (ann, nameless) = (token("--user=ann"), token(""));
    for (request, (first, second)) in [(1, (&ann, &nameless)), (2, (&nameless, &ann))] {
        assert_eq!(with_token(&server, first, "promote --from=prod --to=live").code, 0);
        let refused = with_token(&server, second, &format!("promote --approve={request}"));
        let reason = "requires two persons, and it was requested or approved with a token without a user";
        assert!(refused.code == 1 && refused.err.contains(reason), "{refused:?}");
        server.rspm_stdout(&format!("promote --reject={request} --comment=no"));
    }
}

#[test]
fn a_fixed_url_of_a_promoted_repository_names_no_other_state_of_a_source() {
    let server = server_with_live("promotion");
    let refused = server.refused("url create --repo=live --snapshot=team:1");
    assert!(refused.contains("the repository 'live' accepts changes by promotion only"), "{refused}");
}

#[test]
fn a_token_with_the_scope_promotes_to_its_repositories_only() {
    let server = server_with_live("two-persons");
    server.rspm_stdout("create repo --name=other --changes=promotion");
    server.rspm_stdout("create repo --name=secret --authenticated");
    server.rspm_stdout("subscribe --repo=secret --source=team");
    let token = |user: &str, flags: &str| {
        let line = format!("create token {flags} --user={user} --description=x --quiet");
        server.rspm_stdout(&line).trim().to_owned()
    };
    let ann = token("ann", "--scope=repos:promote --repos=live");
    let bob = token("bob", "--scope=repos:promote,repos:read --repos=live,secret");
    let reader = token("eve", "--scope=repos:read --repos=*");
    let run = |token: &str, line: &str| with_token(&server, token, line);
    assert!(run(&ann, "promote --from=prod --to=live --plan").out.contains("Packages: 1 added"));
    assert_eq!(run(&ann, "promote --from=prod --to=live").code, 0);
    server.rspm_stdout("promote --from=prod --to=other");
    for (token, line, words) in [
        (
            &ann,
            "promote --from=prod --to=other",
            "lacks the scope repos:promote for the repository 'other' (--repos)",
        ),
        (
            &ann,
            "promote --from=secret --to=live",
            "lacks the scope repos:read for the repository 'secret' (--repos)",
        ),
        (&ann, "promote --show=2", "lacks the scope repos:promote for the repository 'other' (--repos)"),
        (&ann, "promote --approve=1", "another person must approve it"),
        (&ann, "edit repo --name=live --changes=any", "lacks the scope global:admin"),
        (
            &ann,
            "create token --scope=repos:promote --repos=live --description=x",
            "lacks the scope global:admin",
        ),
        (
            &reader,
            "promote --from=prod --to=live --plan",
            "lacks the scope repos:promote for the repository 'live'",
        ),
        (&reader, "promote --approve=1", "lacks the scope repos:promote"),
        (&reader, "list promotions", "lacks the scope repos:promote"),
    ] {
        let output = run(token, line);
        assert!(output.code == 1 && output.err.contains(words), "{line}: {output:?}");
    }
    let list = run(&ann, "list promotions -o json").out;
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(1), "only promotions to its repository: {list}");
    let plan = run(&bob, "promote --from=secret --to=live --plan");
    assert!(plan.code == 0, "{plan:?}");
    let opened = run(&bob, "promote --from=secret --to=live");
    assert!(opened.code == 1 && opened.err.contains("lacks the scope global:admin"), "{opened:?}");
    assert!(run(&bob, "promote --approve=1").out.starts_with("Promoted 'prod' to 'live'"));
    let refusal =
        server.refused("create token --scope=sources:write --sources=team --repos=live --description=x");
    assert_eq!(refusal, "--repos belongs to the scopes repos:read and repos:promote: use it with --scope");
}

#[test]
fn the_advice_of_a_refused_deletion_of_a_source_can_be_followed() {
    for changes in ["promotion", "two-persons"] {
        let server = server_with_live("promotion");
        server.rspm_stdout("promote --from=prod --to=live");
        server.rspm_stdout(&format!("edit repo --name=live --changes={changes}"));
        let refused = server.refused("delete source --name=team");
        assert!(refused.ends_with("first run: rspm unsubscribe --repo=prod --source=team"), "{refused}");
        server.rspm_stdout("unsubscribe --repo=prod --source=team");
        let refused = server.refused("delete source --name=team");
        assert_eq!(
            refused,
            "the source 'team' is subscribed to by 'live'; 'live' accepts changes by promotion only: first promote a \
             state without 'team' with rspm promote --from=NAME --to=live, or run: rspm edit repo --name=live \
             --changes=any, then rspm unsubscribe --repo=live --source=team"
        );
        if changes == "promotion" {
            server.rspm_stdout("create source --name=other");
            server.rspm_stdout("subscribe --repo=prod --source=other");
            server.rspm_stdout("promote --from=prod --to=live");
        } else {
            assert_eq!(server.rspm("edit repo --name=live --changes=any").code, 0);
            server.rspm_stdout("unsubscribe --repo=live --source=team");
        }
        server.rspm_stdout("delete source --name=team --with-packages");
    }
    let server = Server::start();
    server.rspm_stdout("create repo --name=all");
    server.rspm_stdout("create repo --name=live --changes=promotion");
    server.rspm_stdout("subscribe --repo=all --source=cran");
    server.rspm_stdout("promote --from=all --to=live");
    server.rspm_stdout("unsubscribe --repo=all --source=cran");
    let refused = server.refused("clear --type=cran --confirm");
    assert!(refused.contains("'live' accepts changes by promotion only"), "{refused}");
}
