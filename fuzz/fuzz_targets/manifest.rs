//! The manifest editor: whatever it answers is read again, and exactly the intended images differ.
//!
//! The first byte chooses which containers get an image, the second which image.
#![no_main]

use std::collections::BTreeMap;

use kubectl_rollback::helm::edit;
use kubectl_rollback::helm::manifest::Manifest;
use kubectl_rollback::registry::ImageReference;
use kubectl_rollback::workload::ContainerRef;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NAMESPACE: &str = "default";

const IMAGES: [&str; 6] = [
    "ghcr.io/acme/backend:good-1",
    "redis",
    "a:1234567",
    "localhost:5000/a/b:1e3",
    "x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "yes:no",
];

fuzz_target!(|data: (u8, u8, &str)| {
    let (choice, image, text) = data;
    let before = Manifest::parse(text, NAMESPACE);
    let image: ImageReference = IMAGES[usize::from(image) % IMAGES.len()].parse().expect("an image reference");
    let wanted: Vec<(ContainerRef, ImageReference)> = before
        .images()
        .into_keys()
        .enumerate()
        .filter(|(index, _)| choice >> (index % 8) & 1 == 1)
        .map(|(_, container)| (container, image.clone()))
        .collect();
    let edited = edit::set_images(text, NAMESPACE, &wanted);
    if wanted.is_empty() {
        assert_eq!((edited.text.as_str(), edited.changed), (text, 0));
        return;
    }
    let after = Manifest::parse(&edited.text, NAMESPACE);
    assert_eq!(after.problems().len(), before.problems().len(), "documents that cannot be read");

    let unplaced: BTreeMap<&ContainerRef, _> =
        edited.unplaced.iter().map(|(container, why)| (container, why)).collect();
    let (old, new) = (before.containers(), after.containers());
    assert_eq!(old.len(), new.len(), "containers");
    let mut changed = 0;
    for (old, new) in old.iter().zip(&new) {
        assert_eq!((&old.container, old.document), (&new.container, new.document));
        let is_wanted = wanted.iter().any(|(container, _)| *container == old.container);
        if is_wanted && !unplaced.contains_key(&old.container) {
            assert_eq!(new.image, image.to_string(), "the image that was asked for");
        } else if !is_wanted {
            assert_eq!(new.image, old.image, "an image that nobody asked for");
        }
        changed += usize::from(new.image != old.image);
    }
    assert_eq!(edited.changed, changed, "the number of changed images");
    let (old, new) = (before.objects(), after.objects());
    assert_eq!(old.len(), new.len(), "objects");
    for (old, new) in old.into_iter().zip(new) {
        assert_eq!(without_images(old.value), without_images(new.value), "something else changed");
    }
});

/// An object with the images of its containers left out.
fn without_images(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for (key, value) in std::mem::take(map) {
                let is_list = matches!(key.as_str(), "containers" | "initContainers");
                let mut value = without_images(value);
                if let (true, Value::Array(containers)) = (is_list, &mut value) {
                    for container in containers.iter_mut().filter_map(Value::as_object_mut) {
                        container.remove("image");
                    }
                }
                map.insert(key, value);
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_images(item.take());
            }
        }
        _ => {}
    }
    value
}
