//! The WebSocket protocol as a server speaks it, RFC 6455, without IO.
//!
//! A [`Request`](fairlead_http::Request) is checked by [`Handshake`], then a [`Session`] turns bytes and the time into messages, answers, a
//! deadline and an end. Nothing here knows a socket, a clock, a thread or a language, and nothing may: that is what
//! makes all runners and transports speak one dialect, and what lets every rule be tested without waiting. There
//! is no `unsafe` in this crate.
//!
//! ```
//! use std::sync::Arc;
//! use fairlead_websocket::{Limits, MessageKind, Negotiated, Session, SessionSettings, Time};
//!
//! let now = Time::from_millis(0);
//! let mut out = Vec::new();
//! let limits = Limits { max_message: 1000, max_fragments: 10, inbox_mark: 4000, ..Limits::default() };
//! let settings = SessionSettings { limits, ..SessionSettings::default() };
//! let mut session = Session::new(Arc::new(settings), Negotiated::default(), now);
//! // RFC 6455 §5.7: a masked text message with "Hello"
//! session.receive(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", now, &mut out);
//! assert_eq!(session.message(), Some((MessageKind::Text, &b"Hello"[..])));
//! session.consume_message();
//! session.send(MessageKind::Text, b"Hello", &mut out).unwrap();
//! assert_eq!(out, b"\x81\x05Hello");
//! ```
//!
//! # Every rule has a line that keeps it and a test that breaks it
//!
//! Sections are those of RFC 6455 unless another is named. Search a file for the section to find the line. A test
//! compares this table with the sources.
//!
//! | RFC section | rule | file | test |
//! |---|---|---|---|
//! | 4.2.1 | the request is a GET over HTTP/1.1 or higher | `handshake.rs` | `only_get_over_http_1_1_or_higher_is_accepted` |
//! | 4.2.1 | Host, Upgrade, Connection, Key and Version are present | `handshake.rs` | `a_missing_header_is_refused` |
//! | 4.2.1 | Upgrade names websocket, Connection names upgrade | `handshake.rs` | `upgrade_and_connection_must_name_their_tokens` |
//! | 4.1 | the key is 16 bytes in base64 | `handshake.rs` | `a_key_is_sixteen_bytes_in_base64` |
//! | 11.3.1 | there is one key | `handshake.rs` | `a_header_that_must_stand_alone_is_refused_when_repeated` |
//! | 11.3.5 | there is one version | `handshake.rs` | `a_header_that_must_stand_alone_is_refused_when_repeated` |
//! | 4.4 | another version is answered with 426 and ours | `handshake_error.rs` | `another_version_is_answered_with_ours` |
//! | 4.2.2 | the accept value proves that the key was read | `handshake.rs` | `the_example_of_the_rfc_is_answered_as_in_the_rfc` |
//! | 4.2.2 | a subprotocol is one of those offered, or none | `handshake.rs` | `a_subprotocol_is_chosen_from_those_offered_or_not_at_all` |
//! | 4.1 | offered subprotocols are tokens, each once | `handshake.rs` | `offered_subprotocols_are_tokens_and_differ` |
//! | 9.1 | no extension is negotiated by surprise | `handshake.rs` | `an_application_may_pass_the_key_but_not_break_the_answer` |
//! | 10.2 | the Origin of a browser is checked | `origin.rs` | `another_host_or_port_is_a_stranger` |
//! | 5.1 | a frame without a mask closes the connection | `frame.rs` | `a_frame_without_a_mask_is_refused_at_its_second_byte` |
//! | 5.1 | a server does not mask | `frame.rs` | `our_headers_are_unmasked_and_use_the_shortest_length` |
//! | 5.2 | reserved bits are 0 | `frame.rs` | `each_reserved_bit_is_refused` |
//! | 5.2 | reserved opcodes close the connection | `frame.rs` | `reserved_opcodes_are_refused` |
//! | 5.2 | a length is read in its three forms | `frame.rs` | `each_length_form_is_read_when_it_is_complete` |
//! | 5.2 | a length uses the fewest bytes | `frame.rs` | `a_length_in_more_bytes_than_it_needs_is_refused` |
//! | 5.2 | the top bit of a 64-bit length is 0 | `frame.rs` | `a_64_bit_length_with_its_top_bit_set_is_refused` |
//! | 5.3 | unmasking is exclusive-or with the key in turn | `mask.rs` | `unmasking_in_words_equals_the_rule_byte_by_byte` |
//! | 5.4 | fragments become one message | `receiving.rs` | `fragments_become_one_message` |
//! | 5.4 | a continuation continues a message | `receiving.rs` | `a_continuation_needs_something_to_continue` |
//! | 5.4 | a message ends before the next begins | `receiving.rs` | `a_new_message_inside_a_fragmented_one_is_refused` |
//! | 5.4 | control frames may come between fragments | `receiving.rs` | `control_frames_between_fragments_are_answered_at_once` |
//! | 5.5 | control frames are not fragmented | `frame.rs` | `control_frames_are_short_and_whole` |
//! | 5.5 | control frames carry at most 125 bytes | `frame.rs` | `control_frames_are_short_and_whole` |
//! | 5.5 | our own pings keep to that | `session.rs` | `an_application_may_send_pings_of_its_own` |
//! | 5.5.1 | a Close is answered with a Close | `closing.rs` | `a_close_is_answered_with_its_code_and_the_server_closes_tcp_first` |
//! | 5.5.1 | a Close without a code is answered too | `closing.rs` | `a_close_without_a_code_is_answered_without_one` |
//! | 5.5.1 | a body begins with a two-byte code | `close.rs` | `a_body_is_empty_or_begins_with_a_valid_code` |
//! | 5.5.1 | a reason is UTF-8 | `close.rs` | `a_long_reason_is_cut_between_two_characters` |
//! | 5.5.1 | no data follows our Close | `session.rs` | `nothing_is_sent_after_a_close` |
//! | 5.5.1 | what follows the peer's Close is ignored | `receiving.rs` | `a_close_is_answered_with_its_code_and_the_server_closes_tcp_first` |
//! | 5.5.1 | after our Close the peer's is awaited | `closing.rs` | `a_local_close_reads_on_until_the_peer_s_close` |
//! | 5.5.2 | a ping is answered | `receiving.rs` | `control_frames_between_fragments_are_answered_at_once` |
//! | 5.5.3 | a pong carries the payload of its ping | `receiving.rs` | `a_ping_is_answered_with_its_payload` |
//! | 5.5.3 | an unasked pong needs no answer | `receiving.rs` | `an_unasked_pong_is_ignored` |
//! | 5.6 | binary data is arbitrary | `message.rs` | `binary_messages_may_hold_anything` |
//! | 5.6 | text is UTF-8 in whole messages, not in fragments | `utf8.rs` | `a_character_may_be_cut_by_fragments_but_not_by_the_end_of_the_message` |
//! | 7.1.1 | the server closes TCP first | `closing.rs` | `a_closed_connection_does_not_linger_beyond_the_time_out` |
//! | 7.1.5 | the code is 1005 without a code, 1006 without a Close | `closing.rs` | `the_end_of_the_stream_without_a_close_is_a_loss` |
//! | 7.1.7 | after an error nothing is read | `receiving.rs` | `nothing_after_an_error_is_looked_at` |
//! | 7.4 | codes for local use never travel | `close_code.rs` | `codes_for_local_use_and_unassigned_codes_never_travel` |
//! | 7.4 | nor do we send them | `closing.rs` | `a_code_that_must_not_travel_is_refused_and_changes_nothing` |
//! | 8.1 | text that is not UTF-8 fails the connection | `receiving.rs` | `text_that_is_not_utf8_ends_the_session_with_1007` |
//! | 8.1 | and does so at the first impossible byte | `receiving.rs` | `text_fails_at_its_first_impossible_byte_even_inside_a_frame` |
//! | 10.4 | the size of a message is limited | `receiving.rs` | `a_message_over_the_limit_is_refused_before_its_bytes_arrive` |
//! | 10.4 | an announced length allocates nothing | `message.rs` | `an_announced_length_reserves_nothing_before_its_bytes_arrive` |
//! | 10.4 | the number of fragments is limited | `receiving.rs` | `a_message_of_too_many_fragments_is_refused` |
//! | 10.4 | control frames without data are limited | `receiving.rs` | `control_frames_without_data_are_limited_within_their_window` |
//! | RFC 9112 §6.3 | a request with a body cannot smuggle frames | `handshake.rs` | `a_body_is_refused_as_it_would_be_read_as_frames` |
#![forbid(unsafe_code)]

mod close;
mod close_code;
mod closing;
mod closure;
mod error;
mod frame;
mod handshake;
mod handshake_error;
mod incoming;
mod limits;
mod mask;
mod message;
mod negotiated;
mod origin;
mod pings;
mod receiving;
mod record_layer;
mod session;
mod time;
mod utf8;

pub use close::fit_reason;
pub use close_code::CloseCode;
pub use closure::{Cause, ClosedBy, Closure, Lost, Transport};
pub use error::{PeerError, UsageError};
pub use frame::{Encoding, Frame};
pub use handshake::Handshake;
pub use handshake_error::HandshakeError;
pub use limits::{Limits, SessionSettings, Timing};
pub use message::MessageKind;
pub use negotiated::Negotiated;
pub use origin::OriginPolicy;
pub use record_layer::{TlsRecordLayer, MAX_SEALED};
pub use session::{Counters, Session};
pub use time::Time;
pub use utf8::is_utf8;
