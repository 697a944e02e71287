//! The bytes of AMQP 0-9-1 as a load generator needs them: encode the methods it sends, split what it receives into frames.
//!
//! Called by [`crate::client`] for set-up and by [`crate::load`] in the measured loops. Written apart from the dialect crate
//! on purpose: the judge must not share code with the judged. Not here: sockets, property lists beyond the delivery mode,
//! bodies in several frames, heartbeats (the client asks for none).

/// What a connection begins with (AMQP 0-9-1 §4.2.2).
pub(crate) const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// Last octet of every frame (§4.2.3).
const FRAME_END: u8 = 0xCE;
/// Type octet, channel and length before the payload.
const FRAME_HEAD_BYTES: usize = 7;
/// No broker may send more in one frame: twice what RabbitMQ proposes.
pub(crate) const FRAME_BYTES_MAX: usize = 256 << 10;

/// Class and method number of one AMQP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method(pub u16, pub u16);

/// The methods the generator sends or understands.
pub(crate) mod method {
    use super::Method;

    pub(crate) const CONNECTION_START: Method = Method(10, 10);
    pub(crate) const CONNECTION_START_OK: Method = Method(10, 11);
    pub(crate) const CONNECTION_TUNE: Method = Method(10, 30);
    pub(crate) const CONNECTION_TUNE_OK: Method = Method(10, 31);
    pub(crate) const CONNECTION_OPEN: Method = Method(10, 40);
    pub(crate) const CONNECTION_OPEN_OK: Method = Method(10, 41);
    pub(crate) const CONNECTION_CLOSE: Method = Method(10, 50);
    pub(crate) const CHANNEL_OPEN: Method = Method(20, 10);
    pub(crate) const CHANNEL_OPEN_OK: Method = Method(20, 11);
    pub(crate) const CHANNEL_CLOSE: Method = Method(20, 40);
    pub(crate) const CHANNEL_CLOSE_OK: Method = Method(20, 41);
    pub(crate) const EXCHANGE_DECLARE: Method = Method(40, 10);
    pub(crate) const EXCHANGE_DECLARE_OK: Method = Method(40, 11);
    pub(crate) const EXCHANGE_DELETE: Method = Method(40, 20);
    pub(crate) const EXCHANGE_DELETE_OK: Method = Method(40, 21);
    pub(crate) const QUEUE_DECLARE: Method = Method(50, 10);
    pub(crate) const QUEUE_DECLARE_OK: Method = Method(50, 11);
    pub(crate) const QUEUE_BIND: Method = Method(50, 20);
    pub(crate) const QUEUE_BIND_OK: Method = Method(50, 21);
    pub(crate) const QUEUE_DELETE: Method = Method(50, 40);
    pub(crate) const QUEUE_DELETE_OK: Method = Method(50, 41);
    pub(crate) const BASIC_QOS: Method = Method(60, 10);
    pub(crate) const BASIC_QOS_OK: Method = Method(60, 11);
    pub(crate) const BASIC_CONSUME: Method = Method(60, 20);
    pub(crate) const BASIC_CONSUME_OK: Method = Method(60, 21);
    pub(crate) const BASIC_CANCEL: Method = Method(60, 30);
    pub(crate) const BASIC_PUBLISH: Method = Method(60, 40);
    pub(crate) const BASIC_DELIVER: Method = Method(60, 60);
    pub(crate) const BASIC_ACK: Method = Method(60, 80);
    pub(crate) const BASIC_NACK: Method = Method(60, 120);
    pub(crate) const CONFIRM_SELECT: Method = Method(85, 10);
    pub(crate) const CONFIRM_SELECT_OK: Method = Method(85, 11);
}

/// One frame, borrowed from the receive buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A method and its undecoded arguments.
    Method(Method, &'a [u8]),
    /// A content header; of its fields only the body's size matters here.
    Header { body_bytes: u64 },
    /// A piece of a body.
    Body(&'a [u8]),
    /// A heartbeat, never asked for but legal.
    Heartbeat,
}

/// Why bytes from a broker cannot be AMQP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    TooLong { bytes: usize },
    NoFrameEnd { found: u8 },
    UnknownKind { kind: u8 },
    Short,
}

/// Splits the first frame off `input`. `Ok(None)`: wait for more bytes. `Ok(Some((frame, used)))`: drop `used` and go on.
pub(crate) fn frame(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Violation> {
    let Some((&[kind, _, _, l0, l1, l2, l3], rest)) = input.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(None);
    };
    let bytes = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if bytes > FRAME_BYTES_MAX {
        return Err(Violation::TooLong { bytes });
    }
    let (Some(payload), Some(&end)) = (rest.get(..bytes), rest.get(bytes)) else { return Ok(None) };
    if end != FRAME_END {
        return Err(Violation::NoFrameEnd { found: end });
    }
    let frame = match kind {
        1 => {
            let mut args = Reader(payload);
            let id = Method(args.u16()?, args.u16()?);
            Frame::Method(id, args.0)
        }
        2 => {
            let mut fields = Reader(payload);
            let (_class, _weight) = (fields.u16()?, fields.u16()?);
            Frame::Header { body_bytes: fields.u64()? }
        }
        3 => Frame::Body(payload),
        8 => Frame::Heartbeat,
        kind => return Err(Violation::UnknownKind { kind }),
    };
    Ok(Some((frame, FRAME_HEAD_BYTES + bytes + 1)))
}

/// Reads the arguments of a method from the front.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Violation::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Violation> {
        Ok(u8::from_be_bytes(self.take()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Violation> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Violation> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Violation> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    pub(crate) fn short_string(&mut self) -> Result<&'a [u8], Violation> {
        let bytes = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(bytes).ok_or(Violation::Short)?;
        self.0 = rest;
        Ok(text)
    }
}

/// Appends the arguments of a method.
pub(crate) struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// At most 255 bytes; all names here are our own and short.
    pub(crate) fn short_string(&mut self, text: &str) -> &mut Self {
        let bytes = u8::try_from(text.len()).expect("names of the generator fit a short string");
        self.u8(bytes);
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn long_string(&mut self, text: &[u8]) -> &mut Self {
        self.u32(u32::try_from(text.len()).expect("texts of the generator are short"));
        self.0.extend_from_slice(text);
        self
    }

    /// A field table whose values are all long strings.
    pub(crate) fn table(&mut self, fields: &[(&str, &str)]) -> &mut Self {
        let mut body = Vec::new();
        for (name, value) in fields {
            Writer(&mut body).short_string(name).u8(b'S').long_string(value.as_bytes());
        }
        self.long_string(&body)
    }
}

fn put_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Writer<'_>)) {
    let start = out.len();
    Writer(out).u8(kind).u16(channel).u32(0);
    payload(&mut Writer(out));
    let bytes =
        u32::try_from(out.len() - start - FRAME_HEAD_BYTES).expect("frames of the generator are small");
    out[start + 3..start + FRAME_HEAD_BYTES].copy_from_slice(&bytes.to_be_bytes());
    out.push(FRAME_END);
}

/// Appends a method frame.
pub(crate) fn put_method(out: &mut Vec<u8>, channel: u16, id: Method, args: impl FnOnce(&mut Writer<'_>)) {
    put_frame(out, 1, channel, |w| {
        w.u16(id.0).u16(id.1);
        args(w);
    });
}

/// Appends the three frames of one publish; `mode` is the delivery mode, 1 transient or 2 persistent.
pub(crate) fn put_publish(out: &mut Vec<u8>, exchange: &str, routing_key: &str, mode: u8, body: &[u8]) {
    put_method(out, 1, method::BASIC_PUBLISH, |w| {
        w.u16(0).short_string(exchange).short_string(routing_key).u8(0);
    });
    put_content(out, mode, body);
}

/// Appends a content header and one body frame.
pub(crate) fn put_content(out: &mut Vec<u8>, mode: u8, body: &[u8]) {
    /// Bit 12 of the property flags: the delivery mode is present (§4.2.6.1, class basic).
    const DELIVERY_MODE: u16 = 1 << 12;
    put_frame(out, 2, 1, |w| {
        w.u16(method::BASIC_PUBLISH.0).u16(0).u64(body.len() as u64).u16(DELIVERY_MODE).u8(mode);
    });
    put_frame(out, 3, 1, |w| w.0.extend_from_slice(body));
}

/// Appends `basic.ack` up to and including `tag` when `multiple`.
pub(crate) fn put_ack(out: &mut Vec<u8>, tag: u64, multiple: bool) {
    put_method(out, 1, method::BASIC_ACK, |w| {
        w.u64(tag).u8(u8::from(multiple));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish() -> Vec<u8> {
        let mut out = Vec::new();
        put_publish(&mut out, "ex", "key", 2, b"hello");
        out
    }

    #[test]
    fn a_publish_is_three_frames_laid_out_as_the_specification_says() {
        let expected = [
            &[1, 0, 1, 0, 0, 0, 14, 0, 60, 0, 40, 0, 0, 2][..],
            b"ex\x03key\x00\xCE",
            &[2, 0, 1, 0, 0, 0, 15, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x10, 0, 2, 0xCE],
            b"\x03\x00\x01\x00\x00\x00\x05hello\xCE",
        ]
        .concat();
        assert_eq!(publish(), expected);
    }

    #[test]
    fn frames_are_split_where_they_were_joined() {
        let bytes = publish();
        let (method, used) = frame(&bytes).unwrap().unwrap();
        let Frame::Method(method::BASIC_PUBLISH, args) = method else { panic!("{method:?}") };
        let mut args = Reader(args);
        assert_eq!(args.u16(), Ok(0));
        assert_eq!((args.short_string(), args.short_string()), (Ok(&b"ex"[..]), Ok(&b"key"[..])));
        let rest = &bytes[used..];
        let (header, used) = frame(rest).unwrap().unwrap();
        assert_eq!(header, Frame::Header { body_bytes: 5 });
        assert_eq!(frame(&rest[used..]).unwrap().unwrap(), (Frame::Body(b"hello"), 13));
    }

    #[test]
    fn a_torn_frame_waits_at_every_length() {
        let bytes = publish();
        let (_, first) = frame(&bytes).unwrap().unwrap();
        for end in 0..first {
            assert_eq!(frame(&bytes[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn broken_frames_are_named() {
        let claims_4_gib = [1, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(frame(&claims_4_gib), Err(Violation::TooLong { bytes: 0xFFFF_FFFF }));
        assert_eq!(frame(&[8, 0, 0, 0, 0, 0, 0, 7]), Err(Violation::NoFrameEnd { found: 7 }));
        assert_eq!(frame(&[9, 0, 0, 0, 0, 0, 0, FRAME_END]), Err(Violation::UnknownKind { kind: 9 }));
        assert_eq!(frame(&[1, 0, 0, 0, 0, 0, 1, 0, FRAME_END]), Err(Violation::Short));
        assert_eq!(Reader(&[5, b'a']).short_string(), Err(Violation::Short));
    }

    #[test]
    fn a_table_of_texts_is_laid_out_as_the_specification_says() {
        let mut out = Vec::new();
        Writer(&mut out).table(&[("k", "v")]);
        assert_eq!(out, b"\x00\x00\x00\x08\x01kS\x00\x00\x00\x01v");
    }
}
