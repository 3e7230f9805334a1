//! From a value that was checked to the type of the field that it feeds.
//!
//! The kind and the range are the table's to check. What only the type itself can judge (an address of a proxy, say) is
//! refused here, with the end of a sentence.

use std::time::Duration;

use fairlead_front::Router;
use fairlead_http::{ResponseHead, TrustedProxies};
use fairlead_websocket::OriginPolicy;
use fairlead_worker::SlowConsumer;

use super::model::{Delivery, ResponseHeaders, Servers};
use super::setting::Value;

/// A type of a field that settings feed.
pub(super) trait FromValue: Sized {
    fn from_value(value: Value) -> Result<Self, String>;
}

/// Puts a value into its field.
pub(super) fn put<T: FromValue>(place: &mut T, value: Value) -> Result<(), String> {
    *place = T::from_value(value)?;
    Ok(())
}

/// A default in its field. One that its own row refuses is a fault of the table, which every test that makes [`Settings`]
/// would find.
pub(super) fn start<T: FromValue>(name: &str, default: Value) -> T {
    T::from_value(default).unwrap_or_else(|why| unreachable!("the default of {name}: {why}"))
}

/// The table's check has let through what it must not: a row has a kind that its field does not take.
fn mismatch<T>(value: &Value) -> Result<T, String> {
    Err(format!("its field cannot hold {value}"))
}

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Flag(flag) => Ok(flag),
            other => mismatch(&other),
        }
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(impl FromValue for $number {
            fn from_value(value: Value) -> Result<Self, String> {
                match value {
                    Value::Number(number) => number
                        .try_into()
                        .map_err(|_| format!("this machine takes at most {}", <$number>::MAX)),
                    other => mismatch(&other),
                }
            }
        })+
    };
}

numbers!(u8, u32, u64, usize);

impl FromValue for Duration {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Duration(time) => Ok(time),
            other => mismatch(&other),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text.into_owned()),
            other => mismatch(&other),
        }
    }
}

impl FromValue for Vec<String> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Texts(texts) => Ok(texts),
            other => mismatch(&other),
        }
    }
}

impl FromValue for Vec<(String, String)> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Pairs(pairs) => Ok(pairs),
            other => mismatch(&other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Unset => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl FromValue for Delivery {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(word) if word == "loop" => Ok(Delivery::Loop),
            Value::Text(word) if word == "threads" => Ok(Delivery::Threads),
            other => mismatch(&other),
        }
    }
}

impl FromValue for SlowConsumer {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(word) if word == "close" => Ok(SlowConsumer::Close),
            Value::Text(word) if word == "drop-newest" => Ok(SlowConsumer::DropNewest),
            Value::Text(word) if word == "drop-oldest" => Ok(SlowConsumer::DropOldest),
            other => mismatch(&other),
        }
    }
}

impl FromValue for OriginPolicy {
    fn from_value(value: Value) -> Result<Self, String> {
        let origins = Vec::from_value(value)?;
        Ok(if origins.iter().any(|origin: &String| origin == "*") {
            OriginPolicy::Any
        } else if origins.is_empty() {
            OriginPolicy::SameOrigin
        } else {
            OriginPolicy::Allow(origins)
        })
    }
}

impl FromValue for TrustedProxies {
    fn from_value(value: Value) -> Result<Self, String> {
        let mut trusted = TrustedProxies::default();
        for entry in Vec::<String>::from_value(value)? {
            trusted
                .add(&entry)
                .map_err(|why| format!("{entry:?} is no trusted proxy: {why}"))?;
        }
        Ok(trusted)
    }
}

impl FromValue for ResponseHeaders {
    fn from_value(value: Value) -> Result<Self, String> {
        let headers = Vec::<(String, String)>::from_value(value)?;
        let lines = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_bytes().to_vec()));
        ResponseHead::new(200, lines.collect::<Vec<_>>()).map_err(|why| why.to_string())?;
        Ok(ResponseHeaders(headers))
    }
}

impl FromValue for Servers {
    fn from_value(value: Value) -> Result<Self, String> {
        let servers = Vec::<String>::from_value(value)?;
        for server in &servers {
            Router::check(server)?;
        }
        Ok(Servers(servers))
    }
}
