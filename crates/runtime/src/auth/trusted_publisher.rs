//! The identity of a job of a CI system: read from the verified token of its issuer, and stored in the token of this
//! server for which that token is exchanged.

use serde_json::{Value, json};

use super::jwt::Claims;
use base::model::trusted_publisher::{CiSystem, CiWorkflow, TrustedPublisher};

/// The issuer of tokens of GitHub Actions.
const GITHUB: &str = "https://token.actions.githubusercontent.com";
/// The issuer of tokens of GitLab CI/CD.
const GITLAB: &str = "https://gitlab.com";
/// Maximum length of a claim, in bytes.
const MAX_CLAIM: usize = 512;

/// Returns the identity in the verified claims of an issuer; `None` if one of the claims is missing or too long.
pub(super) fn of_issuer(claims: &Claims) -> Option<TrustedPublisher> {
    let text = |name: &str| claims.text(name).filter(|text| text.len() <= MAX_CLAIM);
    let (issuer, subject) = (text("iss")?, text("sub")?);
    let environment = text("environment").map(str::to_owned);
    let workflow = match issuer {
        GITHUB => text("repository").zip(text("workflow_ref")).and_then(|(repository, reference)| {
            // `org/name/.github/workflows/release.yml@refs/heads/main`
            let file = reference.strip_prefix(repository)?.strip_prefix("/.github/workflows/")?;
            Some((CiSystem::GitHub, repository, file.split('@').next()?))
        }),
        GITLAB => text("project_path").zip(text("ci_config_ref_uri")).and_then(|(repository, reference)| {
            // `gitlab.com/group/name//.gitlab-ci.yml@refs/heads/main`
            let file = reference.strip_prefix("gitlab.com/")?.strip_prefix(repository)?.strip_prefix("//")?;
            Some((CiSystem::GitLab, repository, file.split('@').next()?))
        }),
        _ => None,
    };
    let workflow = workflow.filter(|(_, _, file)| !file.is_empty()).map(|(system, repository, file)| {
        CiWorkflow { system, repository: repository.to_owned(), file: file.to_owned(), environment }
    });
    Some(TrustedPublisher { issuer: issuer.to_owned(), subject: subject.to_owned(), workflow })
}

/// Returns the claim of a token of this server.
pub(super) fn claim(publisher: &TrustedPublisher) -> Value {
    let TrustedPublisher { issuer, subject, workflow } = publisher;
    let workflow = workflow.as_ref().map(|workflow| {
        let CiWorkflow { system, repository, file, environment } = workflow;
        let system = match system {
            CiSystem::GitHub => "github",
            CiSystem::GitLab => "gitlab",
        };
        json!({ "system": system, "repository": repository, "file": file, "environment": environment })
    });
    json!({ "iss": issuer, "sub": subject, "workflow": workflow })
}

/// Returns the identity in the claim of a token that this server signed; `None` if another version wrote another form.
pub(super) fn of_claim(claim: &Value) -> Option<TrustedPublisher> {
    let text = |value: &Value, name: &str| value[name].as_str().map(str::to_owned);
    let workflow = match &claim["workflow"] {
        Value::Null => None,
        workflow => Some(CiWorkflow {
            system: match workflow["system"].as_str()? {
                "github" => CiSystem::GitHub,
                "gitlab" => CiSystem::GitLab,
                _ => return None,
            },
            repository: text(workflow, "repository")?,
            file: text(workflow, "file")?,
            environment: text(workflow, "environment"),
        }),
    };
    Some(TrustedPublisher { issuer: text(claim, "iss")?, subject: text(claim, "sub")?, workflow })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(claims: &Value) -> Option<TrustedPublisher> {
        let publisher = of_issuer(&Claims::new(claims.as_object().expect("an object").clone()));
        if let Some(publisher) = &publisher {
            assert_eq!(of_claim(&claim(publisher)).as_ref(), Some(publisher), "read back");
        }
        publisher
    }

    fn github(changes: &[(&str, Value)]) -> Value {
        let mut claims = json!({
            "iss": GITHUB, "sub": "repo:org/name:environment:pypi", "repository": "org/name", "environment": "pypi",
            "workflow_ref": "org/name/.github/workflows/release.yml@refs/heads/main",
            "job_workflow_ref": "org/shared/.github/workflows/publish.yml@refs/heads/main",
        });
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        claims
    }

    #[test]
    fn workflows_of_github_and_gitlab_are_recognized() {
        let publisher = of(&github(&[])).expect("a publisher");
        assert_eq!((&*publisher.issuer, &*publisher.subject), (GITHUB, "repo:org/name:environment:pypi"));
        let CiWorkflow { system, repository, file, environment } = publisher.workflow.expect("a workflow");
        assert_eq!((system, &*repository, &*file), (CiSystem::GitHub, "org/name", "release.yml"));
        assert_eq!(environment.as_deref(), Some("pypi"));
        let without = of(&github(&[("environment", Value::Null)])).and_then(|publisher| publisher.workflow);
        assert_eq!(without.expect("a workflow").environment, None);
        let gitlab = of(&json!({
            "iss": GITLAB, "sub": "project_path:group/sub/name:ref_type:branch:ref:main", "project_path": "group/sub/name",
            "ci_config_ref_uri": "gitlab.com/group/sub/name//ci/release.yml@refs/heads/main",
        }));
        let CiWorkflow { system, repository, file, environment } =
            gitlab.and_then(|publisher| publisher.workflow).expect("a workflow");
        assert_eq!((system, &*repository, &*file), (CiSystem::GitLab, "group/sub/name", "ci/release.yml"));
        assert_eq!(environment, None);
    }

    #[test]
    fn other_issuers_and_other_claims_have_no_workflow() {
        let other = "https://token.actions.githubusercontent.com.example.org";
        for changes in [
            [("iss", json!(other))],
            [("workflow_ref", json!("org/other/.github/workflows/release.yml@refs/heads/main"))],
            [("workflow_ref", json!("org/name/.github/workflows/@refs/heads/main"))],
            [("workflow_ref", Value::Null)],
            [("repository", json!(7))],
        ] {
            let publisher = of(&github(&changes)).expect("a publisher");
            assert_eq!(publisher.workflow, None, "{changes:?}");
            assert_eq!(publisher.subject, "repo:org/name:environment:pypi");
        }
        for changes in
            [[("sub", Value::Null)], [("sub", json!("x".repeat(MAX_CLAIM + 1)))], [("iss", json!(1))]]
        {
            assert_eq!(of(&github(&changes)), None);
        }
        for claim in
            [json!(null), json!({}), json!({ "iss": "a", "sub": "b", "workflow": { "system": "other" } })]
        {
            assert_eq!(of_claim(&claim), None, "{claim}");
        }
    }
}
