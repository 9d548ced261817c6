//! Decides what to do about a path from its type, owner and mode. Pure.

use super::table::{FileType, FixedBy, OnViolation, PathRule, STICKY};

/// The state of a path: its symbolic link, if it is one, and its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathState {
    /// The owner of the symbolic link, if the path is one.
    pub link: Option<u32>,
    pub target: PathTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTarget {
    Missing,
    /// A file of another type, such as a device or a pipe.
    OtherType,
    Found {
        file_type: FileType,
        uid: u32,
        mode: u32,
    },
}

/// A way in which a path violates its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A symbolic link of another ordinary user (the user ID), who can redirect it.
    ForeignLink(u32),
    DanglingLink,
    Type,
    /// Owned by another ordinary user (the user ID).
    Owner(u32),
    /// Writable by all users; with the mode.
    WorldWritable(u32),
    /// The mode has more permission bits than the rule allows.
    TooOpen(u32),
    /// The mode lacks permission bits that the owner needs.
    TooClosed(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Conforms,
    /// Set this mode, which ends the violation.
    Repair(Violation, u32),
    Warn(Violation),
    /// Report the error and do not start.
    Refuse(Violation),
}

/// Decides about a path for a process of `own_uid`. No rule makes a file with secrets accessible to all users.
pub fn decide(rule: &PathRule, state: PathState, own_uid: u32, has_secrets: bool) -> Decision {
    let by_rule = |violation| match rule.on_violation {
        OnViolation::Refuse => Decision::Refuse(violation),
        OnViolation::Warn => Decision::Warn(violation),
    };
    // A path of root is accepted, because root can change every path.
    let is_foreign = |uid: u32| uid != own_uid && uid != 0;
    if let Some(uid) = state.link.filter(|uid| is_foreign(*uid)) {
        return by_rule(Violation::ForeignLink(uid));
    }
    let (file_type, uid, mode) = match state.target {
        PathTarget::Missing if state.link.is_some() => return by_rule(Violation::DanglingLink),
        PathTarget::Missing => return Decision::Conforms,
        // An administrator may pass a file through a pipe or a device.
        PathTarget::OtherType
            if rule.fixed_by == FixedBy::Administrator && rule.file_type == FileType::File =>
        {
            return Decision::Conforms;
        }
        PathTarget::OtherType => return by_rule(Violation::Type),
        PathTarget::Found { file_type, uid, mode } => (file_type, uid, mode),
    };
    if file_type != rule.file_type {
        return by_rule(Violation::Type);
    }
    if is_foreign(uid) {
        return match rule.on_foreign_owner() {
            OnViolation::Refuse => Decision::Refuse(Violation::Owner(uid)),
            OnViolation::Warn => Decision::Warn(Violation::Owner(uid)),
        };
    }
    let is_own = uid == own_uid && rule.fixed_by == FixedBy::Daemon;
    let is_sticky = file_type == FileType::Directory && mode & STICKY != 0;
    let max_mode = if has_secrets { rule.max_mode & !0o007 } else { rule.max_mode };
    let excess = mode & 0o777 & !max_mode;
    if excess != 0 && !is_sticky {
        let violation =
            if excess & 0o002 != 0 { Violation::WorldWritable(mode) } else { Violation::TooOpen(mode) };
        return match violation {
            _ if is_own => Decision::Repair(violation, mode & (max_mode | !0o777)),
            Violation::WorldWritable(_) => by_rule(violation),
            // `/var/log` of root may be writable by the group of the system's logger.
            _ if uid != own_uid && rule.on_violation == OnViolation::Warn => Decision::Conforms,
            _ => Decision::Warn(violation),
        };
    }
    let min_mode = match file_type {
        FileType::Directory => 0o700,
        FileType::File | FileType::Socket => 0o600,
    };
    if is_own && mode & min_mode != min_mode {
        return Decision::Repair(Violation::TooClosed(mode), mode | min_mode);
    }
    Decision::Conforms
}

/// Reduces a refusal to a warning on a network file system, whose server may make chown and chmod ineffective.
pub fn relax_on_network(decision: Decision) -> Decision {
    match decision {
        Decision::Refuse(
            violation @ (Violation::Owner(_) | Violation::WorldWritable(_) | Violation::ForeignLink(_)),
        ) => Decision::Warn(violation),
        Decision::Refuse(
            Violation::DanglingLink | Violation::Type | Violation::TooOpen(_) | Violation::TooClosed(_),
        )
        | Decision::Conforms
        | Decision::Repair(..)
        | Decision::Warn(_) => decision,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{PathKind, RULES};
    use super::*;

    const OWN_UID: u32 = 7;
    const OTHER: u32 = 8;

    fn rule(kind: PathKind) -> &'static PathRule {
        RULES.iter().find(|rule| rule.kind == kind).expect("every kind has a rule")
    }

    fn state(file_type: FileType, uid: u32, mode: u32) -> PathState {
        PathState { link: None, target: PathTarget::Found { file_type, uid, mode } }
    }

    fn other_type(file_type: FileType) -> FileType {
        match file_type {
            FileType::Directory | FileType::Socket => FileType::File,
            FileType::File => FileType::Directory,
        }
    }

    #[test]
    fn correct_and_missing_files_conform() {
        for rule in RULES {
            for uid in [OWN_UID, 0] {
                assert_eq!(
                    decide(rule, state(rule.file_type, uid, rule.mode), OWN_UID, false),
                    Decision::Conforms,
                    "{rule:?}"
                );
                let linked_state = PathState { link: Some(uid), ..state(rule.file_type, OWN_UID, rule.mode) };
                assert_eq!(decide(rule, linked_state, OWN_UID, false), Decision::Conforms, "{rule:?}");
            }
            let missing_state = PathState { link: None, target: PathTarget::Missing };
            assert_eq!(decide(rule, missing_state, OWN_UID, false), Decision::Conforms, "{rule:?}");
        }
    }

    #[test]
    fn a_wrong_type_or_link_never_conforms() {
        for rule in RULES {
            let cases = [
                (state(other_type(rule.file_type), OWN_UID, rule.mode), Violation::Type),
                (PathState { link: Some(OWN_UID), target: PathTarget::Missing }, Violation::DanglingLink),
                (
                    PathState { link: Some(OTHER), ..state(rule.file_type, OWN_UID, rule.mode) },
                    Violation::ForeignLink(OTHER),
                ),
            ];
            for (state, violation) in cases {
                let expected = match rule.on_violation {
                    OnViolation::Refuse => Decision::Refuse(violation),
                    OnViolation::Warn => Decision::Warn(violation),
                };
                assert_eq!(decide(rule, state, OWN_UID, false), expected, "{rule:?}");
            }
        }
    }

    #[test]
    fn a_pipe_conforms_only_for_files_that_an_administrator_provides() {
        for rule in RULES {
            let is_provided = rule.fixed_by == FixedBy::Administrator && rule.file_type == FileType::File;
            let decision =
                decide(rule, PathState { link: None, target: PathTarget::OtherType }, OWN_UID, false);
            assert_eq!(decision == Decision::Conforms, is_provided, "{rule:?}");
        }
    }

    #[test]
    fn another_owner_is_refused_for_files_of_the_daemon() {
        for rule in RULES {
            let is_socket = matches!(rule.kind, PathKind::SockFileDir | PathKind::Socket);
            let expected = match (rule.fixed_by, rule.on_violation) {
                (FixedBy::Daemon, OnViolation::Refuse) if !is_socket => {
                    Decision::Refuse(Violation::Owner(OTHER))
                }
                _ => Decision::Warn(Violation::Owner(OTHER)),
            };
            for own_uid in [OWN_UID, 0] {
                assert_eq!(
                    decide(rule, state(rule.file_type, OTHER, rule.mode), own_uid, false),
                    expected,
                    "{rule:?}"
                );
            }
        }
    }

    #[test]
    fn world_writable_files_of_the_daemon_are_repaired_and_others_never_conform() {
        for rule in RULES {
            for uid in [OWN_UID, 0] {
                let decision = decide(rule, state(rule.file_type, uid, 0o777), OWN_UID, false);
                let violation = Violation::WorldWritable(0o777);
                let expected = match (rule.fixed_by, rule.on_violation) {
                    (FixedBy::Daemon, _) if uid == OWN_UID => Decision::Repair(violation, rule.max_mode),
                    (_, OnViolation::Refuse) => Decision::Refuse(violation),
                    (_, OnViolation::Warn) => Decision::Warn(violation),
                };
                assert_eq!(decision, expected, "{rule:?}");
            }
        }
    }

    #[test]
    fn on_a_network_owner_and_mode_are_warnings_and_a_wrong_type_is_refused() {
        let data = rule(PathKind::DataDir);
        let on_network = |state| relax_on_network(decide(data, state, OWN_UID, false));
        assert_eq!(
            on_network(state(FileType::Directory, OTHER, 0o700)),
            Decision::Warn(Violation::Owner(OTHER))
        );
        assert_eq!(
            on_network(state(FileType::Directory, 0, 0o777)),
            Decision::Warn(Violation::WorldWritable(0o777))
        );
        assert_eq!(on_network(state(FileType::File, OWN_UID, 0o700)), Decision::Refuse(Violation::Type));
    }

    #[test]
    fn a_path_conforms_after_its_repairs() {
        for rule in RULES {
            for mode in 0..0o1000 {
                if let Decision::Repair(_, new_mode) =
                    decide(rule, state(rule.file_type, OWN_UID, mode), OWN_UID, false)
                {
                    let decision = decide(rule, state(rule.file_type, OWN_UID, new_mode), OWN_UID, false);
                    let final_mode = match decision {
                        Decision::Repair(Violation::TooClosed(_), mode) => mode,
                        _ => new_mode,
                    };
                    assert_eq!(
                        decide(rule, state(rule.file_type, OWN_UID, final_mode), OWN_UID, false),
                        Decision::Conforms,
                        "{rule:?} {mode:o}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_shared_directory_with_the_sticky_bit_conforms() {
        for kind in [PathKind::TempDir, PathKind::SockFileDir] {
            assert_eq!(
                decide(rule(kind), state(FileType::Directory, 0, 0o1777), OWN_UID, false),
                Decision::Conforms
            );
        }
    }

    #[test]
    fn a_log_directory_of_root_may_be_group_writable_and_that_of_the_daemon_may_not() {
        let logs = rule(PathKind::LogDir);
        assert_eq!(decide(logs, state(FileType::Directory, 0, 0o775), OWN_UID, false), Decision::Conforms);
        let repair = Decision::Repair(Violation::TooOpen(0o775), 0o755);
        assert_eq!(decide(logs, state(FileType::Directory, OWN_UID, 0o775), OWN_UID, false), repair);
    }

    #[test]
    fn a_configuration_file_with_secrets_must_not_be_world_readable() {
        let gcfg = rule(PathKind::Gcfg);
        assert_eq!(decide(gcfg, state(FileType::File, 0, 0o644), OWN_UID, false), Decision::Conforms);
        let warning = Decision::Warn(Violation::TooOpen(0o644));
        assert_eq!(decide(gcfg, state(FileType::File, 0, 0o644), OWN_UID, true), warning);
        assert_eq!(
            decide(rule(PathKind::Key), state(FileType::File, OWN_UID, 0o644), OWN_UID, false),
            warning
        );
    }

    #[test]
    fn a_mode_that_its_user_cannot_use_is_repaired() {
        let data = rule(PathKind::DataDir);
        let decision = decide(data, state(FileType::Directory, OWN_UID, 0o500), OWN_UID, false);
        assert_eq!(decision, Decision::Repair(Violation::TooClosed(0o500), 0o700));
    }
}
