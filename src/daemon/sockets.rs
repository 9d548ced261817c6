//! The listening sockets: those systemd hands over, else bound here; once, before there are threads.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use nix::sys::socket::sockopt::AcceptConn;
use nix::sys::socket::{Backlog, getsockopt, listen};
use nix::sys::stat::{Mode, umask};

use crate::config::{Config, Listen};

/// Connections that may wait to be accepted; std asks for 128, too few for a restart under load.
const BACKLOG: i32 = 4096;

/// A socket that cannot be had, with the way out.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A TCP address.
    #[error("Could not initialize the {what} listener: listen tcp {address}: bind: {reason}{way_out}")]
    Tcp {
        /// `HTTP`, `HTTPS`, `HTTPRedirect`, `Metrics`.
        what: &'static str,
        /// As the gcfg names it.
        address: String,
        /// In the system's words.
        reason: String,
        /// A sentence on a line of its own, or nothing.
        way_out: String,
    },
    /// The admin socket.
    #[error("Could not initialize the admin socket {}: {reason}", path.display())]
    Admin {
        /// Its path.
        path: PathBuf,
        /// Why, and the way out.
        reason: String,
    },
    /// The system refuses to make a socket non-blocking.
    #[error("the {name} socket cannot be used: {source}")]
    Mode {
        /// Which.
        name: &'static str,
        /// Why.
        source: Error,
    },
}

/// All listening sockets, non-blocking.
pub struct Sockets {
    /// `HTTP.Listen`.
    pub http: Vec<TcpListener>,
    /// `HTTPS.Listen`.
    pub https: Vec<TcpListener>,
    /// `HTTPRedirect.Listen`.
    pub redirect: Vec<TcpListener>,
    /// `Metrics.Listen`.
    pub metrics: Vec<TcpListener>,
    /// `<SockFileDir>/rstudio-pm.sock`.
    pub admin: UnixListener,
    /// The path to remove at the end; `None` when systemd owns the socket.
    pub admin_path: Option<PathBuf>,
    /// Where inherited sockets and gcfg differ; to be logged.
    pub warnings: Vec<String>,
    /// Why there is no listener for metrics although there should be one; to be logged.
    pub unmeasured: Option<String>,
}

impl Sockets {
    /// What `systemctl status` shall say about them.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        if !self.warnings.is_empty() {
            return Some(format!(
                "the listening sockets are not those of the configuration; run: {COMMANDS}"
            ));
        }
        self.unmeasured.as_ref().map(|_| "metrics are not served, the log says why".to_owned())
    }

    /// Where the admin socket is.
    #[must_use]
    pub fn admin_address(&self) -> PathBuf {
        let address = self.admin.local_addr().ok();
        address.and_then(|at| at.as_pathname().map(Path::to_owned)).unwrap_or_default()
    }

    /// Where HTTP without TLS is answered, from this machine.
    #[must_use]
    pub fn plain_addresses(&self) -> Vec<SocketAddr> {
        let here = |socket: &TcpListener| {
            let mut at = socket.local_addr().ok()?;
            if at.ip().is_unspecified() {
                let v4 = std::net::Ipv4Addr::LOCALHOST;
                at.set_ip(if at.is_ipv4() { v4.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
            }
            Some(at)
        };
        self.http.iter().chain(&self.redirect).filter_map(here).collect()
    }
}

/// True when systemd has handed sockets over, which it keeps open whatever becomes of this process.
#[must_use]
pub fn handed_over() -> bool {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<usize>().ok());
    let ours = match std::env::var_os("LISTEN_PID") {
        None => true,
        Some(_) => number("LISTEN_PID") == Some(std::process::id() as usize),
    };
    ours && number("LISTEN_FDS").is_some_and(|count| (1..=MOST).contains(&count))
}

/// The admin socket of a configuration.
#[must_use]
pub fn admin_path(config: &Config) -> PathBuf {
    config.server.sock_file_dir.join("rstudio-pm.sock")
}

/// What to do when the sockets are not those of the configuration; the service manager opened them before.
const COMMANDS: &str = crate::config::AFTER_A_NEW_PATH;

/// What the server that ran before hands over.
pub(super) struct Given {
    /// By name, as systemd names them.
    pub(super) sockets: Vec<(String, OwnedFd)>,
    /// It made the admin socket itself.
    pub(super) own_admin: bool,
}

/// The TCP sockets and, when it was handed over, the admin socket: what is opened before privileges are given up.
pub(super) struct Bound {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    redirect: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    admin: Option<UnixListener>,
    own_admin: bool,
    warnings: Vec<String>,
    unmeasured: Option<String>,
}

/// Takes what systemd hands over (`LISTEN_FDNAMES`: http, https, redirect, metrics, admin), or the server before, and
/// binds the TCP addresses that are missing.
///
/// # Errors
/// The first socket that cannot be had. When systemd has handed over some, one that is missing is a warning: the
/// others serve. That of the metrics is never missed more than that: the default port may be anybody's.
pub(super) fn bind_all(config: &Config, given: Option<Given>) -> Result<Bound, SocketError> {
    let own_admin = given.as_ref().is_some_and(|given| given.own_admin);
    let mut inherited = given.map_or_else(Inherited::take, Inherited::of);
    let started_by_systemd = inherited.any();
    let mut warnings = std::mem::take(&mut inherited.warnings);
    let mut tcp = |what, mine: Vec<TcpListener>, configured: Option<&Listen>| {
        for socket in &mine {
            if let (Ok(address), false) = (socket.local_addr(), agrees(socket, configured)) {
                warnings.push(format!(
                    "systemd listens on {address} for {what}, the configuration says {}; run: {COMMANDS}",
                    configured.map_or_else(|| "nothing".to_owned(), shown),
                ));
            }
        }
        match (mine.is_empty(), configured) {
            (true, Some(listen)) => match bind(what, listen) {
                Ok(socket) => Ok(vec![socket]),
                Err(error) if started_by_systemd => {
                    warnings.push(format!(
                        "{error}\nIf that address is new in the configuration, run: {COMMANDS}"
                    ));
                    Ok(Vec::new())
                }
                Err(error) => Err(error),
            },
            (true, None) | (false, _) => Ok(mine),
        }
    };
    let http = tcp("HTTP", inherited.http, config.http.listen.as_ref())?;
    // Also without HTTPS in the configuration: a connection is closed then, instead of waiting for ever, and a
    // configuration that is mended finds its socket.
    let https = tcp("HTTPS", inherited.https, config.https.listen.as_ref())?;
    let redirect = tcp("HTTPRedirect", inherited.redirect, config.http_redirect.listen.as_ref())?;
    let (metrics, unmeasured) = match tcp("Metrics", inherited.metrics, config.metrics.listen.as_ref()) {
        Ok(metrics) => (metrics, None),
        Err(error) => (Vec::new(), Some(format!("{error}\nThe server serves without its metrics."))),
    };
    let admin = inherited.admin;
    let bound = Bound { http, https, redirect, metrics, admin, own_admin, warnings, unmeasured };
    // tokio requires it.
    for socket in bound.http.iter().chain(&bound.https).chain(&bound.redirect).chain(&bound.metrics) {
        set_nonblocking("TCP", socket.set_nonblocking(true))?;
    }
    Ok(bound)
}

impl Bound {
    /// Adds the admin socket, bound here when systemd has not handed it over: as the user that serves, whose it is
    /// then from the first moment.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn with_admin(mut self, config: &Config) -> Result<Sockets, SocketError> {
        let (admin, admin_path) = match self.admin.take() {
            Some(socket) => {
                self.warnings.extend(other_path(&socket, config));
                (socket, self.own_admin.then(|| admin_path(config)))
            }
            None => {
                let path = admin_path(config);
                (bind_admin(&path)?, Some(path))
            }
        };
        set_nonblocking("admin", admin.set_nonblocking(true))?;
        let Bound { http, https, redirect, metrics, admin: _, own_admin: _, warnings, unmeasured } = self;
        Ok(Sockets { http, https, redirect, metrics, admin, admin_path, warnings, unmeasured })
    }
}

fn set_nonblocking(name: &'static str, outcome: std::io::Result<()>) -> Result<(), SocketError> {
    outcome.map_err(|source| SocketError::Mode { name, source })
}

/// `/var/run` is a link to `/run`: the files are compared, not the names.
fn other_path(socket: &UnixListener, config: &Config) -> Option<String> {
    let address = socket.local_addr().ok()?;
    let (inherited, configured) = (address.as_pathname()?, admin_path(config));
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    (real(inherited) != real(&configured)).then(|| {
        format!(
            "systemd listens on {} for administrators, the configuration says {}; run: {COMMANDS}",
            inherited.display(),
            configured.display()
        )
    })
}

/// The gcfg's spelling: `:4242`, `host:port`, `[::1]:443`.
#[must_use]
pub fn shown(listen: &Listen) -> String {
    let (host, port) = (&listen.host, listen.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether a socket is that of a configured address; of a name only the port is compared, for it may have moved.
fn agrees(socket: &TcpListener, configured: Option<&Listen>) -> bool {
    let (Ok(at), Some(listen)) = (socket.local_addr(), configured) else { return false };
    let host = match listen.host.parse::<IpAddr>() {
        Ok(host) => at.ip() == host,
        Err(_) => !listen.host.is_empty() || at.ip().is_unspecified(),
    };
    // Whatever port it is, it was chosen by the system.
    host && (listen.port == 0 || at.port() == listen.port)
}

/// Binds a TCP address. An empty host is every address, IPv6 and IPv4.
///
/// # Errors
/// In the words the administrator's documents give, with the way out.
pub fn bind(what: &'static str, configured: &Listen) -> Result<TcpListener, SocketError> {
    let failed = |error: &Error| SocketError::Tcp {
        what,
        address: shown(configured),
        reason: reason(error),
        way_out: way_out(error, configured.port),
    };
    let addresses: Vec<SocketAddr> = if configured.host.is_empty() {
        // A socket on :: takes IPv4 too; machines without IPv6 have only the second.
        vec![
            (std::net::Ipv6Addr::UNSPECIFIED, configured.port).into(),
            ([0, 0, 0, 0], configured.port).into(),
        ]
    } else {
        let found = (configured.host.as_str(), configured.port).to_socket_addrs();
        found.map_err(|e| failed(&e))?.collect()
    };
    let mut outcome = Err(Error::new(ErrorKind::AddrNotAvailable, "the host has no address"));
    for address in addresses {
        outcome = TcpListener::bind(address);
        match &outcome {
            Err(error) if configured.host.is_empty() && no_ipv6(error) => {}
            Ok(_) | Err(_) => break,
        }
    }
    let socket = outcome.map_err(|e| failed(&e))?;
    // A second listen(2) only sets the backlog.
    if let Ok(backlog) = Backlog::new(BACKLOG) {
        let _ = listen(&socket, backlog);
    }
    Ok(socket)
}

fn no_ipv6(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::AddrInUse => "address already in use".to_owned(),
        ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        _ => error.to_string(),
    }
}

fn way_out(error: &Error, port: u16) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "\nPorts below 1024 need a privilege. Either start rstudio-pm through systemd, which opens port {port} \
             for it; or run: setcap 'cap_net_bind_service=+ep' /opt/rstudio-pm/bin/rstudio-pm (again after each \
             upgrade); or choose a port from 1024 up."
        ),
        ErrorKind::AddrInUse => format!(
            "\nAnother program listens on port {port}: 'ss -ltnp sport = :{port}' shows which. Stop it, or choose \
             another port."
        ),
        ErrorKind::AddrNotAvailable => "\nNo network interface of this machine has that address.".to_owned(),
        _ => String::new(),
    }
}

/// Binds the admin socket, mode 0660, in place of one a crashed process left.
fn bind_admin(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |reason: String| SocketError::Admin { path: path.to_owned(), reason };
    if UnixStream::connect(path).is_ok() {
        return Err(failed("another rstudio-pm answers on it; stop that one first".to_owned()));
    }
    if path.metadata().is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(failed("it is not a socket; move it away".to_owned()));
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(format!("the old one cannot be removed: {error}"))),
    }
    // The mode must be right from the first moment, not after a chmod.
    let before = umask(Mode::from_bits_truncate(0o117));
    let bound = UnixListener::bind(path);
    umask(before);
    bound.map_err(|error| {
        failed(match error.kind() {
            ErrorKind::PermissionDenied => {
                format!("{error}; this user must be able to write to the directory (Server.SockFileDir)")
            }
            ErrorKind::InvalidInput => {
                "the path is too long for a socket (107 bytes); shorten Server.SockFileDir".to_owned()
            }
            _ => error.to_string(),
        })
    })
}

#[derive(Default)]
struct Inherited {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    redirect: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    admin: Option<UnixListener>,
    /// What was handed over and is of no use.
    warnings: Vec<String>,
}

/// More than any configuration asks for; what is said beyond is not believed.
const MOST: usize = 64;

impl Inherited {
    fn any(&self) -> bool {
        let tcp = [&self.http, &self.https, &self.redirect, &self.metrics];
        self.admin.is_some() || tcp.iter().any(|sockets| !sockets.is_empty())
    }

    fn of(given: Given) -> Inherited {
        let mut inherited = Inherited::default();
        for (name, fd) in given.sockets {
            match name.as_str() {
                "http" => inherited.http.push(fd.into()),
                "https" => inherited.https.push(fd.into()),
                "redirect" => inherited.redirect.push(fd.into()),
                "metrics" => inherited.metrics.push(fd.into()),
                "admin" => inherited.admin = Some(fd.into()),
                // Of a version that had a listener we do not have.
                name => {
                    inherited.warnings.push(format!("the listening socket '{name}' is not used any more"))
                }
            }
        }
        inherited
    }

    /// By the protocol of sd_listen_fds(3). What does not follow it is said and left alone.
    fn take() -> Inherited {
        let mut inherited = Inherited::default();
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let Some(count) = variable("LISTEN_FDS") else { return inherited };
        if !count.parse::<usize>().is_ok_and(|count| count <= MOST) {
            inherited
                .warnings
                .push(format!("LISTEN_FDS is '{count}', not a number up to {MOST}; it is ignored"));
            return inherited;
        }
        // ListenFd removes the other two variables.
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut fds = ListenFd::from_env();
        for i in 0..fds.len() {
            let name = names.get(i).copied().unwrap_or_default();
            if let Err(why) = inherited.sort(&mut fds, i, name) {
                inherited.warnings.push(format!(
                    "the inherited socket {i}, named '{name}', cannot be used and is left alone: {why}"
                ));
            }
        }
        inherited
    }

    fn sort(&mut self, fds: &mut ListenFd, i: usize, name: &str) -> Result<(), Error> {
        match name {
            "http" => self.http.extend(listening(fds.take_tcp_listener(i)?)?),
            "https" => self.https.extend(listening(fds.take_tcp_listener(i)?)?),
            "redirect" => self.redirect.extend(listening(fds.take_tcp_listener(i)?)?),
            "metrics" => self.metrics.extend(listening(fds.take_tcp_listener(i)?)?),
            "admin" => self.admin = listening(fds.take_unix_listener(i)?)?.or(self.admin.take()),
            _ => {
                let known = "FileDescriptorName= must be http, https, redirect, metrics or admin";
                return Err(Error::new(ErrorKind::InvalidInput, known));
            }
        }
        Ok(())
    }
}

/// A connection would fail at every accept, for ever.
fn listening<T: AsFd>(socket: Option<T>) -> Result<Option<T>, Error> {
    match &socket {
        Some(socket) if !getsockopt(socket, AcceptConn)? => {
            Err(Error::new(ErrorKind::InvalidInput, "it does not listen: the unit must say Accept=no"))
        }
        Some(_) | None => Ok(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_port_in_use_names_the_listener_and_the_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let error = bind("HTTP", &Listen { host: "127.0.0.1".to_owned(), port }).expect_err("taken");
        let text = error.to_string();
        let start = format!(
            "Could not initialize the HTTP listener: listen tcp 127.0.0.1:{port}: bind: address already in use\n"
        );
        assert!(text.starts_with(&start), "{text}");
        assert!(text.contains("ss -ltnp"), "{text}");
    }

    #[test]
    fn an_inherited_socket_is_compared_with_the_whole_address() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        let at = |host: &str, port| Listen { host: host.to_owned(), port };
        assert!(agrees(&socket, Some(&at("127.0.0.1", port))));
        assert!(agrees(&socket, Some(&at("localhost", port))));
        for other in [at("127.0.0.1", port ^ 1), at("", port), at("::1", port)] {
            assert!(!agrees(&socket, Some(&other)), "{other:?}");
        }
        assert!(!agrees(&socket, None));
        let any = TcpListener::bind("0.0.0.0:0").expect("a free port");
        assert!(agrees(&any, Some(&at("", any.local_addr().expect("bound").port()))));
    }

    #[test]
    fn a_privileged_port_gets_the_documented_text_and_three_ways_out() {
        let error = Error::from(ErrorKind::PermissionDenied);
        let text = SocketError::Tcp {
            what: "HTTP",
            address: shown(&Listen { host: String::new(), port: 80 }),
            reason: reason(&error),
            way_out: way_out(&error, 80),
        }
        .to_string();
        let documented = "Could not initialize the HTTP listener: listen tcp :80: bind: permission denied\n";
        assert!(text.starts_with(documented), "{text}");
        assert!(text.contains("systemd") && text.contains("setcap") && text.contains("1024 up"), "{text}");
    }

    #[test]
    fn the_admin_socket_is_0660_replaces_a_stale_one_and_never_a_live_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rstudio-pm.sock");
        drop(bind_admin(&path).expect("bound"));
        std::fs::write(dir.path().join("file"), "precious").expect("written");
        let error = bind_admin(&dir.path().join("file")).expect_err("no socket").to_string();
        assert!(error.ends_with("it is not a socket; move it away"), "{error}");
        let alive = bind_admin(&path).expect("the stale one is replaced");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let error = bind_admin(&path).expect_err("somebody answers");
        assert!(error.to_string().contains("another rstudio-pm"), "{error}");
        drop(alive);
    }
}
