//! The property of a session: however a stream is cut, the same messages, answers and end come out; memory stays
//! bounded; what goes out is well-formed and ends with a Close.
//!
//! Input of a fuzzer: the low nibble of the first byte is the number of read sizes that follow, the top bit closes
//! the session before anything is read; then the sizes, a byte each and used in turn; the rest is the stream.

use std::sync::Arc;
use std::time::Duration;

use fairlead_websocket::{
    CloseCode, Closure, Counters, Limits, MessageKind, Negotiated, Session, SessionSettings, Time, Timing,
    Transport,
};

/// What is not in the stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    /// Close from our side before anything is read.
    pub(crate) close_first: bool,
}

/// All that an owner can observe of a session.
#[derive(Debug, PartialEq)]
struct Transcript {
    messages: Vec<(MessageKind, Vec<u8>)>,
    out: Vec<u8>,
    closure: Option<Closure>,
    transport: Transport,
    counters: Counters,
    deadline: Option<Time>,
}

/// Small, so that a fuzzer reaches them with few bytes.
fn limits() -> Limits {
    Limits {
        max_message: 2048,
        max_fragments: 12,
        max_control_frames_without_progress: 12,
        control_window: Duration::from_secs(10),
        inbox_mark: 1024,
    }
}

/// The clock stands still, so none of them passes by itself.
fn timing() -> Timing {
    Timing {
        ping_every: Duration::from_secs(30),
        pong_tolerance: Duration::from_secs(3),
        pong_every: None,
        idle_timeout: Duration::ZERO,
        close_timeout: Duration::from_secs(5),
    }
}

/// Checks the property for the input of a fuzzer.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let count = usize::from(first & 0x0f).min(rest.len());
    let (sizes, stream) = rest.split_at(count);
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size).max(1)).collect();
    let sizes = if sizes.is_empty() { &[1][..] } else { &sizes };
    check(
        Setting {
            close_first: first & 0x80 != 0,
        },
        stream,
        sizes,
    );
}

/// Compares the stream in one piece with the stream in reads of `sizes`, used in turn.
pub(crate) fn check(setting: Setting, stream: &[u8], sizes: &[usize]) {
    let whole = transcript(setting, std::iter::once(stream), stream.len());
    let mut rest = stream;
    let mut sizes_in_turn = sizes.iter().cycle();
    let pieces = std::iter::from_fn(|| {
        let size = sizes_in_turn
            .next()
            .map_or(rest.len(), |size| (*size).min(rest.len()));
        let (piece, after) = rest.split_at(size);
        // A size of 0 is an empty read, but only the first, or the stream would never end.
        let piece = (!rest.is_empty()).then_some(piece);
        rest = after;
        piece
    });
    let largest = sizes.iter().copied().max().unwrap_or(stream.len());
    let cut = transcript(setting, pieces, largest);
    assert_eq!(whole, cut, "cut by {sizes:?}");
    check_output(&whole);
}

fn transcript<'a>(setting: Setting, pieces: impl Iterator<Item = &'a [u8]>, largest: usize) -> Transcript {
    let settings = Arc::new(SessionSettings {
        limits: limits(),
        timing: timing(),
    });
    let now = Time::from_millis(1);
    let mut session = Session::new(settings, Negotiated::default(), now);
    let (mut messages, mut out) = (Vec::new(), Vec::new());
    if setting.close_first {
        session
            .close(CloseCode::NORMAL, "first", now, &mut out)
            .expect("a valid code");
    }
    for piece in pieces {
        session.receive(piece, now, &mut out);
        check_state(&session, largest);
        while let Some((kind, payload)) = session.message() {
            if kind == MessageKind::Text {
                assert!(std::str::from_utf8(payload).is_ok());
            }
            assert!(payload.len() <= limits().max_message);
            messages.push((kind, payload.to_vec()));
            session.consume_message();
        }
    }
    let transcript = Transcript {
        messages,
        out: out.clone(),
        closure: session.closed().cloned(),
        transport: session.transport(),
        counters: session.counters(),
        deadline: session.deadline(),
    };
    // Whatever state it is in, time ends it.
    for hour in 1..5 {
        session.tick(now + Duration::from_secs(hour * 3600), &mut out);
    }
    assert_eq!((session.transport(), session.deadline()), (Transport::Gone, None));
    transcript
}

fn check_state(session: &Session, largest_read: usize) {
    // Every message in the inbox came with a header at least as long as half of its overhead there.
    let live = limits().max_message + 8 + 4 * largest_read;
    assert!(
        session.buffer_capacity() <= 4096 + 2 * live,
        "{}",
        session.buffer_capacity()
    );
    assert!(session.queued_bytes() >= 8 * session.queued_messages());
    match session.transport() {
        Transport::Open => assert!(session.deadline().is_some()),
        Transport::Closing => assert!(session.wants_input() && session.closed().is_some()),
        Transport::Gone => panic!("bytes alone never lose a connection"),
    }
}

/// Reads what was sent by the rules for a client.
fn check_output(transcript: &Transcript) {
    let mut rest = &transcript.out[..];
    let mut closed = false;
    while let [first, length, after @ ..] = rest {
        assert!(!closed, "a frame after a Close");
        assert!(
            matches!(first, 0x88 | 0x8a),
            "a session by itself answers with Close and Pong, not {first:x}"
        );
        let (payload, after) = after.split_at(usize::from(*length));
        closed = *first == 0x88;
        if closed && !payload.is_empty() {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            assert!(CloseCode(code).is_valid_on_wire());
            assert!(std::str::from_utf8(&payload[2..]).is_ok());
        }
        rest = after;
    }
    assert!(rest.is_empty(), "half a frame");
    assert_eq!(closed, transcript.closure.is_some());
    assert_eq!(transcript.counters.bytes_out, transcript.out.len() as u64);
    assert_eq!(transcript.counters.messages_in, transcript.messages.len() as u64);
    let payload: usize = transcript.messages.iter().map(|(_, payload)| payload.len()).sum();
    assert_eq!(transcript.counters.payload_in, payload as u64);
}
