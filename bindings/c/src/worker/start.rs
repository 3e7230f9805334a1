//! The engine as the master's first line describes it. The values of `engine` have the names of the engine's table.

use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use fairlead_engine as fl;
use fl::{BoundListener, ListenerConfig, LogLevel, Protocol, Scoreboard, SettingKind, SettingValue};
use serde_json::Value;

use crate::engine::Startable;
use crate::log::LogQueue;
use crate::status::Failure;

/// What the program starts shall not hold what the master left to this worker.
pub(super) fn keep_from_children(start: &Value) -> Result<(), Failure> {
    let listeners = start["listeners"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["fd"]);
    let others = [
        &start["scoreboard"]["fd"],
        &start["locks_fd"],
        &start["channels_fd"],
        &start["certificates"]["fd"],
    ];
    for number in listeners.chain(others).filter(|value| !value.is_null()) {
        let descriptor = descriptor(number)?;
        // SAFETY: it changes a flag of the descriptor, or fails.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(Failure::system(&std::io::Error::last_os_error()));
        }
    }
    Ok(())
}

pub(super) fn prepared(start: &Value, delivery: &str) -> Result<Startable, Failure> {
    refuse_what_is_missing(start)?;
    let values = start["engine"].as_object();
    let values = values.ok_or_else(|| {
        Failure::usage("the master's first line has no \"engine\"; it is of another version")
    })?;
    let mut settings = fl::Settings::default();
    for (name, value) in values {
        let kind = &fl::find_setting(name).map_err(Failure::usage)?.kind;
        let typed = typed(kind, value)
            .ok_or_else(|| Failure::usage(format!("{name} is {value}, and it must be {}", kind.needs())))?;
        settings.set(name, typed).map_err(Failure::usage)?;
    }
    let choice = fl::settings()
        .iter()
        .find(|one| matches!(one.kind, SettingKind::Choice(words) if words.contains(&delivery)));
    let choice = choice.ok_or_else(|| {
        Failure::usage(format!(
            "there is no delivery {delivery:?}; it is \"loop\" or \"threads\""
        ))
    })?;
    settings
        .set(choice.name, SettingValue::Text(delivery.to_owned().into()))
        .map_err(Failure::usage)?;
    if !start["scoreboard"].is_null() {
        let cell = start["scoreboard"]["cell"]
            .as_u64()
            .and_then(|cell| u32::try_from(cell).ok());
        let cell = cell.ok_or_else(|| Failure::usage("the scoreboard has no cell"))?;
        settings.scoreboard = Some(Scoreboard::new(inherited(&start["scoreboard"]["fd"])?, cell));
    }
    let longest = start["settings"]["channels_max_message"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok());
    let longest =
        longest.ok_or_else(|| Failure::usage("the master's first line has no channels_max_message"))?;
    let channels = fl::Channels::inherited(inherited(&start["channels_fd"])?, longest);
    let channels =
        channels.map_err(|error| Failure::usage(format!("the channels cannot be used: {error}")))?;
    settings.channels = Some(Arc::new(channels));
    let with_header = &start["settings"]["proxy_protocol"];
    let listeners = start["listeners"].as_array().into_iter().flatten();
    let listeners = listeners
        .map(|one| listener(one, with_header))
        .collect::<Result<_, _>>()?;
    // SAFETY: standard error of a worker is open: the master gave it.
    let errors = unsafe { BorrowedFd::borrow_raw(2) }.try_clone_to_owned();
    let errors = File::from(errors.map_err(|error| Failure::system(&error))?);
    let (sink, lines) = LogQueue::start(errors, LogLevel::Info).map_err(|error| Failure::system(&error))?;
    settings.log = sink;
    Ok(Startable {
        settings,
        listeners,
        log: Some(lines),
    })
}

fn refuse_what_is_missing(start: &Value) -> Result<(), Failure> {
    let is_empty = |value: &Value| value.as_array().map_or(value.is_null(), Vec::is_empty);
    for (value, what) in [
        (&start["certificates"], "TLS"),
        (&start["settings"]["route"], "--route"),
        (&start["settings"]["static_map"], "--static-map"),
    ] {
        if !is_empty(value) {
            return Err(Failure::usage(format!(
                "{what} is for Python workers so far; leave it away, or put it on an instance in front"
            )));
        }
    }
    Ok(())
}

fn listener(one: &Value, with_header: &Value) -> Result<BoundListener, Failure> {
    let kind = one["kind"].as_str().unwrap_or("");
    let mut config = match kind {
        "http" | "http-socket" => ListenerConfig {
            router: kind == "http",
            ..ListenerConfig::default()
        },
        "socket" | "uwsgi-socket" => ListenerConfig {
            protocol: Protocol::Uwsgi,
            ..ListenerConfig::default()
        },
        other => {
            return Err(Failure::usage(format!(
                "listeners of the kind {other:?} are for Python workers so far"
            )))
        }
    };
    config.proxy_protocol = with_header
        .as_array()
        .is_some_and(|kinds| kinds.iter().any(|one| one == kind));
    let listener = fl::Listener::from_fd(inherited(&one["fd"])?).map_err(|error| Failure::system(&error))?;
    Ok(BoundListener { listener, config })
}

fn descriptor(number: &Value) -> Result<i32, Failure> {
    let found = number
        .as_i64()
        .and_then(|fd| i32::try_from(fd).ok())
        .filter(|&fd| fd > 2);
    found.ok_or_else(|| Failure::usage(format!("{number} is no descriptor of the master's")))
}

fn inherited(number: &Value) -> Result<OwnedFd, Failure> {
    // SAFETY: `keep_from_children` has found it open, and the master's line gives it to the engine, once.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor(number)?) })
}

fn typed(kind: &SettingKind, value: &Value) -> Option<SettingValue> {
    if value.is_null() {
        return Some(SettingValue::Unset);
    }
    Some(match kind {
        SettingKind::Flag => SettingValue::Flag(value.as_bool()?),
        SettingKind::Count | SettingKind::Bytes => SettingValue::Number(value.as_u64()?),
        SettingKind::Duration => SettingValue::Duration(Duration::try_from_secs_f64(value.as_f64()?).ok()?),
        SettingKind::Text | SettingKind::Choice(_) => SettingValue::Text(value.as_str()?.to_owned().into()),
        SettingKind::Texts => SettingValue::Texts(serde_json::from_value(value.clone()).ok()?),
        SettingKind::Pairs => SettingValue::Pairs(serde_json::from_value(value.clone()).ok()?),
    })
}
