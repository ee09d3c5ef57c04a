//! TLS to an engine: whom to trust, and what proves who we are.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use yuanli_ports::containers::ContainerError;

use crate::place::Tls;

/// The name that the engine's certificate has to have.
pub(crate) fn name_of(address: &str) -> Result<ServerName<'static>, ContainerError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host.clone())
        .map_err(|_| ContainerError::Invalid(format!("`{host}` is no name that a certificate could have")))
}

/// What the files say.
pub(crate) fn configuration(files: &Tls) -> Result<ClientConfig, ContainerError> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| ContainerError::Engine(error.to_string()))?;
    let builder = builder.with_root_certificates(roots(files.authority.as_deref())?);
    let (Some(certificate), Some(key)) = (&files.certificate, &files.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    builder.with_client_auth_cert(chain, secret).map_err(|error| unreadable(key, &error))
}

/// Those of the file alone, as `docker --tlscacert` has it; those whom everybody trusts without one.
fn roots(authority: Option<&Path>) -> Result<RootCertStore, ContainerError> {
    let Some(file) = authority else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unreadable(file, &error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ContainerError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unreadable(file, &"there is no certificate in it")),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(file: &Path, why: &dyn std::fmt::Display) -> ContainerError {
    ContainerError::Invalid(format!(
        "{}, which the connection to Docker needs, cannot be used: {why}; DOCKER_CERT_PATH says where `ca.pem`, `cert.pem` \
         and `key.pem` lie",
        file.display()
    ))
}
