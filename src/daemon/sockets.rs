//! Opens the listening sockets: inherited from systemd or bound here; once, before threads are started.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::AcceptConn;
use nix::sys::stat::{Mode, umask};

use super::bind::{SocketError, bind, display_address};
use base::config::{Config, Listen};

pub struct Sockets {
    pub http: Vec<TcpListener>,
    pub https: Vec<TcpListener>,
    pub redirect: Vec<TcpListener>,
    pub metrics: Vec<TcpListener>,
    /// `<SockFileDir>/rstudio-pm.sock`.
    pub admin: UnixListener,
    /// The path that the server removes when it ends; `None` if systemd owns the socket.
    pub admin_path: Option<PathBuf>,
    /// Differences between the inherited sockets and the gcfg, for the log.
    pub warnings: Vec<String>,
    /// Listeners that could not be opened; the server runs without them and retries.
    pub missing_listeners: Vec<MissingListener>,
    /// Whether an inherited socket that differs from the configuration is used because there is no other.
    pub is_outdated: bool,
}

/// Returns the path of the admin socket if a server in any mode answers on it. Fails if this process cannot connect.
pub(super) fn answering_server(config: &Config) -> Result<Option<PathBuf>, (PathBuf, Error)> {
    let path = admin_path(config);
    match UnixStream::connect(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(source) => Err((path, source)),
    }
}

/// A kind of TCP listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    Http,
    Https,
    Redirect,
    Metrics,
}

impl ListenerKind {
    /// The name in `FileDescriptorName=` of the socket units.
    pub fn name(self) -> &'static str {
        match self {
            ListenerKind::Http => "http",
            ListenerKind::Https => "https",
            ListenerKind::Redirect => "redirect",
            ListenerKind::Metrics => "metrics",
        }
    }

    pub fn section(self) -> &'static str {
        match self {
            ListenerKind::Http => "HTTP",
            ListenerKind::Https => "HTTPS",
            ListenerKind::Redirect => "HTTPRedirect",
            ListenerKind::Metrics => "Metrics",
        }
    }

    pub fn serves_packages(self) -> bool {
        match self {
            ListenerKind::Http | ListenerKind::Https => true,
            ListenerKind::Redirect | ListenerKind::Metrics => false,
        }
    }
}

#[derive(Debug)]
pub struct MissingListener {
    pub kind: ListenerKind,
    pub listen: Listen,
    pub error: SocketError,
}

impl Sockets {
    /// For `systemctl status`.
    pub fn remark(&self) -> Option<String> {
        self.is_outdated
            .then(|| format!("the listening sockets differ from the configuration; run: {APPLY_COMMANDS}"))
    }

    pub fn admin_address(&self) -> PathBuf {
        let address = self.admin.local_addr().ok();
        address.and_then(|address| address.as_pathname().map(Path::to_owned)).unwrap_or_default()
    }

    /// Addresses of the HTTP and redirect listeners, reachable from this machine.
    pub fn plain_addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: &TcpListener| {
            let mut address = socket.local_addr().ok()?;
            if address.ip().is_unspecified() {
                let v4 = std::net::Ipv4Addr::LOCALHOST;
                address.set_ip(if address.is_ipv4() {
                    v4.into()
                } else {
                    std::net::Ipv6Addr::LOCALHOST.into()
                });
            }
            Some(address)
        };
        self.http.iter().chain(&self.redirect).filter_map(address).collect()
    }
}

/// Returns whether systemd has passed sockets, which remain open when this process exits.
pub fn passed_by_systemd() -> bool {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<usize>().ok());
    let is_own_pid = match std::env::var_os("LISTEN_PID") {
        None => true,
        Some(_) => number("LISTEN_PID") == Some(std::process::id() as usize),
    };
    is_own_pid && number("LISTEN_FDS").is_some_and(|count| (1..=MAX_LISTEN_FDS).contains(&count))
}

pub fn admin_path(config: &Config) -> PathBuf {
    config.server.sock_file_dir.join("rstudio-pm.sock")
}

/// The commands that apply the configured addresses to the sockets of systemd.
const APPLY_COMMANDS: &str = base::config::RESTART_COMMAND;

pub(super) struct PassedSockets {
    /// Sockets with the names that systemd uses.
    pub(super) sockets: Vec<(String, OwnedFd)>,
    /// Whether the server, not systemd, created the admin socket.
    pub(super) owns_admin_socket: bool,
}

/// The sockets that are opened before privileges are dropped: TCP, and an inherited admin socket.
pub(super) struct BoundSockets {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    redirect: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    admin: Option<UnixListener>,
    owns_admin_socket: bool,
    warnings: Vec<String>,
    missing_listeners: Vec<MissingListener>,
    is_outdated: bool,
}

/// Takes the sockets that systemd (`LISTEN_FDNAMES`: http, https, redirect, metrics, admin) or the old server passes,
/// and binds the missing TCP addresses. If the configuration `is_valid`, sockets without a configured address are
/// closed. Fails with the first socket that cannot be opened, unless systemd or an old server has passed sockets: then
/// it is retried later, as is the metrics socket always, because its default port may be in use by another program.
pub(super) fn bind_all(
    config: &Config,
    is_valid: bool,
    passed_sockets: Option<PassedSockets>,
) -> Result<BoundSockets, SocketError> {
    let owns_admin_socket = passed_sockets.as_ref().is_some_and(|passed| passed.owns_admin_socket);
    let mut inherited = passed_sockets.map_or_else(InheritedSockets::take, InheritedSockets::from_passed);
    let has_inherited_sockets = inherited.has_sockets();
    let mut warnings = std::mem::take(&mut inherited.warnings);
    let (mut missing_listeners, mut is_outdated) = (Vec::new(), false);
    let listeners = [
        (ListenerKind::Http, inherited.http, config.http.listen.as_ref()),
        // Used even without HTTPS in the configuration: connections are closed instead of hanging, and the
        // socket is there once the configuration is fixed.
        (ListenerKind::Https, inherited.https, config.https.listen.as_ref()),
        (ListenerKind::Redirect, inherited.redirect, config.http_redirect.listen.as_ref()),
        (ListenerKind::Metrics, inherited.metrics, config.metrics.listen.as_ref()),
    ];
    let is_configured = |(_, sockets, listen): &(ListenerKind, Vec<TcpListener>, Option<&Listen>)| {
        sockets.iter().any(|socket| has_address(socket, *listen))
    };
    let any_is_configured = is_valid && listeners.iter().any(is_configured);
    let mut tcp = |kind: ListenerKind, sockets: Vec<TcpListener>, listen: Option<&Listen>| {
        let section = kind.section();
        // An invalid configuration may name an address that cannot be parsed, which another message reports.
        let is_unknown = !is_valid && listen.is_none();
        let (mut used_sockets, other_sockets): (Vec<_>, Vec<_>) =
            sockets.into_iter().partition(|socket| is_unknown || has_address(socket, listen));
        // systemd before version 252 still passes the socket of a previously configured address.
        let closes_others = if listen.is_some() { !used_sockets.is_empty() } else { any_is_configured };
        for socket in other_sockets {
            if let Ok(address) = socket.local_addr() {
                let configured_address = listen.map_or_else(|| "nothing".to_owned(), display_address);
                let consequence =
                    if closes_others { "closed here".to_owned() } else { format!("run: {APPLY_COMMANDS}") };
                warnings.push(format!(
                    "systemd listens on {address} for {section}, the configuration has {configured_address}; {consequence}"
                ));
            }
            if !closes_others {
                is_outdated = true;
                used_sockets.push(socket);
            }
        }
        if let (true, Some(listen)) = (used_sockets.is_empty(), listen) {
            match bind(section, listen) {
                Ok(socket) => used_sockets.push(socket),
                Err(error) if has_inherited_sockets || kind == ListenerKind::Metrics => {
                    missing_listeners.push(MissingListener { kind, listen: listen.clone(), error });
                }
                Err(error) => return Err(error),
            }
        }
        // Required by tokio.
        used_sockets.iter().try_for_each(|socket| set_nonblocking("TCP", socket.set_nonblocking(true)))?;
        Ok(used_sockets)
    };
    let [http, https, redirect, metrics] =
        listeners.map(|(kind, sockets, listen)| tcp(kind, sockets, listen));
    let (http, https, redirect, metrics) = (http?, https?, redirect?, metrics?);
    let admin = inherited.admin;
    Ok(BoundSockets {
        http,
        https,
        redirect,
        metrics,
        admin,
        owns_admin_socket,
        warnings,
        missing_listeners,
        is_outdated,
    })
}

impl BoundSockets {
    /// Adds the admin socket. If systemd has not passed it, binds it as the server's user, who then owns the file.
    pub(super) fn with_admin(mut self, config: &Config) -> Result<Sockets, SocketError> {
        let (admin, admin_path) = match self.admin.take() {
            Some(socket) => {
                let mismatch = path_mismatch(&socket, config);
                self.is_outdated |= mismatch.is_some();
                self.warnings.extend(mismatch);
                (socket, self.owns_admin_socket.then(|| admin_path(config)))
            }
            None => {
                let path = admin_path(config);
                (bind_admin(&path)?, Some(path))
            }
        };
        set_nonblocking("admin", admin.set_nonblocking(true))?;
        let BoundSockets { http, https, redirect, metrics, warnings, missing_listeners, is_outdated, .. } =
            self;
        Ok(Sockets {
            http,
            https,
            redirect,
            metrics,
            admin,
            admin_path,
            warnings,
            missing_listeners,
            is_outdated,
        })
    }
}

fn set_nonblocking(name: &'static str, result: std::io::Result<()>) -> Result<(), SocketError> {
    result.map_err(|source| SocketError::NonBlocking { name, source })
}

/// Returns a warning if the inherited admin socket has another canonical path: `/var/run` links to `/run`.
fn path_mismatch(socket: &UnixListener, config: &Config) -> Option<String> {
    let address = socket.local_addr().ok()?;
    let (inherited_path, configured_path) = (address.as_pathname()?, admin_path(config));
    let real_path = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    (real_path(inherited_path) != real_path(&configured_path)).then(|| {
        format!(
            "systemd listens on {} for administrators, but the configuration has {}; run: {APPLY_COMMANDS}",
            inherited_path.display(),
            configured_path.display()
        )
    })
}

/// Returns whether a socket has the configured address; the address of a host name may change, so only its port counts.
fn has_address(socket: &TcpListener, listen: Option<&Listen>) -> bool {
    let (Ok(address), Some(listen)) = (socket.local_addr(), listen) else { return false };
    let is_same_host = match listen.host.parse::<IpAddr>() {
        Ok(host) => address.ip() == host,
        Err(_) => !listen.host.is_empty() || address.ip().is_unspecified(),
    };
    // Port 0 matches any port: the system has chosen it.
    is_same_host && (listen.port == 0 || address.port() == listen.port)
}

/// Binds the admin socket with mode 0660 and replaces the file of a crashed process.
fn bind_admin(path: &Path) -> Result<UnixListener, SocketError> {
    let admin_error = |reason: String| SocketError::Admin { path: path.to_owned(), reason };
    if UnixStream::connect(path).is_ok() {
        return Err(admin_error("another rstudio-pm answers on it; stop that one first".to_owned()));
    }
    if path.metadata().is_ok_and(|metadata| !metadata.file_type().is_socket()) {
        return Err(admin_error("it is not a socket; move it away".to_owned()));
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(admin_error(format!("could not remove the old one: {error}"))),
    }
    // The socket must be created with this mode: before a later chmod, other users could connect.
    let old_umask = umask(Mode::from_bits_truncate(0o117));
    let result = UnixListener::bind(path);
    umask(old_umask);
    result.map_err(|error| {
        admin_error(match error.kind() {
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

/// Sockets from systemd or from the old server.
#[derive(Default)]
struct InheritedSockets {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    redirect: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
    admin: Option<UnixListener>,
    /// Warnings about inherited sockets that are not used.
    warnings: Vec<String>,
}

/// Maximum of `LISTEN_FDS`; more than any configuration needs.
const MAX_LISTEN_FDS: usize = 64;

impl InheritedSockets {
    fn has_sockets(&self) -> bool {
        let tcp = [&self.http, &self.https, &self.redirect, &self.metrics];
        self.admin.is_some() || tcp.iter().any(|sockets| !sockets.is_empty())
    }

    fn from_passed(passed: PassedSockets) -> InheritedSockets {
        let mut inherited = InheritedSockets::default();
        for (name, fd) in passed.sockets {
            match name.as_str() {
                "http" => inherited.http.push(fd.into()),
                "https" => inherited.https.push(fd.into()),
                "redirect" => inherited.redirect.push(fd.into()),
                "metrics" => inherited.metrics.push(fd.into()),
                "admin" => inherited.admin = Some(fd.into()),
                // The old server has a kind of listener that this version lacks.
                name => inherited.warnings.push(format!("the listening socket '{name}' is no longer used")),
            }
        }
        inherited
    }

    /// Takes sockets by the protocol of sd_listen_fds(3). Unusable ones are reported and remain open.
    fn take() -> InheritedSockets {
        let mut inherited = InheritedSockets::default();
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let Some(count) = variable("LISTEN_FDS") else { return inherited };
        if !count.parse::<usize>().is_ok_and(|count| count <= MAX_LISTEN_FDS) {
            inherited
                .warnings
                .push(format!("LISTEN_FDS is '{count}', not a number up to {MAX_LISTEN_FDS}; it is ignored"));
            return inherited;
        }
        // ListenFd removes LISTEN_PID and LISTEN_FDS.
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut fds = ListenFd::from_env();
        for index in 0..fds.len() {
            let name = names.get(index).copied().unwrap_or_default();
            if let Err(error) = inherited.add(&mut fds, index, name) {
                inherited.warnings.push(format!(
                    "could not use the inherited socket {index}, named '{name}', which stays open: {error}"
                ));
            }
        }
        inherited
    }

    fn add(&mut self, fds: &mut ListenFd, index: usize, name: &str) -> Result<(), Error> {
        match name {
            "http" => self.http.extend(require_listening(fds.take_tcp_listener(index)?)?),
            "https" => self.https.extend(require_listening(fds.take_tcp_listener(index)?)?),
            "redirect" => self.redirect.extend(require_listening(fds.take_tcp_listener(index)?)?),
            "metrics" => self.metrics.extend(require_listening(fds.take_tcp_listener(index)?)?),
            "admin" => self.admin = require_listening(fds.take_unix_listener(index)?)?.or(self.admin.take()),
            _ => {
                let rule = "FileDescriptorName= must be http, https, redirect, metrics or admin";
                return Err(Error::new(ErrorKind::InvalidInput, rule));
            }
        }
        Ok(())
    }
}

/// Rejects a socket that does not listen, such as a connection: every accept(2) on it would fail.
fn require_listening<T: AsFd>(socket: Option<T>) -> Result<Option<T>, Error> {
    match &socket {
        Some(socket) if !getsockopt(socket, AcceptConn)? => {
            Err(Error::new(ErrorKind::InvalidInput, "it does not listen: the unit must set Accept=no"))
        }
        Some(_) | None => Ok(socket),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::{SFlag, mknod};

    use super::*;

    #[test]
    fn an_invalid_address_causes_no_second_message() {
        let text = b"[HTTP]\nListen = :99999\n";
        let (config, errors) = base::config::parse_valid_part("f", text);
        assert_eq!(errors.len(), 1);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let bind = |is_valid| {
            let socket = listener.try_clone().expect("a copy");
            let sockets = vec![("http".to_owned(), socket.into())];
            bind_all(&config, is_valid, Some(PassedSockets { sockets, owns_admin_socket: false }))
                .expect("bound")
        };
        let bound = bind(false);
        assert_eq!(
            (bound.http.len(), bound.is_outdated, bound.warnings.as_slice()),
            (1, false, [].as_slice())
        );
        // If a valid configuration has no HTTP listener, the socket is wrong.
        assert!(bind(true).warnings.iter().any(|warning| warning.contains("the configuration has nothing")));
    }
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_inherited_socket_is_compared_with_the_whole_address() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        let listen = |host: &str, port| Listen { host: host.to_owned(), port };
        assert!(has_address(&socket, Some(&listen("127.0.0.1", port))));
        assert!(has_address(&socket, Some(&listen("localhost", port))));
        for other in [listen("127.0.0.1", port ^ 1), listen("", port), listen("::1", port)] {
            assert!(!has_address(&socket, Some(&other)), "{other:?}");
        }
        assert!(!has_address(&socket, None));
        let any = TcpListener::bind("0.0.0.0:0").expect("a free port");
        assert!(has_address(&any, Some(&listen("", any.local_addr().expect("bound").port()))));
    }

    #[test]
    fn the_admin_socket_has_mode_0660_and_replaces_only_a_stale_socket() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rstudio-pm.sock");
        // Not by binding: a process that another test begins has the descriptor for a moment.
        mknod(&path, SFlag::S_IFSOCK, Mode::S_IRWXU, 0).expect("a socket without a server");
        std::fs::write(dir.path().join("file"), "content").expect("written");
        let error = bind_admin(&dir.path().join("file")).expect_err("no socket").to_string();
        assert!(error.ends_with("it is not a socket; move it away"), "{error}");
        let listener = bind_admin(&path).expect("the stale one is replaced");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let error = bind_admin(&path).expect_err("a server answers");
        assert!(error.to_string().contains("another rstudio-pm"), "{error}");
        drop(listener);
        let error = bind_admin(&dir.path().join("a".repeat(108))).expect_err("too long").to_string();
        assert!(error.contains("too long for a socket"), "{error}");
    }
}
