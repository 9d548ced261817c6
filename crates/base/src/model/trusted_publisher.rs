//! The identity of a job of a CI system that uploads packages, from the verified token with which it signed in.

/// A job of a CI system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedPublisher {
    /// The issuer of its token: claim `iss`.
    pub issuer: String,
    /// Its identity at the issuer: claim `sub`.
    pub subject: String,
    /// Its workflow, if the issuer is a CI system whose claims are known.
    pub workflow: Option<CiWorkflow>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiWorkflow {
    pub system: CiSystem,
    /// The repository, such as `org/name`.
    pub repository: String,
    /// The file of the workflow: its name for GitHub, its path for GitLab.
    pub file: String,
    pub environment: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiSystem {
    GitHub,
    GitLab,
}
