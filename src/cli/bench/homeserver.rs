//! A homeserver on the loopback interface that takes every message: what delivery costs without one of a kind.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
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
                        let path = request.uri().path().to_owned();
                        let is_message = path.contains("/send/");
                        // Read to its end, so that the connection can carry the next one.
                        let _ = request.into_body().collect().await;
                        if is_message {
                            // Nobody counts any more when the receiver is gone.
                            let _ = arrived.send(came);
                        }
                        sleep(delay).await;
                        Ok::<_, Infallible>(answer(&path))
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

/// Every message is an event; no room has the state that is asked for, and so none is encrypted.
fn answer(path: &str) -> Response<Full<Bytes>> {
    let (status, body) = if path.contains("/send/") {
        (StatusCode::OK, r#"{"event_id":"$bench"}"#)
    } else if path.contains("/state/") {
        (StatusCode::NOT_FOUND, r#"{"errcode":"M_NOT_FOUND","error":"Event not found."}"#)
    } else {
        (StatusCode::OK, r#"{"user_id":"@bench:bench.invalid"}"#)
    };
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = status;
    answer
}
