//! The tasks of people who use the pages for the first time, in at most three clicks from `/` (`docs/admin/web.md` names
//! them). Typing and choosing in a form are no clicks; its button is one.

use crate::support::chromium::Chromium;
use crate::support::server::Server;

/// Maximum number of clicks of a task.
const MAX_CLICKS: u32 = 3;

/// A person at `/`.
struct Person<'a> {
    chromium: &'a Chromium,
    task: &'static str,
    clicks: u32,
}

impl<'a> Person<'a> {
    fn at_home(chromium: &'a Chromium, server: &Server, task: &'static str) -> Person<'a> {
        chromium.open(&server.url("/"));
        Person { chromium, task, clicks: 0 }
    }

    fn click(&mut self, selector: &str) {
        self.clicks += 1;
        assert!(self.clicks <= MAX_CLICKS, "{}: {selector} is one click too many", self.task);
        self.chromium.click(selector);
    }

    /// Chooses a value in a list or a calendar.
    fn choose(&self, selector: &str, value: &str) {
        let script = "const field = document.querySelector(arguments[0]);
            field.value = arguments[1];
            return field.value;";
        let chosen = self.chromium.run(script, &[selector, value]);
        assert_eq!(chosen, value, "{}: {selector} has no such value", self.task);
    }

    fn sees(&self, text: &str) {
        self.chromium.wait_for_text(text);
        assert!(self.clicks <= MAX_CLICKS);
    }
}

#[test]
fn five_tasks_take_at_most_three_clicks() {
    let server = super::server();
    let today = crate::support::today::stable_today();
    let today = today.to_string();
    // The history of this server begins today, so the person selects a transaction instead of a day of the last month.
    let newest = server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a transaction");
    let earlier = (newest - 1).to_string();
    let chromium = Chromium::start();
    chromium.resize(1280, 900);
    let repository = "li.card h2 a[href*='team/latest']";

    let mut person = Person::at_home(&chromium, &server, "set up R on Ubuntu for a fixed day");
    person.click(repository);
    person.chromium.wait_for_text("Set up");
    person.choose("main input[name=day]", &today);
    person.choose("main select[name=platform]", "noble");
    person.click("main form button");
    person.sees(&format!("/team/__linux__/noble/{today}"));

    let mut person = Person::at_home(&chromium, &server, "find which version was listed on a day");
    person.chromium.fill("header input[name=q]", "alpha");
    person.click("header form button");
    person.click("main a[href$='web/packages/alpha/']");
    person.click("main a[href$='history/']");
    person.sees("still listed");
    person.sees(&today);

    let mut person = Person::at_home(&chromium, &server, "see what changed since last month");
    person.click(repository);
    person.click("nav a[href*='web/changes/']");
    person.chromium.wait_for_text("Compare");
    person.choose("main input[name=since]", &earlier);
    person.click("main form button");
    person.chromium.wait_for_url(&server.url("/team/latest/web/changes/?since="));
    person.sees("All as CSV");
    person.sees("beta");

    let mut person = Person::at_home(&chromium, &server, "find out why a source package was served");
    person.chromium.fill("header input[name=q]", "beta");
    person.click("header form button");
    person.click("main a[href$='web/packages/beta/']");
    person.click("main a[href$='why/']");
    person.sees("src/contrib/beta_2.0.tar.gz");

    let mut person = Person::at_home(&chromium, &server, "see what is vulnerable");
    person.click(repository);
    person.click("nav a[href*='web/vulnerabilities/']");
    person.sees("Vulnerabilities");
    let url = chromium.url();
    assert_eq!(url, server.url("/team/latest/web/vulnerabilities/"));
}
