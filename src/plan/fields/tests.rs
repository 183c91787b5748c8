//! Tables of the set algebra: what goes, who owns what, what the object becomes.

use serde_json::{Value, json};

use super::*;

fn set(fields: Value) -> FieldSet {
    FieldSet::from_value(fields)
}

/// A field set below `spec.template.spec.containers[app]`.
fn container(mut fields: Value) -> Value {
    fields["."] = json!({});
    fields["f:name"] = json!({});
    json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {r#"k:{"name":"app"}"#: fields}}}}})
}

const FOO: &str = r#"k:{"name":"FOO"}"#;
const BAR: &str = r#"k:{"name":"BAR"}"#;

fn variable() -> Value {
    json!({".": {}, "f:name": {}, "f:value": {}})
}

/// What is removed where `newer` had more than `target`.
#[track_caller]
fn assert_removed(newer: Value, target: Value, expected: Value) {
    assert_eq!(removals(&[set(newer)], &set(target)), set(expected));
}

#[test]
fn an_item_goes_by_itself_and_the_list_stays() {
    let newer = container(json!({"f:env": {FOO: variable(), BAR: variable()}, "f:image": {}}));
    let mut expected = container(json!({"f:env": {FOO: {}}}));
    let item = &mut expected["f:spec"]["f:template"]["f:spec"]["f:containers"][r#"k:{"name":"app"}"#];
    item.as_object_mut().unwrap().retain(|key, _| key == "f:env");
    let target = container(json!({"f:env": {BAR: variable()}, "f:image": {}}));
    assert_removed(newer.clone(), target, expected.clone());
    let empty_list = container(json!({"f:env": {}, "f:image": {}}));
    let path = |key: &str| {
        let keys = ["f:spec", "f:template", "f:spec", "f:containers", r#"k:{"name":"app"}"#, "f:env", key];
        FieldSet::path(&keys)
    };
    for target in [empty_list, container(json!({"f:image": {}}))] {
        let mut both = path(FOO);
        both.union(&path(BAR));
        assert_eq!(removals(&[set(newer.clone())], &set(target)), both);
    }
}

#[test]
fn a_structure_goes_whole_where_the_target_renders_nothing_of_it() {
    let newer = json!({"f:probe": {"f:httpGet": {"f:path": {}, "f:port": {}}, "f:periodSeconds": {}}});
    assert_removed(newer.clone(), json!({"f:x": {}}), json!({"f:probe": {}}));
    let target = json!({"f:probe": {"f:tcpSocket": {"f:port": {}}, "f:periodSeconds": {}}});
    assert_removed(newer.clone(), target, json!({"f:probe": {"f:httpGet": {}}}));
    let target = json!({"f:probe": {"f:httpGet": {"f:port": {}}}});
    assert_removed(
        newer.clone(),
        target,
        json!({"f:probe": {"f:httpGet": {"f:path": {}}, "f:periodSeconds": {}}}),
    );
    assert_removed(
        newer,
        json!({"f:probe": {}}),
        json!({"f:probe": {"f:httpGet": {}, "f:periodSeconds": {}}}),
    );
}

#[test]
fn replicas_and_what_holds_them_never_go() {
    let newer = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
    assert_removed(newer.clone(), json!({"f:metadata": {}}), json!({"f:spec": {"f:paused": {}}}));
    assert_removed(json!({"f:spec": {"f:replicas": {}}}), json!({}), json!({}));
    // Those of another field are fields like others.
    let nested = json!({"f:spec": {"f:x": {"f:replicas": {}, "f:y": {}}}});
    assert_removed(
        nested,
        json!({"f:spec": {"f:x": {"f:y": {}}}}),
        json!({"f:spec": {"f:x": {"f:replicas": {}}}}),
    );
}

#[test]
fn keys_of_shared_maps_stand_for_themselves() {
    let newer =
        json!({"f:template": {"f:metadata": {"f:annotations": {"f:checksum": {}}}}, "f:data": {"f:a": {}}});
    assert_removed(newer.clone(), json!({}), newer);
}

#[test]
fn an_item_takes_everything_below_along() {
    let newer = container(json!({"f:env": {FOO: variable()}}));
    let expected =
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {r#"k:{"name":"app"}"#: {}}}}}});
    assert_removed(newer, json!({"f:spec": {"f:template": {"f:spec": {"f:dnsPolicy": {}}}}}), expected);
    assert_removed(
        json!({"f:finalizers": {r#"v:"a""#: {}, r#"v:"b""#: {}}}),
        json!({"f:finalizers": {r#"v:"b""#: {}}}),
        json!({"f:finalizers": {r#"v:"a""#: {}}}),
    );
}

#[test]
fn a_service_account_goes_under_both_of_its_names() {
    let removed = removals(
        &[set(json!({"f:spec": {"f:x": {}, "f:serviceAccountName": {}}}))],
        &set(json!({"f:spec": {"f:x": {}}})),
    );
    assert_eq!(removed, set(json!({"f:spec": {"f:serviceAccount": {}, "f:serviceAccountName": {}}})));
}

#[test]
fn all_newer_revisions_count() {
    let newer = [set(json!({"f:a": {}})), set(json!({"f:b": {}})), set(json!({"f:c": {}}))];
    assert_eq!(removals(&newer, &set(json!({"f:c": {}}))), set(json!({"f:a": {}, "f:b": {}})));
}

#[test]
fn what_is_taken_out_leaves_items_but_no_empty_structures() {
    let mut fields = set(json!({"f:env": {".": {}, FOO: variable()}, "f:labels": {".": {}, "f:a": {}}}));
    fields.without(&set(json!({"f:env": {FOO: {"f:value": {}, "f:name": {}}}, "f:labels": {"f:a": {}}})));
    assert_eq!(fields, set(json!({"f:env": {".": {}, FOO: {}}})));
    fields.without(&set(json!({"f:env": {FOO: {}}})));
    assert!(fields.is_empty(), "{fields:?}");
}

#[test]
fn fields_are_found_by_path_and_named_for_people() {
    let fields = set(container(json!({"f:env": {FOO: variable()}, "f:image": {}})));
    let item = ["f:spec", "f:template", "f:spec", "f:containers", r#"k:{"name":"app"}"#];
    assert!(fields.contains(&item) && fields.touches(&item[..2]) && !fields.contains(&item[..2]));
    assert!(!fields.touches(&["f:status"]));
    let image = FieldSet::path(&[&item[..], &["f:image"]].concat());
    assert_eq!(image.names(), ["spec.template.spec.containers[app].image"]);
}

#[test]
fn only_what_exists_in_the_object_counts() {
    let fields = set(container(json!({"f:env": {FOO: variable(), BAR: variable()}, "f:image": {}})));
    let object = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "side", "env": [{"name": "FOO", "value": "1"}]}, {"name": "app", "env": [{"name": "BAR", "value": "1"}]},
    ]}}}});
    assert_eq!(fields.within(&object), set(container(json!({"f:env": {BAR: variable()}}))));
}

fn entry(manager: &str, operation: &str, fields: impl Into<Value>) -> Value {
    let fields: Value = fields.into();
    json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
}

fn with(mut fields: Value, more: Value) -> Value {
    let mut all = FieldSet::from_value(fields.take());
    all.union(&FieldSet::from_value(more));
    all.into_value()
}

fn release() -> Value {
    json!({"f:metadata": {"f:annotations": {"f:meta.helm.sh/release-name": {}}}})
}

/// A target of one container with an environment variable.
fn target() -> Value {
    let annotations = json!({"meta.helm.sh/release-name": "todo"});
    json!({"apiVersion": "apps/v1", "metadata": {"annotations": annotations}, "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "a:1", "env": [{"name": "BAR", "value": "1"}]}]}}}})
}

fn holding(entries: &[Value]) -> Value {
    json!({"metadata": {"managedFields": entries}})
}

fn rewritten(entries: &[Value], removals: Value) -> Vec<Value> {
    rewrite(&holding(entries), "helm", &set(removals), &target()).managed_fields
}

#[test]
fn everything_of_the_writer_becomes_its_apply_entry() {
    let entries = [
        entry("kubectl-edit", "Update", json!({"f:a": {}, "f:bad": {"f:x": {}, "f:y": {}}})),
        entry(
            "helm",
            "Update",
            json!({"f:b": {}, "f:metadata": {"f:finalizers": {".": {}, r#"v:"keep""#: {}}}}),
        ),
        entry("helm", "Apply", with(release(), json!({"f:c": {}}))),
    ];
    let after = rewritten(&entries, json!({"f:bad": {}}));
    assert_eq!(
        after,
        [
            entry("kubectl-edit", "Update", json!({"f:a": {}})),
            entry("helm", "Update", json!({"f:metadata": {"f:finalizers": {".": {}, r#"v:"keep""#: {}}}})),
            entry("helm", "Apply", with(release(), json!({"f:b": {}, "f:c": {}, "f:bad": {}}))),
        ]
    );
    let again = rewrite(&holding(&after), "helm", &set(json!({"f:bad": {}})), &target());
    assert!(!again.changed && again.managed_fields == after, "{again:?}");
}

#[test]
fn a_field_that_only_its_remover_had_leaves_no_entry_behind() {
    let entries = [
        entry("kubectl-patch", "Update", json!({"f:bad": {".": {}, "f:x": {}}})),
        entry("helm", "Apply", release()),
    ];
    assert_eq!(
        rewritten(&entries, json!({"f:bad": {}})),
        [entry("helm", "Apply", with(release(), json!({"f:bad": {}})))]
    );
}

#[test]
fn a_backup_keeps_what_others_had_added() {
    let everything = container(json!({"f:env": {".": {}, FOO: variable(), BAR: variable()}, "f:image": {}}));
    let labels = json!({"f:metadata": {"f:labels": {".": {}, "f:team": {}}}});
    let everything = with(with(everything, release()), labels.clone());
    let after = rewritten(&[entry("velero-server", "Update", everything.clone())], json!({"f:bad": {}}));
    let kept = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        r#"k:{"name":"app"}"#: {"f:env": {FOO: variable()}}
    }}}}, "f:metadata": {"f:labels": {"f:team": {}}}});
    assert_eq!(after[1], entry("velero-server", "Update", kept));
    assert_eq!(after[0]["manager"], "helm");
    let applied = FieldSet::from_value(after[0]["fieldsV1"].clone());
    let item = ["f:spec", "f:template", "f:spec", "f:containers", r#"k:{"name":"app"}"#, "f:env"];
    assert!(applied.contains(&[&item[..], &[BAR, "f:value"]].concat()));
    assert!(!applied.touches(&[&item[..], &[FOO]].concat()));
    // What is to be removed is taken from it all the same.
    let foo = FieldSet::path(&[&item[..], &[FOO]].concat()).into_value();
    let after = rewritten(&[entry("velero-server", "Update", everything)], foo);
    assert_eq!(after[1], entry("velero-server", "Update", labels_only()));
}

fn labels_only() -> Value {
    json!({"f:metadata": {"f:labels": {"f:team": {}}}})
}

#[test]
fn replicas_that_the_target_does_not_render_belong_to_nobody() {
    let owned = with(release(), json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}));
    let mut scale = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
    scale["subresource"] = json!("scale");
    let entries = [entry("helm", "Apply", owned.clone()), scale.clone()];
    let expected = entry("helm", "Apply", with(release(), json!({"f:spec": {"f:paused": {}}})));
    assert_eq!(rewritten(&entries, json!({})), [expected, scale]);
    let mut rendered = target();
    rendered["spec"]["replicas"] = json!(3);
    assert!(!rewrite(&holding(&entries), "helm", &FieldSet::default(), &rendered).changed);
}

#[test]
fn an_object_without_entries_gets_one() {
    let after = rewrite(&json!({}), "helm", &FieldSet::default(), &target());
    assert!(after.changed);
    assert_eq!(after.managed_fields, [entry("helm", "Apply", release())]);
}

#[test]
fn what_nobody_owns_does_not_vanish_with_its_list() {
    let live = json!({"spec": {"env": [{"name": "BAD"}, {"name": "HAND"}], "args": ["a"], "template": {"metadata": {
        "annotations": {"bad": "", "hand": ""}}}}});
    let annotations = |key: &str| json!({"f:template": {"f:metadata": {"f:annotations": {key: {}}}}});
    let bad = with(annotations("f:bad"), json!({"f:env": {r#"k:{"name":"BAD"}"#: {}}, "f:args": {}}));
    let after = rewrite(&live, "helm", &set(json!({"f:spec": bad})), &target());
    let hand = with(annotations("f:hand"), json!({"f:env": {r#"k:{"name":"HAND"}"#: {}}}));
    assert_eq!(after.managed_fields[1], entry("before-first-apply", "Update", json!({"f:spec": hand})));
    // Where the list stays, it needs no owner to stay in it.
    let mut target = target();
    target["spec"]["env"] = json!([]);
    let after =
        rewrite(&live, "helm", &set(json!({"f:spec": {"f:env": {r#"k:{"name":"BAD"}"#: {}}}})), &target);
    assert_eq!(after.managed_fields.len(), 1);
}

#[test]
fn the_version_of_the_fields_stays() {
    let of = |version: &str, operation: &str| {
        let mut entry = entry("helm", operation, release());
        entry["apiVersion"] = json!(version);
        entry
    };
    for (entries, expected) in [
        (vec![of("apps/v1beta1", "Update")], "apps/v1beta1"),
        (vec![of("apps/v1", "Update"), of("apps/v1beta1", "Apply")], "apps/v1beta1"),
        (vec![entry("kubectl-edit", "Update", json!({"f:a": {}}))], "apps/v1"),
    ] {
        let after = rewritten(&entries, json!({}));
        let own = after.iter().find(|entry| entry["manager"] == "helm").unwrap();
        assert_eq!(own["apiVersion"], expected);
    }
}

#[test]
fn the_status_of_an_object_is_not_touched() {
    let mut status = entry("helm", "Update", json!({"f:bad": {}}));
    status["subresource"] = json!("status");
    let entries = [status.clone(), entry("helm", "Apply", release())];
    assert_eq!(rewritten(&entries, json!({"f:bad": {}}))[0], status);
}

#[test]
fn who_writes_an_object_of_a_release() {
    let owner = |manager: &str, operation: &str| entry(manager, operation, release());
    let other = entry("kubectl-edit", "Apply", json!({"f:a": {}}));
    for (entries, writer, expected) in [
        (vec![owner("helm", "Update"), other.clone()], Some("helm"), "helm"),
        (vec![owner("velero", "Update")], Some("velero"), "helm"),
        (vec![owner("helm", "Update"), owner("flux", "Apply")], Some("flux"), "helm"),
        (vec![owner("annotate", "Update"), owner("flux", "Apply")], Some("flux"), "flux"),
        (vec![other], None, "helm"),
    ] {
        assert_eq!(release_writer(&entries).as_deref(), writer, "{entries:?}");
        assert_eq!(writer_of(&entries, "helm"), expected, "{entries:?}");
    }
}

#[test]
fn an_apply_drops_what_nobody_else_owns() {
    let own = set(json!({"f:a": {"f:b": {}, "f:c": {}}, "f:env": {FOO: variable(), BAR: variable()}}));
    let kept = [set(json!({"f:a": {"f:b": {}}})), set(json!({"f:env": {FOO: {"f:value": {}}}}))];
    // Who owns the value of an item does not own the item.
    assert_eq!(dropped(&own, &kept), set(json!({"f:a": {"f:c": {}}, "f:env": {FOO: {}, BAR: {}}})));
    let part = set(json!({"f:env": {FOO: {"f:value": {}}}}));
    assert_eq!(dropped(&part, &[set(json!({"f:env": {BAR: {}}}))]), part);
    assert_eq!(dropped(&own, &[]), set(json!({"f:a": {}, "f:env": {}})));
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

/// How the server orders a list that is merged, in cases of which each has a reason of its own.
#[test]
fn lists_are_merged_in_the_order_of_the_server() {
    for (live, target, expected) in [
        (&["A", "B"][..], &["B", "A"][..], &["B", "A"][..]),
        (&["X", "A", "B"], &["B", "A"], &["X", "B", "A"]),
        (&["A", "X", "B"], &["A", "B"], &["A", "X", "B"]),
        (&["A", "X"], &["N", "A"], &["N", "A", "X"]),
        (&["X", "Y"], &["A"], &["X", "Y", "A"]),
        (&["A"], &["A", "N"], &["A", "N"]),
    ] {
        let keys =
            target.iter().map(|name| (format!("k:{{\"name\":\"{name}\"}}"), json!({".": {}, "f:name": {}})));
        let fields = set(json!({"f:l": keys.collect::<serde_json::Map<_, _>>()}));
        let after =
            merged(&json!({"l": named(live)}), &json!({"l": named(target)}), &fields, &FieldSet::default());
        assert_eq!(after["l"], named(expected), "{live:?} {target:?}");
    }
}

#[test]
fn an_object_becomes_its_target_and_keeps_what_is_not_the_releases() {
    let fields = set(container(json!({"f:image": {}, "f:args": {}, "f:ports": {
        r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}},
        r#"k:{"containerPort":80,"protocol":"UDP"}"#: {".": {}, "f:containerPort": {}, "f:protocol": {}},
    }})));
    let pod = |containers: Value| json!({"metadata": {"uid": "u"}, "spec": {"template": {"spec": {"containers": containers}}}});
    let live = pod(json!([
        {"name": "daprd"},
        {"name": "app", "image": "bad", "args": ["a", "b"], "env": [{"name": "FOO"}, {"name": "BAD"}],
         "ports": [{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}]},
    ]));
    let target = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": "good", "args": ["c"], "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]}
    ]}}}});
    let bad = FieldSet::path(&[
        "f:spec",
        "f:template",
        "f:spec",
        "f:containers",
        r#"k:{"name":"app"}"#,
        "f:env",
        r#"k:{"name":"BAD"}"#,
    ]);
    let expected = pod(json!([
        {"name": "daprd"},
        {"name": "app", "image": "good", "args": ["c"], "env": [{"name": "FOO"}],
         "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}]},
    ]));
    assert_eq!(merged(&live, &target, &fields, &bad), expected);
}

#[test]
fn a_list_or_map_that_is_one_value_is_told_from_its_parts() {
    let object =
        json!({"ref": {"kind": "a"}, "empty": {}, "args": ["a"], "text": "a", "env": [{"name": "FOO"}]});
    let fields =
        set(json!({"f:ref": {}, "f:empty": {}, "f:args": {}, "f:text": {}, "f:env": {FOO: variable()}}));
    assert_eq!(fields.whole(&object), set(json!({"f:ref": {}, "f:args": {}})));
}

#[test]
fn an_empty_list_takes_nothing_from_others() {
    let object = json!({"env": [], "args": [], "map": {}});
    let fields = set(json!({"f:env": {}, "f:args": {}, "f:map": {}}));
    let known = set(json!({"f:env": {FOO: variable()}, "f:args": {}, "f:map": {"f:x": {}}}));
    assert_eq!(fields.without_empty(&object, &known), set(json!({"f:args": {}})));
}
