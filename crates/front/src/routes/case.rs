//! One request before the rules: what is known of it, and what the rules have changed so far.
//!
//! The variables are gathered when the first rule asks for one; what an action changes, the rules behind it see.

use std::cell::OnceCell;
use std::collections::HashMap;

use fairlead_http::Request;

/// What rules look at.
pub(super) struct Case<'a> {
    request: &'a Request,
    /// Of the response, in its table.
    status: Option<u16>,
    worker: u32,
    groups: Vec<Vec<u8>>,
    variables: OnceCell<HashMap<String, Vec<u8>>>,
    /// What actions have set, in order.
    changes: Vec<(String, Vec<u8>)>,
}

impl<'a> Case<'a> {
    pub(super) fn new(request: &'a Request, status: Option<u16>, worker: u32) -> Case<'a> {
        Case {
            request,
            status,
            worker,
            groups: Vec::new(),
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
        if let Some((_, value)) = self.changes.iter().rev().find(|(other, _)| other == name) {
            return value;
        }
        let variables = self.variables.get_or_init(|| {
            let mut all = HashMap::new();
            self.request.for_each_cgi_variable(|name, value| {
                all.insert(name.to_owned(), value.to_vec());
            });
            all.insert(
                "REQUEST_SCHEME".to_owned(),
                self.request.scheme().as_str().as_bytes().to_vec(),
            );
            all
        });
        variables.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn set_variable(&mut self, name: &str, value: Vec<u8>) {
        self.changes.push((name.to_owned(), value));
    }

    pub(super) fn into_changes(self) -> Vec<(String, Vec<u8>)> {
        self.changes
    }

    pub(super) fn group(&self, number: usize) -> &[u8] {
        self.groups.get(number).map_or(&[], Vec::as_slice)
    }

    pub(super) fn set_groups(&mut self, groups: Vec<Vec<u8>>) {
        self.groups = groups;
    }
}
