//! The TLS settings of a connection to PostgreSQL, from the parameters of the URL.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::{UrlError, parameters::Parameters};

/// # Errors
/// Names the parameter whose file cannot be used.
pub(super) fn client(parameters: &Parameters) -> Result<ClientConfig, UrlError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(UrlError::Tls)?;
    let builder = match (parameters.is_verified, &parameters.root_file) {
        (false, _) => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        (true, None) => builder.with_platform_verifier().map_err(UrlError::Authorities)?,
        (true, Some(path)) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates("sslrootcert", path)?);
            builder.with_root_certificates(roots)
        }
    };
    match (&parameters.certificate_file, &parameters.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates("sslcert", certificate)?;
            // The parser's error may quote the file.
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|_| UrlError::Key(key.clone()))?;
            builder.with_client_auth_cert(chain, secret).map_err(|source| UrlError::Pair {
                certificate: certificate.clone(),
                key: key.clone(),
                source,
            })
        }
        _ => Err(UrlError::HalfAPair),
    }
}

fn certificates(parameter: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, UrlError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| UrlError::Certificates { parameter, path: path.to_owned(), source })
}

/// As in libpq, `sslmode=require` encrypts and does not check the server's identity.
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
