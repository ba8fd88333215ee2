//! TLS to PostgreSQL, with libpq's meanings of its modes.
//!
//! | mode | who the server is |
//! |---|---|
//! | `prefer`, `require` | not asked: eavesdroppers are kept out, impostors are not |
//! | `verify-ca`, and `require` with a root certificate | certified by a trusted authority, under any name |
//! | `verify-full` | certified as the host that was asked for |

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Obstacle};
use super::target::{SslMode, Target};

/// How much of a certificate is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    Anyone,
    Authority,
    Name,
}

impl Trust {
    fn of(target: &Target) -> Self {
        match (target.ssl_mode, &target.ssl_root_cert) {
            (SslMode::Disable | SslMode::Prefer, _) | (SslMode::Require, None) => Self::Anyone,
            (SslMode::Require, Some(_)) | (SslMode::VerifyCa, _) => Self::Authority,
            (SslMode::VerifyFull, _) => Self::Name,
        }
    }
}

/// What makes TLS connections to this target.
pub(super) fn connector(target: &Target) -> Result<MakeRustlsConnect, Fault> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let trust = Trust::of(target);
    let config = match trust {
        Trust::Name => builder.with_root_certificates(roots(target)?).with_no_client_auth(),
        Trust::Anyone | Trust::Authority => {
            let authorities = match trust {
                Trust::Anyone => None,
                Trust::Authority | Trust::Name => Some(
                    WebPkiServerVerifier::builder_with_provider(
                        Arc::new(roots(target)?),
                        Arc::clone(&provider),
                    )
                    .build()
                    .map_err(|error| unusable(&error))?,
                ),
            };
            let lenient = Arc::new(Lenient { provider, authorities });
            builder.dangerous().with_custom_certificate_verifier(lenient).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn unusable(error: &dyn std::error::Error) -> Fault {
    Obstacle::Certificates(error.to_string()).into()
}

fn roots(target: &Target) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &target.ssl_root_cert {
        let unreadable = |error: &dyn std::error::Error| {
            Fault::from(Obstacle::Certificates(format!("{}: {error}", path.display())))
        };
        let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
        for certificate in read {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        if roots.is_empty() {
            let empty = io::Error::other("there is no certificate in it");
            return Err(unreadable(&empty));
        }
    } else {
        // What of the system's store cannot be read is as if it were not there.
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let none = "the system has no trusted certificates: set DB_SSL_ROOT_CERT";
            return Err(Obstacle::Certificates(none.to_owned()).into());
        }
    }
    Ok(roots)
}

/// Checks less than a browser would: the authority without the name, or nothing.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The name is looked at last, once the chain was found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
