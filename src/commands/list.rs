//! `list`: the releases of a namespace, or of all: the newest revision of each.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{Conclusion, Failure, Session};
use crate::cli::ListArgs;
use crate::discover::DiscoverError;
use crate::discover::revisions::{self, Revision};
use crate::helm::error::StorageError;
use crate::helm::meta::RecordMeta;
use crate::helm::status::Status;
use crate::helm::storage::Storage;
use crate::ui;

/// What `list` says; its machine-readable form is the rows alone, as Helm's.
#[derive(Debug, Clone)]
pub struct ListDocument {
    /// The rows.
    pub rows: Vec<ListRow>,
    /// Whether the table has a header.
    pub header: bool,
}

/// One release: Helm's own keys as Helm spells them, and ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListRow {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The revision: a text, as in Helm.
    pub revision: String,
    /// When it was deployed, as Go prints a time; `-` when unset.
    pub updated: String,
    /// The same as a moment.
    #[serde(skip)]
    pub moment: Option<Timestamp>,
    /// Its status.
    pub status: String,
    /// `name-version` of the chart.
    pub chart: String,
    /// The chart's `appVersion`.
    pub app_version: String,
    /// Why its record cannot be read; left out where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &ListArgs) -> Result<Conclusion, Failure> {
    let revisions = session.unless_interrupted(read(session, arguments)).await?;
    let rows: Vec<ListRow> = revisions.iter().map(row).collect();
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let is_short = arguments.short || session.output.quiet;
    if rows.is_empty() && !session.is_machine_readable() {
        session.printer().talk(&nothing(session, arguments));
    }
    let own = if is_short { serde_json::to_value(&names) } else { serde_json::to_value(&rows) };
    let name: Vec<String> = names.iter().map(|name| format!("release.helm.sh/{name}")).collect();
    let text = if is_short || rows.is_empty() {
        names.join("\n")
    } else {
        ui::list_table(&ListDocument { rows, header: !arguments.no_headers }, session.context.now())
    };
    Ok(Conclusion {
        document: session.document(),
        text,
        name: name.join("\n"),
        own: Some(own.map_err(anyhow::Error::from)?),
    })
}

fn nothing(session: &Session, arguments: &ListArgs) -> String {
    let place = if arguments.all_namespaces {
        "any namespace".to_owned()
    } else {
        format!("namespace {}", session.context.namespace)
    };
    format!("no release in {place} fits")
}

async fn read(session: &Session, arguments: &ListArgs) -> Result<Vec<Revision>, Failure> {
    let (client, driver) = (&session.context.client, session.driver);
    let storage = if arguments.all_namespaces {
        Storage::of_all_namespaces(client.clone(), driver)
    } else {
        Storage::new(client.clone(), &session.context.namespace, driver)
    };
    let selected = async {
        match &arguments.selector {
            Some(selector) => storage.list_selected(selector).await.map(Some),
            None => Ok(None),
        }
    };
    let (metas, selected) = futures::try_join!(storage.list_all(), selected)
        .map_err(|error| refused(session, arguments, error))?;
    let wanted = Wanted::of(arguments);
    let selected: Option<BTreeSet<String>> =
        selected.map(|metas| metas.into_iter().map(|meta| meta.uid).collect());
    let is_selected =
        |meta: &RecordMeta| selected.as_ref().is_none_or(|selected| selected.contains(&meta.uid));
    let mut metas: Vec<RecordMeta> = wanted.choose(metas).into_iter().filter(is_selected).collect();
    if arguments.reverse && !arguments.date {
        metas.reverse();
    }
    let page = |count: usize| {
        let last = if arguments.max == 0 {
            count
        } else {
            count.min(arguments.offset.saturating_add(arguments.max))
        };
        arguments.offset.min(last)..last
    };
    let failed = |error: StorageError| Failure::from(DiscoverError::from(error));
    if !arguments.date {
        let metas = &metas[page(metas.len())];
        return revisions::read(client, driver, metas).await.map_err(failed);
    }
    // The date stands in the body.
    let mut all = revisions::read(client, driver, &metas).await.map_err(failed)?;
    all.sort_by_key(|revision| moment(revision).map(Timestamp::as_second));
    if arguments.reverse {
        all.reverse();
    }
    let page = page(all.len());
    Ok(all.drain(page).collect())
}

fn refused(session: &Session, arguments: &ListArgs, error: StorageError) -> Failure {
    let is_forbidden = matches!(error, StorageError::Forbidden { .. });
    let failure = Failure::from(DiscoverError::from(error));
    match (is_forbidden, arguments.all_namespaces) {
        (true, true) => failure.hinted("list one namespace at a time: kubectl rollback list -n NAMESPACE"),
        (true, false) => failure.hinted(format!(
            "without Helm's records: kubectl rollback history deploy/NAME -n {}",
            session.context.namespace
        )),
        (false, _) => failure,
    }
}

/// Which revisions are listed.
struct Wanted<'a> {
    arguments: &'a ListArgs,
    any_status: bool,
}

impl<'a> Wanted<'a> {
    fn of(arguments: &'a ListArgs) -> Self {
        let ListArgs { deployed, failed, pending, superseded, uninstalled, uninstalling, .. } = *arguments;
        let any_status =
            arguments.all || !(deployed || failed || pending || superseded || uninstalled || uninstalling);
        Self { arguments, any_status }
    }

    /// Whether only superseded revisions are wanted: then, as in Helm, the old ones are listed.
    fn is_superseded_only(&self) -> bool {
        let ListArgs { deployed, failed, pending, superseded, uninstalled, uninstalling, .. } =
            *self.arguments;
        !self.any_status && superseded && !(deployed || failed || pending || uninstalled || uninstalling)
    }

    fn has_wanted_status(&self, status: &Status) -> bool {
        let ListArgs { deployed, failed, pending, superseded, uninstalled, uninstalling, .. } =
            *self.arguments;
        self.any_status
            || match status {
                Status::Deployed => deployed,
                Status::Failed => failed,
                Status::Superseded => superseded,
                Status::Uninstalled => uninstalled,
                Status::Uninstalling => uninstalling,
                status if status.is_pending() => pending,
                _ => false,
            }
    }

    /// Of every release the newest revision, then those with a wanted status. `metas`: by release, newest first.
    fn choose(&self, mut metas: Vec<RecordMeta>) -> Vec<RecordMeta> {
        if let Some(filter) = &self.arguments.filter {
            metas.retain(|meta| filter.is_match(&meta.release));
        }
        if !self.is_superseded_only() {
            metas.dedup_by(|later, first| {
                (&later.release, &later.namespace) == (&first.release, &first.namespace)
            });
        }
        metas.retain(|meta| self.has_wanted_status(&meta.status));
        metas
    }
}

fn moment(revision: &Revision) -> Option<Timestamp> {
    revision.content.as_ref().ok()?.updated.parse().ok()
}

fn row(revision: &Revision) -> ListRow {
    let meta = &revision.meta;
    let content = revision.content.as_ref().ok();
    ListRow {
        name: meta.release.clone(),
        namespace: meta.namespace.clone(),
        revision: meta.revision.to_string(),
        updated: content
            .and_then(|content| go_time(&content.updated, &TimeZone::system()))
            .unwrap_or_else(|| "-".to_owned()),
        moment: moment(revision),
        status: meta.status.to_string(),
        chart: content.map(|content| content.chart.clone()).unwrap_or_default(),
        app_version: content.map(|content| content.app_version.clone()).unwrap_or_default(),
        unreadable: revision.content.as_ref().err().cloned(),
    }
}

/// A stored time as Go prints one it has read: `2016-01-16 00:00:03.5 +0000 UTC`. An offset that is the local one has the local
/// zone's name, any other has itself. `None` where nothing is set.
fn go_time(stored: &str, local: &TimeZone) -> Option<String> {
    let moment: Timestamp = stored.parse().ok()?;
    let offset_at = stored.rfind(['Z', 'z', '+']).or_else(|| stored.rfind('-'))?;
    let (local_time, offset) = stored.split_at(offset_at);
    let local_time = local_time.replacen(['T', 't'], " ", 1);
    let local_time = match local_time.split_once('.') {
        Some((seconds, fraction)) => match fraction.trim_end_matches('0') {
            "" => seconds.to_owned(),
            fraction => format!("{seconds}.{fraction}"),
        },
        None => local_time,
    };
    if offset.eq_ignore_ascii_case("z") {
        return Some(format!("{local_time} +0000 UTC"));
    }
    let digits = offset.replace(':', "");
    let here = local.to_offset_info(moment);
    let sign = if here.offset().is_negative() { '-' } else { '+' };
    let minutes = here.offset().seconds().unsigned_abs() / 60;
    let is_local = digits == format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
    let zone = match (is_local, digits.as_str()) {
        (true, _) => here.abbreviation().to_owned(),
        (false, "+0000" | "-0000") => "UTC".to_owned(),
        (false, digits) => digits.to_owned(),
    };
    Some(format!("{local_time} {digits} {zone}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn times_are_as_go_prints_them() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (stored, printed) in [
            ("2016-01-16T00:00:03Z", Some("2016-01-16 00:00:03 +0000 UTC")),
            ("2026-11-24T22:50:01.120450000Z", Some("2026-11-24 22:50:01.12045 +0000 UTC")),
            ("2026-11-24T22:50:01.5+01:00", Some("2026-11-24 22:50:01.5 +0100 CET")),
            ("2026-07-24T22:50:01+02:00", Some("2026-07-24 22:50:01 +0200 CEST")),
            ("2026-07-24T22:50:01+01:00", Some("2026-07-24 22:50:01 +0100 +0100")),
            ("2026-07-24T22:50:01-07:30", Some("2026-07-24 22:50:01 -0730 -0730")),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(go_time(stored, &berlin).as_deref(), printed, "{stored}");
        }
    }

    fn chosen(flags: &[&str]) -> Vec<String> {
        let mut metas: Vec<RecordMeta> = [
            ("cart", 3, "failed"),
            ("cart", 2, "deployed"),
            ("cart", 1, "superseded"),
            ("shop", 2, "deployed"),
            ("shop", 1, "superseded"),
            ("stuck", 2, "pending-upgrade"),
            ("stuck", 1, "superseded"),
        ]
        .map(|(release, revision, status)| RecordMeta::for_test(release, revision, status))
        .to_vec();
        let mut elsewhere = RecordMeta::for_test("stuck", 1, "uninstalled");
        elsewhere.namespace = "elsewhere".to_owned();
        metas.push(elsewhere);
        let arguments = ["kubectl-rollback", "list"].iter().chain(flags).map(OsString::from).collect();
        let Command::List(arguments) = Cli::try_parse_arguments(arguments).unwrap().command else { panic!() };
        let chosen = Wanted::of(&arguments).choose(metas);
        chosen.iter().map(|meta| format!("{}/{}", meta.release, meta.revision)).collect()
    }

    #[test]
    fn every_release_has_one_row_by_its_newest_revision() {
        for (flags, rows) in [
            (&[][..], &["cart/3", "shop/2", "stuck/2", "stuck/1"][..]),
            (&["--all", "--failed"], &["cart/3", "shop/2", "stuck/2", "stuck/1"]),
            // That revision 2 is deployed is not asked for: the release's newest failed.
            (&["--deployed"], &["shop/2"]),
            (&["--failed", "--pending"], &["cart/3", "stuck/2"]),
            (&["--uninstalled"], &["stuck/1"]),
            (&["--uninstalling"], &[]),
            (&["--superseded"], &["cart/1", "shop/1", "stuck/1"]),
            (&["--superseded", "--failed"], &["cart/3"]),
            (&["--filter", "^s[ht]"], &["shop/2", "stuck/2", "stuck/1"]),
        ] {
            assert_eq!(chosen(flags), rows, "{flags:?}");
        }
    }
}
