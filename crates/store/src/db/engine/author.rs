//! The author of a write, for the audit trail. The author is a task-local value, which applies to everything that the
//! task awaits; each write copies it to the thread that runs the write. For a request, `http::api::admin` sets it.

use std::cell::RefCell;

use base::model::time::Timestamp;
use base::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// How the server identified the author.
    pub kind: AuthorKind,
    /// The name, as in transactions: `alice (uid 1000)`, `ann (token 0a1b…)`, `schedule`.
    pub name: String,
    /// The address of the client; empty on the admin socket, and for work of the server.
    pub address: String,
    /// Time of the request for the change.
    pub at: Timestamp,
}

words! {
    /// How the server identified an author.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum AuthorKind {
        /// By the credentials of the client process on the admin socket.
        Socket = "socket",
        Token = "token",
        /// By the session of a browser, or by a sign-in with an identity provider.
        Session = "session",
        /// The server itself, on a schedule or as the continuation of a request.
        Job = "job",
    }
}

impl Author {
    /// Returns the author of changes that the server makes without a client.
    pub fn job(name: &str, at: Timestamp) -> Author {
        Author { kind: AuthorKind::Job, name: name.to_owned(), address: String::new(), at }
    }
}

/// Returns the name of an author for the log: `token 0a1b…` for a token without a user.
pub fn log_name(name: &str) -> &str {
    name.strip_prefix(" (").and_then(|name| name.strip_suffix(')')).unwrap_or(name)
}

tokio::task_local! {
    static AUTHOR_OF_TASK: Author;
}

thread_local! {
    static AUTHOR_OF_WRITE: RefCell<Option<Author>> = const { RefCell::new(None) };
}

/// Runs `work`; `author` is the author of the writes in it.
pub async fn scope<T>(author: Author, work: impl Future<Output = T>) -> T {
    AUTHOR_OF_TASK.scope(author, work).await
}

/// Returns the author of the writes of this task, if one was set.
pub fn of_task() -> Option<Author> {
    AUTHOR_OF_TASK.try_with(Clone::clone).ok()
}

/// Returns the author of the write that this thread runs, if one was set.
pub fn of_write() -> Option<Author> {
    AUTHOR_OF_WRITE.with_borrow(Clone::clone)
}

/// Runs `write` on this thread, with `author` as its author.
pub(in crate::db) fn run<T>(author: Option<&Author>, write: impl FnOnce() -> T) -> T {
    /// Removes the author of the write when it is dropped, also after a panic: the thread continues with other writes.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            AUTHOR_OF_WRITE.set(None);
        }
    }
    AUTHOR_OF_WRITE.set(author.cloned());
    let _reset = Reset;
    write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_without_a_user_has_no_parentheses_in_the_log() {
        for (name, logged) in [
            (" (token 0a1b)", "token 0a1b"),
            ("ann (token 0a1b)", "ann (token 0a1b)"),
            ("(x) (uid 1)", "(x) (uid 1)"),
            ("schedule", "schedule"),
            ("", ""),
        ] {
            assert_eq!(log_name(name), logged, "{name}");
        }
    }
}
