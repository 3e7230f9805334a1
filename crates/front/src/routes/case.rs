//! One request before the rules: what is known of it, and what the rules have changed so far.
//!
//! The variables are gathered when the first rule asks for one; what an action changes, the rules behind it see. A rule sees
//! a request in one form, however a client has written it: the path without dots and empty segments, as a mapped folder is
//! looked at, too; the target without scheme and host; the host in lower case.

use std::cell::OnceCell;
use std::collections::HashMap;

use fairlead_http::{decode_path, encode_path, leads_up, normal_path, Request};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As a client or the configuration wrote it: what of it belongs into a target is encoded already.
    AsSent,
    /// Decoded: whoever makes a target of it encodes it again.
    Decoded,
}

/// What rules look at.
pub(super) struct Case<'a> {
    request: &'a Request,
    /// Of the response, in its table.
    status: Option<u16>,
    worker: u32,
    groups: Vec<Vec<u8>>,
    groups_form: Form,
    variables: OnceCell<HashMap<String, Vec<u8>>>,
    /// What actions have set, in order.
    changes: Vec<Change>,
}

struct Change {
    name: String,
    value: Vec<u8>,
    /// As rules see it, if that differs.
    seen: Option<Vec<u8>>,
    form: Form,
}

/// Whether a variable is the name of a host, whose letters' case means nothing (RFC 9110 §4.2.3).
pub(super) fn is_host_variable(name: &str) -> bool {
    matches!(name, "HTTP_HOST" | "SERVER_NAME")
}

/// A variable's value as rules see it, if that differs.
fn seen(name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let seen = match name {
        "PATH_INFO" => normal_path(value).into_owned(),
        _ if is_host_variable(name) => value.to_ascii_lowercase(),
        _ => return None,
    };
    (seen != value).then_some(seen)
}

impl<'a> Case<'a> {
    pub(super) fn new(request: &'a Request, status: Option<u16>, worker: u32) -> Case<'a> {
        Case {
            request,
            status,
            worker,
            groups: Vec::new(),
            groups_form: Form::AsSent,
            variables: OnceCell::new(),
            changes: Vec::new(),
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    pub(super) fn worker(&self) -> u32 {
        self.worker
    }

    /// A CGI variable; empty if there is none.
    pub(super) fn variable(&self, name: &str) -> &[u8] {
        if let Some(change) = self.changed(name) {
            return change.seen.as_ref().unwrap_or(&change.value);
        }
        let variables = self.variables.get_or_init(|| {
            let mut all = HashMap::new();
            self.request.for_each_cgi_variable(|name, value| {
                let value = seen(name, value).unwrap_or_else(|| value.to_vec());
                all.insert(name.to_owned(), value);
            });
            all.insert(
                "REQUEST_SCHEME".to_owned(),
                self.request.scheme().as_str().as_bytes().to_vec(),
            );
            if self.request.variable_set("REQUEST_URI").is_none() {
                // A packet's may be in absolute form.
                all.entry("REQUEST_URI".to_owned())
                    .and_modify(|target| *target = self.request.target().to_vec());
            }
            all
        });
        variables.get(name).map_or(&[], Vec::as_slice)
    }

    fn changed(&self, name: &str) -> Option<&Change> {
        self.changes.iter().rev().find(|change| change.name == name)
    }

    /// How a variable's value is written.
    pub(super) fn form(&self, name: &str) -> Form {
        match (self.changed(name), name) {
            (Some(change), _) => change.form,
            (None, "PATH_INFO" | "SCRIPT_NAME") => Form::Decoded,
            (None, _) => Form::AsSent,
        }
    }

    pub(super) fn set_variable(&mut self, name: &str, value: Vec<u8>, form: Form) {
        self.changes.push(Change {
            name: name.to_owned(),
            seen: seen(name, &value),
            value,
            form,
        });
    }

    /// What the rules have set. A path that leads back up goes on in the form in which the rules have judged it, so that
    /// nobody behind them takes it for another one; so does the target.
    pub(super) fn into_changes(self) -> Vec<(String, Vec<u8>)> {
        let mut changes = Vec::new();
        let path = self.request.path_info();
        if leads_up(&path) {
            changes.push(("PATH_INFO".to_owned(), normal_path(&path).into_owned()));
        }
        let path = decode_path(self.request.path());
        if leads_up(&path) {
            let mut target = encode_path(&normal_path(&path));
            if !self.request.query().is_empty() {
                target.push(b'?');
                target.extend_from_slice(self.request.query());
            }
            changes.push(("REQUEST_URI".to_owned(), target));
        }
        for change in self.changes {
            let leads_up = change.name == "PATH_INFO" && leads_up(&change.value);
            let value = match change.seen {
                Some(seen) if leads_up => seen,
                _ => change.value,
            };
            changes.push((change.name, value));
        }
        changes
    }

    pub(super) fn group(&self, number: usize) -> &[u8] {
        self.groups.get(number).map_or(&[], Vec::as_slice)
    }

    /// How the groups are written.
    pub(super) fn groups_form(&self) -> Form {
        self.groups_form
    }

    pub(super) fn set_groups(&mut self, groups: Vec<Vec<u8>>, form: Form) {
        self.groups = groups;
        self.groups_form = form;
    }
}
