//! The property of the PROXY protocol's header: however much of a stream has arrived, the answer is the same or "not yet";
//! it never depends on what follows the header; and it comes after a bounded number of bytes.
//!
//! Input of a fuzzer: the first bytes of a connection.

use fairlead_http::ProxyHeader;

/// Checks the property for the input of a fuzzer.
pub fn run(data: &[u8]) {
    let whole = ProxyHeader::parse(data);
    for cut in 0..data.len().min(ProxyHeader::LONGEST + 1) {
        match (ProxyHeader::parse(&data[..cut]), &whole) {
            (Ok(None), Ok(Some((_, size)))) => assert!(cut < *size, "complete at {size}, and not at {cut}"),
            (Ok(None), _) => assert!(cut < ProxyHeader::LONGEST, "waits for ever"),
            (part @ Ok(Some((_, size))), whole) => {
                assert!(size <= cut);
                assert_eq!(&part, whole);
            }
            (Err(why), whole) => {
                assert!(whole.is_err(), "{why} after {cut} bytes");
                let line = why.to_string();
                assert!(
                    line.bytes().all(|byte| (b' '..0x7f).contains(&byte)),
                    "a log line stays one: {line}"
                );
            }
        }
    }
    if let Ok(Some((header, size))) = whole {
        assert!(size <= data.len() && size <= ProxyHeader::LONGEST);
        let followed = [&data[..size], b"\r\nfollowed"].concat();
        assert_eq!(ProxyHeader::parse(&followed), Ok(Some((header, size))));
    }
}
