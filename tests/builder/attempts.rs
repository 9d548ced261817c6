//! The attempts of hostile code in a build, and what prevents each.

use std::fmt::Write;

/// A shell command of a build, which exits with 0 only if the attempt succeeds.
pub(crate) struct Attempt {
    pub(crate) name: String,
    pub(crate) command: String,
    /// What prevents it; `None` for a control, which must succeed: it shows that the tools work in the sandbox.
    pub(crate) obstacle: Option<&'static str>,
}

/// What exists outside of the sandbox.
pub(crate) struct Targets {
    /// Files that contain secrets.
    pub(crate) files: Vec<String>,
    /// Sockets with a listener: paths, or names of abstract sockets that begin with `@`.
    pub(crate) sockets: Vec<String>,
    /// Sockets of the kind `SOCK_SEQPACKET`.
    pub(crate) packet_sockets: Vec<String>,
    /// IPv4 addresses and ports with a listener.
    pub(crate) addresses: Vec<(String, u16)>,
    /// An argument of a process of another user.
    pub(crate) process: String,
    /// An argument of a process of another build.
    pub(crate) other_build: Option<String>,
}

/// An attempt that must fail.
fn attack(name: impl Into<String>, command: impl Into<String>, obstacle: &'static str) -> Attempt {
    Attempt { name: name.into(), command: command.into(), obstacle: Some(obstacle) }
}

/// A command that must succeed.
fn control(name: &str, command: &str) -> Attempt {
    Attempt { name: name.to_owned(), command: command.to_owned(), obstacle: None }
}

/// The command that runs a Perl program, in which `die` exits with an error.
fn perl(program: &str) -> String {
    format!("exec perl -MSocket -e '{program}'")
}

/// The command for a system call; in `arguments`, `$p` is a pointer to the buffer.
fn system_call(number: u32, buffer: &str, arguments: &str) -> String {
    perl(&format!("my $p = {buffer}; syscall({number}, {arguments}) == -1 and die \"$!\\n\""))
}

/// The command that connects to a Unix socket of this kind.
fn unix_socket(path: &str, kind: &str) -> String {
    let path = path.strip_prefix('@').map_or(path.to_owned(), |name| format!("\\0{name}"));
    perl(&format!(
        "socket(S, PF_UNIX, {kind}, 0) or die \"$!\\n\"; connect(S, pack_sockaddr_un(\"{path}\")) or die \"$!\\n\""
    ))
}

const MOUNTS: &str = "the mount namespace, in which the path is missing or inaccessible; Landlock";
const READ_ONLY: &str = "a read-only file system; Landlock";
const OTHER_PROCESSES: &str =
    "the process is not visible: ProtectProc= and the uid, or the process namespace";
const DUMPABLE: &str = "the builder is not dumpable";
const NETWORK: &str = "the network namespace without interfaces";
const FAMILIES: &str = "RestrictAddressFamilies=, or missing privileges in the namespace";
const PRIVILEGES: &str = "no capabilities and no new privileges, or the system call filter";

/// All attempts.
pub(crate) fn attempts(targets: &Targets) -> Vec<Attempt> {
    let mut list = vec![
        control("run a program", "true"),
        control("read a library", "head -c 1 /usr/lib/os-release"),
        control("write the workspace", "echo x > \"$HOME/x\" && cat \"$HOME/x\""),
        control("write to /dev/shm", "echo x > /dev/shm/x"),
        control("run Perl with sockets", &perl("socket(S, PF_INET, SOCK_STREAM, 0) or die \"$!\\n\"")),
        control(
            "connect over the loopback interface",
            &perl(
                "socket(L, PF_INET, SOCK_STREAM, 0); bind(L, pack_sockaddr_in(0, INADDR_LOOPBACK)) or die \"$!\\n\"; \
                 listen(L, 1); socket(S, PF_INET, SOCK_STREAM, 0); connect(S, getsockname(L)) or die \"$!\\n\"",
            ),
        ),
    ];
    for path in &targets.files {
        list.push(attack(format!("read {path}"), format!("cat {path}"), MOUNTS));
    }
    for path in ["/root", "/home/administrator", "/var/lib/rstudio-pm", "/var/log/rstudio"] {
        list.push(attack(format!("list {path}"), format!("ls {path}/*"), MOUNTS));
    }
    list.extend([
        attack("read /etc/shadow", "cat /etc/shadow", "the uid, Landlock"),
        attack("read another file of /etc", "cat /etc/login.defs", "Landlock"),
        attack("read the journal", "cat /var/log/journal/*/* /run/log/journal/*/*", MOUNTS),
        attack("query the journal", "journalctl -n 1 --no-pager -q | grep .", MOUNTS),
        attack("read the kernel log", "dmesg | grep .", "ProtectKernelLogs=, missing privileges"),
    ]);

    let process = &targets.process;
    let builder = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | \
                   grep -q '^[^ ]*rstudio-pm-builder build' && B=$p; done; [ -n \"$B\" ] || exit 1";
    list.extend([
        attack("find a process of another user", format!("grep -la '{process}' /proc/[0-9]*/cmdline"), OTHER_PROCESSES),
        attack("read the environment of process 1", "cat /proc/1/environ | grep -a .", OTHER_PROCESSES),
        attack("open the root of process 1", "cat /proc/1/root/etc/shadow", OTHER_PROCESSES),
        attack("read the environment of the builder", format!("{builder}; cat $B/environ"), DUMPABLE),
        // A server that is root owns the directory, so that a builder in bubblewrap can list the numbers.
        attack("read the descriptors of the builder", format!("{builder}; readlink $B/fd/*"), DUMPABLE),
        attack(
            "write to the descriptors of the builder",
            format!("{builder}; done=1; for f in 3 4 5 6 7 8 9; do (echo x > $B/fd/$f) && done=0; done; exit $done"),
            DUMPABLE,
        ),
        attack("read the memory of the builder", format!("{builder}; head -c 1 $B/mem"), DUMPABLE),
        attack(
            "trace the builder",
            format!("{builder}; P=${{B#/proc/}}; perl -e 'syscall(101, 16, $ARGV[0], 0, 0) == -1 and die \"$!\\n\"' $P"),
            "the builder is not dumpable, the system call filter",
        ),
        attack(
            "see more processes than its own",
            "n=0; for p in /proc/[0-9]*; do [ -O $p ] || [ $p = /proc/1 ] || n=$((n+1)); done; [ $n -gt 2 ]",
            OTHER_PROCESSES,
        ),
    ]);
    if let Some(process) = &targets.other_build {
        list.extend([
            attack("find a process of another build", format!("grep -la '{process}' /proc/[0-9]*/cmdline"), OTHER_PROCESSES),
            attack(
                "end a process of another build",
                format!("for p in /proc/[0-9]*; do grep -qa '{process}' $p/cmdline && kill -9 ${{p#/proc/}} && exit 0; done; exit 1"),
                OTHER_PROCESSES,
            ),
            attack("read files of another build", "cat /build/canary /tmp/canary", MOUNTS),
        ]);
    }

    for path in &targets.sockets {
        let obstacle = if path.starts_with('@') {
            "the network namespace: it has abstract names of its own"
        } else {
            MOUNTS
        };
        list.push(attack(format!("connect to {path}"), unix_socket(path, "SOCK_STREAM"), obstacle));
    }
    for path in &targets.packet_sockets {
        list.push(attack(format!("connect to {path}"), unix_socket(path, "SOCK_SEQPACKET"), MOUNTS));
    }
    list.push(attack(
        "write to the journal",
        unix_socket("/run/systemd/journal/dev-log", "SOCK_DGRAM"),
        MOUNTS,
    ));
    for (host, port) in &targets.addresses {
        let program = format!(
            "socket(S, PF_INET, SOCK_STREAM, 0); connect(S, pack_sockaddr_in({port}, inet_aton(\"{host}\"))) or die \
             \"$!\\n\""
        );
        list.push(attack(format!("connect to {host}:{port}"), perl(&program), NETWORK));
    }
    list.extend([
        attack(
            "connect to a cloud's metadata",
            perl("socket(S, PF_INET, SOCK_STREAM, 0); connect(S, pack_sockaddr_in(80, inet_aton(\"169.254.169.254\"))) or die \"$!\\n\""),
            NETWORK,
        ),
        attack(
            "send a DNS query",
            perl("socket(S, PF_INET, SOCK_DGRAM, 0); send(S, \"x\" x 20, 0, pack_sockaddr_in(53, inet_aton(\"192.0.2.1\"))) or die \"$!\\n\""),
            NETWORK,
        ),
        attack(
            "broadcast",
            perl("socket(S, PF_INET, SOCK_DGRAM, 0); setsockopt(S, SOL_SOCKET, SO_BROADCAST, 1); send(S, \"x\", 0, pack_sockaddr_in(9, inet_aton(\"255.255.255.255\"))) or die \"$!\\n\""),
            NETWORK,
        ),
        attack("resolve a name", "getent ahosts cran.r-project.org", NETWORK),
        attack("open a raw socket", perl("socket(S, PF_INET, SOCK_RAW, 1) or die \"$!\\n\""), PRIVILEGES),
        attack("open a packet socket", perl("socket(S, 17, SOCK_RAW, 768) or die \"$!\\n\""), FAMILIES),
        attack("open a Bluetooth socket", perl("socket(S, 31, SOCK_RAW, 1) or die \"$!\\n\""), FAMILIES),
        attack("become root", perl("$> = 0; $> == 0 or die \"uid $>\\n\""), PRIVILEGES),
        attack("use su", "echo | su -c true root", PRIVILEGES),
        attack("mount a file system", "mount -t tmpfs none \"$HOME\"", PRIVILEGES),
        attack("mount /proc again", "mount -t proc proc /proc", PRIVILEGES),
        attack("enter a namespace of process 1", "nsenter -t 1 -m true", PRIVILEGES),
        attack("change the root directory", "/usr/sbin/chroot / true", PRIVILEGES),
        attack("create a device", "mknod \"$HOME/d\" b 8 0", PRIVILEGES),
        attack("open a disk", "head -c 1 /dev/vda || head -c 1 /dev/sda || head -c 1 /dev/nvme0n1", "PrivateDevices="),
        attack("open physical memory", "head -c 1 /dev/mem || head -c 1 /dev/kmem", "PrivateDevices="),
        attack("change the host name", "echo x > /proc/sys/kernel/hostname", READ_ONLY),
        attack("set the clock", "date -s @0", PRIVILEGES),
        attack("load a kernel module", system_call(313, "\"\\0\"", "0, $p, 0"), PRIVILEGES),
        attack("create a BPF map", system_call(321, "pack(\"L16\", 2, 4, 4, 1)", "0, $p, 64"), PRIVILEGES),
        attack("change what Ctrl-Alt-Del does", system_call(169, "0", "0xfee1dead, 672274793, 0x89abcdef, 0"), PRIVILEGES),
        attack("raise its priority", "[ $(nice -n -5 nice) -lt $(nice) ]", PRIVILEGES),
        attack("end process 1", "kill -9 1 && sleep 1 && [ ! -e /proc/self ]", PRIVILEGES),
        attack("write to /etc", "echo x > /etc/canary", READ_ONLY),
        attack("write to /usr", "echo x > /usr/canary", READ_ONLY),
        attack("write to R's library", "echo x > /usr/lib/R/library/canary", READ_ONLY),
        attack("write to /opt", "echo x > /opt/canary", READ_ONLY),
        attack("write to /run", "echo x > /run/canary", READ_ONLY),
        attack("write to /tmp", "echo x > /tmp/canary", "a read-only file system, or Landlock"),
        attack("write to /var/tmp", "echo x > /var/tmp/canary", "a read-only file system, or Landlock"),
        attack("write a scheduled task", "echo x > /var/spool/cron/crontabs/canary", MOUNTS),
        attack("write to its control group", "echo 1 > /sys/fs/cgroup/cgroup.procs", READ_ONLY),
        attack("write a core pattern", "echo x > /proc/sys/kernel/core_pattern", READ_ONLY),
    ]);
    list
}

/// The shell script that makes all attempts, and writes one line for each to `attempts.txt`.
pub(crate) fn script(attempts: &[Attempt]) -> String {
    let mut script = "#!/bin/sh\nattempt() {\n    out=$(timeout 10 sh 2>&1)\n    code=$?\n    \
         echo \"$1 $code $(printf %s \"$out\" | tail -n 1 | tr -d '\\r' | cut -c 1-150)\" >> attempts.txt\n}\n"
        .to_owned();
    for (number, attempt) in attempts.iter().enumerate() {
        writeln!(script, "attempt {number} <<'END'\n{}\nEND", attempt.command).unwrap();
    }
    script
}

/// Prints each line of `attempts.txt` as a row of a table, and panics if a result is not the expected one.
pub(crate) fn check(attempts: &[Attempt], lines: &str) {
    let mut mismatches = Vec::new();
    let mut results = vec![None; attempts.len()];
    for line in lines.lines() {
        let (number, rest) = line.split_once(' ').unwrap();
        let (code, output) = rest.split_once(' ').unwrap();
        results[number.parse::<usize>().unwrap()] = Some((code.to_owned(), output.to_owned()));
    }
    for (attempt, result) in attempts.iter().zip(results) {
        let (code, output) = result.unwrap_or_else(|| panic!("{} was not attempted", attempt.name));
        let expected = attempt.obstacle.unwrap_or("permitted");
        println!("{:45} | {:55} | exit {code}: {output}", attempt.name, expected);
        if (code == "0") == attempt.obstacle.is_some() {
            mismatches.push(format!("{}: exit {code}: {output}", attempt.name));
        }
    }
    let attack_count = attempts.iter().filter(|attempt| attempt.obstacle.is_some()).count();
    println!("{attack_count} attempts, {} controls", attempts.len() - attack_count);
    assert!(mismatches.is_empty(), "{mismatches:#?}");
}
