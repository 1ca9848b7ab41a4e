//! Which TLS authorities the worker trusts, and how an error says where it looks for them.

use std::{path::Path, process::Command, time::Duration};

use stack::{
    process::{Process, Signal},
    world::World,
};

use crate::BINARY;

pub(crate) fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_authority_of_the_system_is_trusted_and_a_refusal_says_where_it_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1";
    openssl(
        folder.path(),
        &format!("req -x509 {new} -keyout ca.key -out ca.pem -subj /CN=office -addext subjectAltName=IP:127.0.0.1"),
    );
    openssl(folder.path(), &format!("req -x509 {new} -keyout other.key -out other.pem -subj /CN=elsewhere"));
    openssl(folder.path(), &format!("req {new} -keyout leaf.key -out leaf.csr -subj /CN=homeserver"));
    std::fs::write(folder.path().join("leaf.ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    openssl(
        folder.path(),
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile leaf.ext -out leaf.pem",
    );
    let world = World::new(BINARY).await;

    for (certificate, trusted, shown) in [
        // It answers a page: what matters is that it was asked.
        ("leaf", "ca.pem", "not JSON"),
        ("leaf", "other.pem", "update-ca-certificates"),
        ("ca", "ca.pem", "CA:TRUE"),
    ] {
        let port = stack::free_port().unwrap();
        let mut server = Command::new("openssl");
        server.current_dir(folder.path()).args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")]);
        server.args(["-cert", &format!("{certificate}.pem"), "-key", &format!("{certificate}.key")]);
        let server = Process::spawn("openssl s_server", server, &folder.path().join("server.log")).unwrap();
        let listens = || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop) };
        server.until("listened", Duration::from_secs(10), listens).await.unwrap();
        let url = format!("https://127.0.0.1:{port}");
        world.client.execute("UPDATE matrix_backend SET homeserver_url = $1", &[&url]).await.unwrap();

        let mut check = tokio::process::Command::from(world.launch.command(&["check"]));
        check
            .env("SSL_CERT_FILE", folder.path().join(trusted))
            .env_remove("SSL_CERT_DIR")
            .env("HTTP_TIMEOUT_SECONDS", "5")
            .env("WORKER_LEASE_SECONDS", "30");
        let output = check.output().await.unwrap();

        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(shown), "{certificate} with {trusted}: {text}");
        server.stop(Signal::TERM).await.unwrap();
    }
}
