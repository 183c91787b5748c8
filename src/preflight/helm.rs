//! Helm's records: is somebody at work, will the new record fit into its Secret, which revisions go with it. Pure.

use jiff::Timestamp;

use crate::event::{Check, Finding, FindingStatus};
use crate::helm::codec::MAXIMUM_STORED;
use crate::helm::history;
use crate::helm::meta::RecordMeta;
use crate::helm::record::Record;

/// The part of the limit, in percent, from which on the size is told.
const NEAR: usize = 85;

/// What is known of a release's records.
pub struct Records<'a> {
    /// The release.
    pub release: &'a str,
    /// Every record's metadata, newest first.
    pub metas: &'a [RecordMeta],
    /// The record that the new one is made from, and its revision.
    pub base: Option<(u64, &'a Record)>,
    /// Revisions that stay; 0 keeps all.
    pub maximum: usize,
    /// What an operation in progress means.
    pub in_progress: FindingStatus,
    /// The time.
    pub now: Timestamp,
}

/// How long ago, in its largest unit.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The findings.
pub fn findings(records: &Records<'_>) -> Vec<Finding> {
    let all = [in_progress(records), size(records), pruned(records)];
    all.into_iter().flatten().collect()
}

fn finding(records: &Records<'_>, status: FindingStatus, message: String, hint: &str) -> Finding {
    Finding {
        check: Check::Helm,
        subject: records.release.to_owned(),
        status,
        message,
        hint: hint.to_owned(),
    }
}

/// Whether the newest record is pending: since when, by whom.
fn in_progress(records: &Records<'_>) -> Option<Finding> {
    let newest = records.metas.first()?;
    if !newest.status.is_pending() {
        let message =
            format!("no operation is in progress: revision {} is {}", newest.revision, newest.status);
        return Some(finding(records, FindingStatus::Pass, message, ""));
    }
    let since = newest.last_written.or(newest.modified).or(newest.created);
    let since = since.map(|then| format!(" for {}", ago(then, records.now))).unwrap_or_default();
    let whom = match &newest.operation {
        Some(operation) => format!("operation {operation} of this tool"),
        None => {
            format!("a Helm operation (last writer: {})", newest.last_writer.as_deref().unwrap_or("unknown"))
        }
    };
    Some(finding(
        records,
        records.in_progress,
        format!("revision {} has been {}{since}, by {whom}", newest.revision, newest.status),
        "wait for it; if nobody is at work there any more: --take-over, or kubectl rollback repair",
    ))
}

fn size(records: &Records<'_>) -> Option<Finding> {
    let (revision, base) = records.base?;
    let bytes = base.encode().len();
    let part = bytes * 100 / MAXIMUM_STORED;
    let message = format!(
        "the record of revision {revision}, which the new one is made from, takes {} KiB: {part} % of what fits",
        bytes / 1024
    );
    Some(match part {
        ..NEAR => finding(records, FindingStatus::Pass, message, ""),
        NEAR..=100 => finding(
            records,
            FindingStatus::Warn,
            message,
            "make the chart smaller (files that nothing uses, large values), or Helm will soon be unable to deploy it",
        ),
        _ => finding(records, FindingStatus::Fail, message, "--skip-reconcile leaves Helm's record alone"),
    })
}

/// Which revisions the history's limit takes away; what everybody's deploys do, so that it is no warning.
fn pruned(records: &Records<'_>) -> Option<Finding> {
    let keep: Vec<u64> = records.base.iter().map(|(revision, _)| *revision).collect();
    let gone = history::prune(records.metas, records.maximum, &keep);
    let mut gone: Vec<u64> = gone.iter().map(|meta| meta.revision).collect();
    gone.sort_unstable();
    let names: Vec<String> = gone.iter().map(ToString::to_string).collect();
    let limit = format!("the history keeps {} revisions", records.maximum);
    let (status, message) = match gone.len() {
        0 => return None,
        // What every deploy does.
        1 => (FindingStatus::Pass, format!("{limit}: revision {} will be removed", names[0])),
        // The limit is lower than what the last deploy kept.
        _ => (FindingStatus::Warn, format!("{limit}: revisions {} will be removed", names.join(", "))),
    };
    Some(finding(records, status, message, "HELM_MAX_HISTORY=N keeps more (0: all)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(statuses: &[&str], maximum: usize, record: Option<&Record>) -> Vec<(FindingStatus, String)> {
        let mut metas: Vec<RecordMeta> = (1..)
            .zip(statuses)
            .map(|(revision, status)| RecordMeta::for_test("todo", revision, status))
            .collect();
        metas.reverse();
        let now = "2026-11-24T14:31:00Z".parse().unwrap();
        if let Some(newest) = metas.first_mut() {
            newest.last_written = Some("2026-11-24T14:00:00Z".parse().unwrap());
            newest.last_writer = Some("helm".to_owned());
        }
        let base = record.map(|record| (1, record));
        let records =
            Records { release: "todo", metas: &metas, base, maximum, in_progress: FindingStatus::Fail, now };
        findings(&records).into_iter().map(|finding| (finding.status, finding.message)).collect()
    }

    #[test]
    fn an_operation_in_progress_is_told_with_its_age() {
        let found = judged(&["superseded", "pending-upgrade"], 10, None);
        assert_eq!(found[0].0, FindingStatus::Fail);
        assert_eq!(
            found[0].1,
            "revision 2 has been pending-upgrade for 31 min, by a Helm operation (last writer: helm)"
        );
        assert_eq!(judged(&["superseded", "deployed"], 10, None).len(), 1);
    }

    #[test]
    fn more_than_one_revision_to_go_is_a_warning() {
        let statuses = ["superseded", "superseded", "superseded", "deployed"];
        assert_eq!(judged(&statuses, 4, None)[1].0, FindingStatus::Pass);
        let (status, message) = judged(&statuses, 2, None).remove(1);
        assert!(status == FindingStatus::Warn && message.contains("revisions 1, 2, 3"), "{message}");
        assert_eq!(judged(&statuses, 0, None).len(), 1);
    }

    #[test]
    fn a_record_near_the_limit_is_told_before_it_is_too_late() {
        // Text that cannot be packed; base64 makes four letters of three bytes.
        let record = |bytes: usize| {
            let mut state = 1_u64;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'!' + u8::try_from(state >> 58).unwrap())
            };
            let manifest: String = (0..bytes).map(|_| next()).collect();
            Record::from_json(
                json!({"name": "todo", "version": 1, "info": {"status": "deployed"}, "manifest": manifest}),
            )
            .unwrap()
        };
        for (bytes, status) in
            [(1000, FindingStatus::Pass), (900_000, FindingStatus::Warn), (1_100_000, FindingStatus::Fail)]
        {
            let found = judged(&["deployed"], 10, Some(&record(bytes)));
            assert_eq!(found[1].0, status, "{bytes}: {}", found[1].1);
        }
    }
}
