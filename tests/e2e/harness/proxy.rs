//! A network between the program and the API server that can be cut: bytes go through untouched, TLS included.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::Cluster;

/// The network; it ends with the test.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl State {
    fn close_all(&self) {
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    pub fn start(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (shared, server) = (state.clone(), cluster.server_address());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if !shared.is_cut.load(Ordering::SeqCst)
                    && let Ok(far) = TcpStream::connect(&server)
                {
                    join(&shared, &near, &far);
                }
            }
        });
        Self { address, state }
    }

    /// What to give as `--server`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Closes every connection and refuses new ones for a while.
    pub fn cut_for(&self, time: Duration) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.state.close_all();
        thread::sleep(time);
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        self.state.close_all();
    }
}

/// Carries bytes both ways until one side closes.
fn join(state: &State, near: &TcpStream, far: &TcpStream) {
    let mut connections = state.connections.lock().unwrap_or_else(PoisonError::into_inner);
    for (from, to) in [(near, far), (far, near)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        connections.push(from.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
