//! A PostgreSQL that lets in only who shows a certificate.

use std::{path::Path, process::Output};

use stack::{
    postgres::{self, Options, Postgres},
    process::Signal,
    world::World,
};

use crate::{BINARY, tls_authorities::openssl};

const NEW: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1";

/// Makes `name.pem` and `name.key`, signed by the authority `ca`, whose files lie there too.
fn issue(folder: &Path, ca: &str, name: &str) {
    openssl(folder, &format!("req {NEW} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    std::fs::write(folder.join("leaf.ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let signed = format!("-CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days 1 -extfile leaf.ext -out {name}.pem");
    openssl(folder, &format!("x509 -req -in {name}.csr {signed}"));
}

async fn server(folder: &Path) -> Postgres {
    for ca in ["ca", "other"] {
        openssl(folder, &format!("req -x509 {NEW} -keyout {ca}.key -out {ca}.pem -subj /CN={ca}"));
    }
    issue(folder, "ca", "server");
    issue(folder, "ca", "worker");
    issue(folder, "other", "stranger");
    // The tests' own connections come without TLS.
    let hba = "local all all trust\nhostnossl all stack 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n";
    std::fs::write(folder.join("pg_hba.conf"), hba).unwrap();
    postgres::give_to_server(folder).unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        postgres::give_to_server(&file.unwrap().path()).unwrap();
    }
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let settings = [
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", path("server.pem")),
        ("ssl_key_file", path("server.key")),
        ("ssl_ca_file", path("ca.pem")),
        ("hba_file", path("pg_hba.conf")),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
    Postgres::cluster(Options { settings, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn a_database_that_demands_a_certificate_gets_it_and_who_has_none_gets_one_line_of_advice() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = server(folder.path()).await;
    let world = World::on(&postgres, BINARY).await;
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let url = |authority: &str, own: Option<&str>| {
        let pair =
            own.map(|own| format!("&sslcert={}&sslkey={}", path(&format!("{own}.pem")), path(&format!("{own}.key"))));
        let trusted = path(&format!("{authority}.pem"));
        format!("{}?sslmode=verify-full&sslrootcert={trusted}{}", world.launch.url(), pair.unwrap_or_default())
    };

    let ids = world.enqueue_many(&["!case:double.test"], "message", 3).await;
    let worker = world.worker_with("w1", &[("DATABASE_URL", &url("ca", Some("worker")))]);
    world.assert_settled(&ids).await;
    let encrypted =
        "SELECT count(*) >= 2 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_dn = '/CN=worker'";
    assert!(world.client.query_one(encrypted, &[]).await.unwrap().get::<_, bool>(0), "{}", world.worker_logs());
    assert!(worker.stop(Signal::TERM).await.unwrap().success());
    assert!(!world.worker_logs().contains(" WARN "), "{}", world.worker_logs());

    for (authority, own, problem, fix) in [
        ("ca", None, "requires a valid client certificate", "sslcert and sslkey"),
        ("ca", Some("stranger"), "UnknownCA", "sslcert and sslkey"),
        ("other", Some("worker"), "UnknownIssuer", "sslrootcert"),
    ] {
        let mut check = tokio::process::Command::from(world.launch.command(&["check"]));
        let output: Output = check.env("DATABASE_URL", url(authority, own)).output().await.unwrap();

        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let problems: Vec<_> = text.lines().filter(|line| line.starts_with("PROBLEM")).collect();
        assert_eq!(problems.len(), 1, "{own:?} at {authority}: {text}");
        assert!(problems[0].contains(problem), "{own:?} at {authority}: {text}");
        assert!(
            text.lines().any(|line| line.contains("fix: ") && line.contains(fix)),
            "{own:?} at {authority}: {text}"
        );
    }
}
