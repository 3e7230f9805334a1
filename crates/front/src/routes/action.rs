//! What a rule does: the actions of compat §5.2 and §5.4 that a WebSocket deployment uses.
//!
//! An action is compiled once; [`Action::run`] changes the case or ends the table. Nothing here does IO.

use fairlead_http::ResponseHead;

use super::case::{Case, Form};
use super::template::Template;
use crate::upstream::{Backend, Style};

/// When a table is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Request,
    Error,
    Response,
    End,
}

/// A change of the response's headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderChange {
    pub(crate) name: String,
    /// All headers of the name go first.
    pub(crate) removes: bool,
    /// Then this one comes.
    pub(crate) value: Option<Vec<u8>>,
}

/// A compiled action.
#[derive(Debug)]
pub(super) enum Action {
    /// `last:`, `continue:`
    Run,
    /// `break:`, with a status or without an answer.
    Break(Option<Template>),
    /// `return:CODE`
    Return(u16),
    /// `redirect:URL`
    Redirect(u16, Template),
    /// `addheader:`, `delheader:`, `setheader:`
    Header(HeaderKind, Template),
    /// `addvar:NAME=VALUE`
    Variable(String, Template),
    /// `setscheme:` and others that set one known variable.
    Set(&'static str, Template),
    /// `seturi:TARGET`
    SetTarget(Template),
    /// `rewrite:PATH[?QUERY]`
    Rewrite(Template),
    /// `goto:LABEL`
    Goto(String),
    /// `log:TEXT`
    Log(Template),
    /// `logvar:NAME=VALUE`
    LogVariable(String, Template),
    /// `donotlog:`
    NoLogLine,
    /// `donotoffload:`: there is nothing to switch off.
    Nothing,
    /// `uwsgi:`, `http:` and their kin.
    Proxy(Box<ProxyTo>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderKind {
    Add,
    Remove,
    Set,
}

/// Where a request goes instead of the app.
#[derive(Debug)]
pub(super) struct ProxyTo {
    /// `None`: the request stays here, with another modifier.
    pub(super) address: Option<Template>,
    pub(super) style: Style,
    /// Replaces `Host`.
    pub(super) host: Option<Template>,
    /// Replaces the request target.
    pub(super) target: Option<Template>,
}

/// What comes after an action.
#[derive(Debug)]
pub(super) enum Next {
    Rule,
    Label(String),
    Run,
    /// Close without a response.
    Cut,
    Answer(ResponseHead, Vec<u8>),
    Proxy(Backend),
}

/// What an action does besides changing the case.
#[derive(Default, Debug)]
pub(crate) struct Effects {
    pub(crate) headers: Vec<HeaderChange>,
    pub(crate) log: Vec<String>,
    pub(crate) log_variables: Vec<(String, Vec<u8>)>,
    pub(crate) no_log_line: bool,
}

const NAMES: &str = "last, continue, break, return, redirect, redirect-permanent, addheader, delheader, setheader, addvar, \
                     setscheme, setremoteaddr, setuser, setscriptname, setpathinfo, setmethod, seturi, rewrite, goto, log, \
                     logvar, donotlog, uwsgi, proxyuwsgi, http, proxyhttp and httpdumb";

/// Actions of uWSGI that are not here, and the nearest thing that works.
const MISSING: &[(&[&str], &str)] = &[
    (
        &["static", "file", "sendfile", "fastfile"],
        "use --static-map /PATH=FOLDER",
    ),
    (
        &[
            "basicauth",
            "basicauth-next",
            "ldapauth",
            "ldapauth-next",
            "radius",
            "access",
        ],
        "let the proxy in front or the application ask who it is",
    ),
    (&["harakiri"], "use --harakiri SECONDS, for all requests"),
    (
        &[
            "chdir",
            "sethome",
            "setfile",
            "setdocroot",
            "setapp",
            "run",
            "runner",
        ],
        "use --mount /PATH=APP to choose an application",
    ),
    (
        &[
            "send",
            "send-crnl",
            "clearheaders",
            "disableheaders",
            "flush",
            "fixcl",
            "forcecl",
            "toofile",
        ],
        "use break:STATUS or return:CODE to answer here",
    ),
    (
        &["gzip", "chunked"],
        "let the proxy in front change what goes out",
    ),
    (
        &[
            "cache",
            "cache-continue",
            "cachestore",
            "cacheset",
            "cacheinc",
            "cachedec",
            "cachemul",
            "cachediv",
        ],
        "let the proxy in front keep copies",
    ),
    (&["httpconnect", "proxyhttpconnect"], "use http:ADDRESS"),
];

fn unknown(name: &str) -> String {
    match MISSING.iter().find(|(names, _)| names.contains(&name)) {
        Some((_, instead)) => format!("Fairlead does not have uWSGI's action {name:?}; {instead}"),
        None => format!("there is no action {name:?}; there are {NAMES}"),
    }
}

impl Action {
    /// `text`: `NAME:ARGUMENT`. The colon stands even where there is no argument.
    pub(super) fn compile(text: &str) -> Result<Action, String> {
        let (name, argument) = text.split_once(':').ok_or_else(|| {
            format!("the action {text:?} has no colon; write NAME:ARGUMENT, or NAME: without one")
        })?;
        let template = || Template::compile(argument);
        let action = match name {
            "last" | "continue" => Action::Run,
            "break" if argument.is_empty() => Action::Break(None),
            "break" => {
                status(argument)?;
                Action::Break(Some(template()?))
            }
            "return" | "break-with-status" => Action::Return(status(argument)?),
            "redirect" | "redirect-302" => Action::Redirect(302, filled(name, template()?)?),
            "redirect-permanent" | "redirect-301" => Action::Redirect(301, filled(name, template()?)?),
            "addheader" => Action::Header(HeaderKind::Add, header(argument)?),
            "setheader" => Action::Header(HeaderKind::Set, header(argument)?),
            "delheader" | "remheader" => Action::Header(HeaderKind::Remove, filled(name, template()?)?),
            "addvar" => {
                let (variable, value) = pair(name, argument)?;
                Action::Variable(variable, value)
            }
            "logvar" => {
                let (variable, value) = pair(name, argument)?;
                Action::LogVariable(variable, value)
            }
            "setscheme" => Action::Set("REQUEST_SCHEME", template()?),
            "setremoteaddr" => Action::Set("REMOTE_ADDR", template()?),
            "setuser" => Action::Set("REMOTE_USER", template()?),
            "setscriptname" => Action::Set("SCRIPT_NAME", template()?),
            "setpathinfo" => Action::Set("PATH_INFO", template()?),
            "setmethod" => Action::Set("REQUEST_METHOD", template()?),
            "seturi" => Action::SetTarget(template()?),
            "rewrite" => Action::Rewrite(filled(name, template()?)?),
            "goto" if !argument.is_empty() => Action::Goto(argument.to_owned()),
            "log" => Action::Log(template()?),
            "donotlog" => Action::NoLogLine,
            "donotoffload" => Action::Nothing,
            "uwsgi" | "proxyuwsgi" => uwsgi(argument)?,
            "http" | "proxyhttp" => http(argument, Style::Http)?,
            "httpdumb" | "proxyhttpdumb" => http(argument, Style::HttpDumb)?,
            "goto" => return Err("goto needs a label: goto:LABEL".into()),
            _ => return Err(unknown(name)),
        };
        Ok(action)
    }

    /// Whether it has a meaning in this table.
    pub(super) fn fits(&self, stage: Stage) -> bool {
        match self {
            // Another answer: as long as none has gone out.
            Action::Break(_) | Action::Return(_) | Action::Redirect(..) => {
                matches!(stage, Stage::Request | Stage::Error)
            }
            Action::Header(..) => stage != Stage::End,
            // For whoever gets the request.
            Action::Set(..) | Action::SetTarget(_) | Action::Rewrite(_) | Action::Proxy(_) => {
                stage == Stage::Request
            }
            _ => true,
        }
    }

    /// Whether a request that comes to it never reaches the app.
    pub(super) fn ends_here(&self) -> bool {
        match self {
            Action::Break(_) | Action::Return(_) | Action::Redirect(..) => true,
            Action::Proxy(to) => to.address.is_some(),
            _ => false,
        }
    }

    pub(super) fn run(&self, case: &mut Case<'_>, effects: &mut Effects) -> Next {
        match self {
            Action::Run => return Next::Run,
            Action::Break(None) => return Next::Cut,
            Action::Break(Some(text)) => return answer_with(&text.fill(case), Vec::new()),
            Action::Return(code) => {
                let reason = reason(*code);
                return answer(*code, None, Vec::new(), reason.into());
            }
            Action::Redirect(code, url) => {
                let location = vec![("Location".to_owned(), clean(url.fill_target(case)))];
                return answer(*code, None, location, Vec::new());
            }
            Action::Header(kind, text) => effects.headers.push(header_change(*kind, &text.fill(case))),
            Action::Variable(name, template) => {
                let (value, form) = (template.fill(case), template.form(case));
                case.set_variable(name, value, form);
            }
            Action::Set(name, template) => {
                let value = template.fill(case);
                let form = match *name {
                    "PATH_INFO" | "SCRIPT_NAME" => Form::Decoded,
                    _ => template.form(case),
                };
                case.set_variable(name, value, form);
            }
            Action::SetTarget(template) => {
                let target = template.fill_target(case);
                case.set_variable("REQUEST_URI", target, Form::AsSent);
            }
            Action::Rewrite(template) => {
                let (path, query) = template.fill_path(case);
                case.set_variable("PATH_INFO", path, Form::Decoded);
                if let Some(query) = query {
                    case.set_variable("QUERY_STRING", query, Form::AsSent);
                }
            }
            Action::Goto(label) => return Next::Label(label.clone()),
            Action::Log(text) => effects
                .log
                .push(String::from_utf8_lossy(&text.fill(case)).into_owned()),
            Action::LogVariable(name, value) => effects.log_variables.push((name.clone(), value.fill(case))),
            Action::NoLogLine => effects.no_log_line = true,
            Action::Nothing => {}
            Action::Proxy(to) => return proxy(to, case),
        }
        Next::Rule
    }
}

fn proxy(to: &ProxyTo, case: &mut Case<'_>) -> Next {
    let Some(address) = &to.address else {
        if let Style::Uwsgi { modifier1: 30, .. } = to.style {
            strip_script_name(case);
        }
        return Next::Run;
    };
    Next::Proxy(Backend {
        address: String::from_utf8_lossy(&address.fill(case)).into_owned(),
        style: to.style,
        host: to.host.as_ref().map(|host| clean(host.fill(case))),
        target: to
            .target
            .as_ref()
            .map(|target| origin_form(target.fill_target(case))),
    })
}

/// What a server behind is asked for is a path, whatever a rule was given to make it of.
fn origin_form(target: Vec<u8>) -> Vec<u8> {
    if target.starts_with(b"/") || target == b"*" {
        return target;
    }
    [b"/", target.as_slice()].concat()
}

/// uWSGI's modifier 30.
fn strip_script_name(case: &mut Case<'_>) {
    let script = case.variable("SCRIPT_NAME").to_vec();
    if script.is_empty() {
        return;
    }
    if let Some(rest) = case.variable("PATH_INFO").strip_prefix(script.as_slice()) {
        let rest = rest.to_vec();
        case.set_variable("PATH_INFO", rest, Form::Decoded);
    }
}

fn answer(code: u16, reason: Option<String>, headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> Next {
    let mut headers = headers;
    headers.push(("Content-Type".to_owned(), b"text/plain".to_vec()));
    match ResponseHead::new(code, headers) {
        Ok(mut head) => {
            head.reason = reason;
            Next::Answer(head, body)
        }
        // A header with a control byte, out of a variable that a client has sent.
        Err(_) => Next::Cut,
    }
}

/// `break:404 Not Found`
fn answer_with(text: &[u8], body: Vec<u8>) -> Next {
    let text = String::from_utf8_lossy(&clean(text.to_vec())).into_owned();
    let (code, reason) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match code.parse() {
        Ok(code @ 200..=999) => {
            let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
            answer(code, reason, Vec::new(), body)
        }
        _ => Next::Cut,
    }
}

fn status(text: &str) -> Result<u16, String> {
    let code = text.split(' ').next().unwrap_or_default();
    code.parse()
        .ok()
        .filter(|code| (200..=999).contains(code))
        .ok_or_else(|| format!("{text:?} begins with no status from 200 to 999"))
}

fn reason(code: u16) -> String {
    hyper::StatusCode::from_u16(code)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
        .to_owned()
}

fn filled(name: &str, template: Template) -> Result<Template, String> {
    if template.is_empty() {
        return Err(format!("{name} needs an argument"));
    }
    Ok(template)
}

fn header(argument: &str) -> Result<Template, String> {
    let name = argument.split_once(':').map(|(name, _)| name.trim());
    match name {
        // With a hole in it the name is known only later.
        Some(name) if !name.is_empty() && (name.contains('$') || is_token(name)) => {
            Template::compile(argument)
        }
        _ => Err(format!("{argument:?} is no header; write NAME: VALUE")),
    }
}

fn is_token(name: &str) -> bool {
    ResponseHead::new(200, vec![(name.to_owned(), Vec::new())]).is_ok()
}

fn header_change(kind: HeaderKind, text: &[u8]) -> HeaderChange {
    let at = text.iter().position(|byte| *byte == b':');
    let name = String::from_utf8_lossy(&text[..at.unwrap_or(text.len())])
        .trim()
        .to_owned();
    let value = at.map_or(Vec::new(), |at| clean(text[at + 1..].trim_ascii().to_vec()));
    HeaderChange {
        removes: kind != HeaderKind::Add,
        value: (kind != HeaderKind::Remove && is_token(&name)).then_some(value),
        name,
    }
}

/// What a client has sent cannot end a line.
fn clean(mut value: Vec<u8>) -> Vec<u8> {
    value.retain(|byte| *byte >= b' ' && *byte != 0x7f || *byte == b'\t');
    value
}

fn pair(action: &str, argument: &str) -> Result<(String, Template), String> {
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), Template::compile(value)?)),
        _ => Err(format!("{action} needs NAME=VALUE, not {argument:?}")),
    }
}

/// `addr[,modifier1[,modifier2[,appid]]]`; without modifiers both are 0, where uWSGI would not start.
fn uwsgi(argument: &str) -> Result<Action, String> {
    let mut parts = argument.split(',');
    let address = parts.next().unwrap_or_default();
    let mut modifier = |name: &str| -> Result<u8, String> {
        let text = parts.next().unwrap_or_default().trim();
        if text.is_empty() {
            return Ok(0);
        }
        text.parse()
            .map_err(|_| format!("{name} of uwsgi:{argument} is {text:?}; it is a number from 0 to 255"))
    };
    let (modifier1, modifier2) = (modifier("modifier1")?, modifier("modifier2")?);
    Ok(Action::Proxy(Box::new(ProxyTo {
        address: destination(address)?,
        style: Style::Uwsgi { modifier1, modifier2 },
        host: None,
        target: None,
    })))
}

/// `addr[,host[,uri]]`
fn http(argument: &str, style: Style) -> Result<Action, String> {
    let mut parts = argument.splitn(3, ',');
    let address = parts.next().unwrap_or_default();
    if address.is_empty() {
        return Err("http needs the address of the other server: http:HOST:PORT or http:/PATH".into());
    }
    let mut optional = || match parts.next() {
        Some(text) if !text.is_empty() => Template::compile(text).map(Some),
        _ => Ok(None),
    };
    Ok(Action::Proxy(Box::new(ProxyTo {
        address: destination(address)?,
        style,
        host: optional()?,
        target: optional()?,
    })))
}

fn destination(address: &str) -> Result<Option<Template>, String> {
    if address.is_empty() {
        return Ok(None);
    }
    let template = Template::compile(address)?;
    if let Some(constant) = template.constant() {
        Backend::check(&String::from_utf8_lossy(constant))?;
    }
    Ok(Some(template))
}
