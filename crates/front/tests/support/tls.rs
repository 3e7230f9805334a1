//! Certificates by the `openssl` command, a front that shows them, and rustls' client.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use fairlead_front::{
    BoundListener, FrontSettings, KeyPair, Listener, ListenerConfig, PemFile, Tls, TlsSettings,
};
use fairlead_http::Scheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{head, Client, Stage};

/// A folder with certificates that goes with the test.
pub(crate) struct Certificates(pub(crate) PathBuf);

impl Certificates {
    pub(crate) fn new(test: &str) -> Certificates {
        let folder = std::env::temp_dir().join(format!("fairlead-tls-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Certificates(folder)
    }

    /// Signs itself, so a client that trusts it needs no other.
    pub(crate) fn make(&self, name: &str, days: &str) -> KeyPair {
        let path = |end: &str| self.0.join(format!("{name}.{end}"));
        let openssl = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|one| one.replace("NAME", name));
            let made = Command::new("openssl")
                .args(arguments)
                .current_dir(&self.0)
                .output()
                .expect("openssl");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        openssl(&[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/O=Fairlead/CN=NAME",
            "-addext",
            "subjectAltName=DNS:NAME",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "NAME.key",
            "-out",
            "NAME.csr",
        ]);
        // In two steps, because only the second makes certificates that have expired.
        openssl(&[
            "x509",
            "-req",
            "-in",
            "NAME.csr",
            "-signkey",
            "NAME.key",
            "-days",
            days,
            "-copy_extensions",
            "copyall",
            "-out",
            "NAME.crt",
        ]);
        let file = |end: &str| PemFile {
            name: format!("{name}.{end}"),
            content: std::fs::read(path(end)).expect("a file"),
        };
        KeyPair {
            certificate: file("crt"),
            key: file("key"),
        }
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn settings(certificates: Vec<KeyPair>) -> TlsSettings {
    TlsSettings {
        certificates,
        ..TlsSettings::default()
    }
}

pub(crate) fn stage(settings: &TlsSettings, front: FrontSettings) -> (Stage, Arc<Tls>) {
    let tls = Arc::new(Tls::new(settings).expect("good settings"));
    let config = ListenerConfig {
        scheme: Scheme::Https,
        tls: Some(Arc::clone(&tls)),
        ..ListenerConfig::default()
    };
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    (Stage::on(BoundListener { listener, config }, front, true), tls)
}

pub(crate) fn one(test: &str) -> (Certificates, KeyPair, Stage) {
    let folder = Certificates::new(test);
    let pair = folder.make("localhost", "2");
    let (stage, _) = stage(&settings(vec![pair.clone()]), super::front_settings());
    (folder, pair, stage)
}

pub(crate) fn config(trusted: &[&KeyPair], shown: Option<&KeyPair>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        let certificate = CertificateDer::from_pem_slice(&pair.certificate.content).expect("PEM");
        roots.add(certificate).expect("a root");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    match shown {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(&pair.certificate.content).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(&pair.key.content).expect("PEM");
            builder
                .with_client_auth_cert(chain, key)
                .expect("a client's certificate")
        }
    }
}

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect(stage: &Stage, config: ClientConfig, name: &str) -> Client<TlsStream> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a client");
    Client {
        stream: std::io::BufReader::new(StreamOwned::new(session, stage.client().stream.into_inner())),
    }
}

pub(crate) fn subject(client: &Client<TlsStream>) -> Vec<u8> {
    client
        .stream
        .get_ref()
        .conn
        .peer_certificates()
        .expect("a certificate")[0]
        .to_vec()
}

pub(crate) fn der(pair: &KeyPair) -> Vec<u8> {
    CertificateDer::from_pem_slice(&pair.certificate.content)
        .expect("PEM")
        .to_vec()
}

pub(crate) fn answer(stage: &Stage) {
    let (request, exchange) = stage.request();
    assert_eq!(request.scheme(), Scheme::Https);
    exchange
        .respond(head(200, &[]), bytes::Bytes::from_static(b"hello"))
        .expect("a client");
}
