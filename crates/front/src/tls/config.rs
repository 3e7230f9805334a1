//! What a listener shows its clients: certificates, keys, cipher suites, and whose certificates they must show.
//!
//! [`Tls`] is made of PEM text that somebody else has read, and can be renewed while it serves: a connection keeps what it
//! began with. TLS 1.2 (RFC 5246) and 1.3 (RFC 8446); no renegotiation, no compression, no early data.

use std::sync::{Arc, Mutex, PoisonError};

use fairlead_http::ClientCertificate;
use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::tls::certificate::Facts;
use crate::tls::ciphers::suites;
use crate::tls::session::{TlsSession, HTTP2};
use crate::tls::tickets::{identity, TicketKeys, Ticketer};

/// RFC 7301: what can be spoken behind the handshake, the one that we prefer first.
const SPOKEN: [&[u8]; 2] = [HTTP2, b"http/1.1"];

/// A file as it was read, and its name for messages.
#[derive(Clone, Debug)]
pub struct PemFile {
    /// As the operator wrote it.
    pub name: String,
    /// PEM text, RFC 7468.
    pub content: Vec<u8>,
}

/// A certificate with those that lead to its root, and its private key.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The server's own certificate comes first.
    pub certificate: PemFile,
    /// PKCS #8, PKCS #1 or SEC 1, without a passphrase.
    pub key: PemFile,
}

/// Whose certificates clients show.
#[derive(Clone, Debug)]
pub struct ClientCa {
    /// The authorities that sign them.
    pub file: PemFile,
    /// A client without one is refused.
    pub is_required: bool,
}

/// What a listener shows its clients.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// The first is for clients that ask for none of the names in the others (RFC 6066 §3), or for no name.
    pub certificates: Vec<KeyPair>,
    /// Cipher suites, by OpenSSL's or IANA's names with colons between them; empty for all that there are.
    pub ciphers: String,
    /// If clients may, or must, show a certificate.
    pub client_ca: Option<ClientCa>,
    /// Requests carry their client's certificate as PEM too.
    pub exports_certificate: bool,
    /// A certificate whose time has passed is an error. Else [`Tls::warnings`] tell of it: at a start a server with an old
    /// certificate is worth more than none.
    pub refuses_expired: bool,
    /// HTTP/2 is not offered.
    pub without_http2: bool,
    /// What seals session tickets. Without it sessions are kept in memory, and resumed where they began.
    pub ticket_keys: Option<Arc<TicketKeys>>,
}

/// Why TLS cannot be had with these settings: one sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// The TLS of one listener.
pub struct Tls {
    config: Mutex<Arc<ServerConfig>>,
    exports_certificate: bool,
    warnings: Vec<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive() // it holds private keys
    }
}

impl Tls {
    /// Checks the settings.
    ///
    /// # Errors
    /// What is wrong with a file or a name, and what to do.
    pub fn new(settings: &TlsSettings) -> Result<Tls, TlsError> {
        let (config, warnings) = config(settings)?;
        Ok(Tls {
            config: Mutex::new(Arc::new(config)),
            exports_certificate: settings.exports_certificate,
            warnings,
        })
    }

    /// Sentences for the operator.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// From now on connections are greeted as `other` would greet them; those that are open stay as they are.
    pub fn renew(&self, other: &Tls) {
        let new = other.current();
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// A session for a connection that was just accepted.
    pub(super) fn session(&self) -> Result<TlsSession, String> {
        TlsSession::new(self.current())
    }

    /// The certificate that the client has shown in a handshake that is complete.
    pub(super) fn client(&self, session: &TlsSession) -> Option<ClientCertificate> {
        session.client(self.exports_certificate)
    }

    fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn config(settings: &TlsSettings) -> Result<(ServerConfig, Vec<String>), TlsError> {
    let mut provider = ring::default_provider();
    if !settings.ciphers.is_empty() {
        provider.cipher_suites = suites(&settings.ciphers, &provider.cipher_suites).map_err(TlsError)?;
    }
    let provider = Arc::new(provider);
    let mut warnings = Vec::new();
    let mut keys = Vec::new();
    for pair in &settings.certificates {
        keys.push(certified(
            pair,
            &provider,
            settings.refuses_expired,
            &mut warnings,
        )?);
    }
    let Some(first) = keys.first().cloned() else {
        return Err(TlsError("there is no certificate; name one".into()));
    };
    let versions: Vec<_> = [&rustls::version::TLS13, &rustls::version::TLS12]
        .into_iter()
        .filter(|version| {
            provider
                .cipher_suites
                .iter()
                .any(|suite| *suite.version() == **version)
        })
        .collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError(format!("these cipher suites do not work: {error}; choose others")))?;
    let builder = match &settings.client_ca {
        Some(ca) => {
            let roots = roots(&ca.file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if ca.is_required {
                verifier.build()
            } else {
                verifier.allow_unauthenticated().build()
            };
            builder.with_client_cert_verifier(verifier.map_err(|error| {
                TlsError(format!(
                    "{} cannot be used to check clients: {error}",
                    ca.file.name
                ))
            })?)
        }
        None => builder.with_no_client_auth(),
    };
    let ticketer = settings.ticket_keys.as_ref().map(|secrets| {
        let chains: Vec<_> = keys.iter().map(|key| key.cert.as_slice()).collect();
        Ticketer::new(Arc::clone(secrets), identity(&chains))
    });
    let mut config = builder.with_cert_resolver(Arc::new(Certificates { first, all: keys }));
    config.alpn_protocols = SPOKEN
        .iter()
        .filter(|name| **name != HTTP2 || !settings.without_http2)
        .map(|name| name.to_vec())
        .collect();
    if settings.client_ca.is_some() {
        // A resumed session would not show whether its certificate is trusted still.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else if let Some(ticketer) = ticketer {
        // Clients of TLS 1.2 that know no tickets find their session again in the memory of the same process.
        config.ticketer = Arc::new(ticketer);
    }
    Ok((config, warnings))
}

fn certified(
    pair: &KeyPair,
    provider: &CryptoProvider,
    refuses_expired: bool,
    warnings: &mut Vec<String>,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(&pair.certificate)?;
    let key = private_key(&pair.key)?;
    let own = Facts::of(&chain[0]);
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let (certificate, key) = (&pair.certificate.name, &pair.key.name);
        TlsError(match error {
            rustls::Error::InconsistentKeys(_) => format!(
                "the key {key} does not belong to the certificate {certificate}; give the key it was made with"
            ),
            error => format!(
                "the certificate {certificate} and the key {key} cannot be used: {error}; make them anew, with a key \
                 that is RSA of at least 2048 bits, ECDSA P-256 or P-384, or Ed25519"
            ),
        })
    })?;
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    if own.is_some_and(|own| own.not_after_s < now) {
        let what = format!(
            "the certificate {} has expired; put a new one in its place",
            pair.certificate.name
        );
        if refuses_expired {
            return Err(TlsError(what));
        }
        warnings.push(what);
    }
    Ok(Arc::new(key))
}

fn certificates(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.content).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(TlsError(format!(
            "{} holds no certificate; it needs a part that begins with -----BEGIN CERTIFICATE-----",
            file.name
        ))),
        Err(error) => Err(no_pem(file, &error)),
    }
}

fn private_key(file: &PemFile) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&file.content).map_err(|error| match error {
        pem::Error::NoItemsFound if has(&file.content, b"BEGIN ENCRYPTED PRIVATE KEY") => TlsError(format!(
            "the key {} has a passphrase, which nobody can type in here; write it without one (openssl pkey)",
            file.name
        )),
        pem::Error::NoItemsFound => TlsError(format!(
            "{} holds no private key; it needs a part that begins with -----BEGIN PRIVATE KEY-----",
            file.name
        )),
        error => no_pem(file, &error),
    })
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn no_pem(file: &PemFile, error: &pem::Error) -> TlsError {
    TlsError(format!(
        "{} is broken PEM text ({error}); write the file anew",
        file.name
    ))
}

fn roots(file: &PemFile) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            TlsError(format!(
                "{} holds a certificate that cannot check others: {error}",
                file.name
            ))
        })?;
    }
    Ok(roots)
}

/// Chooses by the name that the client asks for.
#[derive(Debug)]
struct Certificates {
    first: Arc<CertifiedKey>,
    all: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.all.len() == 1 {
            return Some(Arc::clone(&self.first));
        }
        let asked = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let is_for = |key: &&Arc<CertifiedKey>| {
            let own = key.end_entity_cert().and_then(ParsedCertificate::try_from);
            match (own, &asked) {
                (Ok(own), Some(name)) => rustls::client::verify_server_name(&own, name).is_ok(),
                _ => false,
            }
        };
        // Of several for one name the first that this client can check: one RSA and one ECDSA, say.
        let schemes = hello.signature_schemes();
        let mut fitting = self.all.iter().filter(is_for).peekable();
        let any = fitting.peek().copied();
        let chosen = fitting
            .find(|key| key.key.choose_scheme(schemes).is_some())
            .or(any)
            .unwrap_or(&self.first);
        Some(Arc::clone(chosen))
    }
}
