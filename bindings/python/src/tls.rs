//! `Tls`: what a listener shows to clients that speak TLS; and `TicketKeys`, by which they resume their sessions.

use std::sync::Arc;

use fairlead_engine as fl;
use fl::{ClientCa, KeyPair, PemFile, TicketKey, TlsSettings};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The name of a file, and what is in it.
type File = (String, Vec<u8>);

/// What seals and opens session tickets.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct TicketKeys(Arc<fl::TicketKeys>);

/// Keys that lie one behind the other. No error shows a byte of them.
fn ticket_keys(together: &[u8]) -> PyResult<Vec<TicketKey>> {
    let (keys, rest) = together.as_chunks();
    if !rest.is_empty() {
        return Err(PyValueError::new_err(format!(
            "ticket keys have {} bytes each, but {} came; give whole ones",
            size_of::<TicketKey>(),
            together.len()
        )));
    }
    Ok(keys.to_vec())
}

#[pymethods]
impl TicketKeys {
    /// `keys` lie one behind the other, 32 bytes each; the first seals, all open. Clients are told that a ticket is good for
    /// `lifetime_s`. Raises ValueError for broken ones.
    #[new]
    fn new(keys: &[u8], lifetime_s: u32) -> PyResult<Self> {
        Ok(Self(Arc::new(fl::TicketKeys::new(
            &ticket_keys(keys)?,
            lifetime_s,
        ))))
    }

    /// From now on these are the keys.
    fn renew(&self, keys: &[u8]) -> PyResult<()> {
        self.0.renew(&ticket_keys(keys)?);
        Ok(())
    }
}

/// Certificates and keys that have been checked.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Tls(Arc<fl::Tls>);

impl Tls {
    pub(crate) fn inner(&self) -> Arc<fl::Tls> {
        Arc::clone(&self.0)
    }
}

fn file((name, content): File) -> PemFile {
    PemFile { name, content }
}

#[pymethods]
impl Tls {
    /// `certificates`: pairs of a certificate's file and its key's, each with its name and PEM text; the first is for clients
    /// that ask for no name. `client_ca`: name, PEM text, and whether a client must show a certificate. Without `ticket_keys`
    /// a session is resumed by this object alone. Raises ValueError with a sentence, without its full stop.
    #[new]
    #[pyo3(signature = (certificates, ciphers="", *, client_ca=None, export_certificate=false, refuse_expired=false,
        http2=true, ticket_keys=None))]
    fn new(
        certificates: Vec<(File, File)>,
        ciphers: &str,
        client_ca: Option<(String, Vec<u8>, bool)>,
        export_certificate: bool,
        refuse_expired: bool,
        http2: bool,
        ticket_keys: Option<&Bound<'_, TicketKeys>>,
    ) -> PyResult<Self> {
        let settings = TlsSettings {
            certificates: certificates
                .into_iter()
                .map(|(certificate, key)| KeyPair {
                    certificate: file(certificate),
                    key: file(key),
                })
                .collect(),
            ciphers: ciphers.to_owned(),
            client_ca: client_ca.map(|(name, content, is_required)| ClientCa {
                file: PemFile { name, content },
                is_required,
            }),
            exports_certificate: export_certificate,
            refuses_expired: refuse_expired,
            without_http2: !http2,
            ticket_keys: ticket_keys.map(|keys| Arc::clone(&keys.get().0)),
        };
        let tls = fl::Tls::new(&settings).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self(Arc::new(tls)))
    }

    /// Sentences for the operator, without full stops.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings().to_vec()
    }

    /// From now on new connections are greeted as `other` would greet them.
    fn renew(&self, other: &Bound<'_, Tls>) {
        self.0.renew(&other.get().0);
    }
}
