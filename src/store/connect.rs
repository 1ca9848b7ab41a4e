//! How to reach PostgreSQL: the URL with libpq's meaning of `sslmode`, keepalives, and TLS.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::config::{Config, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A statement that takes longer is ended by the server; the client waits little longer, so that a dead connection is noticed.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What each session of the worker asks of the planner. Its statements walk indexes, each step of them a few rows, so that their
/// cost does not depend on the backlog. A planner that knows the outbox as empty, as it mostly is, would read and sort all of
/// it, and go on with that plan while a backlog grows.
pub const PLANNER: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    // On tables without statistics the statements look long, and compiling them would cost a second each.
    ("jit", "off"),
];

/// The connection settings of a `DATABASE_URL` and the TLS that its `sslmode` asks for.
///
/// As libpq: `prefer` (default) and `require` encrypt without checking the certificate, `verify-full` checks it and the host
/// name, against `sslrootcert` or the system's authorities. `verify-ca` checks as `verify-full` does.
///
/// # Errors
/// In plain words, without the URL: it holds a password.
pub(super) fn settings(database_url: &str) -> Result<(Config, MakeRustlsConnect), String> {
    let (url, verification, root_file) = take_tls_options(database_url);
    let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!(
            "it is not a PostgreSQL URL ({error}{cause}); write it as postgresql://user:password@host:5432/database"
        )
    })?;
    if config.get_dbname().is_none() {
        return Err("it names no database; write it as postgresql://user:password@host:5432/database".to_owned());
    }
    if verification {
        config.ssl_mode(SslMode::Require);
    }
    config
        .application_name(concat!("odoo-matrix-worker ", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        // Of several hosts in the URL the primary, and never a standby: the worker writes.
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(10));
    let planner: String = PLANNER.iter().map(|(name, value)| format!(" -c {name}={value}")).collect();
    // The server, too, is to notice when we are gone without a word: the session may hold this worker's name.
    let keepalives = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";
    let ours = format!(
        "{keepalives} -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={}{planner}",
        STATEMENT_TIMEOUT.as_millis(),
        STATEMENT_TIMEOUT.as_millis() / 2,
        STATEMENT_TIMEOUT.as_millis()
    );
    let options = config.get_options().map_or(ours.clone(), |given| format!("{ours} {given}"));
    config.options(options);
    Ok((config, MakeRustlsConnect::new(tls(verification, root_file)?)))
}

/// tokio-postgres knows neither `verify-full` nor `sslrootcert`: they are taken out of the URL and done here.
fn take_tls_options(url: &str) -> (String, bool, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), false, None) };
    let mut verification = false;
    let mut root_file = None;
    let rest: Vec<_> = query
        .split('&')
        .filter(|pair| match pair.split_once('=') {
            Some(("sslmode", "verify-full" | "verify-ca")) => {
                verification = true;
                false
            }
            Some(("sslrootcert", path)) => {
                root_file = Some(path.replace("%2F", "/").replace("%2f", "/"));
                false
            }
            _ => true,
        })
        .collect();
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    (url, verification, root_file)
}

fn tls(verification: bool, root_file: Option<String>) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let config = match (verification, root_file) {
        (false, _) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
        (true, None) => builder
            .with_platform_verifier()
            .map_err(|error| format!("the system's certificate authorities cannot be read: {error}"))?
            .with_no_client_auth(),
        (true, Some(path)) => {
            let mut roots = RootCertStore::empty();
            let certificates = CertificateDer::pem_file_iter(&path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| format!("sslrootcert={path} cannot be read: {error}"))?;
            roots.add_parsable_certificates(certificates);
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(config)
}

/// `sslmode=require` encrypts and does not ask with whom, as libpq does.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_options_of_libpq_are_taken_out_of_the_url() {
        let (url, verification, root) = take_tls_options(
            "postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&target_session_attrs=any",
        );

        assert_eq!(url, "postgresql://u:p@h/d?target_session_attrs=any");
        assert_eq!((verification, root.as_deref()), (true, Some("/etc/ca.pem")));
        assert_eq!(
            take_tls_options("postgresql://h/d?sslmode=require"),
            ("postgresql://h/d?sslmode=require".into(), false, None)
        );
    }

    #[test]
    fn a_bad_url_is_told_without_its_password() {
        let error = settings("postgresql://u:hunter2@h:port/d").map(|_| ()).unwrap_err();

        assert!(error.contains("postgresql://user:password@host") && !error.contains("hunter2"), "{error}");
    }
}
