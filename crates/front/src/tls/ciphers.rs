//! Lists of cipher suites, in the words of OpenSSL that configurations have been written in for decades.
//!
//! What is not here is an error, and never ignored: who names a suite wants it.

use rustls::SupportedCipherSuite;

/// Words of OpenSSL's cipher lists that forbid what is not here anyway.
const NEVER_HERE: &[&str] = &[
    "3DES", "ADH", "AECDH", "CAMELLIA", "CBC", "DES", "DH", "DHE", "DSS", "EXP", "EXPORT", "IDEA", "LOW",
    "MD5", "MEDIUM", "NULL", "PSK", "RC2", "RC4", "SEED", "SHA", "SHA1", "SRP", "SSLv2", "SSLv3", "aDSS",
    "aECDH", "aNULL", "eNULL", "kDH", "kDHE", "kECDH", "kEDH", "kRSA",
];

/// The suites of a list such as `ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256` or `HIGH:!aNULL`. As with OpenSSL, a
/// list that names none of TLS 1.3 leaves all of those in; one of those only is TLS 1.3 only.
pub(crate) fn suites(list: &str, all: &[SupportedCipherSuite]) -> Result<Vec<SupportedCipherSuite>, String> {
    let is_13 = |suite: &SupportedCipherSuite| suite.version() == &rustls::version::TLS13;
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    let mut forbidden: Vec<SupportedCipherSuite> = Vec::new();
    for word in list.split([':', ' ']).filter(|word| !word.is_empty()) {
        let (word, forbids) = match word.strip_prefix(['!', '-']) {
            Some(word) => (word, true),
            None => (word, false),
        };
        let named = all
            .iter()
            .find(|suite| names(suite).iter().any(|name| name == word));
        match (named, forbids) {
            (Some(suite), true) => forbidden.push(*suite),
            (Some(suite), false) => chosen.push(*suite),
            (None, true) if NEVER_HERE.contains(&word) => {}
            (None, false) if ["ALL", "DEFAULT", "HIGH"].contains(&word) => chosen.extend(all),
            (None, false) if word.starts_with('@') => {}
            _ => {
                let known: Vec<_> = all.iter().map(|suite| names(suite).swap_remove(0)).collect();
                return Err(format!(
                    "there is no cipher suite {word:?} here; choose among {}, or leave it empty for all",
                    known.join(":")
                ));
            }
        }
    }
    if !chosen.iter().any(is_13) {
        chosen.extend(all.iter().filter(|suite| is_13(suite)));
    }
    let mut kept: Vec<SupportedCipherSuite> = Vec::new();
    for suite in chosen {
        if !forbidden.contains(&suite) && !kept.contains(&suite) {
            kept.push(suite);
        }
    }
    if kept.is_empty() {
        return Err(format!("the cipher list {list:?} leaves no suite; allow one"));
    }
    Ok(kept)
}

/// What a suite is called: by OpenSSL, by IANA, by rustls.
fn names(suite: &SupportedCipherSuite) -> Vec<String> {
    let rustls = format!("{:?}", suite.suite());
    match rustls.strip_prefix("TLS13_") {
        Some(rest) => vec![format!("TLS_{rest}"), rustls.clone()],
        None => {
            // OpenSSL: no TLS_, no WITH, AES128 in one word, and no hash behind Poly1305.
            let openssl = rustls
                .trim_start_matches("TLS_")
                .replace("_WITH_", "_")
                .replace("AES_", "AES")
                .replace("POLY1305_SHA256", "POLY1305")
                .replace('_', "-");
            vec![openssl, rustls]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::ring;

    fn chosen(list: &str) -> Result<Vec<String>, String> {
        let all = ring::default_provider().cipher_suites;
        suites(list, &all).map(|some| some.iter().map(|suite| names(suite).swap_remove(0)).collect())
    }

    #[test]
    fn suites_have_openssl_s_and_iana_s_names() {
        let tls13 = [
            "TLS_AES_256_GCM_SHA384",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
        ];
        let expected = |first: &[&str]| {
            Ok([first, &tls13[..]]
                .concat()
                .iter()
                .map(|name| (*name).to_owned())
                .collect())
        };
        let both = "ECDHE-RSA-CHACHA20-POLY1305:TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        let named = ["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"];
        assert_eq!(chosen(both), expected(&named));
        assert_eq!(chosen("TLS13_AES_128_GCM_SHA256"), Ok(vec![tls13[1].to_owned()]));
    }

    #[test]
    fn the_usual_words_for_all_that_is_good_are_understood() {
        assert_eq!(chosen("HIGH:!aNULL:!MD5").map(|all| all.len()), Ok(9));
        assert_eq!(
            chosen("HIGH:!ECDHE-RSA-AES128-GCM-SHA256").map(|all| all.len()),
            Ok(8)
        );
    }

    #[test]
    fn a_suite_that_is_not_here_is_an_error_that_names_those_that_are() {
        let error = chosen("AES128-SHA").expect_err("RSA key exchange");
        assert!(
            error.contains("\"AES128-SHA\"") && error.contains("ECDHE-RSA-AES256-GCM-SHA384"),
            "{error}"
        );
        assert!(chosen("HIGH:!AES128").is_err(), "it would not be kept");
    }
}
