//! What an engine's front is given beside plain settings: listeners of every kind, rules, folders, and what it shares with
//! other processes on the same listeners.

use std::collections::HashMap;
use std::ffi::{c_char, c_int};
use std::sync::Arc;

use fairlead_engine as fl;
use fl::{ListenerConfig, Protocol, Scheme, Scoreboard};

use crate::arguments::{duplicate, fl_header, pair_list, strings};
use crate::handle::{live, optional_text, slice};
use crate::settings::{fl_settings, Source};
use crate::status::{guarded, Failure, FL_OK};
use crate::tls::fl_tls;

/// A place where connections come from, and how they are treated.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_listener {
    /// As `fl_settings_listen` has it; NULL: `descriptor` is meant.
    pub address: *const c_char,
    /// A listening socket, which is duplicated.
    pub descriptor: c_int,
    /// "http" or "https" (requests look as behind a router), "http-socket" or "https-socket" (as they come),
    /// "http-to-https" (each is sent to `https_port`), "socket" (packets of the uwsgi protocol). NULL: "http-socket".
    pub kind: *const c_char,
    /// Clients speak TLS; NULL: they do not.
    pub tls: *const fl_tls,
    /// 1: connections begin with a header of the PROXY protocol.
    pub proxy_protocol: c_int,
    /// Of the kind "http-to-https"; 0: 443.
    pub https_port: c_int,
}

/// One more listener. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `listener` is NULL or readable, its strings NULL or NUL-terminated, its TLS NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_add_listener(
    settings: *mut fl_settings,
    listener: *const fl_listener,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise, for all of it.
        let (settings, address, config, listener) = unsafe {
            let settings = live(settings)?;
            let [listener] = slice(listener, usize::from(!listener.is_null()), "the listener")? else {
                return Err(Failure::usage("the listener is NULL"));
            };
            let kind = optional_text(listener.kind, "the listener's kind")?.unwrap_or("http-socket");
            let mut config = config_of(kind, listener.https_port)?;
            if !listener.tls.is_null() {
                config.scheme = Scheme::Https;
                config.tls = Some(live(listener.tls)?.inner());
            } else if kind.starts_with("https") {
                return Err(Failure::usage(format!(
                    "a listener of the kind {kind:?} needs TLS; give it some, or take \"http\" behind a proxy that ends it"
                )));
            }
            config.proxy_protocol = listener.proxy_protocol != 0;
            (
                settings,
                optional_text(listener.address, "the address")?,
                config,
                listener,
            )
        };
        let source = match address {
            Some(address) => Source::Address(address.to_owned()),
            None => {
                Source::Descriptor(duplicate(listener.descriptor).map_err(|error| Failure::system(&error))?)
            }
        };
        settings.add_listener(source, config);
        Ok(FL_OK)
    })
}

/// Rules that each request passes before the program sees it: pairs of an option ("route", "route-host", "route-label" …)
/// and its value, as Fairlead's command line has them. `worker` is what they know as the worker's number. All together, and
/// in place of those before; a rule that is none is `FL_ERR_USAGE`, and nothing has changed. From any thread.
///
/// # Safety
/// `settings` is NULL or live; `rules` has `count` elements whose strings are NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_routes(
    settings: *mut fl_settings,
    rules: *const fl_header,
    count: usize,
    worker: u32,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (settings, rules) = unsafe { (live(settings)?, pair_list(rules, count, "the rules")?) };
        let compiled = fl::Routes::compile(&rules, worker).map_err(Failure::usage)?;
        settings.with(|settings| settings.routes = Arc::new(compiled));
        Ok(FL_OK)
    })
}

/// Folders whose files are served without the program: `maps` are pairs of a path's prefix and a folder (or of a path and a
/// file), `index` the names of files that stand for a folder, `types` pairs of a name's ending (".css") and a media type.
/// All together, and in place of those before. From any thread.
///
/// # Safety
/// `settings` is NULL or live; the arrays are as long as announced, their strings NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_static_files(
    settings: *mut fl_settings,
    maps: *const fl_header,
    map_count: usize,
    index: *const *const c_char,
    index_count: usize,
    types: *const fl_header,
    type_count: usize,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (settings, maps, index, types) = unsafe {
            (
                live(settings)?,
                pair_list(maps, map_count, "the maps")?,
                strings(index, index_count, "the names of index files")?,
                pair_list(types, type_count, "the media types")?,
            )
        };
        let types: HashMap<String, String> = types.into_iter().collect();
        let files = fl::StaticFiles::new(&maps, index, types).map_err(Failure::usage)?;
        settings.with(|settings| settings.static_files = Arc::new(files));
        Ok(FL_OK)
    })
}

/// What processes on the same listeners tell each other, so that connections spread evenly: a file of zeros with 8
/// bytes for each (memfd_create(2) makes one), and this process's cell of it, from 0. The descriptor is duplicated. From
/// any thread.
///
/// # Safety
/// `settings` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_settings_scoreboard(
    settings: *mut fl_settings,
    descriptor: c_int,
    cell: u32,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let settings = unsafe { live(settings) }?;
        let own = duplicate(descriptor).map_err(|error| Failure::system(&error))?;
        settings.with(|settings| settings.scoreboard = Some(Scoreboard::new(own, cell)));
        Ok(FL_OK)
    })
}

fn config_of(kind: &str, https_port: c_int) -> Result<ListenerConfig, Failure> {
    let usual = ListenerConfig::default();
    match kind {
        "http" | "https" => Ok(ListenerConfig {
            router: true,
            ..usual
        }),
        "http-socket" | "https-socket" => Ok(usual),
        "http-to-https" => {
            let port = u16::try_from(https_port)
                .map_err(|_| Failure::usage(format!("{https_port} is no port; use one from 1 to 65535")))?;
            Ok(ListenerConfig {
                router: true,
                to_https: Some(if port == 0 { 443 } else { port }),
                ..usual
            })
        }
        "socket" => Ok(ListenerConfig {
            protocol: Protocol::Uwsgi,
            ..usual
        }),
        other => Err(Failure::usage(format!(
            "there are no listeners of the kind {other:?}; use http, https, http-socket, https-socket, http-to-https or \
             socket"
        ))),
    }
}
