//! A proxy that does for a call what Cordon does: identity, policy on request and answer, inspection, masking, and two
//! durable records. A measure, not a product: no TLS, no tree over the records, no containment, no console.
//!
//! Usage: rust_proxy PORT UPSTREAM_PORT BUNDLE CONFIG DATABASE THREADS

mod answer;
mod call;
mod config;
mod log;
mod policy;
mod scan;
mod stream;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use call::Gateway;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, upstream, bundle, config, database, threads] = arguments.as_slice() else {
        return Err("usage: rust_proxy PORT UPSTREAM_PORT BUNDLE CONFIG DATABASE THREADS".into());
    };
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let gateway = Arc::new(Gateway {
        config: serde_json::from_str(&std::fs::read_to_string(config)?)?,
        policy: policy::Policy::load(Path::new(bundle))?,
        log: log::Log::open(Path::new(database))?,
        client: Client::builder(TokioExecutor::new()).build(connector),
        upstream: upstream.parse()?,
    });
    let port: u16 = port.parse()?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.parse()?)
        .enable_io()
        .enable_time()
        .build()?
        .block_on(serve(gateway, port))
}

async fn serve(gateway: Arc<Gateway>, port: u16) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| call::answer(gateway.clone(), request));
            // A connection that ends early is the caller's affair.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service)
                .await;
        });
    }
}
