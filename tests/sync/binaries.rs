//! Lists of binaries on both databases: written in chunks, published at once, requested conditionally, undone after a
//! crash.

use rstudio_pm::config::{BinaryServerKind, BinaryUrl, PrivateUrl};
use rstudio_pm::db::binary_list::{self, BinaryChange, OfferedBinary};
use rstudio_pm::db::tree::Role;
use rstudio_pm::db::{binary, clock, life, package, tree, tx};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::{Seq, SourceId, TreeId};

use super::{INDEX, gz, index, on_both_databases, small_mirror};
use crate::support::binary_server::TREE;
use crate::support::db::Engine;
use crate::support::sync_backend::SyncBackend;
use crate::support::upstream::Upstream;

/// An index of binaries of the first `count` packages of [`index`].
fn binaries(count: usize) -> String {
    let built = crate::support::binary_server::BUILT;
    (0..count).map(|n| format!("Package: p{n}\nVersion: 1.0\n{built}\nSHA256: {n:064x}\n\n")).collect()
}

/// A server with a mirror of `packages` packages and a mirror of `binary_count` binaries.
async fn server_with_binaries(
    engine: Engine,
    packages: usize,
    binary_count: usize,
) -> (SyncBackend, Upstream, Upstream) {
    let (mirror, upstream) = (small_mirror(packages), Upstream::empty());
    upstream.put(&format!("{TREE}/PACKAGES.gz"), gz(binaries(binary_count)));
    let server = SyncBackend::new(engine, &mirror.url()).await;
    let some = |text: &str| Some(text.to_owned());
    server.set_binary_servers(vec![BinaryUrl {
        base: PrivateUrl(upstream.url()),
        kind: BinaryServerKind::Linux { distribution: some("noble"), arch: some("x86_64"), r: some("4.5") },
    }]);
    (server, mirror, upstream)
}

/// The list of binaries and its newest step.
async fn list(server: &SyncBackend) -> (TreeId, Option<Seq>) {
    let trees = server.read(|c| tree::of_source(c, SourceId::CRAN)).await;
    let tree = trees.into_iter().find(|tree| tree.role == Role::Binary).expect("a list of binaries");
    assert_eq!(tree.label, "4.5-noble");
    (tree.id, tree.head)
}

async fn listed_binaries(server: &SyncBackend) -> Vec<(String, String)> {
    let (tree, _) = list(server).await;
    let binaries = server.read(move |c| binary_list::listed_binaries(c, tree)).await;
    binaries
        .into_iter()
        .map(|binary| (binary.platform, binary.sha256.map(|d| d.to_string()).unwrap_or_default()))
        .collect()
}

on_both_databases! {
    async fn thousands_of_binaries_are_one_transaction_and_an_unchanged_list_is_none(engine) {
        let (server, mirror, upstream) = server_with_binaries(engine, 4_500, 4_200).await;
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.ends_with("; binaries were synced (transaction 2): 4200 new"), "{message}");
        assert_eq!(listed_binaries(&server).await.len(), 4_200);
        let (tree, head) = list(&server).await;
        let binaries = server.read(move |c| binary::all(c, tree, head.expect("published"))).await;
        assert_eq!(binaries.len(), 4_200);
        assert!(binaries.iter().all(|binary| binary.locator == format!("{TREE}/{}", binary.name) && binary.removed_at.is_none()));
        let comment = server.read(|c| tx::list_all(c, 10)).await.remove(0).comment;
        assert_eq!(comment, "binaries: 4200 of 4.5-noble");
        mirror.take_requests();
        upstream.take_requests();
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.ends_with("nothing changed"), "{message}");
        let requests: Vec<(String, u16)> = upstream.take_requests().into_iter().map(|a| (a.path, a.status)).collect();
        assert_eq!(requests, [(format!("{TREE}/PACKAGES.gz"), 304)]);
        assert_eq!(server.transactions().await, 2);
    }

    async fn a_rebuilt_binary_replaces_the_previous_one_and_a_missing_index_changes_nothing(engine) {
        let (server, _mirror, upstream) = server_with_binaries(engine, 20, 3).await;
        server.sync().await.expect("a valid mirror");
        let (tree, old_head) = list(&server).await;
        let text = binaries(3).replace(&format!("{:064x}", 1), &"f".repeat(64));
        upstream.put(&format!("{TREE}/PACKAGES.gz"), gz(text));
        assert!(server.sync().await.expect("a valid mirror").ends_with(": 1 new"));
        let digests: Vec<String> = listed_binaries(&server).await.into_iter().map(|(_, digest)| digest).collect();
        assert_eq!(digests, [format!("{:064x}", 0), format!("{:064x}", 2), "f".repeat(64)]);
        let (_, new_head) = list(&server).await;
        assert_eq!(new_head, old_head.map(Seq::next));
        let binaries = server.read(move |c| binary::all(c, tree, new_head.expect("published"))).await;
        assert_eq!(binaries.len(), 4, "the previous binary remains for older snapshots");
        upstream.remove(&format!("{TREE}/PACKAGES.gz"));
        assert!(server.sync().await.expect("a valid mirror").ends_with("nothing changed"));
        assert_eq!(listed_binaries(&server).await.len(), 3);
    }

    async fn binaries_of_a_later_release_are_listed_once_the_release_is_listed(engine) {
        let (server, mirror, upstream) = server_with_binaries(engine, 3, 5).await;
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.ends_with(": 3 new; not served, because cran does not list their version: 2 binaries"), "{message}");
        upstream.take_requests();
        assert!(server.sync().await.expect("a valid mirror").ends_with("nothing changed"));
        assert_eq!(upstream.take_requests().iter().map(|request| request.status).collect::<Vec<_>>(), [304]);
        mirror.put(INDEX, gz(index(4)));
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.ends_with(": 1 new; not served, because cran does not list their version: 1 binary"), "{message}");
        assert_eq!(listed_binaries(&server).await.len(), 4);
    }

    async fn binaries_of_a_killed_sync_are_removed(engine) {
        let (server, mirror, _upstream) = server_with_binaries(engine, 30, 3).await;
        server.sync().await.expect("a valid mirror");
        let (tree, head) = list(&server).await;
        let lives = move |c: &mut dyn rstudio_pm::db::Conn| {
            let packages = life::listed(c, TreeId(1), Seq(1))?;
            let pending = tree::begin(c, tree, 7)?;
            let listed = binary_list::listed_binaries(c, tree)?;
            let mut changes: Vec<BinaryChange> = packages.iter().map(|row| BinaryChange::List(OfferedBinary {
                package: row.package,
                release: row.release,
                platform: "4.5-noble/x86_64".to_owned(),
                name: format!("{}_1.0.tar.gz", row.name),
                locator: "x".to_owned(),
                size: None,
                md5: None,
                sha256: Some(Sha256([9; 32])),
                stanza: b"Package: x".to_vec(),
            })).collect();
            changes.extend(listed.iter().map(|binary| BinaryChange::End {
                package: binary.package,
                release: binary.release,
                file: binary.file,
                from_seq: binary.from_seq,
            }));
            binary_list::apply(c, tree, pending, &changes)
        };
        server.state.db.write(lives).await.expect("a partial import");
        let server = server.restart(&mirror.url()).await;
        server.sync.recover().await.expect("undone");
        let (pending, files, records) = server.read(move |c| Ok((
            tree::get(c, tree)?.expect("the tree exists").pending,
            c.query("SELECT id FROM file WHERE role = 'binary'", &[])?.len(),
            c.query("SELECT variant FROM record WHERE variant > 0", &[])?.len(),
        ))).await;
        assert_eq!((pending, files, records), (None, 3, 3));
        assert_eq!(listed_binaries(&server).await.len(), 3);
        assert_eq!(list(&server).await.1, head);
    }

    async fn a_removed_binary_ends_at_its_step_and_not_before(engine) {
        let (server, _mirror, _upstream) = server_with_binaries(engine, 20, 2).await;
        server.sync().await.expect("a valid mirror");
        let (tree, head) = list(&server).await;
        let head = head.expect("published");
        let now = (server.state.clock)();
        let removal = server.state.db.write(move |c| {
            let binary = binary_list::listed_binaries(c, tree)?.remove(0);
            let pending = tree::begin(c, tree, 0)?;
            binary::remove(c, tree, pending, binary.package, binary.release, &[binary.file])?;
            let publish = tx::Publish::new(tx::TxKind::Remove, now, now, "test");
            clock::publish(c, &tx::Publish { source: Some(SourceId::CRAN), trees: vec![tree], ..publish })
        }).await.expect("removed");
        let id = server.read(|c| package::by_name(c, SourceId::CRAN, "p0")).await.expect("known");
        let binaries_of = |seq| server.read(move |c| binary::of_package(c, tree, seq, id));
        assert_eq!(binaries_of(head).await[0].removed_at, Some(removal.at), "the time of the removal is known in the step before it");
        assert_eq!(binaries_of(head.next()).await[0].removed_at, Some(removal.at));
        let other_id = server.read(|c| package::by_name(c, SourceId::CRAN, "p1")).await.expect("known");
        let other_binaries = server.read(move |c| binary::of_package(c, tree, head.next(), other_id)).await;
        assert_eq!(other_binaries[0].removed_at, None);
    }
}
