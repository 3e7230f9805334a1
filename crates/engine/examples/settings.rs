//! Prints the table of settings as JSON, for the files that are made from it (`make generate`).

use fairlead_engine::{settings, Setting, SettingKind, SettingValue};

fn main() {
    let rows: Vec<_> = settings().iter().map(row).collect();
    println!("[\n{}\n]", rows.join(",\n"));
}

fn row(setting: &Setting) -> String {
    let (least, most) = match setting.kind {
        SettingKind::Count | SettingKind::Bytes | SettingKind::Duration => {
            (setting.range.0.to_string(), setting.range.1.to_string())
        }
        _ => ("null".into(), "null".into()),
    };
    let words = match setting.kind {
        SettingKind::Choice(words) => words,
        _ => &[],
    };
    format!(
        "{{\"name\": {}, \"kind\": {}, \"default\": {}, \"least\": {least}, \"most\": {most}, \"words\": {}, \
         \"meaning\": {}, \"reason\": {}}}",
        text(setting.name),
        text(setting.kind.name()),
        value(&setting.default),
        list(words),
        text(&setting.meaning()),
        text(&setting.reason()),
    )
}

fn value(value: &SettingValue) -> String {
    match value {
        SettingValue::Unset => "null".into(),
        SettingValue::Flag(flag) => flag.to_string(),
        SettingValue::Number(number) => number.to_string(),
        SettingValue::Duration(time) => time.as_secs_f64().to_string(),
        SettingValue::Text(word) => text(word),
        SettingValue::Texts(texts) => list(texts),
        SettingValue::Pairs(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| list(&[name, value])).collect();
            format!("[{}]", pairs.join(", "))
        }
    }
}

fn list(texts: &[impl AsRef<str>]) -> String {
    let texts: Vec<_> = texts.iter().map(|one| text(one.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// RFC 8259 §7: what must be escaped in a string.
fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            other if other < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
