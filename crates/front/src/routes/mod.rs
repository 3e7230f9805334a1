//! Internal routes (compat §5): rules that look at a request before the app does, at its answer, and at its end.
//!
//! Four tables keep the order in which the rules were given: `route…` for requests, `error-route…` for answers, which it may
//! replace, `response-route…` for the heads that go out, `final-route…` for what is over. A rule is a
//! test and an action; actions change what the app sees, answer the request here, or send it to another server
//! ([`crate::proxy`]). Everything is compiled when the rules are read, so a mistake is found before the server serves, and the
//! regular expressions are of the kind that takes linear time, whatever a client sends. Pure: no IO but conditions on files.

mod action;
mod case;
mod condition;
mod template;

use fairlead_http::{Request, ResponseHead};
use regex::bytes::Regex;

use crate::upstream::Backend;
use action::{Action, Next, Stage};
use case::{Case, Form};
use condition::{regex, Condition};

pub(crate) use action::{Effects, HeaderChange};

/// The compiled rules of one server.
#[derive(Debug, Default)]
pub struct Routes {
    request: Table,
    error: Table,
    response: Table,
    end: Table,
    /// The number of this process among those that serve, for `${uwsgi[wid]}`.
    worker: u32,
}

#[derive(Debug, Default)]
struct Table(Vec<Rule>);

#[derive(Debug)]
enum Rule {
    Label(String),
    Act(Test, Action),
}

#[derive(Debug)]
enum Test {
    Always,
    Matches(Subject, Regex),
    If { condition: Condition, expected: bool },
}

#[derive(Clone, Copy, Debug)]
enum Subject {
    Variable(&'static str),
    Status,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The app gets it.
    Run,
    /// It is answered here.
    Answer(ResponseHead, Vec<u8>),
    /// The connection closes without an answer.
    Cut,
    /// Another server gets it.
    Proxy(Backend),
}

impl Routes {
    /// Compiles rules: the option that each comes from (`route`, `route-if`, `response-route-run`, …) and its value. `worker`:
    /// the number of this process.
    ///
    /// # Errors
    /// One sentence with the option and its value.
    pub fn compile(rules: &[(String, String)], worker: u32) -> Result<Routes, String> {
        let mut routes = Routes {
            worker,
            ..Routes::default()
        };
        for (option, value) in rules {
            let (table, stage, kind) = match option.split_once('-') {
                Some(("error", kind)) => (&mut routes.error, Stage::Error, kind),
                Some(("response", kind)) => (&mut routes.response, Stage::Response, kind),
                Some(("final", kind)) => (&mut routes.end, Stage::End, kind),
                _ => (&mut routes.request, Stage::Request, option.as_str()),
            };
            let rule = rule(kind, value, stage).map_err(|why| format!("--{option} {value:?}: {why}."))?;
            table.0.push(rule);
        }
        routes.request.check("route")?;
        routes.error.check("error-route")?;
        routes.response.check("response-route")?;
        routes.end.check("final-route")?;
        Ok(routes)
    }

    /// Whether any rule may answer a request, close its connection or send it to another server: it never reaches the app.
    pub(crate) fn answer(&self) -> bool {
        self.request
            .0
            .iter()
            .any(|rule| matches!(rule, Rule::Act(_, action) if action.ends_here()))
    }

    /// Takes a request through its table. What the rules set is set in the request.
    pub(crate) fn decide(&self, request: &mut Request) -> (Verdict, Effects) {
        let mut effects = Effects::default();
        if self.request.0.is_empty() {
            return (Verdict::Run, effects);
        }
        let mut case = Case::new(request, None, self.worker);
        let verdict = match self.request.walk(&mut case, &mut effects) {
            Next::Answer(head, body) => Verdict::Answer(head, body),
            Next::Cut => Verdict::Cut,
            Next::Proxy(backend) => Verdict::Proxy(backend),
            Next::Rule | Next::Run | Next::Label(_) => Verdict::Run,
        };
        for (name, value) in case.into_changes() {
            request.set_variable(&name, &value);
        }
        (verdict, effects)
    }

    /// Whether there are rules for what comes after a request.
    pub(crate) fn looks_back(&self) -> bool {
        !(self.error.0.is_empty() && self.response.0.is_empty() && self.end.0.is_empty())
    }

    /// Takes an answer through the table of errors, whatever its status: uWSGI calls it so, and rules ask for the status.
    /// [`Verdict::Run`]: it goes out.
    pub(crate) fn judge(&self, request: &Request, status: u16, effects: &mut Effects) -> Verdict {
        let mut case = Case::new(request, Some(status), self.worker);
        match self.error.walk(&mut case, effects) {
            Next::Answer(head, body) => Verdict::Answer(head, body),
            Next::Cut => Verdict::Cut,
            Next::Rule | Next::Run | Next::Label(_) | Next::Proxy(_) => Verdict::Run,
        }
    }

    /// Takes a response through its table.
    pub(crate) fn respond(&self, request: &Request, status: u16, effects: &mut Effects) {
        let mut case = Case::new(request, Some(status), self.worker);
        let _ = self.response.walk(&mut case, effects);
    }

    /// Takes a request that is over through its table; `status` 0: the client got no answer.
    pub(crate) fn conclude(&self, request: &Request, status: u16, effects: &mut Effects) {
        let mut case = Case::new(request, Some(status), self.worker);
        let _ = self.end.walk(&mut case, effects);
    }
}

impl Table {
    fn walk(&self, case: &mut Case<'_>, effects: &mut Effects) -> Next {
        let mut rules = self.0.iter();
        while let Some(rule) = rules.next() {
            let Rule::Act(test, action) = rule else { continue };
            if !test.holds(case) {
                continue;
            }
            match action.run(case, effects) {
                Next::Rule => {}
                // Forward only (compat §5.1), so a table always ends.
                Next::Label(label) => {
                    let _ = rules.find(|rule| matches!(rule, Rule::Label(other) if *other == label));
                }
                end => return end,
            }
        }
        Next::Run
    }

    /// Every `goto` has its label behind it.
    fn check(&self, option: &str) -> Result<(), String> {
        for (index, rule) in self.0.iter().enumerate() {
            let Rule::Act(_, Action::Goto(label)) = rule else {
                continue;
            };
            let is_behind = self.0[index..]
                .iter()
                .any(|rule| matches!(rule, Rule::Label(other) if other == label));
            if !is_behind {
                return Err(format!(
                    "--{option}: goto:{label} has no --{option}-label {label} behind it."
                ));
            }
        }
        Ok(())
    }
}

impl Test {
    fn holds(&self, case: &mut Case<'_>) -> bool {
        match self {
            Test::Always => true,
            Test::If { condition, expected } => condition.holds(case) == *expected,
            Test::Matches(subject, regex) => {
                let status;
                let (subject, form) = match subject {
                    Subject::Variable(name) => (case.variable(name), case.form(name)),
                    Subject::Status => {
                        status = case.status().unwrap_or_default().to_string();
                        (status.as_bytes(), Form::AsSent)
                    }
                };
                let Some(found) = regex.captures(subject) else {
                    return false;
                };
                let groups = found
                    .iter()
                    .map(|group| group.map_or(Vec::new(), |group| group.as_bytes().to_vec()))
                    .collect();
                case.set_groups(groups, form);
                true
            }
        }
    }
}

fn rule(kind: &str, value: &str, stage: Stage) -> Result<Rule, String> {
    let subject = match kind {
        "route-label" => return Ok(Rule::Label(value.to_owned())),
        "route" => Some(Subject::Variable("PATH_INFO")),
        "route-host" => Some(Subject::Variable("HTTP_HOST")),
        "route-uri" => Some(Subject::Variable("REQUEST_URI")),
        "route-qs" => Some(Subject::Variable("QUERY_STRING")),
        "route-remote-addr" => Some(Subject::Variable("REMOTE_ADDR")),
        "route-user-agent" => Some(Subject::Variable("HTTP_USER_AGENT")),
        "route-remote-user" => Some(Subject::Variable("REMOTE_USER")),
        "route-referer" => Some(Subject::Variable("HTTP_REFERER")),
        "route-status" if stage != Stage::Request => Some(Subject::Status),
        "route-if" | "route-if-not" | "route-run" => None,
        _ => return Err("there is no such table of routes".into()),
    };
    let (test, action) = match (kind, subject) {
        ("route-run", _) => (Test::Always, value),
        (_, Some(subject)) => {
            let (pattern, action) = parted(value, "REGEX ACTION:ARGUMENT")?;
            let is_host = matches!(subject, Subject::Variable("HTTP_HOST"));
            (Test::Matches(subject, regex(pattern, is_host)?), action)
        }
        (_, None) => {
            let (condition, action) = parted(value, "CONDITION:OPERANDS ACTION:ARGUMENT")?;
            let condition = Condition::compile(condition)?;
            let expected = kind == "route-if";
            (Test::If { condition, expected }, action)
        }
    };
    let action = Action::compile(action)?;
    if !action.fits(stage) {
        return Err(match stage {
            Stage::End => "this action has no meaning once the response has gone out; there are last, goto, addvar, log, \
                           logvar and donotlog"
                .into(),
            _ => "this action has no meaning once there is a response".into(),
        });
    }
    Ok(Rule::Act(test, action))
}

fn parted<'a>(value: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    match value.split_once(' ') {
        Some((test, action)) if !test.is_empty() => Ok((test, action.trim_start())),
        _ => Err(format!("write {form}, with a blank between them")),
    }
}

#[cfg(test)]
mod tests;
