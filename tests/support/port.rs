//! Ports of servers that are configured with a number.

/// A loopback port without a listener at this moment. It is below the range in which the kernel chooses ports, so that
/// no connection or listener of another test takes it before it is used.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = rand::random_range(10_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("all ports have a listener");
}
