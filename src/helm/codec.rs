//! The text in which Helm stores a release: JSON, gzip, base64.
//!
//! Helm compresses at level 9 without name or time, and still reads records from before compression, which are
//! plain JSON under the base64. Reading is bounded: a record comes from the cluster, and a few kilobytes of gzip can
//! stand for gigabytes.

use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::GzBuilder;
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

/// The most a record may unpack to, in bytes. Kubernetes allows 1 MiB packed; real releases unpack tenfold.
pub const MAXIMUM_UNPACKED: u64 = 64 * 1024 * 1024;

/// The most the base64 text may have, in bytes: what kube-apiserver accepts as the data of one Secret.
pub const MAXIMUM_STORED: usize = 1024 * 1024;

const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// Why a stored text is not a release.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not base64, for instance because the text was cut.
    #[error("the payload is not base64 (cut short or changed by hand?): {0}")]
    Base64(#[source] base64::DecodeError),
    /// Starts like gzip but does not unpack.
    #[error("the payload does not unpack (cut short or damaged?): {0}")]
    Gzip(#[source] std::io::Error),
    /// Unpacks to more than [`MAXIMUM_UNPACKED`].
    #[error("the payload unpacks to more than {} MiB, which no Helm release does", MAXIMUM_UNPACKED >> 20)]
    TooLarge,
    /// Not JSON.
    #[error("the payload is not JSON: {0}")]
    Json(#[source] serde_json::Error),
}

/// Reads what Helm stored: one level of base64 (a Secret's own is already gone), then gzip or plain JSON.
pub fn decode(payload: &str) -> Result<Value, CodecError> {
    // Go's decoder skips line breaks; people who edit records by hand leave some.
    let text: String;
    let trimmed = if payload.contains(['\r', '\n']) {
        text = payload.replace(['\r', '\n'], "");
        &text
    } else {
        payload
    };
    let packed = STANDARD.decode(trimmed).map_err(CodecError::Base64)?;
    // The same test as Helm's: more than the three bytes that are compared.
    let json = if packed.len() > GZIP_MAGIC.len() && packed.starts_with(&GZIP_MAGIC) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(packed.as_slice())
            .take(MAXIMUM_UNPACKED + 1)
            .read_to_end(&mut unpacked)
            .map_err(CodecError::Gzip)?;
        if unpacked.len() as u64 > MAXIMUM_UNPACKED {
            return Err(CodecError::TooLarge);
        }
        unpacked
    } else {
        packed
    };
    serde_json::from_slice(&json).map_err(CodecError::Json)
}

/// Writes a release the way Helm does, up to the order of the keys.
pub fn encode(release: &Value) -> String {
    let mut json = Vec::new();
    release
        .serialize(&mut serde_json::Serializer::with_formatter(&mut json, GoEscapes))
        .expect("a JSON value with string keys serialises into memory");
    let mut packer = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    packer.write_all(&json).expect("writing into memory does not fail");
    STANDARD.encode(packer.finish().expect("writing into memory does not fail"))
}

/// Go's encoder escapes what could end a script element; records that we write look the same.
struct GoEscapes;

impl Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let escaped = rest[at..].chars().next().expect("found at this position");
            write!(writer, "\\u{:04x}", u32::from(escaped))?;
            rest = &rest[at + escaped.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pack(bytes: &[u8]) -> String {
        let mut packer = GzBuilder::new().write(Vec::new(), Compression::best());
        packer.write_all(bytes).unwrap();
        STANDARD.encode(packer.finish().unwrap())
    }

    #[test]
    fn the_header_is_helms() {
        let packed = STANDARD.decode(encode(&json!({"name": "todo"}))).unwrap();
        assert_eq!(packed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff]);
    }

    #[test]
    fn plain_json_from_before_compression_is_read() {
        let payload = STANDARD.encode(br#"{"name":"todo"}"#);
        assert_eq!(decode(&payload).unwrap(), json!({"name": "todo"}));
    }

    #[test]
    fn line_breaks_in_the_base64_are_skipped() {
        let mut payload = encode(&json!({"name": "todo"}));
        payload.insert_str(8, "\r\n");
        assert_eq!(decode(&payload).unwrap(), json!({"name": "todo"}));
    }

    #[test]
    fn html_is_escaped_as_go_does() {
        let packed = STANDARD.decode(encode(&json!({"<a>": "b&c\u{2028}"}))).unwrap();
        let mut text = String::new();
        MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, r#"{"\u003ca\u003e":"b\u0026c\u2028"}"#);
    }

    #[test]
    fn bad_input_is_named() {
        let good = encode(&json!({"name": "todo", "manifest": "kind: Secret"}));
        let cut = &good[..good.len() - 9];
        assert!(matches!(decode(cut), Err(CodecError::Base64(_))));
        let cut = &good[..good.len() - 12];
        assert!(matches!(decode(cut), Err(CodecError::Gzip(_))), "{:?}", decode(cut));
        assert!(matches!(decode("%%%"), Err(CodecError::Base64(_))));
        assert!(matches!(decode(&pack(b"{\"name\":")), Err(CodecError::Json(_))));
        assert!(matches!(decode(&STANDARD.encode("hello")), Err(CodecError::Json(_))));
        assert!(matches!(decode(""), Err(CodecError::Json(_))));
    }

    #[test]
    fn a_gzip_bomb_is_refused() {
        let bomb = pack(&vec![b' '; usize::try_from(MAXIMUM_UNPACKED).unwrap() + 1]);
        assert!(bomb.len() < MAXIMUM_STORED, "small enough for a Secret");
        assert!(matches!(decode(&bomb), Err(CodecError::TooLarge)));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(release in any_json()) {
            prop_assert_eq!(decode(&encode(&release)).unwrap(), release);
        }

        #[test]
        fn no_text_makes_the_reader_panic(payload in ".*") {
            let _ = decode(&payload);
        }
    }
}
