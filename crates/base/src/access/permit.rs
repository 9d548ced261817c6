//! Decides which client may do what: the decision about an actor, an action and an object.

use super::scope::{Grant, ScopeKind};
use crate::model::ids::{RepoId, SourceId};

#[derive(Clone, Copy, Debug)]
pub enum Actor<'a> {
    Anonymous,
    Token(&'a Grant),
    /// A client of the admin socket, to which only administrators of the machine have access.
    Socket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reads data that is open to everyone, or filters a list to the objects that the actor may read.
    ReadPublic,
    /// Sends an event, whose signature the handler verifies.
    Notify,
    /// Reads packages and properties of a repository or a source.
    Read,
    /// Reads through the admin API: like [`Action::Read`], but requires a token.
    Inspect,
    /// Adds or removes packages of a source, or renames or deletes the source.
    WriteSource,
    CreateSource,
    /// Uploads a file, or reads a build. Requires permission to change any source; the handler checks which.
    Upload,
    /// Plans, requests or approves promotions to a repository. For [`Object::Server`], requires permission for at
    /// least one repository; the handler checks the repository of the promotion.
    Promote,
    /// Reads and tests block rules.
    ReadBlocklist,
    ChangeBlocklist,
    /// Reads and changes the metadata of packages.
    ManageMetadata,
    /// Changes repositories, tokens, jobs, storage and settings of the running server.
    Administer,
    /// Starts and stops serving, and reopens log files: only on the server's machine.
    ControlProcess,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// The server, or several objects.
    Server,
    Repository {
        id: RepoId,
        /// Whether it is for authenticated clients only.
        authenticated: bool,
    },
    Source(SourceObject<'a>),
    UnknownRepository,
    UnknownSource,
}

/// A source, and the repositories in which its packages can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceObject<'a> {
    pub id: SourceId,
    /// Whether everyone may read its packages: an open repository subscribes to it, or no authenticated one ever did.
    pub open: bool,
    /// The authenticated repositories that subscribe to it, in the order of their ids.
    pub repositories: &'a [RepoId],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unauthenticated,
    /// The token lacks a scope.
    MissingScope(ScopeKind),
    /// The action is possible only on the server's machine.
    SocketOnly,
}

/// Decides whether `actor` may do `action` with `object`.
pub fn permit(actor: Actor<'_>, action: Action, object: Object<'_>) -> Result<(), Refusal> {
    let grant = match actor {
        Actor::Socket => return Ok(()),
        Actor::Anonymous => {
            let is_open = match (action, object) {
                (Action::ReadPublic | Action::Notify, _) => true,
                (Action::Read, Object::Repository { authenticated, .. }) => !authenticated,
                (Action::Read, Object::Source(source)) => source.open,
                (Action::Read, Object::Server | Object::UnknownRepository | Object::UnknownSource) => true,
                (
                    Action::Inspect
                    | Action::WriteSource
                    | Action::CreateSource
                    | Action::Upload
                    | Action::Promote
                    | Action::ReadBlocklist
                    | Action::ChangeBlocklist
                    | Action::ManageMetadata
                    | Action::Administer
                    | Action::ControlProcess,
                    _,
                ) => false,
            };
            return if is_open { Ok(()) } else { Err(Refusal::Unauthenticated) };
        }
        Actor::Token(grant) => grant,
    };
    let (is_permitted, scope) = match action {
        Action::ReadPublic | Action::Notify => (true, ScopeKind::ReposRead),
        Action::Read | Action::Inspect => match object {
            Object::Server | Object::UnknownRepository | Object::UnknownSource => {
                (true, ScopeKind::ReposRead)
            }
            Object::Repository { id, authenticated } => {
                (!authenticated || grant.reads_any(&[id]), ScopeKind::ReposRead)
            }
            Object::Source(source) => {
                let reads = grant.reads_any(source.repositories);
                (source.open || reads || grant.writes(Some(source.id)), ScopeKind::ReposRead)
            }
        },
        Action::WriteSource => {
            let source = match object {
                Object::Source(source) => Some(source.id),
                Object::Server
                | Object::Repository { .. }
                | Object::UnknownRepository
                | Object::UnknownSource => None,
            };
            (grant.writes(source), ScopeKind::SourcesWrite)
        }
        Action::CreateSource => (grant.writes(None), ScopeKind::SourcesWrite),
        Action::Upload => (grant.writes_any(), ScopeKind::SourcesWrite),
        Action::Promote => {
            let is_permitted = match object {
                Object::Repository { id, .. } => grant.promotes(Some(id)),
                Object::Server => grant.promotes_any(),
                Object::Source(_) | Object::UnknownRepository | Object::UnknownSource => grant.promotes(None),
            };
            (is_permitted, ScopeKind::ReposPromote)
        }
        Action::ReadBlocklist => (grant.reads_blocklist(), ScopeKind::BlocklistRead),
        Action::ChangeBlocklist => (grant.changes_blocklist(), ScopeKind::BlocklistAdmin),
        Action::ManageMetadata => (grant.manages_metadata(), ScopeKind::MetadataAdmin),
        Action::Administer => (grant.is_admin(), ScopeKind::GlobalAdmin),
        Action::ControlProcess => return Err(Refusal::SocketOnly),
    };
    if is_permitted { Ok(()) } else { Err(Refusal::MissingScope(scope)) }
}

#[cfg(test)]
mod tests {
    use super::super::scope::{Scope, Selection};
    use super::*;

    const COMMON_ACTIONS: [Action; 9] = [
        Action::Notify,
        Action::ReadPublic,
        Action::Read,
        Action::Inspect,
        Action::WriteSource,
        Action::CreateSource,
        Action::Upload,
        Action::Administer,
        Action::ControlProcess,
    ];

    /// Returns one letter per action: `y` permitted, `a` unauthenticated, `l` socket only, `r`, `p`, `s` and `g` for
    /// the missing scope.
    fn answers(actor: Actor<'_>, object: Object<'_>) -> String {
        let answer = |action| match permit(actor, action, object) {
            Ok(()) => 'y',
            Err(Refusal::Unauthenticated) => 'a',
            Err(Refusal::MissingScope(ScopeKind::ReposRead)) => 'r',
            Err(Refusal::MissingScope(ScopeKind::ReposPromote)) => 'p',
            Err(Refusal::MissingScope(ScopeKind::SourcesWrite)) => 's',
            Err(Refusal::MissingScope(ScopeKind::GlobalAdmin)) => 'g',
            Err(Refusal::MissingScope(scope)) => panic!("{scope} is required for {action:?}"),
            Err(Refusal::SocketOnly) => 'l',
        };
        COMMON_ACTIONS.into_iter().map(answer).collect()
    }

    #[test]
    fn common_actions_have_one_answer_for_every_actor_and_object() {
        let grant = |scope| Grant::new(vec![scope]);
        let (one, all) = (Selection::Only(vec![RepoId(1)]), Selection::All);
        let (read, read_all) = (grant(Scope::ReposRead(one)), grant(Scope::ReposRead(all)));
        let write = grant(Scope::SourcesWrite(Selection::Only(vec![SourceId(7)])));
        let write_all = grant(Scope::SourcesWrite(Selection::All));
        let (admin, nothing) = (grant(Scope::GlobalAdmin), Grant::default());
        let actors = [
            ("anonymous", Actor::Anonymous),
            ("socket", Actor::Socket),
            ("admin", Actor::Token(&admin)),
            ("nothing", Actor::Token(&nothing)),
            ("read 1", Actor::Token(&read)),
            ("read all", Actor::Token(&read_all)),
            ("write 7", Actor::Token(&write)),
            ("write all", Actor::Token(&write_all)),
        ];
        let private = |id, repositories| SourceObject { id: SourceId(id), open: false, repositories };
        let (seven, eight) = (private(7, &[RepoId(1)]), private(8, &[RepoId(2)]));
        let open = SourceObject { id: SourceId(9), open: true, repositories: &[RepoId(1)] };
        // One line for each object, one text for each actor.
        #[rustfmt::skip]
        let table = [
            (Object::Server, ["yyyaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyyysssgl", "yyyysssgl", "yyyysssgl", "yyyyssygl", "yyyyyyygl"]),
            (Object::Repository { id: RepoId(1), authenticated: true }, ["yyaaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyrrsssgl", "yyyysssgl", "yyyysssgl", "yyrrssygl", "yyrryyygl"]),
            (Object::Repository { id: RepoId(2), authenticated: true }, ["yyaaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyrrsssgl", "yyrrsssgl", "yyyysssgl", "yyrrssygl", "yyrryyygl"]),
            (Object::Repository { id: RepoId(2), authenticated: false }, ["yyyaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyyysssgl", "yyyysssgl", "yyyysssgl", "yyyyssygl", "yyyyyyygl"]),
            (Object::Source(seven), ["yyaaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyrrsssgl", "yyyysssgl", "yyyysssgl", "yyyyysygl", "yyyyyyygl"]),
            (Object::Source(eight), ["yyaaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyrrsssgl", "yyrrsssgl", "yyyysssgl", "yyrrssygl", "yyyyyyygl"]),
            (Object::Source(open), ["yyyaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyyysssgl", "yyyysssgl", "yyyysssgl", "yyyyssygl", "yyyyyyygl"]),
            (Object::UnknownSource, ["yyyaaaaaa", "yyyyyyyyy", "yyyyyyyyl", "yyyysssgl", "yyyysssgl", "yyyysssgl", "yyyyssygl", "yyyyyyygl"]),
        ];
        for (object, expected) in table {
            for ((name, actor), expected) in actors.iter().zip(expected) {
                assert_eq!(answers(*actor, object), expected, "{name}: {object:?}");
            }
        }
    }

    #[test]
    fn block_rules_and_metadata_require_their_scope() {
        let grant = |scope| Grant::new(vec![scope]);
        let scopes = [Scope::BlocklistRead, Scope::BlocklistAdmin, Scope::MetadataAdmin, Scope::GlobalAdmin];
        let actions =
            [Action::ReadBlocklist, Action::ChangeBlocklist, Action::ManageMetadata, Action::Administer];
        let permitted =
            |actor: Actor<'_>| actions.map(|action| permit(actor, action, Object::Server).is_ok());
        let expected = [
            [true, false, false, false],
            [true, true, false, false],
            [false, false, true, false],
            [true, true, true, true],
        ];
        for (scope, expected) in scopes.into_iter().zip(expected) {
            let grant = grant(scope.clone());
            assert_eq!(permitted(Actor::Token(&grant)), expected, "{scope:?}");
            let private = Object::Repository { id: RepoId(1), authenticated: true };
            let is_admin = scope == Scope::GlobalAdmin;
            assert_eq!(permit(Actor::Token(&grant), Action::Read, private).is_ok(), is_admin, "{scope:?}");
        }
        assert_eq!(permitted(Actor::Anonymous), [false; 4]);
        assert_eq!(permitted(Actor::Socket), [true; 4]);
        let reader = grant(Scope::ReposRead(Selection::All));
        assert_eq!(permitted(Actor::Token(&reader)), [false; 4]);
    }

    #[test]
    fn promotions_require_their_scope_for_the_repository() {
        let promote = |repositories| Grant::new(vec![Scope::ReposPromote(repositories)]);
        let (one, all) = (promote(Selection::Only(vec![RepoId(1)])), promote(Selection::All));
        let (read, admin) =
            (Grant::new(vec![Scope::ReposRead(Selection::All)]), Grant::new(vec![Scope::GlobalAdmin]));
        let actors = [
            Actor::Anonymous,
            Actor::Socket,
            Actor::Token(&admin),
            Actor::Token(&one),
            Actor::Token(&all),
            Actor::Token(&read),
        ];
        let repository = |id| Object::Repository { id: RepoId(id), authenticated: true };
        for (object, expected) in [
            (repository(1), [false, true, true, true, true, false]),
            (repository(2), [false, true, true, false, true, false]),
            (Object::Server, [false, true, true, true, true, false]),
            (Object::UnknownRepository, [false, true, true, false, true, false]),
        ] {
            let permitted = actors.map(|actor| permit(actor, Action::Promote, object).is_ok());
            assert_eq!(permitted, expected, "{object:?}");
        }
        // The scope also permits reading its repositories, and nothing else.
        let actor = Actor::Token(&one);
        assert_eq!(permit(actor, Action::Read, repository(1)), Ok(()));
        assert_eq!(
            permit(actor, Action::Read, repository(2)),
            Err(Refusal::MissingScope(ScopeKind::ReposRead))
        );
        for action in [Action::Administer, Action::WriteSource, Action::CreateSource, Action::Upload] {
            assert!(permit(actor, action, repository(1)).is_err(), "{action:?}");
        }
    }
}
