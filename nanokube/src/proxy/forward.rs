//! One connection through the proxy: bytes both ways until both sides have said goodbye, or one is cut off.
//!
//! A reset on one side is passed on as a reset, so that a client can tell "cut off" from "done".

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

/// Per direction. Requests and answers of the lab fit into one read.
const BUFFER_BYTES: usize = 16 << 10;

pub(super) async fn both_ways(mut client: TcpStream, mut server: TcpStream) {
    // Without NODELAY small answers wait for acknowledgements; a failure only costs time.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let copied = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER_BYTES, BUFFER_BYTES).await;
    if copied.is_err() {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}
