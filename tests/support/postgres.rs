//! A real PostgreSQL server, shared by every test process of this target directory.
//!
//! The first test that needs it starts it; a watchdog process stops it and removes its files when no test process
//! has held its `users` lock for half a minute. The server listens on a Unix socket and, with and without TLS, on a
//! loopback port.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::helper_program::HelperProgram;
use super::port::free_port;

/// The shared server.
pub(crate) struct Server {
    /// Directory of the Unix socket.
    pub(crate) socket: PathBuf,
    /// Loopback port.
    pub(crate) port: u16,
    /// Certificate of the authority that signed the server's certificate, which names `localhost`.
    pub(crate) authority: PathBuf,
    /// Certificate of a second authority.
    pub(crate) other_authority: PathBuf,
    /// Shared lock of the `users` file: the watchdog does not stop the server while a process holds one.
    _users_lock: File,
}

/// The password of the role `pm`, which may connect with or without TLS. Other roles: `postgres` (superuser, no
/// password), `tlsonly` (no password, TLS only).
pub(crate) const PASSWORD: &str = "s3cret:@";

static SERVER: OnceLock<Server> = OnceLock::new();

/// The running server. Without PostgreSQL, panics with the package to install.
pub(crate) fn server() -> &'static Server {
    SERVER.get_or_init(start)
}

impl Server {
    /// Creates an empty schema and returns its URL.
    pub(crate) fn schema(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}"));
        let socket = self.socket.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}:{}/postgres?search_path={name}", self.port)
    }

    /// Terminates the LISTEN sessions of all nodes, in every schema.
    pub(crate) fn end_listeners(&self) {
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rstudio-pm link'",
        );
    }

    /// Runs statements as superuser.
    pub(crate) fn sql(&self, sql: &str) {
        run(&self.socket, self.port, sql);
    }
}

fn run(socket: &Path, port: u16, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host_path(socket).port(port).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    });
}

/// The text in the first column of the first row of a query.
fn value(socket: &Path, port: u16, sql: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host_path(socket).port(port).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        let row = client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        row.get(0)
    })
}

/// A command for a program of PostgreSQL, as a different user if this one is root: PostgreSQL refuses to run as
/// root.
fn as_owner(program: &str) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let owner = owner().expect("root has another user for PostgreSQL");
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={}", owner.0),
        &format!("--regid={}", owner.1),
        "--clear-groups",
        program,
    ]);
    command
}

/// User and group of PostgreSQL's processes and files; `None` unless this process runs as root.
fn owner() -> Option<(u32, u32)> {
    let user =
        ["postgres", "nobody"].iter().find_map(|name| nix::unistd::User::from_name(name).ok().flatten())?;
    nix::unistd::geteuid().is_root().then_some((user.uid.as_raw(), user.gid.as_raw()))
}

fn give_to_owner(path: &Path) {
    if let Some((user, group)) = owner() {
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

fn start() -> Server {
    // The path of a socket is limited to 107 bytes, so each target directory has a home with a short name in /tmp.
    let target = fs::metadata(env!("CARGO_TARGET_TMPDIR")).expect("the target directory");
    let home = PathBuf::from(format!("/tmp/rspm-test-pg-{:x}-{:x}", target.dev(), target.ino()));
    fs::create_dir_all(&home).expect("/tmp can be written");
    give_to_owner(&home);
    let users_lock = File::create(home.with_extension("users")).expect("/tmp can be written");
    // Waits while the watchdog stops a server.
    users_lock.lock_shared().expect("a lock");
    let start_lock = File::create(home.with_extension("start")).expect("/tmp can be written");
    start_lock.lock().expect("a lock");
    let port = fs::read_to_string(home.join("ready")).ok().and_then(|text| text.trim().parse().ok());
    let is_running =
        |port: u16| std::os::unix::net::UnixStream::connect(home.join(format!(".s.PGSQL.{port}"))).is_ok();
    let port = match port {
        Some(port) if is_running(port) => port,
        _ => launch(&home),
    };
    drop(start_lock);
    let (authority, other_authority) = (home.join("authority.crt"), home.join("other_authority.crt"));
    Server { socket: home, port, authority, other_authority, _users_lock: users_lock }
}

fn launch(home: &Path) -> u16 {
    for entry in fs::read_dir(home).expect("just created").flatten() {
        let path = entry.path();
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
    let data = init_cluster(home);
    write_certificates(home, &data);
    let rules = "local all all trust\n\
        hostssl all tlsonly 127.0.0.1/32 trust\nhostssl all tlsonly ::1/128 trust\n\
        host all pm 127.0.0.1/32 scram-sha-256\nhost all pm ::1/128 scram-sha-256\n\
        host all postgres 127.0.0.1/32 trust\nhost all postgres ::1/128 trust\n";
    fs::write(data.join("pg_hba.conf"), rules).expect("the data directory can be written");
    let port = free_port();
    // One connection for each reader and writer of each running test.
    let settings = [
        format!("port={port}"),
        format!("unix_socket_directories={}", home.display()),
        "listen_addresses=localhost".into(),
        "fsync=off".into(),
        "full_page_writes=off".into(),
        "max_connections=300".into(),
        "max_wal_size=4GB".into(),
        "ssl=on".into(),
    ];
    let mut server = as_owner("postgres");
    server.arg("-D").arg(&data).args(settings.iter().flat_map(|s| ["-c", s.as_str()]));
    let server = start_postgres(server, home, port);
    start_watchdog(home, server.id());
    server.keep();
    let roles = format!("CREATE ROLE pm LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE tlsonly LOGIN SUPERUSER");
    run(home, port, &roles);
    run(home, port, "CREATE DATABASE pm OWNER pm");
    fs::write(home.join("ready"), port.to_string()).expect("the home can be written");
    port
}

/// Creates a cluster in `home` and returns its data directory.
fn init_cluster(home: &Path) -> PathBuf {
    let data = home.join("data");
    let output = as_owner("initdb")
        .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
        .arg(&data)
        .current_dir("/")
        .output()
        .unwrap_or_else(|e| {
            panic!("initdb cannot be run ({e}): install postgresql and put its bin into PATH")
        });
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    data
}

/// Starts a server, whose log is `home/log`, and waits until it accepts sessions.
fn start_postgres(mut command: Command, home: &Path, port: u16) -> HelperProgram {
    let log = File::options().read(true).write(true).create(true).truncate(true).open(home.join("log"));
    detach(command.current_dir("/"));
    let is_ready = || {
        let mut command = as_owner("pg_isready");
        command.arg("-q").arg("-h").arg(home).args(["-p", &port.to_string()]);
        command.current_dir("/").status().expect("pg_isready is installed with initdb").success()
    };
    HelperProgram::start(command, &log.expect("the home can be written"), is_ready)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A server used by one test, which may stop it.
pub(crate) struct DedicatedServer {
    home: tempfile::TempDir,
    /// Loopback port.
    pub(crate) port: u16,
    process: Option<HelperProgram>,
}

impl DedicatedServer {
    /// Creates a cluster and starts its server.
    pub(crate) fn start() -> DedicatedServer {
        DedicatedServer::new(false)
    }

    /// Starts a standby without a primary server.
    pub(crate) fn standby() -> DedicatedServer {
        DedicatedServer::new(true)
    }

    fn new(standby: bool) -> DedicatedServer {
        let home = tempfile::tempdir().expect("a directory");
        give_to_owner(home.path());
        let data = init_cluster(home.path());
        if standby {
            fs::write(data.join("standby.signal"), "").expect("the data directory can be written");
        }
        let port = free_port();
        let mut server = DedicatedServer { home, port, process: None };
        server.launch();
        server
    }

    /// Starts a standby that receives the changes of this server.
    pub(crate) fn streaming_standby(&self) -> DedicatedServer {
        let home = tempfile::tempdir().expect("a directory");
        give_to_owner(home.path());
        let output = as_owner("pg_basebackup")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "postgres",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
            ])
            .arg("-D")
            .arg(home.path().join("data"))
            .current_dir("/")
            .output()
            .unwrap_or_else(|e| panic!("pg_basebackup cannot be run ({e}): install postgresql-client"));
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let port = free_port();
        let mut server = DedicatedServer { home, port, process: None };
        server.launch();
        server
    }

    /// Waits until this standby has all changes of `primary`.
    pub(crate) fn wait_for(&self, primary: &DedicatedServer) {
        let position = primary.value("SELECT CAST(pg_current_wal_lsn() AS TEXT)");
        let start = Instant::now();
        while self.value(&format!("SELECT CAST(pg_last_wal_replay_lsn() >= '{position}' AS TEXT)")) != "true"
        {
            assert!(start.elapsed() < Duration::from_secs(120), "the standby does not follow");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes this standby receive nothing more.
    pub(crate) fn stop_receiving(&self) {
        self.sql("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'");
        self.sql("SELECT pg_reload_conf()");
        let start = Instant::now();
        while self.value("SELECT CAST(count(*) AS TEXT) FROM pg_stat_wal_receiver WHERE status = 'streaming'")
            != "0"
        {
            assert!(start.elapsed() < Duration::from_secs(120), "the standby still receives");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes this standby the primary server.
    pub(crate) fn promote(&self) {
        self.sql("SELECT pg_promote(true, 60)");
    }

    /// The text in the first column of the first row of a query.
    pub(crate) fn value(&self, sql: &str) -> String {
        value(self.home.path(), self.port, sql)
    }

    /// The URL of the database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs statements as superuser.
    pub(crate) fn sql(&self, sql: &str) {
        run(self.home.path(), self.port, sql);
    }

    /// Makes the server log each statement from now on.
    pub(crate) fn log_statements(&self) {
        self.sql("ALTER SYSTEM SET log_statement = 'all'");
        self.sql("SELECT pg_reload_conf()");
    }

    /// The statements in the log, in their order.
    pub(crate) fn logged_statements(&self) -> Vec<String> {
        let log = fs::read_to_string(self.home.path().join("log")).expect("the log of the server");
        let statement = |line: &str| {
            // The name of a prepared statement follows `execute`.
            let (_, text) =
                line.split_once("LOG:  execute ").or_else(|| line.split_once("LOG:  statement"))?;
            Some(text.split_once(": ")?.1.to_owned())
        };
        log.lines().filter_map(statement).collect()
    }

    /// Terminates all other sessions.
    pub(crate) fn end_sessions(&self) {
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        );
    }

    /// Starts the server, also after [`DedicatedServer::stop`].
    pub(crate) fn launch(&mut self) {
        let home = self.home.path();
        let mut command = as_owner("postgres");
        command.arg("-D").arg(home.join("data"));
        for setting in [
            format!("port={}", self.port),
            format!("unix_socket_directories={}", home.display()),
            "listen_addresses=127.0.0.1".to_owned(),
            "fsync=off".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        self.process = Some(start_postgres(command, home, self.port));
    }

    /// Stops the server and terminates its sessions.
    pub(crate) fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            let pid = nix::unistd::Pid::from_raw(process.id().cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("it runs");
            process.wait();
        }
    }
}

impl Drop for DedicatedServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn detach(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    // A separate process group, so that Ctrl-C in one test run does not stop the server of another.
    command.process_group(0)
}

/// Starts the watchdog, which stops the server after half a minute without users.
#[allow(clippy::zombie_processes, reason = "it intentionally outlives this process")]
fn start_watchdog(home: &Path, pid: u32) {
    const SCRIPT: &str = "idle=0
        while kill -0 $1 2>/dev/null; do
            sleep 5
            if flock -n -x $2.users true; then idle=$((idle + 1)); else idle=0; fi
            if [ $idle -ge 6 ]; then
                flock -n -x $2.users sh -c 'rm -f $1/ready; kill -INT $0; while kill -0 $0 2>/dev/null; do sleep 0.1; done; rm -rf $1/data' $1 $2 && exit
                idle=0
            fi
        done";
    let mut watchdog = Command::new("sh");
    watchdog.args(["-c", SCRIPT, "watchdog", &pid.to_string()]).arg(home).current_dir("/");
    detach(watchdog.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())).spawn().expect("sh");
}

/// Writes the certificates of two authorities to `home`, and a server certificate of the first one to `data`.
fn write_certificates(home: &Path, data: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(home.join(format!("{name}.crt")), certificate.pem()).expect("the home can be written");
        Issuer::new(params, key)
    };
    let issuer = authority("authority");
    authority("other_authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    fs::write(data.join("server.crt"), certificate.pem()).expect("the data directory can be written");
    let file = data.join("server.key");
    fs::write(&file, key.serialize_pem()).expect("the data directory can be written");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("our file");
    give_to_owner(&file);
    give_to_owner(&data.join("server.crt"));
}
