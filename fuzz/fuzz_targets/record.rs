//! A release record from the cluster: whatever stands there is a record or an error, within bounded memory, and a record
//! survives being written again.
//!
//! The first byte says how deep the rest goes in: at the stored text, below the base64, or at the JSON itself, which random
//! bytes would never reach through gzip.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubectl_rollback::helm::codec;
use kubectl_rollback::helm::manifest::Manifest;
use kubectl_rollback::helm::record::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((depth, rest)) = data.split_first() else { return };
    let body = match depth % 3 {
        0 => codec::decode(&String::from_utf8_lossy(rest)).ok(),
        1 => codec::decode(&STANDARD.encode(rest)).ok(),
        _ => serde_json::from_slice(rest).ok(),
    };
    let Some(Ok(record)) = body.map(Record::from_json) else { return };
    assert!(!record.name().is_empty() && record.revision() > 0);
    let read_again = codec::decode(&record.encode()).map(Record::from_json);
    assert_eq!(read_again.expect("what was encoded decodes"), Ok(record.clone()));

    // Everything that is asked of a record later.
    let _ = (record.first_deployed(), record.last_deployed(), record.chart_label(), record.apply_method());
    for hook in record.hooks() {
        let _ = (hook.name(), hook.kind(), hook.events().count());
    }
    let _ = Manifest::parse(record.manifest(), "default").images();
    let mut slim = record.clone();
    slim.slim();
    assert_eq!((slim.manifest(), slim.revision()), (record.manifest(), record.revision()));
});
