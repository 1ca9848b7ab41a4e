//! Proxies that the environment names.

use std::time::Duration;

use stack::world::World;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::BINARY;

const ROOM: &str = "!case:double.test";
const VARIABLES: [&str; 5] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"];

#[tokio::test]
async fn a_proxy_of_the_environment_never_sees_a_token_in_clear() {
    let world = World::new(BINARY).await;
    let proxy = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let ids = [world.enqueue(ROOM, "hello").await];
    let _worker = world.worker_with("w1", &VARIABLES.map(|variable| (variable, url.as_str())));

    tokio::select! {
        () = world.assert_settled(&ids) => {}
        _ = proxy.accept() => panic!("the proxy was asked"),
    }

    assert_eq!(world.homeserver.bodies(ROOM), ["hello"]);
}

#[tokio::test]
async fn a_proxy_that_refuses_to_connect_is_named() {
    let world = World::new(BINARY).await;
    let proxy = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let refuses = tokio::spawn(async move {
        loop {
            let (mut client, _) = proxy.accept().await.unwrap();
            let mut asked = [0; 4096];
            let length = client.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            assert!(asked.starts_with("CONNECT matrix.inside.test:443") && !asked.contains("Bearer"), "{asked}");
            client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap();
        }
    });
    world.client.execute("UPDATE matrix_backend SET homeserver_url = 'https://matrix.inside.test'", &[]).await.unwrap();
    world.enqueue(ROOM, "hello").await;
    let _worker = world.worker_with("w1", &[("HTTPS_PROXY", &url)]);

    let shown =
        "SELECT EXISTS (SELECT FROM matrix_backend_status WHERE state = 'down' AND reason LIKE '%HTTPS_PROXY%')";
    world.until_within(shown, Duration::from_secs(20)).await;

    assert!(!refuses.is_finished());
    refuses.abort();
}
