//! A session without a transport: frames in, events and frames out.

use super::*;

/// A server's frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    [bytes.as_slice(), payload].concat()
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
}

/// A session whose server has allowed WebSockets, with streams 1 and 3 asked for as connections 7 and 8.
fn with_two_streams() -> (Session, Vec<Stream>) {
    let mut session = Session::without_transport(0);
    session.waiting = vec![(7, vec![1, 2]), (8, vec![3])];
    let mut streams = Vec::new();
    let hello = frame(SETTINGS, 0, 0, &setting(ENABLE_CONNECT_PROTOCOL, 1));
    let used = session.hear(&hello, &mut |_, event| {
        if let StreamEvent::Asked(stream) = event {
            streams.push(stream);
        }
    });
    assert_eq!(used.unwrap(), hello.len());
    (session, streams)
}

/// What the connections hear, in words.
fn heard(session: &mut Session, input: &[u8]) -> Vec<String> {
    let mut heard = Vec::new();
    let used = session.hear(input, &mut |index, event| {
        let what = match event {
            StreamEvent::Asked(_) => "asked".into(),
            StreamEvent::Accepted => "accepted".into(),
            StreamEvent::Data(bytes) => format!("data {}", bytes.len()),
            StreamEvent::Room(bytes) => format!("room {bytes}"),
            StreamEvent::ReadDone => "done".into(),
            StreamEvent::Ended(fault) => format!("ended: {fault}"),
        };
        heard.push(format!("{index} {what}"));
    });
    assert_eq!(used.unwrap(), input.len());
    heard
}

/// The frames that wait to be sent: kind, flags, stream, length.
fn sent(session: &Session) -> Vec<(u8, u8, u32, usize)> {
    let mut outbox = session.outbox.borrow_mut();
    let bytes = std::mem::take(&mut outbox.bytes);
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(&bytes);
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, s0, s1, s2, s3, behind @ ..] = rest {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        frames.push((*kind, *flags, u32::from_be_bytes([*s0, *s1, *s2, *s3]), len));
        rest = &behind[len..];
    }
    assert!(rest.is_empty());
    frames
}

#[test]
fn streams_are_opened_when_the_server_has_allowed_it() {
    let (session, streams) = with_two_streams();
    assert_eq!(streams.len(), 2);
    assert_eq!(
        sent(&session),
        [
            (SETTINGS, 0, 0, 12),
            (WINDOW_UPDATE, 0, 0, 4),
            (SETTINGS, ACK, 0, 0),
            (HEADERS, END_HEADERS, 1, 2),
            (HEADERS, END_HEADERS, 3, 1),
        ]
    );
    let mut other = Session::without_transport(0);
    let silent = other.hear(&frame(SETTINGS, 0, 0, &[]), &mut |_, _| {});
    assert!(matches!(silent, Err(Fault::Refused(_))));
}

#[test]
fn a_stream_hears_what_is_its_own_without_padding_and_nothing_after_its_end() {
    let (mut session, _streams) = with_two_streams();
    let input = [
        frame(HEADERS, END_HEADERS, 3, &[0x20, STATUS_200, 0x40]),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[STATUS_200]),
        frame(DATA, PADDED, 3, b"\x02abc\0\0"),
        frame(DATA, END_STREAM, 3, b"de"),
        frame(DATA, 0, 3, b"late"),
        frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 9]),
    ]
    .concat();
    let said = heard(&mut session, &input);
    assert_eq!(said[0], "8 accepted");
    assert!(said[1].starts_with("7 ended: the server refused"), "{said:?}");
    assert_eq!(said[2..4], ["8 data 3", "8 data 2"]);
    assert!(said[4].starts_with("8 ended"), "{said:?}");
    assert_eq!(said.len(), 5);
}

#[test]
fn a_frame_is_heard_when_it_is_whole() {
    let (mut session, _streams) = with_two_streams();
    let input = frame(DATA, 0, 1, b"abc");
    for cut in 0..input.len() {
        let used = session.hear(&input[..cut], &mut |_, _| panic!("{cut}"));
        assert_eq!(used.unwrap(), 0);
    }
    assert_eq!(heard(&mut session, &input), ["7 data 3"]);
}

#[test]
fn sending_stops_at_either_window_and_goes_on_when_it_grows() {
    let (mut session, mut streams) = with_two_streams();
    sent(&session);
    let bytes = vec![0; 100_000];
    // The session's window is used up by the first stream, so the second has to wait as well.
    assert_eq!(streams[0].send(&bytes).unwrap(), DEFAULT_WINDOW as usize);
    assert_eq!(
        sent(&session).iter().map(|frame| frame.3).max(),
        Some(DEFAULT_MAX_FRAME)
    );
    assert_eq!(streams[1].send(&bytes).unwrap_err().kind(), ErrorKind::WouldBlock);

    let more = frame(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]);
    assert_eq!(heard(&mut session, &more), ["7 room 0", "8 room 0"]);
    assert_eq!(streams[0].send(&bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(
        heard(&mut session, &frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9])),
        ["7 room 9"]
    );
    streams[0].has_room_for(9);
    assert_eq!(streams[0].send(&bytes).unwrap(), 9);
    // A smaller initial window counts for streams that are open (RFC 9113 §6.9.2).
    heard(
        &mut session,
        &frame(SETTINGS, 0, 0, &[setting(8, 1), setting(4, 1000)].concat()),
    );
    assert_eq!(streams[1].send(&bytes).unwrap(), 1000);
}

#[test]
fn windows_are_given_back_by_halves_and_may_not_be_passed() {
    let (mut session, _streams) = with_two_streams();
    sent(&session);
    let full = frame(DATA, 0, 1, &[0; DEFAULT_MAX_FRAME]);
    for _ in 0..STREAM_WINDOW as usize / DEFAULT_MAX_FRAME / 2 {
        heard(&mut session, &full);
    }
    assert_eq!(sent(&session), []);
    heard(&mut session, &full);
    assert_eq!(sent(&session), [(WINDOW_UPDATE, 0, 1, 4)]);
    let mut window = Window { size: 10, used: 0 };
    assert!(window.take(5).unwrap().is_none());
    assert_eq!(window.take(5).unwrap(), Some(10));
    assert!(window.take(11).is_err());
}

#[test]
fn ping_and_settings_are_answered_once() {
    let (mut session, _streams) = with_two_streams();
    sent(&session);
    let input = [frame(PING, 0, 0, b"12345678"), frame(PING, ACK, 0, b"12345678")].concat();
    heard(&mut session, &[input, frame(SETTINGS, ACK, 0, &[])].concat());
    assert_eq!(sent(&session), [(PING, ACK, 0, 8)]);
}

#[test]
fn what_breaks_the_rules_ends_the_session() {
    for input in [
        frame(DATA, 0, 5, b"never opened"),
        frame(DATA, 0, 2, b"the server's own"),
        frame(DATA, PADDED, 1, b"\x09short"),
        frame(HEADERS, 0, 1, &[STATUS_200]),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
        frame(WINDOW_UPDATE, 0, 1, &[0]),
        frame(GOAWAY, 0, 0, &[0; 8]),
        frame(DATA, 0, 1, &[0; DEFAULT_MAX_FRAME + 1]),
    ] {
        let (mut session, _streams) = with_two_streams();
        assert!(
            session.hear(&input, &mut |_, _| {}).is_err(),
            "{:?}",
            &input[..12]
        );
    }
}

#[test]
fn a_status_is_read_behind_updates_of_the_tables_size() {
    assert!(says_200(&[STATUS_200]));
    // Size 31 + 0x81 in two more bytes, then size 0.
    assert!(says_200(&[0x3F, 0x81, 0x01, 0x20, STATUS_200, 1, 2]));
    assert!(!says_200(&[0x8D]));
    assert!(!says_200(&[0x3F, 0x81]));
    assert!(!says_200(&[]));
}
