//! Releases that more than one client has written: another version of Helm, Terraform, Flux.

use super::*;
use crate::side::Side;

/// A Deployment of which the newer revision says more than the older.
fn more(tag: &str) -> String {
    web(tag).replace(
        &format!("image: ghcr.io/acme/web:{tag}"),
        &format!("image: ghcr.io/acme/web:{tag}\n          env: [{{name: MORE, value: \"1\"}}]\n          args: [--more]"),
    ) + &config_map("b", "more")
}

fn pair(side: &Side) {
    side.install(web("good-1") + &config_map("a", "1"));
    side.upgrade(more("good-2") + &config_map("a", "2"));
}

/// As if a client with another name had deployed it all.
fn by_another_name(side: &Side, manager: &str) {
    pair(side);
    side.rename_manager("deployments", "web", "helm", manager);
    side.rename_manager("configmaps", "a", "helm", manager);
    side.rename_manager("configmaps", "b", "helm", manager);
}

scenarios! {
    installed_by_the_other_version [helm_3 helm_4_client_side] {
        state: |side| {
            side.writer.set(side.judge.other());
            side.install(web("good-1") + &config_map("a", "1"));
            side.writer.set(side.judge);
            side.upgrade(more("good-2") + &config_map("a", "2"));
        },
        expected: &[
            Expected { modes: HELM_4, why: "apply-method-as-stored", paths: &["record 3 apply_method"] },
        ],
    }
    upgraded_by_the_other_version [helm_3 helm_4 helm_4_client_side] {
        state: |side| {
            side.install(web("good-1") + &config_map("a", "1"));
            side.writer.set(side.judge.other());
            side.upgrade(more("good-2") + &config_map("a", "2"));
        },
        expected: &[
            Expected { modes: HELM_3, why: "apply-method-as-stored", paths: &["record 2 apply_method"] },
            Expected { modes: HELM_4, why: "apply-method-as-stored", paths: &["record 3 apply_method"] },
        ],
    }
    written_by_the_other_version [helm_3 helm_4] {
        state: |side| {
            side.writer.set(side.judge.other());
            pair(side);
        },
        then: Some(|side| {
            side.writer.set(side.judge);
            side.upgrade(more("good-3") + &config_map("a", "3"));
        }),
        expected: &[
            Expected { modes: HELM_3, why: "apply-method-as-stored", paths: &["record 2 apply_method", "record 3 apply_method"] },
            Expected { modes: HELM_4, why: "apply-method-as-stored", paths: &["record 3 apply_method"] },
        ],
    }
    turned_to_server_side_apply [helm_4] {
        state: |side| {
            side.writer.set(Mode::Helm3);
            side.install(web("good-1") + &config_map("a", "1"));
            side.writer.set(Mode::Helm4);
            side.upgrade_with(more("good-2") + &config_map("a", "2"), &["--server-side=true", "--force-conflicts"]);
        },
        expected: &[
            Expected { modes: SERVER_SIDE, why: "apply-method-as-stored", paths: &["record 3 apply_method"] },
        ],
    }
    by_turns [helm_3 helm_4] {
        state: |side| {
            side.install(web("good-1") + &config_map("a", "1"));
            side.writer.set(side.judge.other());
            side.upgrade(web("good-2") + &config_map("a", "2"));
            side.writer.set(side.judge);
            side.upgrade(web("good-3") + &config_map("a", "3"));
        },
        rollback: || Rollback::to(2),
        expected: &[
            Expected { modes: SERVER_SIDE, why: "apply-method-as-stored", paths: &["record 4 apply_method"] },
        ],
    }
    terraform [helm_3] {
        state: |side| {
            side.program.set("terraform-provider-helm");
            pair(side);
        },
    }
    terraform_on_the_server [helm_4_client_side] {
        state: |side| by_another_name(side, "terraform-provider-helm_v3.1.0_x5"),
    }
    flux [helm_3] {
        state: |side| {
            side.program.set("helm-controller");
            pair(side);
        },
    }
    flux_on_the_server [helm_4_client_side] {
        state: |side| by_another_name(side, "helm-controller"),
    }
}
