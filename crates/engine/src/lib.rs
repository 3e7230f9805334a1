//! The engine: the facade that joins front, worker, channel and protocol, and all that a binding may import.
//!
//! # The API boundary
//! A binding builds [`Settings`], starts an [`Engine`] on listeners, and polls: [`Engine::poll`] for runners whose one
//! thread runs many tasks, [`Engine::wait_request`] for runners with a thread per task. It gets [`Event`]s and [`Request`]s and gives
//! commands to [`Request`]s and [`Connection`]s. The engine never calls into a language; all it calls are the sinks of
//! the settings, for the log and for stalls, which must only note what they are told.
//!
//! Absent on purpose: any language, any parsing of configuration, any knowledge of how tasks are scheduled.

#![deny(unsafe_code)]

mod admission_queue;
mod arriving;
mod engine;
mod engine_shared;
mod handoff;
mod master_watch;
mod memory;
mod parking;
mod request;
mod settings;

pub use engine::{Batch, Engine, Statistics};
pub use fairlead_channel::{
    check_name, is_forked, note_fork, ChannelError, ChannelFacts, Channels, Kind, Missed, Place, Record,
    RegionError, WorkerFacts, BRIEFLY, LONGEST_NAME,
};
pub use fairlead_front::{
    Answered, BodyError, BodyRead, BoundListener, ClientCa, FrontSettings, KeyPair, Listener, ListenerConfig,
    LogLevel, Outcome, PemFile, Protocol, Router, Routes, Scoreboard, StaticFiles, TicketKey, TicketKeys,
    Tls, TlsError, TlsSettings,
};
pub use fairlead_http::{Address, Request as Head, ResponseHead, Scheme, TrustedProxies, Version};
pub use fairlead_websocket::{
    is_utf8, Cause, CloseCode, ClosedBy, Closure, Counters, HandshakeError, Limits, Lost, MessageKind,
    OriginPolicy, SessionSettings, Timing, UsageError,
};
pub use fairlead_worker::{
    ChannelSettings, Connection, Drops, Event, Interest, JoinAnswer, JoinError, JoinOptions, Message,
    Received, Sent, Slab, SlowConsumer, Stall, Style, Subscriber, Taken, Token, Waiting, Watch,
    WorkerSettings,
};
pub use master_watch::{descriptors_are_lost, MasterWatch};
pub use request::{AcceptError, Gone, Request};
pub use settings::{
    find as find_setting, settings, AnsweredSink, Delivery, Kind as SettingKind, LogSink, Setting,
    SettingError, Settings, StallSink, Value as SettingValue,
};
