//! Which values are found to drive an image, over small records of our own: one pattern each.

use serde_json::{Value, json};

use super::description;
use super::tests::{made, run, shown, swap};
use crate::helm::record::Record;

/// Swaps `web/web` of a one-service chart; older images and configs come oldest first, the base last.
fn one(values: &Value, revisions: &[(Value, &str)], to: &str) -> String {
    let mut records: Vec<Record> = (1..)
        .zip(revisions)
        .map(|(revision, (config, image))| made(revision, values, config, &[&format!("web/web={image}")]))
        .collect();
    let base = records.pop().unwrap();
    shown(&run(&base, &records, &[swap("web/web", to)]))
}

#[test]
fn empty_tags_are_filled_in_beside_the_repository() {
    let values = json!({"image": {"repository": "acme/web", "tag": ""}, "note": "x"});
    // By appVersion.
    insta::assert_snapshot!(one(&values, &[(json!({}), "acme/web:app-1")], "acme/web:v9"), @r#"image.tag="v9" for deploy/web/web: beside image.repository, filled in from appVersion"#);
    // By a revision in which the same place held the tag.
    let earlier = (json!({"image": {"tag": "v1"}}), "acme/web:v1");
    insta::assert_snapshot!(
        one(&values, &[earlier, (json!({}), "acme/web:other")], "acme/web:v9"),
        @r#"image.tag="v9" for deploy/web/web: beside image.repository, empty until now, the image's version also in revision 1"#
    );
    // By convention.
    insta::assert_snapshot!(one(&values, &[(json!({}), "acme/web:other")], "acme/web:v9"), @r#"image.tag="v9" for deploy/web/web: beside image.repository, empty until now"#);
    insta::assert_snapshot!(one(&values, &[(json!({}), "acme/web")], "acme/web:v9"), @r#"image.tag="v9" for deploy/web/web: beside image.repository, empty until now"#);
    // A tag that is set to something else is not where this image comes from.
    insta::assert_snapshot!(
        one(&values, &[(json!({"image": {"tag": "v1"}}), "acme/web:v2")], "acme/web:v9"),
        @"unplaced deploy/web/web acme/web:v9: no value was found that drives its image [--set-string image.tag=v9]"
    );
    // No place for a tag, and nothing says what fills it in.
    insta::assert_snapshot!(
        one(&json!({"image": {"repository": "acme/web"}}), &[(json!({}), "acme/web:v1")], "acme/web:v9"),
        @"unplaced deploy/web/web acme/web:v9: no value was found that drives its image [--set-string image.tag=v9]"
    );
}

#[test]
fn empty_repositories_are_a_suggestion() {
    // The template has defaults for both: a person must judge whether it is this image's place.
    let empty = json!({"image": {"registry": null, "repository": null, "tag": ""}, "other": {"image": "x", "tag": "y"}});
    insta::assert_snapshot!(one(&empty, &[(json!({}), "acme/web:app-1")], "acme/web:v9"), @"unplaced deploy/web/web acme/web:v9: no value was found that drives its image [--set-string image.tag=v9]");
    // Two such places: nobody knows which.
    let two = json!({"web": {"repository": "", "tag": ""}, "job": {"repository": "", "tag": ""}});
    insta::assert_snapshot!(one(&two, &[(json!({}), "acme/web:app-1")], "acme/web:v9"), @"unplaced deploy/web/web acme/web:v9: no value was found that drives its image [-]");
    // A revision in which the tag was set is evidence.
    let moved =
        [(json!({"image": {"tag": "v1"}}), "acme/web:v1"), (json!({"image": {"tag": "v2"}}), "acme/web:v2")];
    insta::assert_snapshot!(one(&empty, &moved, "acme/web:v9"), @r#"image.tag="v9" for deploy/web/web: moves with the image, the image's version also in revision 1"#);
}

#[test]
fn shapes_of_images_in_values() {
    // Other words for repository and tag.
    insta::assert_snapshot!(
        one(&json!({"web": {"image": "acme/web", "imageTag": "v1"}}), &[(json!({}), "acme/web:v1")], "acme/web:v9"),
        @r#"web.imageTag="v9" for deploy/web/web: beside web.image"#
    );
    // A registry that only the template knows.
    insta::assert_snapshot!(
        one(&json!({"image": {"name": "acme/web", "tag": "v1"}}), &[(json!({}), "ghcr.io/acme/web:v1")], "ghcr.io/acme/web:v9"),
        @r#"image.tag="v9" for deploy/web/web: beside image.name"#
    );
    // In a list, whose whole is copied into the user's values.
    insta::assert_snapshot!(
        one(&json!({"services": [{"image": {"repo": "acme/web", "tag": "v1"}}]}), &[(json!({}), "acme/web:v1")], "acme/web:v9"),
        @r#"services[0].image.tag="v9" for deploy/web/web: beside services[0].image.repo"#
    );
    // A number, as Helm reads it back: both ways of printing it.
    let number = (json!({"image": {"tag": 1_234_567}}), "acme/web:1234567");
    insta::assert_snapshot!(
        one(&json!({"image": {"repository": "acme/web"}}), &[number], "acme/web:7654321"),
        @r#"image.tag="7654321" for deploy/web/web: beside image.repository"#
    );
    // Two places hold the same version; the one beside the repository drives it.
    insta::assert_snapshot!(
        one(&json!({"image": {"repository": "acme/web", "tag": "v1"}, "banner": "v1"}), &[(json!({}), "acme/web:v1")], "acme/web:v9"),
        @r#"image.tag="v9" for deploy/web/web: beside image.repository"#
    );
    // A tag by itself: never seen to move, but called so; or called anything, but seen to move.
    insta::assert_snapshot!(one(&json!({"webTag": "v1", "banner": "v1"}), &[(json!({}), "acme/web:v1")], "acme/web:v9"), @r#"webTag="v9" for deploy/web/web: equals the image's tag"#);
    insta::assert_snapshot!(
        one(&json!({"release": "v1"}), &[(json!({}), "acme/web:v1"), (json!({"release": "v2"}), "acme/web:v2")], "acme/web:v9"),
        @r#"release="v9" for deploy/web/web: moves with the image, the image's version also in revision 1"#
    );
    // Equal once, by accident.
    insta::assert_snapshot!(one(&json!({"release": "v1"}), &[(json!({}), "acme/web:v1")], "acme/web:v9"), @"unplaced deploy/web/web acme/web:v9: no value was found that drives its image [-]");
    insta::assert_snapshot!(
        one(&json!({"webTag": "v1"}), &[(json!({"webTag": "v0"}), "acme/web:v7"), (json!({}), "acme/web:v1")], "acme/web:v9"),
        @"unplaced deploy/web/web acme/web:v9: no value was found that drives its image [-]"
    );
    // A global tag that a service may override.
    let both = json!({"global": {"tag": "v1"}, "image": {"repository": "acme/web", "tag": "v1"}});
    let moved = json!({"global": {"tag": "v2"}, "image": {"tag": "v2"}});
    insta::assert_snapshot!(
        one(&both, &[(json!({}), "acme/web:v1"), (moved, "acme/web:v2")], "acme/web:v9"),
        @r#"
    global.tag="v9" for deploy/web/web: moves with the image, the image's version also in revision 1
    image.tag="v9" for deploy/web/web: beside image.repository, the image's version also in revision 1
    "#
    );
}

#[test]
fn digests_and_other_repositories() {
    let hex = "0123456789abcdef".repeat(4);
    let to = format!("acme/web@sha256:{hex}");
    let values = json!({"image": {"repository": "acme/web", "tag": "v1", "digest": ""}});
    insta::assert_snapshot!(one(&values, &[(json!({}), "acme/web:v1")], &to), @r#"image.digest="sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" for deploy/web/web: beside image.repository"#);
    let bare = json!({"image": {"repository": "acme/web", "digest": "f".repeat(64)}});
    let from = format!("acme/web@sha256:{}", "f".repeat(64));
    insta::assert_snapshot!(one(&bare, &[(json!({}), &from)], &to), @r#"image.digest="0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" for deploy/web/web: beside image.repository"#);
    let only_tag = json!({"image": {"repository": "acme/web", "tag": "v1"}});
    insta::assert_snapshot!(one(&only_tag, &[(json!({}), "acme/web:v1")], &to), @"unplaced deploy/web/web acme/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef: image has no place for a digest [-]");
    insta::assert_snapshot!(one(&only_tag, &[(json!({}), "acme/web:v1")], "mirror/web:v9"), @r#"
    image.repository="mirror/web" for deploy/web/web: beside image.repository
    image.tag="v9" for deploy/web/web: beside image.repository
    "#);
    insta::assert_snapshot!(one(&json!({"webTag": "v1"}), &[(json!({}), "acme/web:v1")], "mirror/web:v9"), @"unplaced deploy/web/web mirror/web:v9: webTag holds a tag only, and the repository changes [-]");
}

#[test]
fn what_others_depend_on_is_left_alone() {
    // One value, two services, one of them excluded.
    let values = json!({"global": {"tag": "v1"}, "web": {"repository": "acme/web"}, "job": {"repository": "acme/job"}, "redis": "redis:v1"});
    let images = |tag: &str| {
        [
            format!("web/web=acme/web:{tag}"),
            format!("job/job=acme/job:{tag}"),
            "redis/redis=redis:v1".to_owned(),
        ]
    };
    let old = images("v1");
    let new = images("v2");
    let older = [made(1, &values, &json!({}), &[&old[0], &old[1], &old[2]])];
    let base = made(2, &values, &json!({"global": {"tag": "v2"}}), &[&new[0], &new[1], &new[2]]);
    let both = [swap("web/web", "acme/web:v9"), swap("job/job", "acme/job:v9")];
    insta::assert_snapshot!(shown(&run(&base, &older, &both)), @r#"global.tag="v9" for deploy/web/web deploy/job/job: moves with the image, the image's version also in revision 1"#);
    insta::assert_snapshot!(shown(&run(&base, &older, &both[..1])), @"unplaced deploy/web/web acme/web:v9: global.tag also drives deploy/job/job, which wants another version [--set-string global.tag=v9]");
    let apart = [both[0].clone(), swap("job/job", "acme/job:v8")];
    insta::assert_snapshot!(shown(&run(&base, &older, &apart)), @r#"
    unplaced deploy/web/web acme/web:v9: global.tag also drives deploy/job/job, which wants another version [--set-string global.tag=v9]
    unplaced deploy/job/job acme/job:v8: global.tag also drives deploy/web/web, which wants another version [--set-string global.tag=v8]
    "#);

    // Two values, two services of one image: nobody can say which value is whose, unless both move alike.
    let values = json!({"web": {"repository": "acme/app", "tag": "v1"}, "job": {"repository": "acme/app", "tag": "v1"}});
    let base = made(2, &values, &json!({}), &["web/web=acme/app:v1", "job/job=acme/app:v1"]);
    let both = [swap("web/web", "acme/app:v9"), swap("job/job", "acme/app:v9")];
    insta::assert_snapshot!(shown(&run(&base, &[], &both)), @r#"
    job.tag="v9" for deploy/web/web deploy/job/job: beside job.repository
    web.tag="v9" for deploy/web/web deploy/job/job: beside web.repository
    "#);
    insta::assert_snapshot!(shown(&run(&base, &[], &both[..1])), @"unplaced deploy/web/web acme/app:v9: job.tag and web.tag also drive deploy/job/job, which wants another version [-]");
    // A revision in which they differed tells them apart.
    let older =
        [made(1, &values, &json!({"web": {"tag": "v0"}}), &["web/web=acme/app:v0", "job/job=acme/app:v1"])];
    insta::assert_snapshot!(shown(&run(&base, &older, &both[..1])), @r#"web.tag="v9" for deploy/web/web: beside web.repository, the image's version also in revision 1"#);
}

#[test]
fn after_an_earlier_emergency_the_older_records_speak() {
    let values = json!({"image": {"repository": "acme/web", "tag": "v1"}});
    let older = [
        made(1, &values, &json!({}), &["web/web=acme/web:v1"]),
        made(2, &values, &json!({"image": {"tag": "v2"}}), &["web/web=acme/web:v2"]),
    ];
    let mut base = made(3, &values, &json!({"image": {"tag": "v2"}}), &["web/web=acme/web:v1"]);
    base.set_description(&description("emergency", "v1", 2, "7f3a"));
    insta::assert_snapshot!(shown(&run(&base, &older, &[swap("web/web", "acme/web:v9")])), @r#"image.tag="v9" for deploy/web/web: beside image.repository, the image's version also in revision 1"#);
}

#[test]
fn subcharts_see_their_own_values_only() {
    let mut base = made(
        1,
        &json!({"a": {"image": {"repository": "acme/app", "tag": "v1"}}, "b": {"image": {"repository": "acme/app", "tag": "v1"}}}),
        &json!({}),
        &["web/web=acme/app:v1", "job/job=acme/app:v1"],
    );
    let manifest = base
        .manifest()
        .replace("shop/templates/web", "shop/charts/a/templates/web")
        .replace("shop/templates/job", "shop/charts/b/templates/job");
    base.set_manifest(manifest);
    insta::assert_snapshot!(shown(&run(&base, &[], &[swap("web/web", "acme/app:v9")])), @r#"a.image.tag="v9" for deploy/web/web: beside a.image.repository"#);
}

#[test]
fn tags_of_a_value_and_more() {
    let values = json!({"image": {"repository": "acme/web", "tag": "1.0", "flavour": "slim"}});
    let set = |tag: &str| json!({"image": {"tag": tag}});
    let history = [(set("1.0"), "acme/web:v1.0-slim"), (set("1.1"), "acme/web:v1.1-slim")];
    insta::assert_snapshot!(one(&values, &history, "acme/web:v1.2-slim"), @r#"image.tag="1.2" for deploy/web/web: beside image.repository, with v before and -slim after it, the image's version also in revision 1"#);
    // One revision may be a coincidence; the advice is right all the same.
    insta::assert_snapshot!(one(&values, &history[1..], "acme/web:v1.2-slim"), @"unplaced deploy/web/web acme/web:v1.2-slim: no value was found that drives its image [--set-string image.tag=1.2]");
    // Another flavour is another value.
    insta::assert_snapshot!(one(&values, &history, "acme/web:v1.2-fat"), @"unplaced deploy/web/web acme/web:v1.2-fat: image.tag is only a part of the tag, with v before and -slim after it [-]");
    // A revision in which it was not so.
    let other = [history[0].clone(), (set("9"), "acme/web:v1.1-slim"), history[1].clone()];
    insta::assert_snapshot!(one(&values, &other, "acme/web:v1.2-slim"), @"unplaced deploy/web/web acme/web:v1.2-slim: no value was found that drives its image [--set-string image.tag=1.2]");
}

#[test]
fn an_empty_tag_that_falls_back_to_another_value_stays_empty() {
    let values = json!({"tag": "", "web": {"image": {"repository": "acme/web", "tag": ""}}});
    let labelled = |config: &Value| {
        let mut base = made(1, &values, config, &["web/web=acme/web:v1"]);
        let labels = "{name: web, labels: {app.kubernetes.io/version: v1}}";
        base.set_manifest(base.manifest().replace("{name: web}\n", &format!("{labels}\n")));
        shown(&run(&base, &[], &[swap("web/web", "acme/web:v9")]))
    };
    // Pinned, it would no longer follow the value that everybody sets.
    insta::assert_snapshot!(labelled(&json!({"tag": "v1"})), @r#"tag="v9" for deploy/web/web: equals the image's tag"#);
    // A subchart's appVersion is nowhere in a record, except in this label.
    insta::assert_snapshot!(labelled(&json!({})), @r#"web.image.tag="v9" for deploy/web/web: beside web.image.repository, filled in from appVersion"#);
}

#[test]
fn what_the_manifest_lacks_is_named() {
    let base = made(1, &json!({}), &json!({}), &["web/web=acme/web:v1"]);
    insta::assert_snapshot!(shown(&run(&base, &[], &[swap("gone/gone", "acme/web:v9")])), @r#"
    unplaced deploy/gone/gone acme/web:v9: no value was found that drives its image [-]
    manifest deploy/gone/gone: the manifest does not have this container
    "#);
}
