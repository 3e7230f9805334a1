//! `load`: a WebSocket client that keeps a server busy and measures it. One thread and one epoll, so that it needs
//! less CPU per message than any server it drives; one JSON line on standard output, everything else on standard
//! error. The way through the files: `args` says what to do, `modes` how a connection behaves, `client` turns the
//! loop, `connection` and `reader` speak RFC 6455, `opening` asks for it, `transport` carries the bytes (TLS or not),
//! `http2` many connections at once, `report` and `histogram` say what came of it.

mod args;
mod client;
mod connection;
mod frames;
mod histogram;
mod http2;
mod modes;
mod opening;
mod reader;
mod report;
mod run;
mod transport;

use std::process::ExitCode;

use args::{ModeName, Options, HELP};
use client::Client;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("load: {sentence}");
            return ExitCode::from(2);
        }
    };
    fairlead_bench_load::sys::raise_descriptor_limit();
    let report = match options.mode {
        ModeName::Echo => Client::run(&options, modes::Echo::new(&options)),
        ModeName::Connect => Client::run(&options, modes::Connect),
        ModeName::Idle => Client::run(&options, modes::Idle),
        ModeName::Fanout => Client::run(&options, modes::Fanout::new(&options)),
    };
    match report {
        Ok(report) => {
            println!("{}", report.to_json(&options));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
