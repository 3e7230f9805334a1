//! The properties of paths and targets: a normal path has nothing left that could be written in another way, and is the one
//! that a plain walk over its names gives; what was decoded is the same again after it was encoded; and a request shows the
//! same path whether its target came in origin form or in absolute form.
//!
//! Input of a fuzzer: a path as it is sent.

use std::path::{Component, Path};

use fairlead_http::{
    decode_path, encode_path, encode_query, encode_target, leads_up, normal_path, Request, Version,
};

/// Checks the properties for the input of a fuzzer.
pub fn run(sent: &[u8]) {
    let decoded = decode_path(sent);
    check_normal(&decoded);
    check_normal(sent);
    check_encoded(&decoded);
    let safe = encode_target(sent);
    assert_eq!(decode_path(&safe), decoded, "nothing that had a meaning changes");
    assert_eq!(encode_target(&safe), safe);
    assert!(safe
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !b"#\\".contains(byte)));
    check_request(sent);
}

fn check_normal(path: &[u8]) {
    let normal = normal_path(path);
    assert_eq!(normal_path(&normal), normal, "it is one form");
    assert_eq!(normal.starts_with(b"/"), path.starts_with(b"/"));
    assert!(!leads_up(&normal));
    let inner = normal.strip_prefix(b"/").unwrap_or(&normal);
    let inner = inner.strip_suffix(b"/").unwrap_or(inner);
    if !inner.is_empty() {
        for segment in inner.split(|byte| *byte == b'/') {
            assert!(!matches!(segment, b"" | b"." | b".."), "{normal:?}");
        }
    }
    let Some(text) = as_text(path) else { return };
    let mut names: Vec<&str> = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => names.push(name.to_str().expect("text")),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    assert_eq!(inner, names.join("/").as_bytes(), "{text}");
}

fn check_encoded(decoded: &[u8]) {
    for encoded in [encode_path(decoded), encode_query(decoded)] {
        assert_eq!(&*decode_path(&encoded), decoded);
        assert!(encoded
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(byte)));
    }
    let value = encode_query(decoded);
    assert!(
        !value.iter().any(|byte| b"&=+;".contains(byte)),
        "it is one value"
    );
}

fn check_request(sent: &[u8]) {
    if !sent.starts_with(b"/") {
        return;
    }
    let origin = Request::builder(b"GET", sent, Version::Http11).finish();
    assert_eq!(origin.target(), sent);
    assert_eq!(origin.authority(), None);
    assert_eq!(origin.path_info(), decode_path(origin.path()));
    let absolute = [b"http://example.org", sent].concat();
    let absolute = Request::builder(b"GET", &absolute, Version::Http11).finish();
    assert_eq!(absolute.authority(), Some(&b"example.org"[..]));
    assert_eq!(
        (absolute.target(), absolute.path(), absolute.query()),
        (sent, origin.path(), origin.query())
    );
}

fn as_text(path: &[u8]) -> Option<&str> {
    std::str::from_utf8(path).ok().filter(|text| !text.contains('\0'))
}
