//! What we read against what Helm 4.2.3 sent for the same text (`tests/cases/yaml-*.json`, recorded).

use serde_json::{Value, json};

use super::manifest::Manifest;
use super::yaml::Document;

fn cases(text: &str) -> Vec<Value> {
    let recorded: Value = serde_json::from_str(text).unwrap();
    recorded["cases"].as_array().unwrap().clone()
}

/// Whether two values are the same number to a JSON reader in Go, which knows only floats beyond 64 bits.
fn is_equal(left: &Value, right: &Value) -> bool {
    left == right || left.as_f64().is_some() && left.as_f64() == right.as_f64()
}

#[test]
fn scalars_are_what_helm_sends() {
    let cases = cases(include_str!("../../tests/cases/yaml-scalars.json"));
    assert!(cases.len() > 50);
    for case in cases {
        let yaml = case["yaml"].as_str().unwrap();
        let text = format!("spec:\n  v: {yaml}\n");
        let read = Document::parse(&text).and_then(|document| document.to_json());
        if case.get("error").is_some() {
            assert!(read.is_err(), "{yaml}: {read:?}");
        } else {
            let read = read.unwrap_or_else(|error| panic!("{yaml}: {error}"));
            assert!(
                is_equal(&read["spec"]["v"], &case["json"]),
                "{yaml}: {read} instead of {}",
                case["json"]
            );
        }
    }
}

/// Takes out what Helm adds when it sends an object, and what null labels come back as.
fn as_stored(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in ["annotations", "labels", "namespace"] {
        metadata.remove(key);
    }
    object
}

#[test]
fn documents_are_what_helm_sends() {
    // Refused by Helm for what the objects are, not for how they are written.
    const NOT_YAML: [&str; 3] = ["generateName", "unknown kind", "label value not a string"];
    let cases = cases(include_str!("../../tests/cases/yaml-docs.json"));
    assert!(cases.len() > 10);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let manifest = Manifest::parse(case["yaml"].as_str().unwrap(), "default");
        if NOT_YAML.contains(&name) {
            continue;
        }
        assert_eq!(manifest.problems().is_empty(), case.get("error").is_none(), "{name}");
        let read: Vec<Value> = manifest.objects().iter().map(|object| as_stored(&object.value)).collect();
        let sent: Vec<Value> = case["created"].as_array().unwrap().iter().map(as_stored).collect();
        assert_eq!(read, sent, "{name}");
    }
}

#[test]
fn a_block_at_the_end_of_a_document_keeps_its_line_break() {
    let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  text: |\n    a\n    b\n";
    for text in [one.to_owned(), format!("{one}---\n{one}"), format!("{one}--- # next\n{one}")] {
        for object in Manifest::parse(&text, "default").objects() {
            assert_eq!(object.value["data"]["text"], "a\nb\n", "{text}");
        }
    }
}

#[test]
fn keys_merges_and_duplicates_are_gos() {
    for (text, value) in [
        ("y: 2\non: 3\n1: a\n1.50: b\n1e7: c\n", json!({"true": 3, "1": "a", "1.5": "b", "1e+07": "c"})),
        ("a: 1\na: 2\n", json!({"a": 2})),
        (
            "b: &b {x: 1, y1: 2}\nc:\n  x: 0\n  <<: *b\n",
            json!({"b": {"x": 1, "y1": 2}, "c": {"x": 1, "y1": 2}}),
        ),
        (
            "- &a {x: 1}\n- &b {x: 2, z: 3}\n- {<<: [*a, *b]}\n",
            json!([{"x": 1}, {"x": 2, "z": 3}, {"x": 1, "z": 3}]),
        ),
        ("\"<<\": {a: 1}\n", json!({"<<": {"a": 1}})),
        (
            "a: !!binary aGk=\nb: !custom 1\nc: !!str\nd: ! 5\n",
            json!({"a": "hi", "b": "1", "c": "", "d": "5"}),
        ),
        ("a: \"yes\"\nb: 'null'\nc: |\n  1\n", json!({"a": "yes", "b": "null", "c": "1\n"})),
        // Escapes are text, also those of line breaks, and blanks beside them stay.
        (
            "a: \"x \\n y\"\nb: \"x \\u2028 y\"\nc: \"x \\N y\"\nd: \"x \\t y \\L\"\n",
            json!({"a": "x \n y", "b": "x \u{2028} y", "c": "x \u{85} y", "d": "x \t y \u{2028}"}),
        ),
        ("a: \"<&> ü \\u2028 🦀\"\n", json!({"a": "<&> ü \u{2028} 🦀"})),
        ("a: \"x \\u2028 🦀\"\n", json!({"a": "x \u{2028} 🦀"})),
        ("a: \"x ü \\n y\"\n", json!({"a": "x ü \n y"})),
        // At the very end of a document Go's reader adds no line break.
        ("c: |\n  1", json!({"c": "1"})),
    ] {
        assert_eq!(Document::parse(text).unwrap().to_json().unwrap(), value, "{text}");
    }
    for text in ["~: 1\n", "? [a]\n: 1\n", "<<: 1\n", "a: .inf\n", "a: !!int x\n", "a: *b\n", "a: &a [*a]\n"]
    {
        let read = Document::parse(text).and_then(|document| document.to_json());
        assert!(read.is_err(), "{text}: {read:?}");
    }
}

#[test]
fn lookups_agree_with_the_whole() {
    for text in [
        "a: 1\na: 2\nb: 3\n",
        "base: &b {a: 1, b: 2}\na: 0\n<<: *b\nb: 3\n",
        "x: &x {a: 1}\nz: &z {a: 2, b: 5}\n<<: [*x, *z]\n",
        "on: 1\ntrue: 2\n",
    ] {
        let document = Document::parse(text).unwrap();
        let whole = document.to_json().unwrap();
        for (key, value) in whole.as_object().unwrap() {
            let found = document.get(document.root().unwrap(), key);
            if let Value::Number(number) = value {
                let span = document.node(document.target(found.unwrap())).span.clone();
                assert_eq!(text[span], number.to_string(), "{key} in {text}");
            }
        }
        assert_eq!(document.get(document.root().unwrap(), "none"), None);
    }
}

#[test]
fn aliases_without_measure_and_depth_are_refused() {
    use std::fmt::Write;

    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let below = level - 1;
        writeln!(
            laughs,
            "a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}, *a{below}, *a{below}, *a{below}]"
        )
        .unwrap();
    }
    let error = Document::parse(&laughs).unwrap().to_json().unwrap_err();
    assert!(error.to_string().contains("without measure"), "{error}");

    let deep = "[".repeat(100_000);
    assert!(Document::parse(&deep).is_err());

    let mut chain = String::from("a0: &a0 x\n");
    for level in 1..2000 {
        writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(Document::parse(&chain).unwrap().to_json().is_err());
}
