//! Which server is meant.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

use super::client::Client;
use super::wire::Pen;

/// A server's address, and how requests to it are written.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    pub(super) pen: Pen,
}

impl Server {
    /// A connection of one's own.
    pub(super) fn client(&self) -> Client {
        Client::new(self.address, self.pen.clone())
    }
}

impl FromStr for Server {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("must begin with http://");
        };
        let host = rest.strip_suffix('/').unwrap_or(rest);
        ensure!(
            !host.is_empty() && !host.contains(['/', '?', '#', '@']),
            "must be http://HOST:PORT"
        );
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let named = if has_port { host.to_owned() } else { format!("{host}:80") };
        let mut addresses = named.to_socket_addrs().with_context(|| format!("no host {host}"))?;
        let address = addresses.next().with_context(|| format!("{host} has no address"))?;
        Ok(Self { url: format!("http://{host}"), address, pen: Pen::new(host) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_url() {
        let server: Server = "http://127.0.0.1:8080/".parse().unwrap();
        assert_eq!((server.url.as_str(), server.address.port()), ("http://127.0.0.1:8080", 8080));
        assert_eq!("http://127.0.0.1".parse::<Server>().unwrap().address.port(), 80);
        assert_eq!("http://[::1]:81".parse::<Server>().unwrap().address.port(), 81);
        for bad in
            ["", "127.0.0.1:8080", "https://127.0.0.1", "http://", "http://a:1/api", "http://u@h"]
        {
            assert!(bad.parse::<Server>().is_err(), "{bad}");
        }
    }
}
