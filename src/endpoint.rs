//! The HTTP endpoint for whoever watches the worker: `/healthz`, `/readyz` and `/metrics`.
//!
//! It only reads, and is bounded so that a scanner or a slow reader costs delivery nothing: few connections, one request on each,
//! all of it within a few seconds. Nobody can shut others out: a new connection takes the place of the oldest one.

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    health::{Health, NotReady},
    metrics::Metrics,
};

/// Connections that are served at once. A request is answered within milliseconds, so the oldest of so many is idle.
const CONNECTIONS: usize = 32;

/// From the first byte of a request to the last of its answer.
const TIME_LIMIT: Duration = Duration::from_secs(10);
const HEADER_TIME_LIMIT: Duration = Duration::from_secs(5);

/// The longest request head that is read, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// How long not to accept when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A bound port.
pub(crate) struct Endpoint(TcpListener);

impl Endpoint {
    /// Binds `METRICS_LISTEN`. Port 0 takes a free one, which the log shows.
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        info!(address = %listener.local_addr()?, "Serving /healthz, /readyz and /metrics");
        Ok(Self(listener))
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, health: Health, metrics: Metrics) {
        let watched = Arc::new((health, metrics));
        let mut served: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    served.retain(|connection| !connection.is_finished());
                    if served.len() >= CONNECTIONS
                        && let Some(oldest) = served.pop_front()
                    {
                        oldest.abort();
                    }
                    served.push_back(tokio::spawn(serve_one(stream, watched.clone())).abort_handle());
                }
                Err(error) => {
                    warn!(%error, "The endpoint could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve_one(stream: TcpStream, watched: Arc<(Health, Metrics)>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &watched.0, &watched.1);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(TIME_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "A request to the endpoint broke off"),
        Err(_) => debug!("A request to the endpoint took too long"),
    }
}

fn answer(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    if method != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    match path {
        "/healthz" => verdict("alive", health.is_alive()),
        "/readyz" => verdict("ready", health.is_ready()),
        "/metrics" => {
            let mut page = text(StatusCode::OK, metrics.encode());
            page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Metrics::CONTENT_TYPE));
            page
        }
        _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics"),
    }
}

fn verdict(good: &str, is_good: Result<(), NotReady>) -> Response<Full<Bytes>> {
    match is_good {
        Ok(()) => text(StatusCode::OK, good),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason.to_string()),
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut body: String = text.into();
    if !body.ends_with('\n') {
        body.push('\n');
    }
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
