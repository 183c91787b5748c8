//! Journals from a cluster that anybody may have written to: reading them gives a journal or an error, and what was read
//! can be written again.

#![no_main]

use kubectl_rollback::journal::codec::{decode, decode_entries, decode_head, encode_entry, encode_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(entries) = decode_entries(&text) {
        let again: String = entries.iter().map(encode_entry).collect();
        assert_eq!(decode_entries(&again).ok(), Some(entries));
    }
    if let Ok(head) = decode_head(bytes) {
        assert_eq!(decode_head(&encode_head(&head)).ok(), Some(head));
    }
    // The head's own text, so that the fuzzer need not find out how to compress.
    if let Some((head, entries)) = bytes.split_at_checked(bytes.len() / 2) {
        let _ = decode(Some(head), &[entries.to_vec()]);
    }
    if let Ok(head) = serde_json::from_slice(bytes) {
        let head: kubectl_rollback::journal::Head = head;
        let _ = decode(Some(&encode_head(&head)), &[]);
    }
});
