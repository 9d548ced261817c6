//! Maps errors to HTTP statuses. The detail is logged; the client gets a phrase.

use http::StatusCode;

use api::error::Code;
use base::access::ScopeKind;
use base::model::words::UnknownWord;
use content::serve::{BlockedRelease, GuardedName, RepoError};
use runtime::auth::CreateTokenError;
use store::db::DbError;
use store::storage::StorageError;
use upstream::UpstreamError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// `code` of the JSON form.
    pub code: Code,
    /// One line for the client, without details of the server.
    pub phrase: String,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// `Allow` of a 405.
    pub allow: Option<Box<str>>,
    /// The realm of the challenge of a 401, or the missing scope of a 403.
    pub challenge: Option<Box<str>>,
    /// The remedy for administrators; disclosed only to them.
    pub hint: Option<Box<str>>,
    pub detail: Option<Box<str>>,
    /// `payload` of the JSON form: details for programs.
    pub payload: Option<Box<Payload>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Blocked(BlockedRelease),
    /// The names of similar packages, with the addresses of their pages relative to the requested one.
    Similar(Vec<(String, String)>),
    Values(serde_json::Value),
}

impl Payload {
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Payload::Blocked(BlockedRelease { rule, reason, allowed, .. }) => {
                let allowed = allowed.as_ref().map(|allowed| &allowed.version);
                serde_json::json!({ "rule": rule, "reason": reason, "allowed": allowed })
            }
            Payload::Similar(pages) => {
                let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
                serde_json::json!({ "similar": names })
            }
            Payload::Values(values) => values.clone(),
        }
    }
}

impl Failure {
    /// Creates a failure with any status; `code` is that of the JSON form.
    pub fn new(status: StatusCode, code: Code, phrase: impl Into<String>) -> Failure {
        Failure {
            status,
            code,
            phrase: phrase.into(),
            retry_after: None,
            allow: None,
            challenge: None,
            payload: None,
            detail: None,
            hint: None,
        }
    }

    pub fn with_hint(self, hint: Option<impl Into<Box<str>>>) -> Failure {
        Failure { hint: hint.map(Into::into), ..self }
    }

    pub fn for_administrator(self) -> Failure {
        match self.hint {
            Some(hint) => Failure { phrase: format!("{}; {hint}", self.phrase), hint: None, ..self },
            None => self,
        }
    }

    pub fn bad_request(phrase: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, Code::Invalid, phrase)
    }

    /// Returns a 400 for a block rule that matches everything in its scope, without the confirmation `--all`.
    pub fn unconfirmed(reason: &str) -> Failure {
        let payload = serde_json::json!({ "reason": reason });
        Failure {
            payload: Some(Box::new(Payload::Values(payload))),
            ..Failure::new(
                StatusCode::BAD_REQUEST,
                Code::Unconfirmed,
                format!("{reason}; --all confirms that"),
            )
        }
    }

    /// Returns the reason of a failure made by [`Failure::unconfirmed`].
    pub fn unconfirmed_reason(&self) -> Option<&str> {
        match self.payload.as_deref().filter(|_| self.code == Code::Unconfirmed)? {
            Payload::Values(values) => values.get("reason")?.as_str(),
            Payload::Blocked(_) | Payload::Similar(_) => None,
        }
    }

    /// Returns a 401 with a challenge for this realm.
    pub fn unauthorized(phrase: impl Into<String>, realm: &str) -> Failure {
        Failure {
            challenge: Some(realm.into()),
            ..Failure::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, phrase)
        }
    }

    /// Returns a 403 for a token without this scope.
    pub fn forbidden(phrase: impl Into<String>, scope: &str) -> Failure {
        Failure {
            challenge: Some(scope.into()),
            ..Failure::new(StatusCode::FORBIDDEN, Code::Forbidden, phrase)
        }
    }

    /// Returns a 403 for a release that a block rule forbids.
    pub fn blocked(blocked: &BlockedRelease) -> Failure {
        Failure {
            payload: Some(Box::new(Payload::Blocked(blocked.clone()))),
            ..Failure::new(StatusCode::FORBIDDEN, Code::Blocked, blocked.to_string())
        }
    }

    pub fn blocked_release(&self) -> Option<&BlockedRelease> {
        match self.payload.as_deref()? {
            Payload::Blocked(blocked) => Some(blocked),
            Payload::Similar(_) | Payload::Values(_) => None,
        }
    }

    pub fn guarded(guarded: &GuardedName) -> Failure {
        let payload = serde_json::json!({ "reason": guarded.reason });
        Failure {
            payload: Some(Box::new(Payload::Values(payload))),
            ..Failure::new(StatusCode::FORBIDDEN, Code::Blocked, guarded.to_string())
        }
    }

    /// Returns the reason of a failure made by [`Failure::blocked`] or [`Failure::guarded`].
    pub fn block_reason(&self) -> Option<&str> {
        match self.payload.as_deref().filter(|_| self.code == Code::Blocked)? {
            Payload::Blocked(blocked) => Some(&blocked.reason),
            Payload::Similar(_) => None,
            Payload::Values(values) => values.get("reason")?.as_str(),
        }
    }

    pub fn similar(&self) -> &[(String, String)] {
        match self.payload.as_deref() {
            Some(Payload::Similar(pages)) => pages,
            Some(Payload::Blocked(_) | Payload::Values(_)) | None => &[],
        }
    }

    pub fn not_found(phrase: impl Into<String>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, Code::NotFound, phrase)
    }

    pub fn no_such_address() -> Failure {
        Failure::not_found("there is nothing at this address")
    }

    pub fn method_not_allowed(allow: impl Into<Box<str>>) -> Failure {
        let allow = allow.into();
        let phrase = format!("method not allowed; this address supports {allow}");
        Failure { allow: Some(allow), ..Failure::new(StatusCode::METHOD_NOT_ALLOWED, Code::Method, phrase) }
    }

    pub fn target_too_long(limit: usize) -> Failure {
        let phrase = format!("the request target is longer than {limit} bytes");
        Failure::new(StatusCode::URI_TOO_LONG, Code::Invalid, phrase)
    }

    pub fn body_too_large(limit: u64) -> Failure {
        let phrase = format!("the request body is larger than {limit} bytes");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Code::Invalid, phrase)
    }

    /// Returns a 503 with `Retry-After` in seconds.
    pub fn unavailable(phrase: impl Into<String>, retry_after: u64) -> Failure {
        Failure {
            retry_after: Some(retry_after),
            ..Failure::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, phrase)
        }
    }
}

impl Failure {
    /// Returns a 429 after too many credentials that are not valid.
    pub fn too_many_failures(retry_after: u64) -> Failure {
        Failure::too_many_requests(
            "too many requests with a token or password that is not valid",
            retry_after,
        )
    }

    /// Returns a 429 with `Retry-After` in seconds.
    pub fn too_many_requests(phrase: impl Into<String>, retry_after: u64) -> Failure {
        Failure {
            retry_after: Some(retry_after),
            ..Failure::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, phrase)
        }
    }
}

/// Truncates a part of a request to 80 characters, so that a response can repeat it.
pub fn truncate(text: &str) -> String {
    text.chars().take(80).collect()
}

impl From<RepoError> for Failure {
    fn from(error: RepoError) -> Failure {
        let failure = match &error {
            RepoError::NotFound(message) => Failure::not_found(message.clone()),
            RepoError::NoUpload(_) => Failure::new(StatusCode::NOT_FOUND, Code::NoUpload, error.to_string()),
            RepoError::Unknown { message, hint } => {
                Failure::not_found(message.clone()).with_hint(Some(*hint))
            }
            RepoError::Blocked(blocked) => Failure::blocked(blocked),
            RepoError::Guarded(guarded) => Failure::guarded(guarded),
            RepoError::Unresolved(reason) => Failure::not_found(reason.to_string()).with_hint(reason.hint()),
            RepoError::Conflict(message) => {
                Failure::new(StatusCode::CONFLICT, Code::Conflict, message.clone())
            }
            RepoError::AdministratorOnly(_) => {
                Failure::forbidden(error.to_string(), ScopeKind::GlobalAdmin.as_str())
            }
            RepoError::FileExists(_) => Failure::new(StatusCode::CONFLICT, Code::Conflict, error.to_string()),
            RepoError::Invalid(message) => Failure::bad_request(message.clone()),
            // Clients compare this exact text.
            RepoError::Unsupported { distribution, release, supported } => Failure {
                payload: Some(Box::new(Payload::Values(serde_json::json!({
                    "distribution": distribution, "release": release, "known": supported
                })))),
                ..Failure::new(StatusCode::BAD_REQUEST, Code::UnsupportedSystem, "Unsupported system")
            },
            RepoError::NoRules => Failure::unavailable(error.to_string(), 300),
            RepoError::Superseded(_) => Failure::unavailable(error.to_string(), 1),
            RepoError::Busy { retry_after } => Failure::unavailable(error.to_string(), *retry_after),
            RepoError::Upstream { source: UpstreamError::Missing(_), .. } => {
                Failure::not_found(error.phrase())
            }
            RepoError::Upstream { source: UpstreamError::Unavailable { .. }, retry_after } => {
                Failure::unavailable(error.phrase(), *retry_after)
            }
            RepoError::Upstream { source: UpstreamError::Refused { .. }, retry_after } => Failure {
                status: StatusCode::BAD_GATEWAY,
                ..Failure::unavailable(error.phrase(), *retry_after)
            },
            RepoError::Db(DbError::Busy { .. } | DbError::Conflict(_)) => {
                Failure::new(StatusCode::CONFLICT, Code::Conflict, error.to_string())
            }
            RepoError::Db(DbError::Nul(_)) => Failure::bad_request(error.to_string()),
            RepoError::Db(DbError::NoRepo(_)) => {
                Failure::not_found(error.to_string()).with_hint(Some("rspm list repos shows all"))
            }
            RepoError::Db(DbError::SourceDeleted(_)) => {
                Failure::not_found(error.to_string()).with_hint(Some("rspm list sources shows all"))
            }
            RepoError::Db(DbError::Full { .. }) | RepoError::Storage(StorageError::Full(_)) => Failure {
                status: StatusCode::INSUFFICIENT_STORAGE,
                ..Failure::unavailable(error.phrase(), 300)
            },
            RepoError::Db(DbError::Skew(_) | DbError::ClockAhead { .. }) => {
                Failure::unavailable(error.to_string(), 300)
            }
            RepoError::Db(cause) => {
                Failure::unavailable(error.phrase(), 5).with_hint(Some(cause.to_string()))
            }
            RepoError::Storage(StorageError::Refused { .. }) => Failure::unavailable(error.to_string(), 300),
            RepoError::Storage(_) => Failure::unavailable(error.phrase(), 5),
            RepoError::Damaged { .. } => Failure::unavailable(error.phrase(), 300),
        };
        // Rules that were never fetched, and a change during the request, are not failures of the server.
        let is_expected = matches!(error, RepoError::NoRules | RepoError::Superseded(_));
        if failure.status.is_server_error() && !is_expected {
            tracing::error!(status = failure.status.as_u16(), "could not serve a request: {error}");
        }
        Failure { detail: Some(error.to_string().into()), ..failure }
    }
}

impl From<UnknownWord> for Failure {
    fn from(error: UnknownWord) -> Failure {
        Failure::bad_request(error.to_string())
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Failure {
        RepoError::from(error).into()
    }
}

impl From<CreateTokenError> for Failure {
    fn from(error: CreateTokenError) -> Failure {
        match error {
            CreateTokenError::Database(error) => error.into(),
            CreateTokenError::Random(_) => {
                tracing::error!("could not create a token: {error}");
                let detail = Some(error.to_string().into());
                Failure {
                    detail,
                    ..Failure::unavailable("this server cannot generate random numbers for a token", 300)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::RepoId;
    use runtime::catalog::resolve::Unresolved;

    #[test]
    fn an_unknown_system_gets_the_message_that_clients_expect() {
        let (distribution, release) = ("gentoo".to_owned(), "2".to_owned());
        let supported = vec!["ubuntu 22.04".to_owned()];
        let failure = Failure::from(RepoError::Unsupported { distribution, release, supported });
        assert_eq!((failure.status.as_u16(), failure.code as u16), (400, 14));
        assert_eq!(failure.phrase, "Unsupported system");
        assert!(failure.payload.expect("details").to_json().to_string().contains("ubuntu 22.04"));
    }

    #[test]
    fn a_damaged_file_is_not_reported_as_unavailable_storage() {
        let (file, reason) = ("a_1.tar.gz".to_owned(), "another digest".to_owned());
        let failure = Failure::from(RepoError::Damaged { file, reason });
        assert!(
            failure.phrase.contains("damaged") && !failure.phrase.contains("storage"),
            "{}",
            failure.phrase
        );
    }

    #[test]
    fn a_failure_of_the_random_generator_is_not_reported_as_one_of_the_database() {
        let error = || CreateTokenError::Random(std::io::Error::other("getrandom failed"));
        let failure = Failure::from(error());
        assert_eq!((failure.status.as_u16(), failure.retry_after), (503, Some(300)));
        assert_eq!(failure.phrase, "this server cannot generate random numbers for a token");
        let detail = failure.detail.expect("the cause");
        assert!(
            detail.contains("random numbers: getrandom failed") && !detail.contains("database"),
            "{detail}"
        );
        let refusal = runtime::auth::BootstrapRefusal::from(error()).to_string();
        assert!(refusal.contains("random numbers") && !refusal.contains("database"), "{refusal}");
        assert_eq!(Failure::from(CreateTokenError::from(DbError::Closed)), Failure::from(DbError::Closed));
    }

    #[test]
    fn each_error_has_its_status_and_no_details_of_the_machine() {
        let upstream = |source| RepoError::Upstream { source, retry_after: 7 };
        let secret = || "/secret/place".to_owned();
        let cases = [
            (RepoError::NotFound("no a".to_owned()), 404, None),
            (RepoError::Unknown { message: "no b".to_owned(), hint: "rspm list all" }, 404, None),
            (Unresolved::Empty.into(), 404, None),
            (RepoError::Conflict("b exists".to_owned()), 409, None),
            (RepoError::AdministratorOnly("it opens d".to_owned()), 403, None),
            (RepoError::Invalid("not c".to_owned()), 400, None),
            (upstream(UpstreamError::Missing(secret())), 404, None),
            (
                upstream(UpstreamError::Unavailable {
                    url: secret(),
                    reason: secret(),
                    retry_after: None,
                    is_of_mirror: false,
                }),
                503,
                Some(7),
            ),
            (upstream(UpstreamError::Refused { url: secret(), reason: secret() }), 502, Some(7)),
            (DbError::Closed.into(), 503, Some(5)),
            (DbError::NoRepo(RepoId(7)).into(), 404, None),
            (DbError::SourceDeleted("team".to_owned()).into(), 404, None),
            (StorageError::NotFound(secret()).into(), 503, Some(5)),
            (RepoError::Damaged { file: secret(), reason: secret() }, 503, Some(300)),
            (StorageError::Full(secret()).into(), 507, Some(300)),
            (RepoError::NoRules, 503, Some(300)),
            (RepoError::Superseded("d was guarded".to_owned()), 503, Some(1)),
            (RepoError::Busy { retry_after: 5 }, 503, Some(5)),
        ];
        for (error, status, retry_after) in cases {
            let text = format!("{error:?}");
            let failure = Failure::from(error);
            assert_eq!((failure.status.as_u16(), failure.retry_after), (status, retry_after), "{text}");
            assert!(!failure.phrase.contains("secret"), "{text}: {}", failure.phrase);
            assert!(!failure.phrase.contains("rspm") || status != 404, "{text}: {}", failure.phrase);
        }
    }
}
