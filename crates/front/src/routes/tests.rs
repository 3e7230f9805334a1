//! The tables, from the text of a rule to what becomes of a request. The file stays whole: all of it speaks of rules in few words
//! by the functions at its beginning.

use fairlead_http::{Request, Version};

use super::*;

fn request(target: &str) -> Request {
    Request::builder(b"GET", target.as_bytes(), Version::Http11)
        .header(b"Host", b"example.org")
        .header(b"User-Agent", b"Mozilla/5.0")
        .finish()
}

fn routes(rules: &[(&str, &str)]) -> Routes {
    let rules: Vec<_> = rules
        .iter()
        .map(|(option, value)| ((*option).to_owned(), (*value).to_owned()))
        .collect();
    Routes::compile(&rules, 1).expect("rules")
}

fn refused(option: &str, value: &str) -> String {
    Routes::compile(&[(option.to_owned(), value.to_owned())], 1).expect_err(value)
}

/// A verdict in short, and the variables that came of it.
fn decided(rules: &[(&str, &str)], target: &str) -> (String, Request, Effects) {
    let mut request = request(target);
    let (verdict, effects) = routes(rules).decide(&mut request);
    let verdict = match verdict {
        Verdict::Run => "run".to_owned(),
        Verdict::Cut => "cut".to_owned(),
        Verdict::Answer(head, body) => format!(
            "{}{} {:?} {}",
            head.status,
            head.reason.map_or(String::new(), |reason| format!(" {reason}")),
            head.headers
                .iter()
                .find(|(name, _)| name == "Location")
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned()),
            String::from_utf8_lossy(&body)
        ),
        Verdict::Proxy(backend) => format!(
            "{:?} {} {:?} {:?}",
            backend.style,
            backend.address,
            backend
                .host
                .map(|host| String::from_utf8_lossy(&host).into_owned()),
            backend
                .target
                .map(|target| String::from_utf8_lossy(&target).into_owned())
        ),
    };
    (verdict, request, effects)
}

fn verdict(rules: &[(&str, &str)], target: &str) -> String {
    decided(rules, target).0
}

fn variable(request: &Request, wanted: &str) -> Option<String> {
    let mut found = None;
    request.for_each_cgi_variable(|name, value| {
        if name == wanted {
            found = Some(String::from_utf8_lossy(value).into_owned());
        }
    });
    found
}

#[test]
fn the_first_end_counts_and_no_match_runs_the_app() {
    let rules = [
        ("route", "^/stop return:403"),
        ("route", "^/st last:"),
        ("route-run", "return:404"),
    ];
    assert_eq!(verdict(&rules, "/stop"), "403 None Forbidden");
    assert_eq!(verdict(&rules, "/start"), "run");
    assert_eq!(verdict(&rules, "/"), "404 None Not Found");
    assert_eq!(verdict(&[], "/"), "run");
}

#[test]
fn a_search_is_not_anchored_and_minds_case() {
    assert_eq!(
        verdict(&[("route", "b return:403")], "/abc"),
        "403 None Forbidden"
    );
    assert_eq!(verdict(&[("route", "B return:403")], "/abc"), "run");
    assert_eq!(verdict(&[("route", "^/a%20b$ return:403")], "/a%20b"), "run");
    assert_eq!(
        verdict(&[("route-uri", "^/a%20b\\? return:403")], "/a%20b?"),
        "403 None Forbidden"
    );
}

#[test]
fn the_seed_s_route_leads_to_the_other_server_with_and_without_modifiers() {
    for (value, modifiers) in [
        ("^/websocket uwsgi:127.0.0.1:3032", (0, 0)),
        ("^/websocket uwsgi:127.0.0.1:3032,0,0", (0, 0)),
        ("^/websocket proxyuwsgi:127.0.0.1:3032,30,1,app", (30, 1)),
    ] {
        let (one, two) = modifiers;
        assert_eq!(
            verdict(&[("route", value)], "/websocket/x"),
            format!("Uwsgi {{ modifier1: {one}, modifier2: {two} }} 127.0.0.1:3032 None None")
        );
    }
    assert_eq!(
        verdict(&[("route", "^/(.*) http:/run/$1.sock,inner,/x/$1")], "/app"),
        "Http /run/app.sock Some(\"inner\") Some(\"/x/app\")"
    );
    assert_eq!(
        verdict(&[("route", "^/ httpdumb:@name")], "/"),
        "HttpDumb @name None None"
    );
}

#[test]
fn an_empty_address_only_changes_the_modifier() {
    let rules = [
        ("route-run", "setscriptname:/app"),
        ("route-run", "uwsgi:,30,0"),
        ("route-run", "return:404"),
    ];
    let (verdict, request, _) = decided(&rules, "/app/page");
    assert_eq!(verdict, "run");
    assert_eq!(variable(&request, "PATH_INFO").as_deref(), Some("/page"));
    assert_eq!(variable(&request, "SCRIPT_NAME").as_deref(), Some("/app"));
}

#[test]
fn answers_carry_their_status_reason_and_place() {
    assert_eq!(verdict(&[("route-run", "break:")], "/"), "cut");
    assert_eq!(
        verdict(&[("route-run", "break:418 I am a teapot")], "/"),
        "418 I am a teapot None "
    );
    assert_eq!(
        verdict(&[("route", "^/(.+) redirect:https://${HTTP_HOST}/new/$1")], "/a"),
        "302 Some(\"https://example.org/new/a\") "
    );
    assert_eq!(
        verdict(&[("route-run", "redirect-permanent:/")], "/"),
        "301 Some(\"/\") "
    );
}

#[test]
fn what_a_client_sent_cannot_split_a_header() {
    let mut request = Request::builder(b"GET", b"/%0d%0aSet-Cookie:x", Version::Http11).finish();
    let rules = routes(&[
        ("route", "^(.*)$ redirect:$1"),
        ("route-run", "redirect:${PATH_INFO}"),
    ]);
    let (Verdict::Answer(head, _), _) = rules.decide(&mut request) else {
        panic!("no answer");
    };
    assert_eq!(
        head.headers[0],
        ("Location".to_owned(), b"/%0D%0ASet-Cookie:x".to_vec())
    );
}

#[test]
fn a_path_is_judged_in_one_form_however_it_is_written() {
    let rules = [("route", "^/static/private return:403")];
    let by_condition = [("route-if", "startswith:${PATH_INFO};/static/private return:403")];
    for target in [
        "/static/private/x",
        "/static/./private/x",
        "/static//private/x",
        "//static/private/x",
        "/%2e/static/private/x",
        "/static/x/../private/x",
        "/static/%2e%2e/static/private/x",
        "/static%2F%2Fprivate/x",
        "/../static/private",
        "http://anywhere/static/private",
    ] {
        assert_eq!(verdict(&rules, target), "403 None Forbidden", "{target}");
        assert_eq!(verdict(&by_condition, target), "403 None Forbidden", "{target}");
    }
    assert_eq!(verdict(&rules, "/static/private/../public"), "run");
    // The application gets what was sent …
    let (_, request, _) = decided(&rules, "//a/./b%20c?d");
    assert_eq!(variable(&request, "PATH_INFO").as_deref(), Some("//a/./b c"));
    assert_eq!(
        variable(&request, "REQUEST_URI").as_deref(),
        Some("//a/./b%20c?d")
    );
    // … unless it began elsewhere than the rules have seen.
    let (_, request, _) = decided(&rules, "/admin/../public/b%20c?d");
    assert_eq!(variable(&request, "PATH_INFO").as_deref(), Some("/public/b c"));
    assert_eq!(
        variable(&request, "REQUEST_URI").as_deref(),
        Some("/public/b%20c?d")
    );
    let (_, request, _) = decided(&[("route", "^/a(.*) rewrite:/static/.$1")], "/a./x");
    assert_eq!(variable(&request, "PATH_INFO").as_deref(), Some("/x"));
}

#[test]
fn no_byte_of_a_path_hides_the_others_from_an_expression() {
    for target in [
        "/admin",
        "/admin%ff",
        "/admin/%0ax",
        "/admin/%E4/x",
        "/admin/\u{e4}",
    ] {
        for rule in ["^/admin.*$ return:403", "^/admin[^?]*$ return:403"] {
            assert_eq!(
                verdict(&[("route", rule)], target),
                "403 None Forbidden",
                "{rule} {target}"
            );
        }
    }
    assert_eq!(
        verdict(&[("route", "^/(.*) redirect:/$1")], "/a%E4b"),
        "302 Some(\"/a%E4b\") "
    );
    assert_eq!(
        verdict(&[("route", "^/[\u{e4}\u{f6}]$ return:403")], "/%C3%B6"),
        "403 None Forbidden"
    );
}

#[test]
fn the_target_of_a_rule_is_a_path_whoever_wrote_the_host_where() {
    assert_eq!(
        verdict(&[("route-uri", "^/admin return:403")], "http://x/admin"),
        "403 None Forbidden"
    );
    assert_eq!(verdict(&[("route-uri", "x return:403")], "http://x/admin"), "run");
    assert_eq!(
        verdict(
            &[("route-host", "^EXAMPLE\\.org$ return:403")],
            "http://Example.ORG/"
        ),
        "403 None Forbidden"
    );
    assert_eq!(
        verdict(
            &[("route-if", "equal:${HTTP_HOST};Other.example return:403")],
            "http://oTHER.example/"
        ),
        "403 None Forbidden"
    );
}

#[test]
fn what_a_rule_has_captured_arrives_as_it_was_sent() {
    let to = |rule: &str, target: &str| verdict(&[("route", rule)], target);
    for path in ["/api/a%20b", "/%25", "/%3Fadmin=1", "/a%23b", "/a%5Cb"] {
        assert_eq!(
            to("^/(.*) http:127.0.0.1:1,,/$1", path),
            format!("Http 127.0.0.1:1 None Some({path:?})")
        );
        assert_eq!(
            to("^(.*)$ redirect:https://example.org$1", path),
            format!("302 Some(\"https://example.org{path}\") ")
        );
    }
    assert_eq!(
        to("^/(.*) redirect:/login?next=$1", "/a%26b=c%3Fd"),
        "302 Some(\"/login?next=a%26b%3Dc%3Fd\") "
    );
    // Not encoded twice where it was never decoded.
    assert_eq!(
        verdict(
            &[("route-uri", "^/api(/.*) http:127.0.0.1:1,,$1")],
            "/api/a%20b?c=%3F"
        ),
        "Http 127.0.0.1:1 None Some(\"/a%20b?c=%3F\")"
    );
    assert_eq!(
        verdict(
            &[("route-uri", "^/to/(.*) http:127.0.0.1:1,,$1")],
            "/to/http://evil/x"
        ),
        "Http 127.0.0.1:1 None Some(\"/http://evil/x\")"
    );
    // A slash too many is no host in a browser.
    assert_eq!(
        to("^/ redirect:${PATH_INFO}", "//evil.example/x"),
        "302 Some(\"/evil.example/x\") "
    );
    let (_, request, _) = decided(
        &[("route", "^/old/(.*) rewrite:/new/$1?from=$1")],
        "/old/a%3Fb%26c=1",
    );
    assert_eq!(variable(&request, "PATH_INFO").as_deref(), Some("/new/a?b&c=1"));
    assert_eq!(
        variable(&request, "QUERY_STRING").as_deref(),
        Some("from=a%3Fb%26c%3D1")
    );
    let rules = [
        ("route", "^/old/(.*) addvar:REST=$1"),
        ("route-run", "seturi:/new/${REST}"),
    ];
    let (_, request, _) = decided(&rules, "/old/a%3Fb");
    assert_eq!(variable(&request, "REQUEST_URI").as_deref(), Some("/new/a%3Fb"));
}

#[test]
fn actions_change_what_the_app_sees_and_later_rules_see_it() {
    let rules = [
        ("route", "^/old/(.*) rewrite:/new/$1?from=old"),
        ("route", "^/new addvar:SEEN=$0 ${PATH_INFO}"),
        ("route-run", "setremoteaddr:10.0.0.1"),
        ("route-run", "setscheme:https"),
        ("route-run", "setuser:somebody"),
    ];
    let (verdict, request, _) = decided(&rules, "/old/page");
    assert_eq!(verdict, "run");
    for (name, value) in [
        ("PATH_INFO", "/new/page"),
        ("QUERY_STRING", "from=old"),
        ("SEEN", "/new /new/page"),
        ("REMOTE_ADDR", "10.0.0.1"),
        ("REMOTE_USER", "somebody"),
        ("REQUEST_URI", "/old/page"),
    ] {
        assert_eq!(variable(&request, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(request.scheme(), fairlead_http::Scheme::Https);
}

#[test]
fn subjects_and_conditions_choose() {
    assert_eq!(
        verdict(&[("route-host", "^example return:403")], "/"),
        "403 None Forbidden"
    );
    assert_eq!(
        verdict(&[("route-qs", "x=1 return:403")], "/?x=1"),
        "403 None Forbidden"
    );
    assert_eq!(
        verdict(&[("route-user-agent", "Mozilla return:403")], "/"),
        "403 None Forbidden"
    );
    assert_eq!(
        verdict(&[("route-if", "equal:${PATH_INFO};/x return:403")], "/x"),
        "403 None Forbidden"
    );
    assert_eq!(
        verdict(&[("route-if-not", "equal:${PATH_INFO};/x return:403")], "/x"),
        "run"
    );
}

#[test]
fn goto_jumps_forward_over_rules() {
    let rules = [
        ("route", "^/a goto:end"),
        ("route-run", "return:403"),
        ("route-label", "end"),
        ("route-run", "return:404"),
    ];
    assert_eq!(verdict(&rules, "/a"), "404 None Not Found");
    assert_eq!(verdict(&rules, "/b"), "403 None Forbidden");
}

#[test]
fn headers_logs_and_log_variables_are_effects() {
    let rules = [
        ("route-run", "addheader:X-Path: ${PATH_INFO}"),
        ("route-run", "delheader:Server"),
        ("route-run", "setheader:Vary: *"),
        ("route-run", "log:came to ${PATH_INFO}"),
        ("route-run", "logvar:kind=$0page"),
        ("route-run", "donotlog:"),
    ];
    let (_, _, effects) = decided(&rules, "/x");
    let change = |name: &str, removes, value: Option<&str>| HeaderChange {
        name: name.into(),
        removes,
        value: value.map(Into::into),
    };
    assert_eq!(
        effects.headers,
        [
            change("X-Path", false, Some("/x")),
            change("Server", true, None),
            change("Vary", true, Some("*"))
        ]
    );
    assert_eq!(effects.log, ["came to /x"]);
    assert_eq!(effects.log_variables, [("kind".to_owned(), b"page".to_vec())]);
    assert!(effects.no_log_line);
}

#[test]
fn the_table_of_responses_sees_the_status() {
    let routes = routes(&[
        ("response-route-status", "^4 addheader:X-Error: ${uwsgi[status]}"),
        ("response-route", "^/api addheader:X-Api: yes"),
    ]);
    assert!(routes.looks_back() && !routes.answer());
    let mut effects = Effects::default();
    routes.respond(&request("/api"), 404, &mut effects);
    let names: Vec<_> = effects
        .headers
        .iter()
        .map(|change| change.name.as_str())
        .collect();
    assert_eq!(names, ["X-Error", "X-Api"]);
    let mut effects = Effects::default();
    routes.respond(&request("/"), 200, &mut effects);
    assert_eq!(effects.headers, []);
}

/// What the table of errors makes of an answer, in short.
fn judged(rules: &[(&str, &str)], target: &str, status: u16) -> (String, Effects) {
    let mut effects = Effects::default();
    let verdict = match routes(rules).judge(&request(target), status, &mut effects) {
        Verdict::Run => "as it is".to_owned(),
        Verdict::Cut => "cut".to_owned(),
        Verdict::Answer(head, _) => head.status.to_string(),
        Verdict::Proxy(_) => "proxy".to_owned(),
    };
    (verdict, effects)
}

#[test]
fn the_table_of_errors_sees_every_status_and_may_answer_instead() {
    let rules = [
        ("error-route", "^/plain last:"),
        ("error-route-status", "^502 redirect:/sorry"),
        ("error-route-status", "^404$ break:410 Gone"),
        ("error-route-status", "^403 break:"),
        ("error-route-run", "addheader:X-Status: ${uwsgi[status]}"),
    ];
    assert!(routes(&rules).looks_back());
    for (target, status, expected) in [
        ("/", 502, "302"),
        ("/", 404, "410"),
        ("/", 403, "cut"),
        ("/", 200, "as it is"),
        ("/plain", 502, "as it is"),
    ] {
        assert_eq!(judged(&rules, target, status).0, expected, "{target} {status}");
    }
    let headers = judged(&rules, "/", 200).1.headers;
    assert_eq!(headers[0].value.as_deref(), Some(&b"200"[..]));
}

#[test]
fn the_last_table_only_tells() {
    let routes = routes(&[
        ("final-route-status", "^5 logvar:kind=broken"),
        ("final-route", "^/quiet donotlog:"),
        ("final-route-run", "addvar:SEEN=${uwsgi[status]}"),
        ("final-route-if", "equal:${SEEN};500 goto:told"),
        ("final-route-run", "last:"),
        ("final-route-label", "told"),
        ("final-route-run", "log:${PATH_INFO} ended with ${SEEN}"),
    ]);
    assert!(routes.looks_back());
    let end = |target, status| {
        let mut effects = Effects::default();
        routes.conclude(&request(target), status, &mut effects);
        effects
    };
    let broken = end("/quiet", 500);
    assert_eq!(broken.log, ["/quiet ended with 500"]);
    assert_eq!(broken.log_variables, [("kind".to_owned(), b"broken".to_vec())]);
    assert!(broken.no_log_line);
    let fine = end("/", 200);
    assert!(fine.log.is_empty() && fine.log_variables.is_empty() && !fine.no_log_line);
}

#[test]
fn rules_that_cannot_be_are_refused_with_option_and_value() {
    for (option, value, why) in [
        ("route", "^/x", "with a blank between"),
        ("route", "( last:", "regular expression"),
        ("route", "(?=x) last:", "regular expression"),
        ("route", "^/ last", "no colon"),
        ("route", "^/ nosuch:", "there is no action \"nosuch\""),
        (
            "route",
            "^/ static:/srv",
            "does not have uWSGI's action \"static\"; use --static-map",
        ),
        (
            "route-run",
            "basicauth:a,b:c",
            "\"basicauth\"; let the proxy in front",
        ),
        ("route", "^/ return:99", "no status"),
        ("route", "^/ uwsgi:127.0.0.1", "is no address of a server"),
        ("route", "^/ uwsgi:127.0.0.1:80,256", "modifier1"),
        ("route", "^/ http:", "needs the address"),
        ("route", "^/ addvar:X", "NAME=VALUE"),
        ("route", "^/ addheader:X", "is no header"),
        ("route", "^/ goto:nowhere", "no --route-label nowhere behind it"),
        ("route-if", "nosuch:x last:", "there is no condition"),
        ("route-status", "4 last:", "no such table"),
        (
            "response-route-run",
            "redirect:/",
            "no meaning once there is a response",
        ),
        (
            "error-route-run",
            "rewrite:/x",
            "no meaning once there is a response",
        ),
        (
            "error-route-status",
            "^5 uwsgi:127.0.0.1:1",
            "no meaning once there is a response",
        ),
        (
            "error-route-run",
            "setscheme:https",
            "no meaning once there is a response",
        ),
        (
            "error-route-run",
            "goto:on",
            "no --error-route-label on behind it",
        ),
        ("final-route-run", "redirect:/", "once the response has gone out"),
        (
            "final-route-run",
            "addheader:X: y",
            "once the response has gone out",
        ),
        (
            "final-route-run",
            "goto:on",
            "no --final-route-label on behind it",
        ),
        ("final-route-nosuch", "x last:", "no such table"),
        ("nosuch-route", "x last:", "no such table"),
    ] {
        let error = refused(option, value);
        assert!(error.contains(why), "{error}");
        assert!(error.starts_with("--"), "{error}");
    }
}
