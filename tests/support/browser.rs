//! A browser without scripts: curl with cookies, and forms of the pages that it gets.

use std::process::Command;

/// The browser and its cookies.
pub(crate) struct Browser {
    folder: tempfile::TempDir,
}

/// The page at the end of all redirects.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) url: String,
    pub(crate) text: String,
}

impl Browser {
    pub(crate) fn new() -> Browser {
        Browser { folder: tempfile::tempdir().expect("a directory") }
    }

    /// Gets a page and follows redirects.
    pub(crate) fn get(&self, url: &str) -> Page {
        self.run(&["-L", "-H", "Accept: text/html", url])
    }

    /// Gets a page without following redirects; `url` of the result is the target of the redirect, empty if none.
    pub(crate) fn get_one(&self, url: &str) -> Page {
        self.run(&["-H", "Accept: text/html", url])
    }

    /// Sends a form as a page of `site` (`same-origin`, `cross-site`) would, and follows redirects.
    pub(crate) fn post(&self, url: &str, fields: &[(&str, &str)], site: &str) -> Page {
        let site = format!("Sec-Fetch-Site: {site}");
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["-L", "-H", site.as_str()];
        for field in &fields {
            arguments.extend(["--data-urlencode", field.as_str()]);
        }
        if fields.is_empty() {
            arguments.extend(["--data", ""]);
        }
        arguments.push(url);
        self.run(&arguments)
    }

    /// Sends the first form of a page with its hidden fields and these.
    pub(crate) fn submit(&self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let form = page.text.split("<form").nth(1).unwrap_or_else(|| panic!("no form: {page:?}"));
        let form = form.split("</form>").next().expect("a part");
        let action = attribute(form, "action").unwrap_or_else(|| page.url.clone());
        let mut all: Vec<(String, String)> = Vec::new();
        for input in form.split("<input").skip(1) {
            let input = input.split('>').next().expect("a part");
            if attribute(input, "type").as_deref() == Some("hidden") {
                let value = attribute(input, "value").unwrap_or_default();
                all.push((attribute(input, "name").expect("a name"), value));
            }
        }
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let url = if action.starts_with('/') { format!("{}{action}", origin(&page.url)) } else { action };
        let all: Vec<(&str, &str)> =
            all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post(&url, &all, "same-origin")
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.path().join("cookies")).unwrap_or_default();
        let fields = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        fields.filter(|fields| fields.len() == 7).find(|fields| fields[5] == name).map(|f| f[6].to_owned())
    }

    fn run(&self, arguments: &[&str]) -> Page {
        let jar = self.folder.path().join("cookies").display().to_string();
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "90", "--max-redirs", "20", "--noproxy", "*"])
            .args(["-b", jar.as_str(), "-c", jar.as_str()])
            .args(["-w", "\n%{http_code} %{url_effective} %{redirect_url}"])
            .args(arguments)
            .output()
            .expect("curl runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (text, end) = text.rsplit_once('\n').expect("the line of -w");
        let mut words = end.split(' ');
        let status = words.next().and_then(|word| word.parse().ok()).expect("a status");
        let effective = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let url = if (300..400).contains(&status) { target } else { effective };
        Page { status, url, text: text.to_owned() }
    }
}

fn origin(url: &str) -> &str {
    let rest = url.strip_prefix("http://").expect("http");
    let end = rest.find('/').map_or(url.len(), |end| end + "http://".len());
    &url[..end]
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split_once(&format!(" {name}=\""))?.1;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}
