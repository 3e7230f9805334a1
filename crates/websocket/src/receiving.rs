//! Bytes that arrive: from a read buffer to complete messages in the inbox and answers to control frames.
//!
//! All input is consumed at once, cut anywhere: what belongs to an unfinished header or control frame is kept in
//! `Incoming`, payload goes straight to the inbox. What a session answers depends on the bytes alone, never on how
//! they were cut. Whole short messages, by far the most frequent input, take a loop of their own; it accepts just
//! what the general path would, and leaves everything else, each error included, to that path.

use crate::close::MAX_CONTROL_PAYLOAD;
use crate::closure::Phase;
use crate::error::PeerError;
use crate::frame::{Header, Opcode, FIN, MASKED};
use crate::incoming::CutControl;
use crate::mask::Key;
use crate::message::MessageKind;
use crate::session::Session;
use crate::time::Time;
use crate::utf8;

const WHOLE_TEXT: u8 = FIN | Opcode::Text as u8;
const WHOLE_BINARY: u8 = FIN | Opcode::Binary as u8;

impl Session {
    /// Takes bytes from the peer. All of `input` is consumed; answers are appended to `out`.
    ///
    /// Ask [`wants_input`](Session::wants_input) before reading more.
    pub fn receive(&mut self, input: &[u8], now: Time, out: &mut Vec<u8>) {
        self.counters.bytes_in += input.len() as u64;
        if !input.is_empty() {
            self.schedule.heard(now);
        }
        let mut rest = input;
        loop {
            match self.phase {
                Phase::Open if self.incoming.is_between_messages() => {
                    rest = self.take_short_messages(rest, now);
                }
                Phase::Open | Phase::CloseSent { .. } => {}
                // RFC 6455 §5.5.1, RFC 6455 §7.1.7: what follows a Close or an error is ignored.
                Phase::Closing { .. } | Phase::Gone => return,
            }
            if rest.is_empty() {
                return;
            }
            match self.advance(rest, now, out) {
                Ok(left) => rest = left,
                Err(error) => return self.fail(error, now, out),
            }
        }
    }

    /// The fast loop: takes valid, unfragmented messages of up to 125 bytes that are there as a whole.
    #[inline]
    fn take_short_messages<'a>(&mut self, input: &'a [u8], now: Time) -> &'a [u8] {
        let longest = MAX_CONTROL_PAYLOAD.min(self.settings.limits.max_message);
        let mut rest = input;
        let before = self.inbox.messages();
        let mut payload_bytes = 0;
        while let [first @ (WHOLE_TEXT | WHOLE_BINARY), second, a, b, c, d, payload @ ..] = rest {
            // Without the mask bit, or with a longer form of the length, this is more than 125.
            let length = usize::from(second ^ MASKED);
            if length > longest || length > payload.len() {
                break;
            }
            let (payload, after) = payload.split_at(length);
            let key = Key::new([*a, *b, *c, *d]);
            if *first == WHOLE_BINARY {
                self.inbox.push(MessageKind::Binary, payload, key);
            } else {
                self.inbox.begin(MessageKind::Text);
                self.inbox.append(payload, key, length);
                if !utf8::is_short_utf8(self.inbox.open_payload()) {
                    self.inbox.abandon();
                    break;
                }
                self.inbox.finish();
            }
            payload_bytes += length;
            rest = after;
        }
        let taken = self.inbox.messages() - before;
        if taken > 0 {
            self.counters.payload_in += payload_bytes as u64;
            self.completed(taken, now);
        }
        rest
    }

    /// The general path: one step, a header or a piece of payload. Answers what is left of `input`.
    fn advance<'a>(&mut self, input: &'a [u8], now: Time, out: &mut Vec<u8>) -> Result<&'a [u8], PeerError> {
        let mut input = input;
        if !self.incoming.inside_frame {
            let Some((header, rest)) = self.incoming.take_header(input)? else {
                return Ok(&[]);
            };
            self.begin_frame(header, now)?;
            input = rest;
        }
        let frame = self.incoming.frame;
        let here = usize::try_from(frame.length).map_or(input.len(), |missing| missing.min(input.len()));
        let (payload, rest) = input.split_at(here);
        self.incoming.frame.length -= here as u64;
        self.incoming.frame.key = frame.key.turned(here);
        let ends = self.incoming.frame.length == 0;
        self.incoming.inside_frame = !ends;
        if frame.opcode.is_control() {
            self.control_payload(frame, payload, ends, now, out);
        } else if matches!(self.phase, Phase::Open) {
            self.data_payload(frame, payload, ends, now)?;
        } else if ends && frame.fin {
            // Our Close is out: data is read only to find the peer's.
            self.incoming.message = None;
        }
        Ok(rest)
    }

    /// Checks what depends on the frames before this one, and on the limits.
    fn begin_frame(&mut self, header: Header, now: Time) -> Result<(), PeerError> {
        let limits = &self.settings.limits;
        let incoming = &mut self.incoming;
        match (header.opcode, incoming.message) {
            (Opcode::Close, _) => {}
            (Opcode::Ping | Opcode::Pong, _) => {
                if incoming.control_frames == 0
                    || now.saturating_since(incoming.control_since) > limits.control_window
                {
                    (incoming.control_frames, incoming.control_since) = (0, now);
                }
                incoming.control_frames += 1;
                let limit = limits.max_control_frames_without_progress;
                // RFC 6455 §10.4
                if incoming.control_frames > limit {
                    return Err(PeerError::ControlFlood {
                        limit,
                        window: limits.control_window,
                    });
                }
            }
            // RFC 6455 §5.4: a continuation continues something.
            (Opcode::Continuation, None) => return Err(PeerError::NothingToContinue),
            // RFC 6455 §5.4: a message is finished before the next one begins.
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(PeerError::MessageNotFinished),
            (Opcode::Continuation, Some(_)) => incoming.fragments += 1,
            (Opcode::Text | Opcode::Binary, None) => {
                let kind = if header.opcode == Opcode::Text {
                    MessageKind::Text
                } else {
                    MessageKind::Binary
                };
                incoming.message = Some(kind);
                incoming.fragments = 1;
                incoming.checked = 0;
                if matches!(self.phase, Phase::Open) {
                    self.inbox.begin(kind);
                }
            }
        }
        if !header.opcode.is_control() && matches!(self.phase, Phase::Open) {
            let length = header
                .length
                .saturating_add(self.inbox.open_payload().len() as u64);
            // RFC 6455 §10.4: judged by the header, before the bytes arrive.
            if length > limits.max_message as u64 {
                return Err(PeerError::MessageTooBig {
                    length,
                    limit: limits.max_message,
                });
            }
            // RFC 6455 §10.4
            if incoming.fragments > limits.max_fragments {
                return Err(PeerError::TooManyFragments {
                    limit: limits.max_fragments,
                });
            }
        }
        incoming.frame = header;
        incoming.inside_frame = true;
        Ok(())
    }

    /// A piece of a data frame; `frame` is as it was before this piece.
    fn data_payload(
        &mut self,
        frame: Header,
        payload: &[u8],
        ends: bool,
        now: Time,
    ) -> Result<(), PeerError> {
        // The header passed the limit, which is a usize.
        self.inbox.append(payload, frame.key, frame.length as usize);
        let complete = ends && frame.fin;
        if self.incoming.message == Some(MessageKind::Text) {
            // RFC 6455 §8.1: fail as soon as the text cannot be UTF-8 any more.
            let text = self.inbox.open_payload();
            let valid = utf8::valid_so_far(&text[self.incoming.checked..]).ok_or(PeerError::TextNotUtf8)?;
            self.incoming.checked += valid;
            // RFC 6455 §8.1: a message, unlike a fragment, ends with a whole character.
            if complete && self.incoming.checked < text.len() {
                return Err(PeerError::TextNotUtf8);
            }
        }
        if complete {
            self.incoming.message = None;
            self.counters.payload_in += self.inbox.open_payload().len() as u64;
            self.inbox.finish();
            self.completed(1, now);
        }
        Ok(())
    }

    /// A piece of a control frame; `frame` is as it was before this piece.
    fn control_payload(&mut self, frame: Header, payload: &[u8], ends: bool, now: Time, out: &mut Vec<u8>) {
        let mut whole = [0; MAX_CONTROL_PAYLOAD];
        let length;
        match self.incoming.control.take() {
            None if ends => {
                length = payload.len();
                frame.key.copy_unmasked(payload, &mut whole[..length]);
            }
            cut => {
                let mut cut = cut.unwrap_or_else(|| {
                    Box::new(CutControl {
                        payload: whole,
                        length: 0,
                    })
                });
                let start = cut.length;
                cut.length += payload.len();
                length = cut.length;
                frame.key.copy_unmasked(payload, &mut cut.payload[start..length]);
                if !ends {
                    self.incoming.control = Some(cut);
                    return;
                }
                whole = cut.payload;
            }
        }
        self.control_frame(frame.opcode, &whole[..length], now, out);
    }

    fn control_frame(&mut self, opcode: Opcode, payload: &[u8], now: Time, out: &mut Vec<u8>) {
        match opcode {
            Opcode::Close => self.receive_close(payload, now, out),
            Opcode::Ping => {
                self.counters.pings_in += 1;
                // RFC 6455 §5.5.2: a pong answers, unless a Close went out.
                // RFC 6455 §5.5.3: with the same payload.
                if matches!(self.phase, Phase::Open) {
                    self.append_control(Opcode::Pong, payload, out);
                }
            }
            // RFC 6455 §5.5.3: a pong that answers nothing is no error.
            _ => self.counters.pongs_in += 1,
        }
    }

    fn completed(&mut self, messages: usize, now: Time) {
        self.counters.messages_in += messages as u64;
        self.incoming.control_frames = 0;
        self.last_message = now;
    }
}
