//! Time stamps (RFC 3161) of checkpoints, from an authority that is OpenSSL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::support::fixtures::until;
use crate::support::history;

fn openssl(dir: &Path, line: &str) -> String {
    let output =
        Command::new("openssl").current_dir(dir).args(line.split(' ')).output().expect("openssl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

/// Starts the authority; returns its address. It runs until the test ends.
fn authority(dir: &Path) -> String {
    let extension = "-addext extendedKeyUsage=critical,timeStamping";
    let names = "-keyout key.pem -out cert.pem -subj /CN=tsa";
    openssl(dir, &format!("req -x509 -newkey rsa:2048 -nodes -days 30 {names} {extension}"));
    std::fs::write(
        dir.join("tsa.cnf"),
        "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_cert = cert.pem\nsigner_key = key.pem\n\
         signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\ness_cert_id_alg = sha256\n",
    )
    .expect("written");
    std::fs::write(dir.join("serial"), "01\n").expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.expect("a connection"));
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok() && line.trim() != "" {
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().expect("a number");
                }
                line.clear();
            }
            let mut query = vec![0; length];
            reader.read_exact(&mut query).expect("the body");
            std::fs::write(dir.join("query"), query).expect("written");
            openssl(&dir, "ts -reply -config tsa.cnf -queryfile query -out reply");
            let reply = std::fs::read(dir.join("reply")).expect("a reply");
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                reply.len()
            );
            let stream = reader.get_mut();
            stream.write_all(&[head.as_bytes(), &reply].concat()).expect("sent");
        }
    });
    address
}

#[test]
fn openssl_verifies_the_time_stamp_of_a_checkpoint() {
    let dir = tempfile::tempdir().expect("a directory");
    let address = authority(dir.path());
    let server = history::start("pm.example.org/__log__", "[History]\nExportPath = {dir}/copy");
    let size = server.signed();
    let text: String =
        server.rspm_stdout("history checkpoint").lines().take(3).map(|line| format!("{line}\n")).collect();
    server.configure(&format!("[History]\nTimestampURL = http://{address}/tsa\n"));
    let stamp = server.dir().join(format!("copy/timestamps/{size}.tsr"));
    until("the stamp is in the copy", || stamp.exists());
    std::fs::write(dir.path().join("text"), text).expect("written");
    let verify = format!("ts -verify -in {} -data text -CAfile cert.pem", stamp.display());
    assert!(openssl(dir.path(), &verify).contains("Verification: OK"));
    let query = openssl(dir.path(), "ts -query -in query -text");
    assert!(query.contains("Version: 1") && query.contains("Hash Algorithm: sha256"), "{query}");
    assert!(query.contains("Certificate required: yes"), "{query}");
    // Also in a copy that is made at once.
    let other = server.dir().join("other");
    server.rspm_stdout(&format!("history export --to={}", other.display()));
    assert!(other.join(format!("timestamps/{size}.tsr")).exists());
}
