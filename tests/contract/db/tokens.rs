//! Tokens that changed are read in parts.

use std::time::Duration;

use rstudio_pm::db::token::{self, ChangedToken, NewToken, ScopeRow};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::{Identity, TokenId};
use rstudio_pm::model::time::Timestamp;

use super::samples::NEW_YEAR;
use crate::support::db::TestDb;

both! {
    changed_tokens_are_the_same_in_batches_of_each_size
    tokens_of_one_revision_fill_several_parts
    a_revoked_token_is_read_after_tokens_that_did_not_change
    tokens_end_soon_if_they_are_valid_and_were_made_for_longer
}

/// Creates the tokens 1 to `count`; a third of them has no scopes, a third one and a third two.
fn create(db: &TestDb, count: u8) {
    db.write(move |c| {
        for number in 1..=count {
            let scopes = (0..number % 3)
                .map(|object| ScopeRow { scope: "sources:write".to_owned(), object: i64::from(object) + 1 });
            let new = NewToken {
                guid: Identity([number; 16]),
                digest: Sha256([number; 32]),
                excerpt: "rspm_abcd…wxyz".to_owned(),
                user: format!("user{number}"),
                description: "test".to_owned(),
                created_by: "ann".to_owned(),
                expires_at: number.is_multiple_of(2).then_some(NEW_YEAR),
                scopes: scopes.collect(),
            };
            token::create(c, &new, NEW_YEAR)?;
        }
        Ok(())
    });
}

fn read(db: &TestDb, revision: i64, batch_size: i64) -> (Vec<ChangedToken>, i64) {
    db.read(move |c| {
        let mut tokens = Vec::new();
        let newest = token::changed_in_batches(c, revision, batch_size, &mut |token| tokens.push(token))?;
        Ok((tokens, newest))
    })
}

fn numbers(tokens: &[ChangedToken]) -> Vec<i64> {
    tokens.iter().map(|token| token.id.0).collect()
}

fn changed_tokens_are_the_same_in_batches_of_each_size(db: &mut TestDb) {
    assert_eq!(read(db, 0, 2), (Vec::new(), 0));
    create(db, 7);
    let (tokens, newest) = read(db, 0, 1_000);
    assert_eq!(numbers(&tokens), [1, 2, 3, 4, 5, 6, 7]);
    let all = db.read(token::list);
    assert_eq!(all.len(), 7);
    for (token, listed) in tokens.iter().zip(&all) {
        assert_eq!((token.id, token.guid, token.digest), (listed.id, listed.guid, listed.digest));
        assert_eq!((&*token.user, token.expires_at), (listed.user.as_str(), listed.expires_at));
        assert_eq!((token.revoked_at, &token.scopes), (None, &listed.scopes));
    }
    assert_eq!(all.iter().map(|token| token.scopes.len()).collect::<Vec<_>>(), [1, 2, 0, 1, 2, 0, 1]);
    for part in 1..=9 {
        let (in_parts, revision) = read(db, 0, part);
        assert_eq!((&in_parts, revision), (&tokens, newest), "parts of {part}");
    }
    assert_eq!(read(db, newest, 2), (Vec::new(), newest), "nothing is new");
    assert_eq!(numbers(&read(db, newest - 2, 1).0), [6, 7]);
}

/// A database that was copied may have one revision for many tokens.
fn tokens_of_one_revision_fill_several_parts(db: &mut TestDb) {
    create(db, 7);
    let (before, newest) = read(db, 0, 1_000);
    db.write(move |c| {
        c.execute(
            "UPDATE token SET revision = CAST($1 AS BIGINT) WHERE id BETWEEN 2 AND 6",
            &[(newest + 1).into()],
        )
        .map(drop)
    });
    for part in 1..=8 {
        let (tokens, revision) = read(db, 0, part);
        assert_eq!((numbers(&tokens), revision), (vec![1, 7, 2, 3, 4, 5, 6], newest + 1), "parts of {part}");
        let scopes = |tokens: &[ChangedToken]| {
            let mut all: Vec<_> = tokens.iter().map(|token| (token.id, token.scopes.clone())).collect();
            all.sort_by_key(|(id, _)| *id);
            all
        };
        assert_eq!(scopes(&tokens), scopes(&before), "parts of {part}");
    }
    assert_eq!(read(db, newest + 1, 2), (Vec::new(), newest + 1));
}

fn a_revoked_token_is_read_after_tokens_that_did_not_change(db: &mut TestDb) {
    create(db, 5);
    let (_, newest) = read(db, 0, 1_000);
    db.write(|c| token::revoke(c, TokenId(2), NEW_YEAR));
    for part in 1..=6 {
        let (tokens, revision) = read(db, 0, part);
        assert_eq!(numbers(&tokens), [1, 3, 4, 5, 2], "parts of {part}");
        assert!(revision > newest);
        let revoked: Vec<_> = tokens.iter().filter(|token| token.revoked_at.is_some()).collect();
        assert_eq!(revoked.iter().map(|token| token.id.0).collect::<Vec<_>>(), [2], "parts of {part}");
        let (changes, again) = read(db, newest, part);
        assert_eq!((numbers(&changes), again), (vec![2], revision), "parts of {part}");
    }
}

fn tokens_end_soon_if_they_are_valid_and_were_made_for_longer(db: &mut TestDb) {
    const DAY: Duration = Duration::from_secs(86_400);
    let create = |number: u8, created: Timestamp, lifetime: Option<u32>| {
        db.write(move |c| {
            let new = NewToken {
                guid: Identity([number; 16]),
                digest: Sha256([number; 32]),
                excerpt: "rspm_abcd…wxyz".to_owned(),
                user: "ann".to_owned(),
                description: "test".to_owned(),
                created_by: "ann".to_owned(),
                expires_at: lifetime.map(|days| created + DAY * days),
                scopes: Vec::new(),
            };
            token::create(c, &new, created)
        });
    };
    create(1, NEW_YEAR, Some(60));
    create(2, NEW_YEAR, Some(50));
    create(3, NEW_YEAR, Some(100));
    create(4, NEW_YEAR, None);
    create(5, NEW_YEAR + DAY * 45, Some(7));
    create(6, NEW_YEAR, Some(55));
    db.write(|c| token::revoke(c, TokenId(6), NEW_YEAR));
    let ending = |day: u32, limit: i64| -> Vec<i64> {
        let now = NEW_YEAR + DAY * day;
        let tokens = db.read(move |c| token::ending(c, now, now + DAY * 14, limit));
        tokens.iter().map(|token| token.id.0).collect()
    };
    assert_eq!(ending(10, 9), [0; 0]);
    assert_eq!(ending(46, 9), [2, 1], "the first one first");
    assert_eq!(ending(46, 1), [2]);
    assert_eq!(ending(50, 9), [1], "one has ended");
}
