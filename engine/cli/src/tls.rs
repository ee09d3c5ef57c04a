//! TLS to an engine: whom to trust.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::exit::Misuse;

/// Trusts whom this machine trusts, and those in this file.
pub(crate) fn configuration(authorities: Option<&Path>) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = of_machine();
    if let Some(file) = authorities {
        for authority in read(file).map_err(|why| unusable(file, &why))? {
            roots.add(authority).map_err(|error| unusable(file, &error.to_string()))?;
        }
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS")?;
    let mut configuration = versions.with_root_certificates(roots).with_no_client_auth();
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}

/// Those whom this machine trusts; where it names none, as in an image made from scratch, those whom browsers trust.
fn of_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // One that cannot be read vouches for nobody; the connection then says whom it does not know.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err("it has no certificate as PEM".to_owned()),
        found => found.map_err(|error| error.to_string()),
    }
}

fn unusable(file: &Path, why: &str) -> anyhow::Error {
    Misuse(format!("the authorities in `{}` cannot be used: {why}", file.display())).into()
}
