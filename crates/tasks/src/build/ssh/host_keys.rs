//! Host keys of SSH servers, in the format of `known_hosts` (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::Reader;
use super::key::fingerprint;
use builder::url::GitUrl;

/// Maximum length of all host keys of a credential in bytes, because they are part of a message to a sandbox.
const MAX_LENGTH: usize = 12 << 10;

/// A line of `known_hosts`.
struct Line<'a> {
    hosts: &'a str,
    /// The algorithm, such as `ssh-ed25519`.
    algorithm: &'a str,
    public: Vec<u8>,
}

impl<'a> Line<'a> {
    /// Parses a line; `None` for a line without a host key.
    fn parse(line: &'a str) -> Option<Line<'a>> {
        let mut words = line.split_ascii_whitespace();
        let mut first = words.next()?;
        if matches!(first, "@cert-authority" | "@revoked") {
            first = words.next()?;
        }
        let (algorithm, digits) = (words.next()?, words.next()?);
        let public = STANDARD.decode(digits).ok()?;
        // The key repeats the name of its algorithm.
        let is_key = Reader(&public).string() == Some(algorithm.as_bytes());
        is_key.then_some(Line { hosts: first, algorithm, public })
    }

    /// Returns whether the line is for this host, named in clear text or by a hash.
    fn is_for(&self, host: &str) -> bool {
        let Some(hashed) = self.hosts.strip_prefix("|1|") else {
            return self.hosts.split(',').any(|name| name.eq_ignore_ascii_case(host));
        };
        let decode = |text: &str| STANDARD.decode(text).ok();
        let Some((salt, digest)) = hashed.split_once('|').and_then(|(a, b)| decode(a).zip(decode(b))) else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        hmac::verify(&key, host.as_bytes(), &digest).is_ok()
    }

    /// Returns the fingerprint and the type of the key, such as `SHA256:… (ED25519)`.
    fn fingerprint(&self) -> String {
        let name = self.algorithm.trim_start_matches("ssh-").split("-nistp").next().unwrap_or_default();
        let name = name.trim_start_matches("ecdsa-sha2").trim_matches('-');
        let name = if name.is_empty() { "ECDSA".to_owned() } else { name.to_ascii_uppercase() };
        format!("{} ({name})", fingerprint(&self.public))
    }
}

/// Returns the name of a URL's host in `known_hosts`: `[host]:port` for a port other than 22.
pub(in crate::build) fn host(url: &GitUrl) -> String {
    let host = url.host.trim_matches(['[', ']']);
    match url.port {
        None | Some(22) => host.to_owned(),
        Some(port) => format!("[{host}]:{port}"),
    }
}

/// Checks the text of an imported file; returns it without comments and empty lines. Fails if a line is not a host key
/// (the error has its number), or the text is too long.
pub(in crate::build) fn check(text: &str) -> Result<String, String> {
    let mut checked = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.chars().any(char::is_control) || Line::parse(line).is_none() {
            return Err(format!(
                "--known-hosts: line {} is not a host key; write the output of ssh-keyscan, or lines of known_hosts",
                index + 1
            ));
        }
        checked += line;
        checked.push('\n');
    }
    if checked.len() > MAX_LENGTH {
        return Err(format!(
            "--known-hosts: the file has more than {MAX_LENGTH} bytes; remove the hosts that are not git servers"
        ));
    }
    Ok(checked)
}

/// Returns the text without the keys of a host.
pub(in crate::build) fn remove_host(known_hosts: &str, host: &str) -> String {
    let is_other = |line: &&str| !Line::parse(line).is_some_and(|line| line.is_for(host));
    known_hosts.lines().filter(is_other).map(|line| format!("{line}\n")).collect()
}

pub(in crate::build) fn is_known(known_hosts: &str, host: &str) -> bool {
    !fingerprints(known_hosts, host).is_empty()
}

/// Returns the new keys that a sandbox accepted for a host, as lines of `known_hosts`, and their fingerprints. Lines
/// for other hosts are ignored. Fails if the credential would have too many host keys.
pub(in crate::build) fn new_keys(
    known_hosts: &str,
    reported_lines: &str,
    host: &str,
) -> Result<(String, Vec<String>), String> {
    let (mut lines, mut fingerprints) = (String::new(), Vec::new());
    for line in reported_lines.lines() {
        let is_new = !known_hosts.lines().any(|other| other == line);
        if let Some(parsed) = Line::parse(line).filter(|parsed| is_new && parsed.is_for(host)) {
            if known_hosts.len() + lines.len() + line.len() >= MAX_LENGTH {
                return Err(format!(
                    "the key of {host} cannot be recorded, because the host keys of the credential would have more than \
                     {MAX_LENGTH} bytes; remove those of other hosts: rspm edit ssh-key --known-hosts=FILE"
                ));
            }
            lines += line;
            lines.push('\n');
            fingerprints.push(parsed.fingerprint());
        }
    }
    Ok((lines, fingerprints))
}

/// Returns the fingerprints of the known keys of a host.
fn fingerprints(known_hosts: &str, host: &str) -> Vec<String> {
    let lines = known_hosts.lines().filter_map(Line::parse);
    lines.filter(|line| line.is_for(host)).map(|line| line.fingerprint()).collect()
}

/// Returns the explanation of a refused host key, with the remedy; `None` if the log of SSH does not report one.
pub(in crate::build) fn explain(log: &str, known_hosts: &str, host: &str, remedy: &str) -> Option<String> {
    let accepted = fingerprints(known_hosts, host).join(", ");
    if log.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let sent = log.lines().find_map(|line| line.trim().strip_prefix("SHA256:"));
        let sent: String = sent.unwrap_or("unknown").trim_end_matches('.').chars().take(64).collect();
        return Some(format!(
            "the host key of {host} has changed, or another server answers: the accepted key is {accepted}, the received \
             one is SHA256:{sent}; if its administrator confirms the new one: {remedy}"
        ));
    }
    let is_unknown = log.contains("host key is known for") || log.contains("Host key verification failed");
    is_unknown.then(|| {
        format!(
            "the host key of {host} is not known; {remedy}, or import it: rspm edit ssh-key --known-hosts=FILE"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn keys_of_a_host_are_found_under_its_name_and_its_digest() {
        // Created by `ssh-keygen -H`.
        let hashed = "|1|PoTi/aHi9/kd7tzrosKnF7EcrrE=|Gpdp2j77IDNsaVie69hrPVzzoqw=";
        let hashed = format!("{hashed} ssh-ed25519 {ED25519}");
        let parsed = Line::parse(&hashed).unwrap();
        assert!(parsed.is_for("git.test") && !parsed.is_for("other.test"));
        let known_hosts =
            format!("a.test,b.test ssh-ed25519 {ED25519}\n[c.test]:2222 ssh-ed25519 {ED25519}\n");
        for (host, count) in [("a.test", 1), ("B.test", 1), ("c.test", 0), ("[c.test]:2222", 1)] {
            assert_eq!(fingerprints(&known_hosts, host).len(), count, "{host}");
        }
        assert_eq!(
            fingerprints(&known_hosts, "a.test"),
            ["SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU (ED25519)"]
        );
        assert_eq!(remove_host(&known_hosts, "a.test").lines().count(), 1);
        assert!(is_known(&known_hosts, "a.test") && !is_known(&known_hosts, "c.test"));
        let (lines, fingerprints) =
            new_keys(&known_hosts, &format!("{known_hosts}d ssh-ed25519 {ED25519}\nx y z\n"), "d").unwrap();
        assert_eq!((lines.lines().count(), fingerprints.len()), (1, 1));
        assert_eq!(new_keys(&known_hosts, &format!("e ssh-ed25519 {ED25519}"), "d").unwrap().0, "");
        let error = new_keys(&known_hosts.repeat(100), &format!("d ssh-ed25519 {ED25519}"), "d").unwrap_err();
        assert!(error.contains("rspm edit ssh-key"), "{error}");
    }

    #[test]
    fn files_with_other_lines_are_refused_with_the_number_of_the_line() {
        let good = format!("# comment\n\ngit.test ssh-ed25519 {ED25519} comment\r\n");
        assert_eq!(check(&good).unwrap(), format!("git.test ssh-ed25519 {ED25519} comment\n"));
        for bad in ["git.test", "git.test ssh-rsa AAAA", &format!("git.test ssh-rsa {ED25519}")] {
            let error = check(&format!("{good}{bad}")).unwrap_err();
            assert!(error.contains("line 4 "), "{bad}: {error}");
        }
        assert!(check(&good.repeat(200)).unwrap_err().contains("bytes"));
    }

    #[test]
    fn a_changed_key_is_explained_with_both_fingerprints() {
        let known_hosts = format!("git.test ssh-ed25519 {ED25519}\n");
        let log = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nThe fingerprint for the ED25519 key sent by the \
                   remote host is\nSHA256:abc.\nHost key verification failed.";
        let text = explain(log, &known_hosts, "git.test", "REMEDY").unwrap();
        assert!(
            text.contains("SHA256:+DiY3") && text.contains("SHA256:abc;") && text.contains("REMEDY"),
            "{text}"
        );
        let text = explain("Host key verification failed.", "", "git.test", "REMEDY").unwrap();
        assert!(text.contains("is not known; REMEDY"), "{text}");
        assert_eq!(explain("Permission denied", &known_hosts, "git.test", ""), None);
    }
}
