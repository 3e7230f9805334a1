//! A channel's news as frames: made once for each form in which members get them, and shared by all of that form.
//!
//! The form is the key and nothing else is: what a member sees of a message, and the encoding that its session's handshake
//! agreed on. A new encoding needs no change here.

use std::time::Duration;

use fairlead_channel::{Kind, Record};
use fairlead_websocket::{Encoding, MessageKind};

/// What a client sees of a channel's message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// The payload.
    #[default]
    Plain,
    /// `\x1e`, offset, space, channel, newline, payload: so that the client can say where it stopped. The first byte, ASCII's
    /// record separator, tells such a message from one that the app sends.
    Numbered,
}

/// A frame's first bytes for [`Style::Numbered`].
pub(crate) const MARK: u8 = 0x1e;

/// In which form a member gets messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) style: Style,
    pub(crate) encoding: Encoding,
}

/// Appends the message's frame as a member with this form gets it. Answers the bytes of its payload.
pub(crate) fn append_frame(
    form: Form,
    name: &str,
    record: &Record,
    payload: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> usize {
    let kind = match record.kind {
        Kind::Text => MessageKind::Text,
        Kind::Binary => MessageKind::Binary,
    };
    scratch.clear();
    if form.style == Style::Numbered {
        use std::io::Write;
        scratch.push(MARK);
        // Writing to memory cannot fail.
        let _ = writeln!(scratch, "{} {name}", record.offset);
    }
    form.encoding.append_message(kind, scratch, payload, out);
    scratch.len() + payload.len()
}

/// Appends the frame by which a client that sees offsets learns that its connection is alive: a message of its channel with
/// the offset 0, which no message has, and the seconds to the next one. Whoever knows no heartbeat takes it for a repetition,
/// which the format has clients drop.
///
/// Answers the bytes of its payload.
pub(crate) fn append_heartbeat(encoding: Encoding, name: &str, every: Duration, out: &mut Vec<u8>) -> usize {
    let text = format!("{}0 {name}\n{}", char::from(MARK), every.as_secs_f64());
    encoding.append_message(MessageKind::Text, b"", text.as_bytes(), out);
    text.len()
}

/// The frames of one turn's records, by form.
#[derive(Default)]
pub(crate) struct Frames {
    /// Seldom more than one or two; searched when a member comes, and not when messages do.
    forms: Vec<Encoded>,
}

struct Encoded {
    form: Form,
    members: usize,
    bytes: Vec<u8>,
    /// The payload in them, without the frames' headers.
    payload: usize,
    /// Where the frame of each record begins, and how much payload lies before it.
    starts: Vec<(usize, usize)>,
}

/// Frames, one behind the other.
#[derive(Clone, Copy, Default)]
pub(crate) struct FramesOf<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes of payload in them.
    pub(crate) payload: usize,
}

impl Frames {
    /// One more member wants this form. Answers the form's number, which it keeps while it has members.
    pub(crate) fn add_member(&mut self, form: Form) -> usize {
        let of_form = self.forms.iter().position(|one| one.form == form);
        let unused = || self.forms.iter().position(|one| one.members == 0);
        let number = of_form.or_else(unused).unwrap_or_else(|| {
            self.forms.push(Encoded {
                form,
                members: 0,
                bytes: Vec::new(),
                payload: 0,
                starts: Vec::new(),
            });
            self.forms.len() - 1
        });
        let found = &mut self.forms[number];
        found.form = form;
        found.members += 1;
        number
    }

    pub(crate) fn remove_member(&mut self, number: usize) {
        self.forms[number].members -= 1;
    }

    pub(crate) fn form(&self, number: usize) -> Form {
        self.forms[number].form
    }

    /// Encodes a record for all forms that have members.
    pub(crate) fn push(&mut self, name: &str, record: &Record, payload: &[u8], scratch: &mut Vec<u8>) {
        for one in self.forms.iter_mut().filter(|one| one.members > 0) {
            one.starts.push((one.bytes.len(), one.payload));
            one.payload += append_frame(one.form, name, record, payload, scratch, &mut one.bytes);
        }
    }

    /// The frames in this form, from that of record number `first` on.
    #[inline]
    pub(crate) fn from(&self, number: usize, first: usize) -> FramesOf<'_> {
        let one = &self.forms[number];
        let (start, before) = one.starts[first];
        FramesOf {
            bytes: &one.bytes[start..],
            payload: one.payload - before,
        }
    }

    /// Forgets all frames, and keeps the memory of at most `keep` bytes of them.
    pub(crate) fn clear(&mut self, keep: usize) {
        for one in &mut self.forms {
            one.starts.clear();
            one.payload = 0;
            one.bytes.clear();
            // One large message must not cost its size for as long as the channel lives.
            one.bytes.shrink_to(keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Form = Form {
        style: Style::Plain,
        encoding: Encoding::Identity,
    };
    const NUMBERED: Form = Form {
        style: Style::Numbered,
        encoding: Encoding::Identity,
    };

    #[test]
    fn members_of_one_form_share_it_and_another_form_has_its_own() {
        let mut frames = Frames::default();
        let plain = frames.add_member(PLAIN);
        assert_eq!(frames.add_member(PLAIN), plain);
        assert_ne!(frames.add_member(NUMBERED), plain);
        assert_eq!(frames.form(plain), PLAIN);
    }

    #[test]
    fn the_place_of_a_form_that_nobody_wants_any_more_is_used_again() {
        let mut frames = Frames::default();
        let plain = frames.add_member(PLAIN);
        frames.remove_member(plain);
        assert_eq!(frames.add_member(NUMBERED), plain);
        assert_eq!(frames.form(plain), NUMBERED);
    }
}
