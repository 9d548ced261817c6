//! `[LocalPython]`: one test per property, which sets it and checks its effect, at the start and by a reload.

use crate::support::http::Answer;
use crate::support::python::form::{Form, publisher};
use crate::support::python::package::{Package, repository, write};
use crate::support::server::{Builder, Server};

fn server(gcfg: &str) -> Server {
    let server = Builder::default().gcfg(gcfg).start();
    repository(&server);
    server
}

/// Uploads a wheel of 100 kB.
fn upload_large(server: &Server) -> Answer {
    let code: String =
        (0..10_000_u64).map(|n| format!("{:016x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    Form::wheel(&Package::new("large", "1.0").code(&code)).send(server, &publisher(server))
}

const TOO_LARGE: &str =
    "the file is larger than 51200 bytes, the maximum on this server ([LocalPython] MaxUploadSize)\n";

/// Uploads a wheel whose file name is not normalized.
fn upload_odd(server: &Server) -> Answer {
    let package = Package::new("odd", "1.0");
    Form::file(&package, "Odd-1.0-py3-none-any.whl", package.wheel())
        .with("filetype", "bdist_wheel")
        .send(server, &publisher(server))
}

const ODD: &str = "the file name 'Odd-1.0-py3-none-any.whl' is not normalized";

#[test]
pub(super) fn max_upload_size_limits_the_files_of_clients() {
    assert_eq!(upload_large(&server("")).status, 200);
    let limited = server("[LocalPython]\nMaxUploadSize = 50KB");
    let answer = upload_large(&limited);
    assert_eq!((answer.status, answer.text().as_str()), (413, TOO_LARGE));
    let small = Form::wheel(&Package::new("small", "1.0")).send(&limited, &publisher(&limited));
    assert_eq!(small.status, 200);
    // A size that is declared is refused before the body.
    let head = [("Content-Type", "multipart/form-data; boundary=b"), ("Content-Length", "99999999999")];
    let token = publisher(&limited);
    let authorization = crate::support::python::form::authorization(&token);
    let text = format!(
        "POST /upload/pypi/team HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\n{}: {}\r\n{}: {}\r\n\r\n",
        limited.host(),
        head[0].0,
        head[0].1,
        head[1].0,
        head[1].1
    );
    let answer = crate::support::http::raw(limited.host(), text.as_bytes());
    assert_eq!((answer.status, answer.text().as_str()), (413, TOO_LARGE));
}

#[test]
pub(super) fn strict_refuses_what_installers_tolerate() {
    let lenient = server("");
    let answer = upload_odd(&lenient);
    assert_eq!((answer.status, answer.text()), (200, format!("{ODD}\n")), "a notice");
    let strict = server("[LocalPython]\nStrict = true");
    let answer = upload_odd(&strict);
    assert!(answer.status == 400 && answer.text().contains(ODD), "{}", answer.text());
    let file = write(&strict, "Odd-1.0-py3-none-any.whl", &Package::new("odd", "1.0").wheel());
    let refused = strict.refused(&format!("add --source=team --path={}", file.display()));
    assert!(refused.contains(ODD) && refused.contains("[LocalPython] Strict"), "{refused}");
}

#[test]
pub(super) fn max_upload_size_applies_to_the_next_upload() {
    let server = server("");
    server.hup_applies(
        "[LocalPython]\nMaxUploadSize = 50KB",
        &["LocalPython.MaxUploadSize is '50KB' now, was '2GB'"],
    );
    assert_eq!(upload_large(&server).status, 413);
}

#[test]
pub(super) fn strict_applies_to_the_next_file() {
    let server = server("");
    server.hup_applies("[LocalPython]\nStrict = true", &["LocalPython.Strict is 'true' now, was 'false'"]);
    assert_eq!(upload_odd(&server).status, 400);
}
