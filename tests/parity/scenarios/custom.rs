//! Definitions in templates and in `crds/`, and the objects that they define.

use serde_json::json;

use super::*;
use crate::side::{Chart, Side};

fn definition(note: &str) -> String {
    format!(
        r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: "widgets.{{{{ .Release.Namespace }}}}.example.com"
  labels: {{note: "{note}"}}
spec:
  group: "{{{{ .Release.Namespace }}}}.example.com"
  scope: Namespaced
  names: {{kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
---
"#
    )
}

fn widget(name: &str, spec: &str) -> String {
    format!(
        r#"
apiVersion: "{{{{ .Release.Namespace }}}}.example.com/v1"
kind: Widget
metadata: {{name: {name}}}
spec: {spec}
---
"#
    )
}

/// The definition by kubectl, as an operator's own installation brings it.
fn defined(side: &Side) {
    side.apply(&definition("by-hand"), &[]);
    let name = side.fill("crd/widgets.{{ .Release.Namespace }}.example.com");
    side.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=60s"]);
}

fn patch_widget(side: &Side, name: &str, manager: &str, patch: &serde_json::Value) {
    let resource = side.fill("widgets.{{ .Release.Namespace }}.example.com");
    let manager = format!("--field-manager={manager}");
    side.kubectl(&["patch", &resource, name, "--type=merge", &manager, "-p", &patch.to_string()]);
}

scenarios! {
    object_changed [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            defined(side);
            side.install(widget("a", "{size: 1, parts: [{name: x, n: 1}, {name: y, n: 2}], old: {deep: [1, 2]}}"));
            side.upgrade(widget("a", "{size: 2, parts: [{name: y, n: 3}], new: true}"));
        },
    }
    object_added_and_removed [helm_3 helm_4] {
        state: |side| {
            defined(side);
            side.install(widget("a", "{size: 1}") + &widget("b", "{size: 1}"));
            side.upgrade(widget("a", "{size: 1}") + &widget("c", "{size: 2}"));
        },
    }
    object_scalars [helm_3 helm_4] {
        state: |side| {
            defined(side);
            side.install(widget("a", "{a: 0644, b: yes, c: 1_000, d: 0b11, e: 1e3, f: 12:30:45, g: 08, h: 1.10, i: ~, j: 2001-01-01, k: 0o17, l: \"0644\", on: off, m: -0x1F, n: 5., o: tRue, p: .5}"));
            side.upgrade(widget("a", "{a: 0755, on: on}"));
        },
        expected: &[
            Expected { modes: HELM_3, why: "null-is-a-value", paths: &["Widget/a spec.i"] },
        ],
    }
    object_with_extras_of_somebody [helm_3 helm_4] {
        state: |side| {
            defined(side);
            side.install(widget("a", "{size: 1, old: true}"));
            side.upgrade(widget("a", "{size: 2}"));
            patch_widget(side, "a", "operator", &json!({"spec": {"extra": {"by": "operator"}}}));
        },
    }
    object_drifted_where_the_manifests_differ [helm_3 helm_4_client_side] {
        state: |side| {
            defined(side);
            side.install(widget("a", "{size: 1}"));
            side.upgrade(widget("a", "{size: 2}"));
            patch_widget(side, "a", "kubectl-edit", &json!({"spec": {"size": 7}}));
        },
    }
    object_drifted_where_the_manifests_agree [helm_3 helm_4_client_side] {
        state: |side| {
            defined(side);
            side.install(widget("a", "{size: 1, same: here}"));
            side.upgrade(widget("a", "{size: 2, same: here}"));
            patch_widget(side, "a", "kubectl-edit", &json!({"spec": {"same": "elsewhere"}}));
        },
        expected: &[
            Expected { modes: CLIENT_SIDE, why: "custom-resources-are-repaired", paths: &["Widget/a spec.same"] },
        ],
    }
    definition_in_the_folder [helm_3 helm_4] {
        state: |side| {
            let chart = |spec: &str| Chart {
                template: widget("a", spec),
                definitions: definition("of-the-chart"),
                ..Chart::default()
            };
            side.install(chart("{size: 1}"));
            side.upgrade(chart("{size: 2}"));
        },
    }
    definition_in_a_template_changed [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(definition("one"));
            side.upgrade(definition("two").replace("scope: Namespaced", "scope: Namespaced\n  conversion: {strategy: None}"));
        },
    }
    definition_in_a_template_of_the_newer [helm_3 helm_4] {
        state: |side| {
            side.install(config_map("x", "1"));
            side.upgrade(config_map("x", "2") + &definition("newer"));
        },
        rollback: || Rollback::to(1).ours("--allow-delete=CustomResourceDefinition/widgets.{{ .Release.Namespace }}.example.com"),
    }
    definition_gone [helm_3 helm_4] {
        state: |side| {
            defined(side);
            side.install(config_map("x", "1") + &widget("a", "{size: 1}"));
            side.upgrade(config_map("x", "2"));
            side.kubectl(&["delete", &side.fill("crd/widgets.{{ .Release.Namespace }}.example.com")]);
            side.wait_until_unknown(&side.fill("/apis/{{ .Release.Namespace }}.example.com/v1"));
        },
        expected: &[
            Expected { modes: EVERY, why: "refused-before-the-first-write", paths: &["record 3"] },
        ],
    }
}
