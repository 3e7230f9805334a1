//! What an engine is started with: one object.
//!
//! Its plain values stand in one table ([`settings`]) and are set by name ([`Settings::set`]), so that a binding knows none of
//! them; the check of kind and range is here and nowhere else. What is no plain value (the log, the channels' memory,
//! compiled rules) is a field. Parsing is the business of whoever starts the engine.

mod convert;
mod model;
mod setting;
mod table;

use std::sync::Arc;

use fairlead_front::{FrontSettings, Router};
use fairlead_websocket::{Limits, SessionSettings};
use fairlead_worker::{ChannelSettings, LoopLimits};

pub use model::{AnsweredSink, Delivery, LogSink, Settings, StallSink};
pub use setting::{Kind, Setting, SettingError, Value};

use model::{AppSettings, ProxySettings, Servers};

/// The table: every setting, with its kind, default, range and reason.
pub fn settings() -> &'static [Setting] {
    table::TABLE
}

/// The settings as the parts of the engine take them.
pub(crate) struct Parts {
    pub(crate) app: AppSettings,
    pub(crate) session: SessionSettings,
    pub(crate) front: FrontSettings,
    pub(crate) event_loop: LoopLimits,
    pub(crate) channels: Option<ChannelSettings>,
    pub(crate) parallel: usize,
    pub(crate) log: LogSink,
    pub(crate) answered: AnsweredSink,
    pub(crate) stall: StallSink,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            channels: None,
            routes: Arc::default(),
            static_files: Arc::default(),
            scoreboard: None,
            parallel: usize::MAX,
            log: Arc::new(|_, _| {}),
            answered: Arc::new(drop),
            stall: Arc::new(|_| {}),
            app: table::app(),
            session: SessionSettings {
                limits: table::limits(),
                timing: table::timing(),
            },
            front: table::http(),
            event_loop: table::event_loop(),
            proxy: table::proxy(),
            channel_limits: table::channels(),
        }
    }
}

impl Settings {
    /// Sets the value of one row of the table.
    ///
    /// # Errors
    /// There is no setting of this name, or it cannot have this value; nothing was changed then.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), SettingError> {
        let setting = find(name)?;
        setting.check(&value)?;
        (setting.put)(self, value.clone()).map_err(|why| setting.refuse(&value, &why))
    }

    /// How requests reach the program.
    pub fn delivery(&self) -> Delivery {
        self.app.delivery
    }

    /// The parts, with what follows from several settings.
    pub(crate) fn into_parts(self) -> Result<Parts, SettingError> {
        let ProxySettings {
            servers: Servers(servers),
            modifier1,
            modifier2,
            retry_after,
            variables,
        } = self.proxy;
        let router = Router::new(servers, (modifier1, modifier2), retry_after, variables);
        let mut session = self.session;
        session.limits.max_fragments = self
            .app
            .max_fragments
            .unwrap_or_else(|| Limits::fragments_of(session.limits.max_message));
        Ok(Parts {
            app: self.app,
            front: FrontSettings {
                routes: self.routes,
                router: Arc::new(router.map_err(SettingError)?),
                static_files: self.static_files,
                scoreboard: self.scoreboard,
                close_timeout: session.timing.close_timeout,
                ..self.front
            },
            session,
            event_loop: self.event_loop,
            channels: self.channels.map(|channels| ChannelSettings {
                channels,
                backlog: self.channel_limits.backlog,
                slow_consumer: self.channel_limits.slow_consumer,
                heartbeat: self.channel_limits.heartbeat,
            }),
            parallel: self.parallel,
            log: model::escaping(self.log),
            answered: self.answered,
            stall: self.stall,
        })
    }
}

/// The row of this name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<&'static Setting, SettingError> {
    table::TABLE
        .iter()
        .find(|setting| setting.name == name)
        .ok_or_else(|| SettingError(format!("there is no setting {name:?}")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use fairlead_front::LogLevel;
    use fairlead_websocket::OriginPolicy;

    use super::*;

    #[test]
    fn a_line_of_the_log_cannot_pass_for_two_or_speak_to_a_terminal() {
        let (told, lines) = std::sync::mpsc::channel();
        let settings = Settings {
            log: Arc::new(move |_, line| told.send(line.to_owned()).unwrap()),
            ..Settings::default()
        };
        let log = settings.into_parts().unwrap().log;
        log(
            LogLevel::Info,
            "1.2.3.4: /é\r\n2026-11-30 forged\u{1b}[2J\u{85}\u{202e}",
        );
        log(LogLevel::Info, "1.2.3.4: /fine \"é\"");
        assert_eq!(
            lines.try_recv().unwrap(),
            "1.2.3.4: /é\\r\\n2026-11-30 forged\\u{1b}[2J\\u{85}\\u{202e}"
        );
        assert_eq!(lines.try_recv().unwrap(), "1.2.3.4: /fine \"é\"");
    }

    #[test]
    fn every_default_passes_the_check_of_its_own_row() {
        let mut fresh = Settings::default();
        for setting in settings() {
            setting.check(&setting.default).unwrap();
            fresh.set(setting.name, setting.default.clone()).unwrap();
        }
    }

    #[test]
    fn no_two_rows_share_a_name_and_each_gives_meaning_and_reason() {
        let mut names = HashSet::new();
        for setting in settings() {
            assert!(names.insert(setting.name), "{} stands twice", setting.name);
            let (meaning, reason) = (setting.meaning(), setting.reason());
            assert!(
                meaning.ends_with('.') && reason.ends_with('.') && !reason.contains('\n'),
                "{} lacks its meaning or its reason",
                setting.name
            );
        }
    }

    #[test]
    fn a_value_reaches_the_part_that_uses_it() {
        let mut all = Settings::default();
        all.set("http_head_timeout", Value::millis(1500)).unwrap();
        all.set("websocket_max_message", Value::Number(3200)).unwrap();
        all.set("websocket_outbox_bytes", Value::Number(7)).unwrap();
        all.set("delivery", Value::word("threads")).unwrap();
        all.set("websocket_origins", Value::Texts(vec!["*".into()]))
            .unwrap();
        let parts = all.into_parts().unwrap();
        assert_eq!(parts.front.header_timeout, Duration::from_millis(1500));
        assert_eq!(parts.session.limits.max_message, 3200);
        assert_eq!(parts.session.limits.max_fragments, 1124, "it follows the message");
        assert_eq!(parts.event_loop.outbox_high, 7);
        assert_eq!(parts.app.delivery, Delivery::Threads);
        assert_eq!(parts.app.origin, OriginPolicy::Any);
    }

    #[test]
    fn a_number_of_fragments_that_was_chosen_stays() {
        let mut all = Settings::default();
        all.set("websocket_max_fragments", Value::Number(3)).unwrap();
        all.set("websocket_max_message", Value::Number(1 << 20)).unwrap();
        assert_eq!(all.into_parts().unwrap().session.limits.max_fragments, 3);
    }

    #[test]
    fn what_was_optional_can_be_unset_again_and_nothing_else() {
        let mut all = Settings::default();
        all.set("http_max_body", Value::Number(10)).unwrap();
        all.set("http_max_body", Value::Unset).unwrap();
        let why = all.set("slots", Value::Unset).unwrap_err().to_string();
        assert_eq!(why, "slots is unset, and it must be a whole number");
        assert_eq!(all.into_parts().unwrap().front.max_body, None);
    }

    #[test]
    fn what_cannot_be_is_refused_in_one_sentence_and_changes_nothing() {
        let mut all = Settings::default();
        for (name, value, why) in [
            ("slot", Value::Number(1), "there is no setting \"slot\""),
            ("slots", Value::Number(0), "slots is 0, and it must be from 1 to 1000000"),
            (
                "http_head_timeout",
                Value::Duration(Duration::ZERO),
                "http_head_timeout is 0 s, and it must be from 0.001 s to 999999999 s",
            ),
            (
                "http2",
                Value::Number(1),
                "http2 is 1, and it must be true or false",
            ),
            (
                "channel_slow_consumer",
                Value::word("drop"),
                "channel_slow_consumer is \"drop\", and it must be one of close, drop-newest, drop-oldest",
            ),
            (
                "response_headers",
                Value::Pairs(vec![("X".into(), "a\nb".into())]),
                "response_headers is [(\"X\", \"a\\nb\")], and the value of the header \"X\" has a control character",
            ),
            (
                "trusted_proxies",
                Value::Texts(vec!["proxy".into()]),
                "trusted_proxies is [\"proxy\"], and \"proxy\" is no trusted proxy: it is no IP address",
            ),
            (
                "proxy_servers",
                Value::Texts(vec!["there".into()]),
                "proxy_servers is [\"there\"], and \"there\" is no address of a server; write host:port, a path, or @name \
                 of an abstract socket",
            ),
        ] {
            assert_eq!(all.set(name, value).unwrap_err().to_string(), why);
        }
        let parts = all.into_parts().unwrap();
        assert_eq!(parts.app.slots, 1024);
        assert_eq!(parts.front.header_timeout, Duration::from_secs(20));
        assert!(parts.front.trusted_proxies.is_empty());
    }
}
