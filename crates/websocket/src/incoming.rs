//! What is kept of a frame, and of a message, whose bytes have not all arrived. Input may be cut anywhere; how it is read on
//! stands in `receiving.rs`.

use crate::close::MAX_CONTROL_PAYLOAD;
use crate::error::PeerError;
use crate::frame::{Header, MAX_CLIENT_HEADER};
use crate::message::MessageKind;
use crate::time::Time;

/// What has been read of the frame and of the message that are arriving.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// The frame whose payload is arriving; its `length` is what is missing, its `key` is turned to the next byte.
    pub(crate) frame: Header,
    pub(crate) inside_frame: bool,
    /// The first bytes of a header that was cut.
    pub(crate) header: [u8; MAX_CLIENT_HEADER],
    pub(crate) header_length: u8,
    /// The message that is arriving, from its first frame to the end of its last.
    pub(crate) message: Option<MessageKind>,
    /// Frames of that message.
    pub(crate) fragments: u32,
    /// Bytes of that message, if it is text, that are known to be whole characters.
    pub(crate) checked: usize,
    /// The payload of a control frame that was cut; nothing is allocated for one that was not.
    pub(crate) control: Option<Box<CutControl>>,
    /// Control frames since `control_since`, or since the last complete message.
    pub(crate) control_frames: u32,
    pub(crate) control_since: Time,
}

#[derive(Debug)]
pub(crate) struct CutControl {
    pub(crate) payload: [u8; MAX_CONTROL_PAYLOAD],
    pub(crate) length: usize,
}

impl Incoming {
    pub(crate) fn is_between_messages(&self) -> bool {
        !self.inside_frame && self.header_length == 0 && self.message.is_none()
    }

    /// The next header and what follows it; `None` when all of `input` went into an unfinished one.
    pub(crate) fn take_header<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(Header, &'a [u8])>, PeerError> {
        let kept = usize::from(self.header_length);
        if kept == 0 {
            if let Some((header, size)) = Header::parse(input)? {
                return Ok(Some((header, &input[size..])));
            }
        }
        let more = input.len().min(MAX_CLIENT_HEADER - kept);
        self.header[kept..kept + more].copy_from_slice(&input[..more]);
        let Some((header, size)) = Header::parse(&self.header[..kept + more])? else {
            // At most 13: with 14 bytes every header is complete.
            self.header_length = (kept + more) as u8;
            return Ok(None);
        };
        self.header_length = 0;
        Ok(Some((header, &input[size - kept..])))
    }
}
