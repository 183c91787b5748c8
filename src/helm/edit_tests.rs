//! The editor: what changes, what stays, what is refused.

use proptest::prelude::*;

use super::edit::{EditError, replace_images, set_images};
use super::manifest::Manifest;
use crate::registry::reference::ImageReference;
use crate::workload::{ContainerRef, WorkloadKind, WorkloadRef};

fn container(name: &str, container: &str) -> ContainerRef {
    ContainerRef {
        workload: WorkloadRef {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        },
        container: container.to_owned(),
    }
}

fn image(text: &str) -> ImageReference {
    text.parse().expect(text)
}

/// A Deployment `web` with the given lines (YAML of its pod's spec, unindented).
fn deployment(pod_spec: &str) -> String {
    let indented = format!("      {}", pod_spec.trim_end_matches('\n').replace('\n', "\n      "));
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n{indented}\n"
    )
}

/// Sets the images of `web`'s containers and says what became of the text.
fn set(text: &str, images: &[(&str, &str)]) -> Result<String, Vec<(String, EditError)>> {
    let images: Vec<_> = images.iter().map(|&(name, text)| (container("web", name), image(text))).collect();
    let edited = set_images(text, "shop", &images);
    if edited.unplaced.is_empty() {
        Ok(edited.text)
    } else {
        Err(edited.unplaced.into_iter().map(|(container, error)| (container.container, error)).collect())
    }
}

#[test]
fn only_the_image_text_changes() {
    for (before, after) in [
        ("- {name: a, image: acme/a:1, args: [x]}\n", "- {name: a, image: acme/a:2, args: [x]}\n"),
        ("- {\"name\":\"a\",\"image\":\"acme/a:1\"}\n", "- {\"name\":\"a\",\"image\":\"acme/a:2\"}\n"),
        (
            "- name: a\n  image: acme/a:1 # the old one acme/a:1\n",
            "- name: a\n  image: acme/a:2 # the old one acme/a:1\n",
        ),
        ("- image:   \"acme/a:1\"   \n  name: a\n", "- image:   \"acme/a:2\"   \n  name: a\n"),
        ("- name: a\n  image: 'acme/a:1'\n", "- name: a\n  image: 'acme/a:2'\n"),
        ("- name: a\n  image: \"acme/\\\n    a:1\"\n", "- name: a\n  image: \"acme/a:2\"\n"),
        ("- name: a\n  image: \"acme\\x2Fa:1\"\n", "- name: a\n  image: \"acme/a:2\"\n"),
        (
            "- name: a\n  image: |-\n    acme/a:1\n  tty: true\n",
            "- name: a\n  image: |-\n    acme/a:2\n  tty: true\n",
        ),
        (
            "- name: a\n  image: >-\n    acme/a:1\n\n  # c\n  tty: true\n",
            "- name: a\n  image: >-\n    acme/a:2\n\n  # c\n  tty: true\n",
        ),
        ("- name: a\n  image:\n    acme/a:1\n", "- name: a\n  image:\n    acme/a:2\n"),
        ("- name: a\n  image: !!str acme/a:1\n", "- name: a\n  image: !!str acme/a:2\n"),
        ("- name: a\n  ? image\n  : acme/a:1\n", "- name: a\n  ? image\n  : acme/a:2\n"),
        (
            "- name: a\n  image: acme/a:0\n  image: acme/a:1\n",
            "- name: a\n  image: acme/a:0\n  image: acme/a:2\n",
        ),
        (
            "- name: a\r\n  image: acme/a:1\r\n  tty: true\r\n",
            "- name: a\r\n  image: acme/a:2\r\n  tty: true\r\n",
        ),
        // Somebody else's equal text stays.
        (
            "- name: a\n  image: acme/a:1\n  args: [acme/a:1]\n- name: b\n  image: acme/a:1\n",
            "- name: a\n  image: acme/a:2\n  args: [acme/a:1]\n- name: b\n  image: acme/a:1\n",
        ),
        // An alias is replaced, its anchor stays.
        (
            "- name: b\n  image: &i acme/a:1\n- name: a\n  image: *i\n",
            "- name: b\n  image: &i acme/a:1\n- name: a\n  image: acme/a:2\n",
        ),
        // An anchor changes, and whoever referred to it keeps what it had.
        (
            "- name: a\n  image: &i acme/a:1\n- name: b\n  image: *i\n",
            "- name: a\n  image: &i acme/a:2\n- name: b\n  image: \"acme/a:1\"\n",
        ),
        // A merged container without an image of its own.
        (
            "- name: a\n  <<: {image: acme/a:1, tty: true}\n",
            "- name: a\n  <<: {image: acme/a:2, tty: true}\n",
        ),
    ] {
        let before = deployment(&format!("containers:\n{before}"));
        let after = deployment(&format!("containers:\n{after}"));
        assert_eq!(set(&before, &[("a", "acme/a:2")]).as_ref(), Ok(&after), "{before}");
        assert_eq!(set(&after, &[("a", "acme/a:2")]).as_ref(), Ok(&after), "again");
    }
}

#[test]
fn containers_that_share_a_text_move_together() {
    let before = deployment("containers:\n- name: a\n  image: &i acme/a:1\n- name: b\n  image: *i\n");
    let after = before.replace("acme/a:1", "acme/a:2");
    assert_eq!(set(&before, &[("a", "acme/a:2"), ("b", "acme/a:2")]), Ok(after));

    let shared = deployment("initContainers: &c\n- name: a\n  image: acme/a:1\ncontainers: *c\n");
    let expected = shared.replace("acme/a:1", "acme/a:2");
    assert_eq!(set(&shared, &[("a", "acme/a:2")]), Ok(expected));
}

#[test]
fn what_cannot_be_changed_alone_is_left_and_named() {
    let merged = deployment(
        "containers:\n- &base\n  name: a\n  image: acme/a:1\n- <<: *base\n  name: b\n- name: c\n  image: acme/c:1\n",
    );
    let images =
        [("a", "acme/a:2"), ("c", "acme/c:2")].map(|(name, text)| (container("web", name), image(text)));
    let edited = set_images(&merged, "shop", &images);
    assert_eq!(edited.text, merged.replace("acme/c:1", "acme/c:2"));
    assert_eq!(edited.unplaced, [(container("web", "a"), EditError::Entangled)]);
    assert_eq!(edited.changed, 1);
    // Both together is fine.
    let both = set(&merged, &[("a", "acme/a:2"), ("b", "acme/a:2")]);
    assert_eq!(both, Ok(merged.replace("acme/a:1", "acme/a:2")));

    for (spec, error) in [
        ("containers:\n- name: a\n", EditError::NoImage),
        ("containers:\n- name: a\n  image: 12\n", EditError::NoImage),
        ("containers:\n- name: a\n  image:\n", EditError::NoImage),
        ("containers:\n- name: a\n  image: |\n    acme/a:1\n", EditError::Entangled),
        ("containers:\n- name: z\n  image: acme/a:1\n", EditError::NotFound),
        ("containers: none\n", EditError::NotFound),
    ] {
        let text = deployment(spec);
        assert_eq!(set(&text, &[("a", "acme/a:2")]), Err(vec![("a".to_owned(), error)]), "{spec}");
    }
}

#[test]
fn two_wishes_for_one_container_are_refused() {
    let text = deployment("containers:\n- name: a\n  image: acme/a:1\n");
    let error = EditError::Contradiction("acme/a:2".to_owned(), "acme/a:3".to_owned());
    assert_eq!(set(&text, &[("a", "acme/a:2"), ("a", "acme/a:3")]), Err(vec![("a".to_owned(), error)]));
}

const DOCUMENTS: &str = "\u{feff}# head\n---\n# Source: shop/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  web: |\n    ---\n    image: acme/a:1\n\
    --- # a remark\n# Source: shop/charts/web/templates/web.yaml\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: other}\nspec: {template: {spec: {containers: [{name: a, image: acme/a:1}]}}}\n\
    ---\n# Source: shop/templates/list.yaml\napiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata:\n    name: web\n  spec:\n    replicas: 3\n    template:\n      spec:\n        initContainers:\n        - {name: init, image: acme/a:1}\n        containers:\n        - {name: a, image: acme/a:1}\n- apiVersion: example.org/v1\n  kind: Deployment\n  metadata:\n    name: web\n  spec:\n    template:\n      spec:\n        containers:\n        - {name: a, image: acme/a:1}\n\
    ---\n# Source: shop/templates/broken.yaml\nkind: [\n---\n# only a comment\n---\napiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: night\nspec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          containers:\n          - image: \"acme/a:1\"\n            name: a\n";

#[test]
fn documents_are_told_apart() {
    let manifest = Manifest::parse(DOCUMENTS, "shop");
    let shown: Vec<String> = manifest
        .containers()
        .iter()
        .map(|found| {
            format!(
                "{} {} {} {}",
                found.container.workload.namespace,
                found.container,
                found.image,
                found.source.as_deref().unwrap_or("-")
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    other deploy/web/a acme/a:1 shop/charts/web/templates/web.yaml
    shop deploy/web/init acme/a:1 shop/templates/list.yaml
    shop deploy/web/a acme/a:1 shop/templates/list.yaml
    shop cronjob/night/a acme/a:1 -
    ");
    let problems: Vec<String> = manifest.problems().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(problems.join("\n"), @"the manifest's document from shop/templates/broken.yaml cannot be read: line 3: unclosed bracket '['");
    let kinds: Vec<String> = manifest
        .objects()
        .iter()
        .map(|object| format!("{} {}", object.value["kind"], object.value["metadata"]["name"]))
        .collect();
    insta::assert_snapshot!(kinds.join("\n"), @r#"
    "ConfigMap" "a"
    "Deployment" "web"
    "Deployment" "web"
    "Deployment" "web"
    "CronJob" "night"
    "#);
    assert_eq!(manifest.replicas(&container("web", "a").workload), Some(3));
    assert_eq!(manifest.workloads().len(), 3);

    let edited = set_images(
        DOCUMENTS,
        "shop",
        &[(container("web", "a"), image("acme/a:2")), (container("web", "gone"), image("acme/a:2"))],
    );
    let expected = DOCUMENTS.replace(
        "        containers:\n        - {name: a, image: acme/a:1}\n- apiVersion: example.org",
        "        containers:\n        - {name: a, image: acme/a:2}\n- apiVersion: example.org",
    );
    assert_eq!(edited.text, expected);
    // The one that cannot be found may be in the document that cannot be read.
    assert!(
        matches!(&edited.unplaced[..], [(gone, EditError::Unreadable(_))] if gone.container == "gone"),
        "{:?}",
        edited.unplaced
    );
}

#[test]
fn an_object_rendered_twice_is_changed_twice() {
    let once = deployment("containers:\n- name: a\n  image: acme/a:1\n");
    let twice = format!("---\n{once}---\n{once}");
    assert_eq!(set(&twice, &[("a", "acme/a:2")]), Ok(twice.replace("acme/a:1", "acme/a:2")));
}

#[test]
fn hooks_change_where_the_image_was_ours() {
    let hook = "# Source: x\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\nspec:\n  template:\n    spec:\n      initContainers:\n      - {name: wait, image: busybox}\n      containers:\n      - name: m\n        image: \"acme/a:1\"\n";
    let swaps = [
        ("acme/a:1".to_owned(), image("acme/a:2")),
        ("acme/a:1".to_owned(), image("acme/a:2")),
        ("acme/b:1".to_owned(), image("acme/b:2")),
    ];
    let edited = replace_images(hook, &swaps);
    assert_eq!(edited.text, hook.replace("acme/a:1", "acme/a:2"));
    assert_eq!((edited.changed, edited.unplaced.len()), (1, 0));

    // Two services of one image that part ways: nobody knows which one the hook belongs to.
    let parted = [swaps[0].clone(), ("acme/a:1".to_owned(), image("acme/a:3"))];
    let edited = replace_images(hook, &parted);
    assert_eq!(edited.text, hook);
    assert!(matches!(&edited.unplaced[..], [(from, EditError::Contradiction(..))] if from == "acme/a:1"));
    let elsewhere = replace_images("kind: ConfigMap\n", &parted);
    assert_eq!((elsewhere.changed, elsewhere.unplaced.len()), (0, 0));

    let broken = replace_images("kind: [", &swaps);
    assert_eq!((broken.text.as_str(), broken.changed), ("kind: [", 0));
}

/// A manifest of several documents with noise around the images, and the text that stands in for each image.
fn any_manifest() -> impl Strategy<Value = (String, Vec<String>)> {
    let style = prop::sample::select(vec![
        "IMAGE",
        "\"IMAGE\"",
        "'IMAGE'",
        "&x IMAGE",
        "!!str IMAGE",
        "|-\n          IMAGE",
    ]);
    let comment = prop::sample::select(vec!["", " # IMAGE?", "   ", "\t# x: [", "\r"]);
    let noise = prop::sample::select(vec![
        "",
        "        args: [\"a: b\", '#', é]\n",
        "        env:\n        - {name: IMAGE, value: \"acme/a:1\"}\n",
        "        command:\n        - |\n          image: acme/a:1\n          ---\n",
    ]);
    let document =
        (style, comment, noise, any::<bool>()).prop_map(|(style, comment, noise, is_image_first)| {
            let comment = if style.contains('\n') { "" } else { comment };
            let name = "name: a\n".to_owned();
            let image = format!("image: {style}{comment}\n");
            let (first, second) = if is_image_first { (image, name) } else { (name, image) };
            deployment(&format!("containers:\n- {first}  {second}")) + noise
        });
    prop::collection::vec(document, 1..4).prop_map(|documents| {
        let mut text = String::new();
        let mut names = Vec::new();
        for (index, document) in documents.iter().enumerate() {
            let name = format!("web{index}");
            text += "---\n# Source: shop/templates/web.yaml\n";
            text += &document.replace("name: web", &format!("name: {name}"));
            names.push(name);
        }
        (text, names)
    })
}

proptest! {
    #[test]
    fn every_other_byte_stays((template, names) in any_manifest(), tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}") {
        let before = template.replace("IMAGE", "registry:5000/acme/a:1");
        let swaps: Vec<_> = names
            .iter()
            .map(|name| (container(name, "a"), image(&format!("registry:5000/acme/a:{tag}"))))
            .collect();
        let edited = set_images(&before, "shop", &swaps);
        prop_assert_eq!(&edited.unplaced, &[]);
        prop_assert_eq!(edited.changed, if tag == "1" { 0 } else { names.len() });
        // Only the values move: comments and environment keep the old text.
        prop_assert_eq!(before.lines().count(), edited.text.lines().count());
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        for (old, new) in lines(&before).iter().zip(lines(&edited.text)) {
            let trimmed = old.trim_start().trim_start_matches("- ");
            if trimmed.starts_with("image: ") && !trimmed.starts_with("image: acme") || trimmed.starts_with("registry") {
                prop_assert_eq!(old.replacen("acme/a:1", &format!("acme/a:{tag}"), 1), new);
            } else {
                prop_assert_eq!(old, &new);
            }
        }
        prop_assert_eq!(set_images(&edited.text, "shop", &swaps).text, edited.text);
    }

    #[test]
    fn no_text_makes_the_editor_panic(text in ".{0,200}") {
        let edited = set_images(&text, "shop", &[(container("web", "a"), image("acme/a:2"))]);
        prop_assert_eq!(edited.text, text);
    }
}
