//! A homeserver on the loopback interface that takes every message: what delivery costs without one of a kind.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinSet,
    time::sleep,
};

/// Serves until it is dropped.
pub(super) struct Homeserver {
    pub(super) url: String,
    /// When each message came.
    pub(super) arrivals: UnboundedReceiver<Instant>,
    _serving: JoinSet<()>,
}

impl Homeserver {
    /// Each call is answered after `delay`.
    pub(super) async fn start(delay: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let arrived = arrived.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let came = Instant::now();
                    let arrived = arrived.clone();
                    async move {
                        let is_message = request.uri().path().contains("/send/");
                        // Read to its end, so that the connection can carry the next one.
                        let _ = request.into_body().collect().await;
                        if is_message {
                            // Nobody counts any more when the receiver is gone.
                            let _ = arrived.send(came);
                        }
                        sleep(delay).await;
                        Ok::<_, Infallible>(answer(is_message))
                    }
                });
                connections.spawn(async move {
                    // A worker that ends closes its connections.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { url, arrivals, _serving: serving })
    }
}

fn answer(is_message: bool) -> Response<Full<Bytes>> {
    let body = if is_message { r#"{"event_id":"$bench"}"# } else { r#"{"user_id":"@bench:bench.invalid"}"# };
    Response::new(Full::new(Bytes::from_static(body.as_bytes())))
}
