//! `fl_tls`: what a listener shows to clients that speak TLS; `fl_ticket_keys`, by which they resume their sessions.

use std::ffi::{c_char, c_int, CString};
use std::sync::Arc;

use fairlead_engine as fl;
use fl::{ClientCa, KeyPair, PemFile, TicketKey, TlsSettings};

use crate::arguments::{free, guarded_handle};
use crate::handle::{live, optional_text, slice, text, Handle, Tag};
use crate::status::{guarded, guarded_value, Failure, FL_OK};

/// A PEM file: what its name says in messages, and what is in it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_pem {
    /// NUL-terminated. NULL: there is none.
    pub name: *const c_char,
    /// What is in it; NULL: it is read.
    pub content: *const c_char,
    /// How many bytes of that.
    pub size: usize,
}

/// A certificate with its chain, and its key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_key_pair {
    /// The server's certificate first.
    pub certificate: fl_pem,
    /// PKCS#8, PKCS#1 or SEC1, without a pass phrase.
    pub key: fl_pem,
}

/// What `fl_tls_new` makes one of. All zeros but `certificates` is what most programs want.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_tls_options {
    /// Chosen by the name that the client asks for (RFC 6066 §3); the first is for those that ask for none.
    pub certificates: *const fl_key_pair,
    /// How many, one at least.
    pub certificate_count: usize,
    /// An OpenSSL list of ciphers; NULL: the usual ones.
    pub ciphers: *const c_char,
    /// Whose certificates clients may show; its name NULL: nobody is asked for one.
    pub client_ca: fl_pem,
    /// 1: a client without a certificate is refused.
    pub client_ca_required: c_int,
    /// 1: requests carry the client's certificate as a variable.
    pub export_certificate: c_int,
    /// 1: a certificate that has expired is an error, where it is a warning.
    pub refuse_expired: c_int,
    /// 1: HTTP/2 is not offered (RFC 7301).
    pub without_http2: c_int,
    /// Shared with other processes, whose sessions are resumed here as well; NULL: this handle's own.
    pub ticket_keys: *const fl_ticket_keys,
}

/// Certificates and keys that were checked.
#[repr(C)]
pub struct fl_tls {
    tag: Tag,
    tls: Arc<fl::Tls>,
    warnings: Vec<CString>,
}

/// What seals and opens session tickets.
#[repr(C)]
pub struct fl_ticket_keys {
    tag: Tag,
    keys: Arc<fl::TicketKeys>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_tls {
    const TAG: u32 = 0x464c_0009;
    const NAME: &'static str = "fl_tls";
}

// SAFETY: as above.
unsafe impl Handle for fl_ticket_keys {
    const TAG: u32 = 0x464c_000a;
    const NAME: &'static str = "fl_ticket_keys";
}

impl fl_tls {
    pub(crate) fn inner(&self) -> Arc<fl::Tls> {
        Arc::clone(&self.tls)
    }
}

/// Reads and checks certificates and keys. `*tls` is the caller's, to be freed with `fl_tls_free`; NULL after an error, of
/// which the sentence names the file. All is copied. From any thread.
///
/// # Safety
/// `options` is NULL or readable, with strings that are NUL-terminated and arrays as long as announced; `tls` is NULL or
/// writable.
#[no_mangle]
pub unsafe extern "C" fn fl_tls_new(options: *const fl_tls_options, tls: *mut *mut fl_tls) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        guarded_handle(tls, || {
            let [options] = slice(options, usize::from(!options.is_null()), "the options")? else {
                return Err(Failure::usage("the options are NULL"));
            };
            let tls = fl::Tls::new(&settings(options)?).map_err(Failure::usage)?;
            let warnings = tls.warnings().iter().cloned();
            Ok(fl_tls {
                tag: Tag::of::<fl_tls>(),
                warnings: warnings
                    .map(|text| CString::new(text).unwrap_or_default())
                    .collect(),
                tls: Arc::new(tls),
            })
        })
    }
}

/// Warning `index` about certificates and keys, for the operator; NULL beyond the last. Lives as long as the handle. From
/// any thread.
///
/// # Safety
/// `tls` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_tls_warning(tls: *const fl_tls, index: usize) -> *const c_char {
    guarded_value(std::ptr::null(), || {
        // SAFETY: the caller's promise.
        let warning = unsafe { live(tls) }?.warnings.get(index);
        Ok(warning.map_or(std::ptr::null(), |text| text.as_ptr()))
    })
}

/// From now on new connections to listeners with `tls` are greeted as `other` would greet them; open ones go on. From any
/// thread.
///
/// # Safety
/// `tls` and `other` are NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_tls_renew(tls: *const fl_tls, other: *const fl_tls) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (tls, other) = unsafe { (live(tls)?, live(other)?) };
        tls.tls.renew(&other.tls);
        Ok(FL_OK)
    })
}

/// Frees the handle; listeners that were given it keep what it stands for, and can no more be renewed. NULL is no error.
/// From any thread, but no other call may use it.
///
/// # Safety
/// `tls` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_tls_free(tls: *mut fl_tls) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { free(tls) }
}

/// Keys for session tickets (RFC 5077), 32 secret bytes each, one behind the other: the first seals, all open. Clients are
/// told that a ticket is good for `lifetime_s` seconds. `*ticket_keys` is the caller's; NULL after an error, which shows no
/// byte of them. From any thread.
///
/// # Safety
/// `keys` has `size` bytes; `ticket_keys` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_ticket_keys_new(
    keys: *const c_char,
    size: usize,
    lifetime_s: u32,
    ticket_keys: *mut *mut fl_ticket_keys,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        guarded_handle(ticket_keys, || {
            Ok(fl_ticket_keys {
                tag: Tag::of::<fl_ticket_keys>(),
                keys: Arc::new(fl::TicketKeys::new(&key_list(keys, size)?, lifetime_s)),
            })
        })
    }
}

/// From now on these are the keys. From any thread.
///
/// # Safety
/// `ticket_keys` is NULL or live; `keys` has `size` bytes.
#[no_mangle]
pub unsafe extern "C" fn fl_ticket_keys_renew(
    ticket_keys: *const fl_ticket_keys,
    keys: *const c_char,
    size: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(ticket_keys)?.keys.renew(&key_list(keys, size)?) };
        Ok(FL_OK)
    })
}

/// Frees the handle; what was made with it goes on. NULL is no error. From any thread, but no other call may use it.
///
/// # Safety
/// `ticket_keys` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_ticket_keys_free(ticket_keys: *mut fl_ticket_keys) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { free(ticket_keys) }
}

/// # Safety
/// As `fl_tls_new` asks of its options.
unsafe fn settings(options: &fl_tls_options) -> Result<TlsSettings, Failure> {
    // SAFETY: the caller's promise, for all of it.
    unsafe {
        let pairs = slice(
            options.certificates,
            options.certificate_count,
            "the certificates",
        )?;
        let mut certificates = Vec::with_capacity(pairs.len());
        for pair in pairs {
            certificates.push(KeyPair {
                certificate: pem(&pair.certificate, "the certificate's name")?,
                key: pem(&pair.key, "the key's name")?,
            });
        }
        if certificates.is_empty() {
            return Err(Failure::usage("there is no certificate; give one with its key"));
        }
        let client_ca = if options.client_ca.name.is_null() {
            None
        } else {
            Some(ClientCa {
                file: pem(&options.client_ca, "the name of the clients' CA")?,
                is_required: options.client_ca_required != 0,
            })
        };
        let ticket_keys = if options.ticket_keys.is_null() {
            None
        } else {
            Some(Arc::clone(&live(options.ticket_keys)?.keys))
        };
        Ok(TlsSettings {
            certificates,
            ciphers: optional_text(options.ciphers, "the list of ciphers")?
                .unwrap_or_default()
                .to_owned(),
            client_ca,
            exports_certificate: options.export_certificate != 0,
            refuses_expired: options.refuse_expired != 0,
            without_http2: options.without_http2 != 0,
            ticket_keys,
        })
    }
}

/// # Safety
/// Its name is NULL or NUL-terminated; its content is NULL or as long as announced.
unsafe fn pem(file: &fl_pem, what: &str) -> Result<PemFile, Failure> {
    // SAFETY: the caller's promise.
    let name = unsafe { text(file.name, what) }?.to_owned();
    let content = if file.content.is_null() {
        std::fs::read(&name).map_err(|error| {
            Failure::new(
                crate::status::FL_ERR_SYSTEM,
                format!("{name} cannot be read: {error}"),
            )
        })?
    } else {
        // SAFETY: the caller's promise.
        unsafe { slice(file.content.cast::<u8>(), file.size, "the file's bytes") }?.to_vec()
    };
    Ok(PemFile { name, content })
}

/// # Safety
/// `keys` has `size` bytes.
unsafe fn key_list(keys: *const c_char, size: usize) -> Result<Vec<TicketKey>, Failure> {
    // SAFETY: the caller's promise.
    let (keys, rest) = unsafe { slice(keys.cast::<u8>(), size, "the keys' bytes") }?.as_chunks();
    if !rest.is_empty() || keys.is_empty() {
        return Err(Failure::usage(format!(
            "ticket keys have {} bytes each, but {size} came; give whole ones, one at least",
            size_of::<TicketKey>(),
        )));
    }
    Ok(keys.to_vec())
}
