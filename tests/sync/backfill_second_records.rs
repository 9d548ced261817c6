//! Second records of recommended packages (`Path: 4.6.0/Recommended`) and days before the first sync: no source gives
//! their first day, so those days have only the plain record, the one without a `Path`.

use std::io::Read;

use rstudio_pm::db::life;
use rstudio_pm::model::ids::SourceId;
use sha2::Digest as _;

use super::{INDEX, gz, on_both_databases};
use crate::support::cran_history::{CranHistory, DAY, EVENING, backfill, day, state};
use crate::support::db::Engine;
use crate::support::sync_backend::SyncBackend;
use crate::support::tarball::Tarball;
use crate::support::upstream::Upstream;

const SECOND: &str = "4.6.0/Recommended/solver_1.1.tar.gz";

fn md5(bytes: &[u8]) -> String {
    hex::encode(md5::Md5::digest(bytes))
}

/// Three releases in five days; the newest of `solver` has a second record for the next R, of the same version.
fn mirror() -> (CranHistory, Upstream, Vec<u8>) {
    let mut cran = CranHistory::default();
    cran.publish(0, &Tarball::new("solver", "1.0"));
    cran.publish(2, &Tarball::new("solver", "1.1").field("Depends: R (>= 4.4)"));
    cran.publish(4, &Tarball::new("other", "1.0"));
    let web = Upstream::empty();
    cran.serve(&web);
    let second_file = Tarball::new("solver", "1.1").field("Depends: R (>= 4.6)").bytes();
    let mut index = String::new();
    flate2::read::GzDecoder::new(web.bytes(INDEX).as_slice()).read_to_string(&mut index).expect("an index");
    let record = "Package: solver\nVersion: 1.1\nDepends: R (>= 4.6)\nPath: 4.6.0/Recommended\n";
    index.push_str(&format!("{record}MD5sum: {}\n\n", md5(&second_file)));
    web.put(INDEX, gz(index));
    web.put(&format!("src/contrib/{SECOND}"), second_file.clone());
    (cran, web, second_file)
}

/// The MD5 of the file at a path below `src/contrib` on a day.
async fn md5_at(server: &SyncBackend, number: i64, file: &str) -> Option<String> {
    let catalog = server.state.catalog.get();
    let tree = catalog.source_package_trees(SourceId::CRAN).next().expect("the first migration creates it");
    let position = tree.steps.partition_point(|step| step.at < day(number).end());
    let (tree, seq, file) = (tree.id, tree.steps[position - 1].seq, file.to_owned());
    let stored_file = server.read(move |c| life::find_file(c, tree, seq, None, "solver", &file)).await;
    stored_file.map(|stored_file| stored_file.md5.map_or_else(String::new, |md5| md5.to_string()))
}

on_both_databases! {
    async fn an_earlier_day_has_the_plain_record_and_days_since_the_first_sync_have_both(engine) {
        let (cran, web, second_file) = mirror();
        let server = SyncBackend::new(engine, &web.url()).await;
        server.advance_clock(10 * DAY + EVENING);
        server.sync().await.expect("a valid mirror");
        backfill(&server, day(0)).await.expect("a valid mirror");
        let state_now = state(&server, day(10)).await.expect("synced");
        assert_eq!(state_now.listed(), ["other 1.0", "solver 1.1", "solver 1.1"]);
        assert!(state_now.index[2].contains("Path: 4.6.0/Recommended\n"), "{:?}", state_now.index);
        for (number, listed) in [
            (0, &["solver 1.0"][..]), (1, &["solver 1.0"]), (2, &["solver 1.1"]), (3, &["solver 1.1"]),
            (4, &["other 1.0", "solver 1.1"]), (9, &["other 1.0", "solver 1.1"]),
        ] {
            let earlier_state = state(&server, day(number)).await.expect("filled in");
            assert_eq!(earlier_state.listed(), listed, "day {number}");
            let text = earlier_state.index.concat();
            assert!(!text.contains("Path:") && !text.contains("4.6"), "day {number}: {text}");
        }
        // Both have one version and different bytes; each path leads to its own bytes.
        let plain_md5 = md5(&cran.listed["solver"].bytes);
        assert_ne!(plain_md5, md5(&second_file));
        for number in [2, 9, 10] {
            assert_eq!(md5_at(&server, number, "solver_1.1.tar.gz").await.as_ref(), Some(&plain_md5), "day {number}");
        }
        assert_eq!(md5_at(&server, 10, SECOND).await, Some(md5(&second_file)));
        assert_eq!(md5_at(&server, 9, SECOND).await, Some(plain_md5), "the path leads to the plain record");
        // A later sync finds no change in either.
        assert!(server.sync().await.expect("a valid mirror").contains("nothing changed"));
    }
}
