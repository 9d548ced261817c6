//! Reads the content of the pages of administrators.

use super::local_api::LocalApi;
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::route::administration::AdministrationPage;
use api::block_rule::CreatedBlockRules;
use api::operations::admin as operations;
use api::token::CreatedToken;
use pages::administration::form::RejectedForm;
use pages::administration::jobs::{EndedJob, Jobs};
use pages::administration::{
    AdministrationFrame, AdministrationSection, health, jobs, repositories, rules, sources, storage, tokens,
};
use pages::frame::Root;

use store::db::job_run;

const MAX_ENDED_JOBS: i64 = 100;

pub(super) struct View<'a> {
    pub(super) app: &'a App,
    pub(super) api: &'a LocalApi<'a>,
    pub(super) root: Root,
    /// The token of the forms; `None` if pages have no forms.
    pub(super) form_token: Option<String>,
    pub(super) done: Option<&'static str>,
    pub(super) rejected: Option<RejectedForm>,
    /// A token that was just created.
    pub(super) created: Option<CreatedToken>,
    /// A rule that was tested against the packages, and not created.
    pub(super) checked: Option<CreatedBlockRules>,
}

impl View<'_> {
    pub(super) async fn render(&self, page: &AdministrationPage) -> Result<String, Failure> {
        match page {
            AdministrationPage::Start | AdministrationPage::Health => {
                let health = self.api.get::<operations::Health>([]).await?;
                Ok(health::show(&self.page(AdministrationSection::Health, None), &health))
            }
            AdministrationPage::Sources => {
                let all = self.api.get::<operations::Sources>([]).await?;
                Ok(sources::list(&self.page(AdministrationSection::Sources, None), &all))
            }
            AdministrationPage::Source(name) => {
                let source = self.api.get::<operations::Source>([name]).await?;
                Ok(sources::show(&self.page(AdministrationSection::Sources, Some(&source.name)), &source))
            }
            AdministrationPage::Repositories => {
                let all = self.api.get::<operations::Repos>([]).await?;
                Ok(repositories::list(&self.page(AdministrationSection::Repositories, None), &all))
            }
            AdministrationPage::Repository(name) => {
                let repo = self.api.get::<operations::Repo>([name]).await?;
                let names = self.app.state.catalog.get();
                let names: Vec<String> = names.sources.iter().map(|source| source.name.to_string()).collect();
                Ok(repositories::show(
                    &self.page(AdministrationSection::Repositories, Some(&repo.name)),
                    &repo,
                    &names,
                ))
            }
            AdministrationPage::Jobs => {
                let jobs = self.jobs().await?;
                Ok(jobs::list(&self.page(AdministrationSection::Jobs, None), &jobs))
            }
            AdministrationPage::Storage => {
                let storage = self.api.get::<operations::Storage>([]).await?;
                Ok(storage::list(&self.page(AdministrationSection::Storage, None), &storage))
            }
            AdministrationPage::Rules => {
                let all = self.api.get::<operations::BlockRules>([]).await?;
                let catalog = self.app.state.catalog.get();
                let names = rules::RuleObjects {
                    sources: catalog.sources.iter().map(|source| source.name.to_string()).collect(),
                    repositories: catalog.repos.iter().map(|repo| repo.name.to_string()).collect(),
                };
                let page = self.page(AdministrationSection::Rules, None);
                Ok(rules::list(&page, &all, &names, self.checked.as_ref()))
            }
            AdministrationPage::Tokens => {
                let all = self.api.get::<operations::Tokens>([]).await?;
                Ok(tokens::list(&self.page(AdministrationSection::Tokens, None), &all, self.created.as_ref()))
            }
        }
    }

    fn page(&self, section: AdministrationSection, object: Option<&str>) -> AdministrationFrame {
        AdministrationFrame {
            root: self.root.clone(),
            section,
            object: object.map(str::to_owned),
            form_token: self.form_token.clone(),
            done: self.done,
            rejected: self.rejected.clone(),
        }
    }

    async fn jobs(&self) -> Result<Jobs, Failure> {
        let node = self.api.get::<operations::Status>([]).await?;
        let rows = self.app.state.db.read(|c| job_run::newest(c, MAX_ENDED_JOBS)).await?;
        let ended = rows.into_iter().map(|row| EndedJob {
            key: row.key,
            node: row.node,
            started: row.started_at.to_string(),
            ended: row.ended_at.to_string(),
            succeeded: row.succeeded,
            message: row.message,
        });
        Ok(Jobs {
            running: self.api.get::<operations::Jobs>([]).await?,
            ended: ended.collect(),
            schedules: node.schedules,
        })
    }
}
