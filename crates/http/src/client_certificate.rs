//! The certificate that a client has shown, as an application is told of it.
//!
//! Whoever makes one has checked that somebody trusted has signed it; here it is data.

use base64::prelude::{Engine, BASE64_STANDARD};

/// A client's certificate, of which somebody we trust says that it is the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// DER, as it came.
    pub der: Vec<u8>,
    /// Its subject in one line, for example `/O=Fairlead/CN=someone`.
    pub subject: String,
    /// The same certificate as PEM text (RFC 7468), if the application wants it.
    pub pem: Option<String>,
}

impl ClientCertificate {
    /// With or without PEM.
    pub fn new(der: &[u8], subject: String, with_pem: bool) -> ClientCertificate {
        ClientCertificate {
            der: der.to_vec(),
            subject,
            pem: with_pem.then(|| pem(der)),
        }
    }
}

/// RFC 7468 §2: lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    // 48 bytes are 64 characters.
    for line in der.chunks(48) {
        BASE64_STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_has_lines_of_64_characters() {
        let certificate = ClientCertificate::new(&[0; 50], "/CN=x".into(), true);
        let zeros = "A".repeat(64);
        let expected = format!("-----BEGIN CERTIFICATE-----\n{zeros}\nAAA=\n-----END CERTIFICATE-----\n");
        assert_eq!(certificate.pem, Some(expected));
        assert_eq!(ClientCertificate::new(b"", String::new(), false).pem, None);
    }
}
