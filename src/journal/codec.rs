//! The bytes of a journal: the head compressed, the entries as JSON lines, restore documents compressed and cut into
//! pieces that fit a Secret. Reading is bounded and never panics: what was cut off or comes from a newer program is a
//! clear error, or where only the last line was cut off, left out.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;

use super::restore::Restore;
use super::{Entry, Head, Journal, VERSION};

/// The most bytes that a head or restore documents may unfold to.
const LARGEST: u64 = 64 << 20;
/// Bytes of one piece: what fits a Secret (1 MiB) once it is encoded as base64.
pub const PIECE: usize = 700 << 10;

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A part is missing.
    #[error("the journal has no {0}")]
    Missing(&'static str),
    /// A part cannot be unfolded.
    #[error("the journal's {part} is cut off or damaged: {source}")]
    Damaged {
        /// Which part.
        part: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A part is not what it should be.
    #[error("the journal's {part} cannot be understood: {source}")]
    Syntax {
        /// Which part.
        part: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error(
        "the journal has format {found}, this program knows formats up to {VERSION}: use the program that wrote it, or a newer one"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It is far larger than any journal.
    #[error("the journal's {0} unfolds to more than 64 MiB")]
    TooLarge(&'static str),
}

fn fold(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn unfold(part: &'static str, bytes: &[u8]) -> Result<Vec<u8>, JournalError> {
    let mut unfolded = Vec::new();
    GzDecoder::new(bytes)
        .take(LARGEST + 1)
        .read_to_end(&mut unfolded)
        .map_err(|source| JournalError::Damaged { part, source })?;
    if unfolded.len() as u64 > LARGEST { Err(JournalError::TooLarge(part)) } else { Ok(unfolded) }
}

/// The bytes of a head.
pub fn encode_head(head: &Head) -> Vec<u8> {
    fold(&serde_json::to_vec(head).unwrap_or_default())
}

/// Reads a head.
pub fn decode_head(bytes: &[u8]) -> Result<Head, JournalError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let text = unfold("head", bytes)?;
    let syntax = |source| JournalError::Syntax { part: "head", source };
    // The version first: what else a newer one holds is not ours to judge.
    let Versioned { version } = serde_json::from_slice(&text).map_err(syntax)?;
    if version > VERSION {
        return Err(JournalError::Newer { found: version });
    }
    serde_json::from_slice(&text).map_err(syntax)
}

/// The line of an entry, with its line break.
pub fn encode_entry(entry: &Entry) -> String {
    let mut line = serde_json::to_string(entry).unwrap_or_default();
    line.push('\n');
    line
}

/// Reads the lines of a journal. A last line without its line break was cut off and is left out.
pub fn decode_entries(text: &str) -> Result<Vec<Entry>, JournalError> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            serde_json::from_str(line).map_err(|source| JournalError::Syntax { part: "entries", source })
        })
        .collect()
}

/// Reads a journal: its head and the lines of all its pieces in order.
pub fn decode(head: Option<&[u8]>, pieces: &[Vec<u8>]) -> Result<Journal, JournalError> {
    let head = decode_head(head.ok_or(JournalError::Missing("head"))?)?;
    let text: Vec<u8> = pieces.concat();
    let entries = decode_entries(&String::from_utf8_lossy(&text))?;
    Ok(Journal { head, entries })
}

/// The pieces of restore documents.
pub fn encode_restore(documents: &[Restore]) -> Vec<Vec<u8>> {
    let folded = fold(&serde_json::to_vec(documents).unwrap_or_default());
    folded.chunks(PIECE).map(<[u8]>::to_vec).collect()
}

/// Reads restore documents from their pieces in order.
pub fn decode_restore(pieces: &[Vec<u8>]) -> Result<Vec<Restore>, JournalError> {
    if pieces.is_empty() {
        return Err(JournalError::Missing("restore documents"));
    }
    let text = unfold("restore documents", &pieces.concat())?;
    serde_json::from_slice(&text).map_err(|source| JournalError::Syntax { part: "restore documents", source })
}
