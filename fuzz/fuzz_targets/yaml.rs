//! The YAML reader: whatever a chart rendered becomes JSON or an error, without a panic, without end, within bounded
//! memory.
#![no_main]

use kubectl_rollback::helm::yaml::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(document) = Document::parse(text) else { return };
    if let Ok(value) = document.to_json() {
        // Helm sends JSON: what came out must be writable and readable.
        let written = serde_json::to_string(&value).expect("a JSON value is written");
        let read: serde_json::Value = serde_json::from_str(&written).expect("written JSON is read");
        assert_eq!(read, value);
    }
});
