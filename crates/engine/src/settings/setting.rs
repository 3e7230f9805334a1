//! What the table knows about one setting, and the values that settings can have.
//!
//! A value comes from a language in one of seven shapes; [`Setting::check`] is the one place that compares it with the
//! kind and the range of its setting. Times are `Duration`s here: each binding says in its own documentation whether it
//! takes them as seconds or as milliseconds.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::model::Settings;

/// What a setting holds, and in which task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Flag,
    /// A number of things.
    Count,
    /// A number of bytes.
    Bytes,
    /// A length of time.
    Duration,
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts, in the order given.
    Texts,
    /// Names with values, in the order given.
    Pairs,
}

impl Kind {
    /// The kind's name in the files that are made from the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Flag => "flag",
            Kind::Count => "count",
            Kind::Bytes => "bytes",
            Kind::Duration => "duration",
            Kind::Text => "text",
            Kind::Choice(_) => "choice",
            Kind::Texts => "texts",
            Kind::Pairs => "pairs",
        }
    }

    /// What a value of this kind is, in words that complete "it must be …".
    pub fn needs(self) -> &'static str {
        match self {
            Kind::Flag => "true or false",
            Kind::Count => "a whole number",
            Kind::Bytes => "a whole number of bytes",
            Kind::Duration => "a length of time",
            Kind::Text => "a text",
            Kind::Choice(_) => "a word",
            Kind::Texts => "a list of texts",
            Kind::Pairs => "a list of names with values",
        }
    }
}

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing was chosen; only a setting whose default is this takes it.
    Unset,
    /// Of a [`Kind::Flag`].
    Flag(bool),
    /// Of a [`Kind::Count`] or [`Kind::Bytes`].
    Number(u64),
    /// Of a [`Kind::Duration`].
    Duration(Duration),
    /// Of a [`Kind::Text`] or [`Kind::Choice`].
    Text(Cow<'static, str>),
    /// Of [`Kind::Texts`].
    Texts(Vec<String>),
    /// Of [`Kind::Pairs`].
    Pairs(Vec<(String, String)>),
}

impl Value {
    pub(super) const fn seconds(seconds: u64) -> Value {
        Value::Duration(Duration::from_secs(seconds))
    }

    pub(super) const fn millis(millis: u64) -> Value {
        Value::Duration(Duration::from_millis(millis))
    }

    pub(super) const fn word(word: &'static str) -> Value {
        Value::Text(Cow::Borrowed(word))
    }
}

/// As a sentence shows it: times in seconds, texts in quotes.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unset => out.write_str("unset"),
            Value::Flag(value) => value.fmt(out),
            Value::Number(value) => value.fmt(out),
            Value::Duration(value) => write!(out, "{} s", value.as_secs_f64()),
            Value::Text(value) => write!(out, "{value:?}"),
            Value::Texts(value) => write!(out, "{value:?}"),
            Value::Pairs(value) => write!(out, "{value:?}"),
        }
    }
}

/// One row of the table.
pub struct Setting {
    /// The name by which every language sets it.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What holds when nobody sets it.
    pub default: Value,
    /// The least and the largest number: as it is for counts and bytes, in milliseconds for times.
    pub range: (u64, u64),
    /// The comment above the row: what it means and, behind an empty line, why the default is what it is.
    pub(super) comment: &'static str,
    pub(super) put: fn(&mut Settings, Value) -> Result<(), String>,
}

impl Setting {
    /// What it means, in one or several sentences.
    pub fn meaning(&self) -> String {
        self.paragraph(0)
    }

    /// Why the default is what it is.
    pub fn reason(&self) -> String {
        self.paragraph(1)
    }

    fn paragraph(&self, number: usize) -> String {
        let paragraph = self.comment.split("\n\n").nth(number).unwrap_or_default();
        let lines: Vec<_> = paragraph.lines().map(str::trim).collect();
        lines.join(" ")
    }

    /// Whether this setting can have this value.
    ///
    /// # Errors
    /// The value is of another kind, or beyond the range.
    pub fn check(&self, value: &Value) -> Result<(), SettingError> {
        let fits = match (self.kind, value) {
            (_, Value::Unset) => self.default == Value::Unset,
            (Kind::Flag, Value::Flag(_))
            | (Kind::Text, Value::Text(_))
            | (Kind::Texts, Value::Texts(_))
            | (Kind::Pairs, Value::Pairs(_)) => true,
            (Kind::Count | Kind::Bytes, Value::Number(number)) => {
                let (least, most) = self.range;
                if !(least..=most).contains(number) {
                    return Err(self.refuse(value, &format!("it must be from {least} to {most}")));
                }
                true
            }
            (Kind::Duration, Value::Duration(time)) => {
                let (least, most) = (self.range.0, self.range.1);
                if *time < Duration::from_millis(least) || *time > Duration::from_millis(most) {
                    let seconds = |millis| Value::Duration(Duration::from_millis(millis));
                    let why = format!("it must be from {} to {}", seconds(least), seconds(most));
                    return Err(self.refuse(value, &why));
                }
                true
            }
            (Kind::Choice(words), Value::Text(word)) => {
                if !words.contains(&&**word) {
                    return Err(self.refuse(value, &format!("it must be one of {}", words.join(", "))));
                }
                true
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(self.refuse(value, &format!("it must be {}", self.kind.needs())))
    }

    pub(super) fn refuse(&self, value: &Value, why: &str) -> SettingError {
        SettingError(format!("{} is {value}, and {why}", self.name))
    }
}

/// A name that is no setting, or a value that a setting cannot have: one sentence with the name, the value and what is
/// needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError(pub(super) String);

impl fmt::Display for SettingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for SettingError {}
