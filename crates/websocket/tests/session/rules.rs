//! The table in the crate's documentation names a test for every rule; a name that no test has is a broken promise.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("../../src/lib.rs");

/// Section, rule, file and test of each row.
fn rows() -> Vec<[&'static str; 4]> {
    TABLE
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .filter(|row| !row.starts_with("RFC section") && !row.starts_with("---"))
        .map(|row| {
            let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").map(str::trim).collect();
            cells
                .try_into()
                .unwrap_or_else(|cells| panic!("not four cells: {cells:?}"))
        })
        .collect()
}

fn sources() -> HashMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "tests/session"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("a folder of sources"))
        .map(|entry| entry.expect("a source").path())
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).expect("a source is text"),
            )
        })
        .collect()
}

/// Whether `text` cites `section`, and not merely one of its subsections.
fn cites(text: &str, section: &str) -> bool {
    text.split(section).skip(1).any(|after| {
        let mut after = after.trim_start_matches('.').chars();
        !after.next().is_some_and(|c| c.is_ascii_digit())
    })
}

#[test]
fn every_rule_of_the_table_has_its_line_and_its_test() {
    let sources = sources();
    let rows = rows();
    assert!(rows.len() > 40, "{} rows", rows.len());
    let mut broken = Vec::new();
    for [section, rule, file, test] in rows {
        let (file, test) = (file.trim_matches('`'), test.trim_matches('`'));
        let test_line = format!("fn {test}()");
        let is_tested = |text: &String| {
            text.split("#[test]")
                .skip(1)
                .any(|after| after.trim_start().starts_with(&test_line))
        };
        if !sources.values().any(is_tested) {
            broken.push(format!("{section} ({rule}): there is no test {test}"));
        }
        let section = if section.starts_with("RFC") {
            section.to_owned()
        } else {
            format!("RFC 6455 §{section}")
        };
        let name = format!("/src/{file}");
        match sources.iter().find(|(path, _)| path.ends_with(&name)) {
            Some((_, text)) if cites(text, &section) => {}
            Some(_) => broken.push(format!("{section} ({rule}): {file} does not cite it")),
            None => broken.push(format!("{section} ({rule}): there is no file {file}")),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
