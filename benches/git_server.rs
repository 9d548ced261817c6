//! A git server over HTTP: `git http-backend` behind a small server of the bench.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Serves the repositories of a directory until the process ends; returns the address.
pub(crate) fn start(root: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let root = root.clone();
            // A client that disconnects is not a failure of the server.
            std::thread::spawn(move || drop(answer(&client, &root)));
        }
    });
    address
}

fn answer(mut client: &TcpStream, root: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        let mut pairs = head.iter().skip(1).filter_map(|line| line.split_once(": "));
        let value = pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        value.unwrap_or_default().to_owned()
    };
    let mut words = head.first().map_or("", String::as_str).split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut backend = Command::new("git")
        .arg("http-backend")
        .envs([("GIT_HTTP_EXPORT_ALL", "1"), ("REQUEST_METHOD", method)])
        .envs([("PATH_INFO", path), ("QUERY_STRING", query)])
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", header("content-length"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROJECT_ROOT", root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = backend.stdin.take() {
        stdin.write_all(&body)?;
    }
    let output = backend.wait_with_output()?.stdout;
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(output.len(), |at| at + 4);
    let (fields, content) = output.split_at(end);
    let fields = String::from_utf8_lossy(fields);
    let status = fields.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let mut response =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", content.len());
    for field in fields.lines().filter(|line| !line.is_empty() && !line.starts_with("Status")) {
        response += &format!("{field}\r\n");
    }
    client.write_all(response.as_bytes())?;
    client.write_all(b"\r\n")?;
    client.write_all(content)
}
