//! The credential helper of git. It returns the job's credential only for the credential's protocol and host. It
//! reads the credential from an inherited in-memory file, so that the password is not in an argument, an
//! environment variable, a file on disk or a log.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use crate::message::Credential;

/// Maximum length of git's request and of the credential, in bytes.
const MAX_LENGTH: u64 = 64 << 10;

/// Runs `rstudio-pm-builder credential NUMBER get`, where NUMBER is the inherited descriptor. Operations other than
/// `get` are ignored.
pub(in crate::program) fn main(descriptor: &str) -> ExitCode {
    if std::env::args().nth(3).as_deref() != Some("get") {
        return ExitCode::SUCCESS;
    }
    let answer = || -> std::io::Result<String> {
        let number: u32 = descriptor.parse().map_err(std::io::Error::other)?;
        let mut question = String::new();
        std::io::stdin().take(MAX_LENGTH).read_to_string(&mut question)?;
        let file = File::open(format!("/proc/self/fd/{number}"))?;
        let credential: Credential = serde_json::from_reader(file.take(MAX_LENGTH))?;
        Ok(answer(&question, &credential))
    };
    match answer() {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("could not read the credential: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the response to a request, in git's format (git-credential(1)). `quit` prevents git from requesting the
/// credential from other helpers or the user.
fn answer(question: &str, credential: &Credential) -> String {
    let value = |key: &str| question.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let is_match = value("protocol") == Some(credential.protocol.as_str())
        && value("host").is_some_and(|host| host.eq_ignore_ascii_case(&credential.host));
    let is_valid = |text: &str| !text.contains(['\n', '\r', '\0']);
    if is_match && is_valid(&credential.username) && is_valid(&credential.password) {
        format!("username={}\npassword={}\n", credential.username, credential.password)
    } else {
        "quit=1\n".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_protocol_and_host_are_answered() {
        let credential = Credential {
            protocol: "https".to_owned(),
            host: "git.example.org:8443".to_owned(),
            username: "u".to_owned(),
            password: "p=1".to_owned(),
        };
        let expected = "username=u\npassword=p=1\n";
        assert_eq!(answer("protocol=https\nhost=git.example.org:8443\n", &credential), expected);
        assert_eq!(
            answer("capability[]=authtype\nprotocol=https\nhost=GIT.example.org:8443\n\n", &credential),
            expected
        );
        for question in [
            "",
            "protocol=http\nhost=git.example.org:8443\n",
            "protocol=https\nhost=git.example.org\n",
            "protocol=https\nhost=git.example.org:8443.other\n",
            "protocol=https\nhost=other\npath=/host=git.example.org:8443\n",
            "host=git.example.org:8443\n",
        ] {
            assert_eq!(answer(question, &credential), "quit=1\n", "{question}");
        }
        let invalid_credential = Credential { password: "p\nurl=https://other".to_owned(), ..credential };
        assert_eq!(answer("protocol=https\nhost=git.example.org:8443\n", &invalid_credential), "quit=1\n");
    }
}
