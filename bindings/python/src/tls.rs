//! `Tls`: what a listener shows to clients that speak TLS.

use std::sync::Arc;

use fairlead_engine as fl;
use fl::{ClientCa, KeyPair, PemFile, TlsSettings};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The name of a file, and what is in it.
type File = (String, Vec<u8>);

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
    /// that ask for no name. `client_ca`: name, PEM text, and whether a client must show a certificate. Raises ValueError with
    /// a sentence, without its full stop.
    #[new]
    #[pyo3(signature = (certificates, ciphers="", *, client_ca=None, export_certificate=false, refuse_expired=false,
        http2=true))]
    fn new(
        certificates: Vec<(File, File)>,
        ciphers: &str,
        client_ca: Option<(String, Vec<u8>, bool)>,
        export_certificate: bool,
        refuse_expired: bool,
        http2: bool,
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
