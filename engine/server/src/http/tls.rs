//! TLS for the API: certificate and key from files, read again when they change. Connections that are there go on with what
//! they began with; a pair that cannot be used changes nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use yuanli_ports::Cancellation;

/// How often the files are looked at.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The files of a certificate with those who vouch for it, and of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those of who vouches for it, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// What both files had in them.
type Pair = (Vec<u8>, Vec<u8>);

/// What the API proves itself with.
pub(crate) struct Tls {
    files: TlsFiles,
    /// What new connections get.
    now: Mutex<Arc<ServerConfig>>,
    /// What was read last, be it of use or not.
    seen: Mutex<Pair>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What was read has the key in it.
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub(crate) fn open(files: TlsFiles) -> anyhow::Result<Self> {
        let seen = files.read()?;
        let now = Mutex::new(Arc::new(files.configuration(&seen)?));
        Ok(Self { files, now, seen: Mutex::new(seen) })
    }

    /// For one connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Takes the files again whenever they have changed, until `stop`.
    pub(crate) async fn follow(&self, stop: &Cancellation) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BETWEEN_LOOKS) => self.look(),
            }
        }
    }

    /// Looks whether the files have changed. Of each pair that cannot be used it is said once.
    fn look(&self) {
        let read = match self.files.read() {
            Ok(read) => read,
            // Such as while one is put in the place of the other.
            Err(error) => {
                return tracing::debug!(error = format!("{error:#}"), "the certificate is not read");
            }
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == read {
            return;
        }
        match self.files.configuration(&read) {
            Ok(configuration) => {
                *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(configuration);
                tracing::info!("new connections get the new certificate");
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the new certificate is not taken; connections get the one before it"
            ),
        }
        *seen = read;
    }
}

impl TlsFiles {
    fn read(&self) -> anyhow::Result<Pair> {
        let read = |file: &PathBuf| -> anyhow::Result<Vec<u8>> {
            std::fs::read(file).with_context(|| format!("`{}` cannot be read", file.display()))
        };
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    fn configuration(&self, (certificate, key): &Pair) -> anyhow::Result<ServerConfig> {
        let of_certificate = || format!("the certificate in `{}`", self.certificate.display());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.with_context(of_certificate)?;
        anyhow::ensure!(!chain.is_empty(), "`{}` has no certificate as PEM", self.certificate.display());
        let key = PrivateKeyDer::from_pem_slice(key)
            .with_context(|| format!("the key in `{}`", self.key.display()))?;
        let provider = Arc::new(ring::default_provider());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut configuration =
            versions
                .context("TLS")?
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .with_context(|| format!("{} with the key in `{}`", of_certificate(), self.key.display()))?;
        configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(configuration)
    }
}
