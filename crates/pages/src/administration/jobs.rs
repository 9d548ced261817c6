//! The page of jobs: running jobs, ended jobs, and schedules.

use maud::{Markup, html};

use super::AdministrationFrame;
use crate::text::{number, time, visible};
use api::control::Schedule;
use api::job::Job;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedJob {
    /// The operation: `sync:cran`.
    pub key: String,
    pub node: String,
    /// Start time, RFC 3339.
    pub started: String,
    /// End time, RFC 3339.
    pub ended: String,
    pub succeeded: bool,
    /// The result as a sentence, or the reason why the job failed.
    pub message: String,
}

#[derive(Clone, Debug, Default)]
pub struct Jobs {
    /// Jobs that run in this process.
    pub running: Vec<Job>,
    /// Jobs that ended, on all servers of the database, the newest first.
    pub ended: Vec<EndedJob>,
    pub schedules: Vec<Schedule>,
}

pub fn list(page: &AdministrationFrame, jobs: &Jobs) -> String {
    page.render(
        "Jobs",
        &html! {
            h2 { "Running" }
            @if jobs.running.is_empty() {
                p { "No job runs on this server." }
            } @else {
                (running(&jobs.running))
            }
            p { a href=(page.address()) { "Refresh" } }
            h2 { "Ended" }
            @if jobs.ended.is_empty() {
                p { "No job has ended yet. " code { "rspm sync --type=CRAN" } " starts one." }
            } @else {
                (ended(&jobs.ended))
            }
            h2 { "Schedules" }
            @if jobs.schedules.is_empty() {
                p { "The database did not return the schedules in time. They are in the output of " code { "rspm status" } }
            } @else {
                (schedules(&jobs.schedules))
            }
            p.muted { "The same in a terminal: " code { "rspm status" } }
        },
    )
}

fn running(jobs: &[Job]) -> Markup {
    html! {
        section.scroll tabindex="0" aria-label="Running jobs" { table {
            thead { tr {
                th scope="col" { "Job" } th scope="col" { "Since" } th scope="col" { "Phase" } th scope="col" { "Progress" }
            } }
            tbody { @for job in jobs { tr {
                td.name { (job.key) }
                td { (time(&job.started)) }
                td { (visible(&job.message)) }
                td {
                    @match job.total.filter(|total| *total > 0) {
                        None => { (number(i64::try_from(job.done).unwrap_or(i64::MAX))) }
                        Some(total) => {
                            @let label = format!("Progress of {}", job.key);
                            progress value=(job.done) max=(total) aria-label=(label) {}
                            " " (number(i64::try_from(job.done).unwrap_or(i64::MAX))) " of "
                            (number(i64::try_from(total).unwrap_or(i64::MAX)))
                        }
                    }
                }
            } } }
        } }
    }
}

fn ended(jobs: &[EndedJob]) -> Markup {
    html! {
        section.scroll tabindex="0" aria-label="Ended jobs" { table {
            thead { tr {
                th scope="col" { "Job" } th scope="col" { "Began" } th scope="col" { "Ended" } th scope="col" { "Result" }
                th scope="col" { "Server" }
            } }
            tbody { @for job in jobs { tr {
                td.name { (visible(&job.key)) }
                td { (time(&job.started)) }
                td { (time(&job.ended)) }
                td.lines {
                    @if job.succeeded { span.ok { "done" } } @else { span.danger { "failed" } }
                    ": " (visible(&job.message))
                }
                td { (visible(&job.node)) }
            } } }
        } }
    }
}

fn schedules(schedules: &[Schedule]) -> Markup {
    html! {
        section.scroll tabindex="0" aria-label="Schedules" { table {
            thead { tr {
                th scope="col" { "Task" } th scope="col" { "Schedule" } th scope="col" { "Last success" }
                th scope="col" { "Next run" }
            } }
            tbody { @for schedule in schedules { tr {
                td.name { (schedule.name) }
                td { code { (schedule.cron) } }
                td { @match &schedule.last { None => { "never" } Some(last) => { (time(last)) } } }
                td { @match &schedule.next { None => { "never" } Some(next) => { (time(next)) } } }
            } } }
        } }
    }
}
