//! A way to a server whose connections can be cut: both directions at once, in the middle of whatever was on its way.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use stele_testkit::random::Random;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::AbortHandle;

/// Where it leads.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Listens on loopback until it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    accepting: AbortHandle,
}

impl Proxy {
    pub(crate) async fn start(server: Server) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let connections: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let accepting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let connection = tokio::spawn(forward(client, server.clone())).abort_handle();
                    let mut connections = connections.lock().expect("nothing panics with it");
                    connections.retain(|connection| !connection.is_finished());
                    connections.push(connection);
                }
            }
        });
        Ok(Self { address, connections, accepting: accepting.abort_handle() })
    }

    /// Cuts about half of the connections; how many.
    pub(crate) fn cut(&self, random: &mut Random) -> u32 {
        let connections = self.connections.lock().expect("nothing panics with it");
        let mut count = 0;
        for connection in connections.iter().filter(|connection| !connection.is_finished()) {
            if random.below(2) == 0 {
                connection.abort();
                count += 1;
            }
        }
        count
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.connections.lock().expect("nothing panics with it").iter().for_each(AbortHandle::abort);
    }
}

/// Until one side ends, or the task is aborted, which drops both.
async fn forward(mut client: TcpStream, server: Server) {
    // Either end may be gone: that is what the proxy is for.
    match server {
        Server::Tcp(address) => {
            if let Ok(mut server) = TcpStream::connect(address).await {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        }
        Server::Unix(path) => {
            if let Ok(mut server) = UnixStream::connect(path).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        }
    }
}
