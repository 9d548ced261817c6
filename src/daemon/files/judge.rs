//! Decides what to do about a path from its type, owner and mode. Pure.

use super::table::{Is, Keeper, Otherwise, Row, STICKY};

/// What exists at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The owner of the symbolic link, if the path is one.
    pub link: Option<u32>,
    /// The file at the path, or the target of the link.
    pub there: There,
}

/// See [`Seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing exists.
    Nothing,
    /// A file of a type that no rule names: a device, a pipe.
    Odd,
    /// A directory, file or socket.
    Some {
        /// The file type.
        is: Is,
        /// The owner.
        uid: u32,
        /// The permission bits of the mode.
        mode: u32,
    },
}

/// A way in which a path violates its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A symbolic link of another ordinary user, who can redirect it.
    ForeignLink(u32),
    /// A dangling symbolic link.
    DeadLink,
    /// Wrong file type.
    Type,
    /// Owned by another ordinary user.
    Owner(u32),
    /// Writable by everybody.
    WorldWritable(u32),
    /// The mode has more permission bits than the rule allows.
    TooOpen(u32),
    /// The mode lacks permission bits that the owner needs.
    TooClosed(u32),
}

/// The decision about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The path conforms.
    Good,
    /// Set this mode.
    Repair(Fault, u32),
    /// Log a warning.
    Warn(Fault),
    /// Report the error and do not start.
    Refuse(Fault),
}

/// Decides about a path for a process of the user `me`. `secrets`: the file must not be readable by others although
/// the rule allows it.
#[must_use]
pub fn judge(row: &Row, seen: Seen, me: u32, secrets: bool) -> Verdict {
    let otherwise = |fault| match row.otherwise {
        Otherwise::Refuse => Verdict::Refuse(fault),
        Otherwise::Warn => Verdict::Warn(fault),
    };
    // root can change everything anyway.
    let foreign = |uid: u32| uid != me && uid != 0;
    if let Some(uid) = seen.link.filter(|uid| foreign(*uid)) {
        return otherwise(Fault::ForeignLink(uid));
    }
    let (is, uid, mode) = match seen.there {
        There::Nothing if seen.link.is_some() => return otherwise(Fault::DeadLink),
        There::Nothing => return Verdict::Good,
        // An administrator may pass a file through a pipe or a device.
        There::Odd if row.keeper == Keeper::Administrator && row.is == Is::File => return Verdict::Good,
        There::Odd => return otherwise(Fault::Type),
        There::Some { is, uid, mode } => (is, uid, mode),
    };
    if is != row.is {
        return otherwise(Fault::Type);
    }
    if foreign(uid) {
        return match row.of_another_owner() {
            Otherwise::Refuse => Verdict::Refuse(Fault::Owner(uid)),
            Otherwise::Warn => Verdict::Warn(Fault::Owner(uid)),
        };
    }
    let ours = uid == me && row.keeper == Keeper::Daemon;
    let sticky = is == Is::Directory && mode & STICKY != 0;
    let most = if secrets { row.most & !0o007 } else { row.most };
    let excess = mode & 0o777 & !most;
    if excess != 0 && !sticky {
        let fault = if excess & 0o002 != 0 { Fault::WorldWritable(mode) } else { Fault::TooOpen(mode) };
        return match fault {
            _ if ours => Verdict::Repair(fault, mode & (most | !0o777)),
            Fault::WorldWritable(_) => otherwise(fault),
            // `/var/log` of root may be writable by the group of the system's logger.
            _ if uid != me && row.otherwise == Otherwise::Warn => Verdict::Good,
            _ => Verdict::Warn(fault),
        };
    }
    let least = match is {
        Is::Directory => 0o700,
        Is::File | Is::Socket => 0o600,
    };
    if ours && mode & least != least {
        return Verdict::Repair(Fault::TooClosed(mode), mode | least);
    }
    Verdict::Good
}

/// Softens the decision about a path on a network file system: its server may map owners and modes, and chown or
/// chmod may have no effect.
#[must_use]
pub fn on_a_network(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Refuse(fault @ (Fault::Owner(_) | Fault::WorldWritable(_) | Fault::ForeignLink(_))) => {
            Verdict::Warn(fault)
        }
        Verdict::Refuse(Fault::DeadLink | Fault::Type | Fault::TooOpen(_) | Fault::TooClosed(_))
        | Verdict::Good
        | Verdict::Repair(..)
        | Verdict::Warn(_) => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{ROWS, What};
    use super::*;

    const ME: u32 = 7;
    const OTHER: u32 = 8;

    fn row(what: What) -> &'static Row {
        ROWS.iter().find(|row| row.what == what).expect("every path has a row")
    }

    fn seen(is: Is, uid: u32, mode: u32) -> Seen {
        Seen { link: None, there: There::Some { is, uid, mode } }
    }

    fn other_type(is: Is) -> Is {
        match is {
            Is::Directory | Is::Socket => Is::File,
            Is::File => Is::Directory,
        }
    }

    #[test]
    fn what_is_as_it_should_be_or_missing_is_good() {
        for row in ROWS {
            for uid in [ME, 0] {
                assert_eq!(judge(row, seen(row.is, uid, row.mode), ME, false), Verdict::Good, "{row:?}");
                let linked = Seen { link: Some(uid), ..seen(row.is, ME, row.mode) };
                assert_eq!(judge(row, linked, ME, false), Verdict::Good, "{row:?}");
            }
            let missing = Seen { link: None, there: There::Nothing };
            assert_eq!(judge(row, missing, ME, false), Verdict::Good, "{row:?}");
        }
    }

    #[test]
    fn a_wrong_type_or_link_is_never_good() {
        for row in ROWS {
            let cases = [
                (seen(other_type(row.is), ME, row.mode), Fault::Type),
                (Seen { link: Some(ME), there: There::Nothing }, Fault::DeadLink),
                (Seen { link: Some(OTHER), ..seen(row.is, ME, row.mode) }, Fault::ForeignLink(OTHER)),
            ];
            for (seen, fault) in cases {
                let expected = match row.otherwise {
                    Otherwise::Refuse => Verdict::Refuse(fault),
                    Otherwise::Warn => Verdict::Warn(fault),
                };
                assert_eq!(judge(row, seen, ME, false), expected, "{row:?}");
            }
        }
    }

    #[test]
    fn a_pipe_is_good_only_where_an_administrator_hands_a_file_over() {
        for row in ROWS {
            let handed = row.keeper == Keeper::Administrator && row.is == Is::File;
            let verdict = judge(row, Seen { link: None, there: There::Odd }, ME, false);
            assert_eq!(verdict == Verdict::Good, handed, "{row:?}");
        }
    }

    #[test]
    fn another_owner_is_refused_where_it_is_the_daemons() {
        for row in ROWS {
            let socket = matches!(row.what, What::SockFileDir | What::Socket);
            let expected = match (row.keeper, row.otherwise) {
                (Keeper::Daemon, Otherwise::Refuse) if !socket => Verdict::Refuse(Fault::Owner(OTHER)),
                _ => Verdict::Warn(Fault::Owner(OTHER)),
            };
            for me in [ME, 0] {
                assert_eq!(judge(row, seen(row.is, OTHER, row.mode), me, false), expected, "{row:?}");
            }
        }
    }

    #[test]
    fn what_everybody_may_write_is_repaired_where_it_is_ours_and_never_good() {
        for row in ROWS {
            for uid in [ME, 0] {
                let verdict = judge(row, seen(row.is, uid, 0o777), ME, false);
                let fault = Fault::WorldWritable(0o777);
                let expected = match (row.keeper, row.otherwise) {
                    (Keeper::Daemon, _) if uid == ME => Verdict::Repair(fault, row.most),
                    (_, Otherwise::Refuse) => Verdict::Refuse(fault),
                    (_, Otherwise::Warn) => Verdict::Warn(fault),
                };
                assert_eq!(verdict, expected, "{row:?}");
            }
        }
    }

    #[test]
    fn on_a_network_owner_and_mode_are_told_and_a_wrong_type_is_refused() {
        let data = row(What::DataDir);
        let there = |seen| on_a_network(judge(data, seen, ME, false));
        assert_eq!(there(seen(Is::Directory, OTHER, 0o700)), Verdict::Warn(Fault::Owner(OTHER)));
        assert_eq!(there(seen(Is::Directory, 0, 0o777)), Verdict::Warn(Fault::WorldWritable(0o777)));
        assert_eq!(there(seen(Is::File, ME, 0o700)), Verdict::Refuse(Fault::Type));
    }

    #[test]
    fn a_repair_leaves_nothing_to_repair() {
        for row in ROWS {
            for mode in 0..0o1000 {
                if let Verdict::Repair(_, now) = judge(row, seen(row.is, ME, mode), ME, false) {
                    let again = judge(row, seen(row.is, ME, now), ME, false);
                    let last = match again {
                        Verdict::Repair(Fault::TooClosed(_), last) => last,
                        _ => now,
                    };
                    assert_eq!(
                        judge(row, seen(row.is, ME, last), ME, false),
                        Verdict::Good,
                        "{row:?} {mode:o}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_shared_directory_with_the_sticky_bit_is_good() {
        for what in [What::TempDir, What::SockFileDir] {
            assert_eq!(judge(row(what), seen(Is::Directory, 0, 0o1777), ME, false), Verdict::Good);
        }
    }

    #[test]
    fn a_log_directory_of_root_may_be_open_to_a_group_and_ours_may_not() {
        let logs = row(What::LogDir);
        assert_eq!(judge(logs, seen(Is::Directory, 0, 0o775), ME, false), Verdict::Good);
        let repaired = Verdict::Repair(Fault::TooOpen(0o775), 0o755);
        assert_eq!(judge(logs, seen(Is::Directory, ME, 0o775), ME, false), repaired);
    }

    #[test]
    fn a_configuration_file_with_secrets_must_not_be_read_by_everybody() {
        let gcfg = row(What::Gcfg);
        assert_eq!(judge(gcfg, seen(Is::File, 0, 0o644), ME, false), Verdict::Good);
        let warned = Verdict::Warn(Fault::TooOpen(0o644));
        assert_eq!(judge(gcfg, seen(Is::File, 0, 0o644), ME, true), warned);
        assert_eq!(judge(row(What::Key), seen(Is::File, ME, 0o644), ME, false), warned);
    }

    #[test]
    fn what_its_user_cannot_use_is_opened() {
        let data = row(What::DataDir);
        let verdict = judge(data, seen(Is::Directory, ME, 0o500), ME, false);
        assert_eq!(verdict, Verdict::Repair(Fault::TooClosed(0o500), 0o700));
    }
}
