//! Which stored revisions may go when one more is written (Helm's `--history-max`).

use super::meta::RecordMeta;
use super::status::Status;

/// How many revisions Helm keeps when nobody says otherwise.
pub const DEFAULT_MAXIMUM: usize = 10;

/// Reads `HELM_MAX_HISTORY`; 0 means that nothing is ever pruned. Like Helm, a text that is not a number counts as unset.
pub fn maximum_from_environment(value: Option<&str>) -> usize {
    value.and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_MAXIMUM)
}

/// The records to delete, oldest first, before one more revision is created, so that `maximum` remain afterwards.
///
/// As in Helm the newest `deployed` record always stays. Unlike Helm so does every revision in `keep` (what is being
/// rolled back to, and what a new record is made from), and every pending one: it is the trace of an operation that may
/// still run.
pub fn prune<'a>(records: &'a [RecordMeta], maximum: usize, keep: &[u64]) -> Vec<&'a RecordMeta> {
    choose(records.iter().collect(), maximum, keep)
}

/// As [`prune`], but after revision `ours` was created, for `records` as they were listed before the others were settled: the
/// same records go as if it had been asked before.
pub fn prune_after<'a>(
    records: &'a [RecordMeta],
    ours: u64,
    maximum: usize,
    keep: &[u64],
) -> Vec<&'a RecordMeta> {
    choose(records.iter().filter(|record| record.revision != ours).collect(), maximum, keep)
}

fn choose<'a>(records: Vec<&'a RecordMeta>, maximum: usize, keep: &[u64]) -> Vec<&'a RecordMeta> {
    if maximum == 0 || records.len() < maximum {
        return Vec::new();
    }
    // Room for the one to come.
    let surplus = records.len() + 1 - maximum;
    let deployed =
        records.iter().filter(|record| record.status == Status::Deployed).map(|record| record.revision).max();
    let mut candidates: Vec<&RecordMeta> = records
        .into_iter()
        .filter(|record| Some(record.revision) != deployed)
        .filter(|record| !keep.contains(&record.revision) && !record.status.is_pending())
        .collect();
    candidates.sort_by_key(|record| record.revision);
    candidates.truncate(surplus);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(statuses: &[&str]) -> Vec<RecordMeta> {
        let mut records: Vec<RecordMeta> = (1..)
            .zip(statuses)
            .map(|(revision, status)| RecordMeta::for_test("todo", revision, status))
            .collect();
        records.reverse();
        records
    }

    fn pruned(statuses: &[&str], maximum: usize, keep: &[u64]) -> Vec<u64> {
        prune(&records(statuses), maximum, keep).iter().map(|record| record.revision).collect()
    }

    #[test]
    fn the_oldest_go_first_and_make_room_for_one() {
        let history = ["superseded", "superseded", "superseded", "deployed"];
        assert_eq!(pruned(&history, 5, &[]), [0; 0]);
        assert_eq!(pruned(&history, 4, &[]), [1]);
        assert_eq!(pruned(&history, 2, &[]), [1, 2, 3]);
        assert_eq!(pruned(&history, 0, &[]), [0; 0]);
    }

    #[test]
    fn target_deployed_and_pending_stay() {
        // Helm's own outcome here is that revision 2, the target, is gone: only 3 and 5 are left.
        let history = ["superseded", "superseded", "deployed", "failed"];
        assert_eq!(pruned(&history, 2, &[2]), [1, 4]);
        assert_eq!(pruned(&["deployed", "pending-upgrade", "failed"], 1, &[]), [3]);
        // Of two deployed records, which only an accident leaves, the older may go.
        assert_eq!(pruned(&["deployed", "superseded", "deployed"], 2, &[]), [1, 2]);
    }

    #[test]
    fn afterwards_the_same_go_as_before() {
        // Revision 3 was deployed before ours, and Helm would not have removed it.
        let after = records(&["superseded", "superseded", "deployed", "deployed"]);
        let pruned = |maximum, keep: &[u64]| {
            prune_after(&after, 4, maximum, keep).iter().map(|record| record.revision).collect::<Vec<_>>()
        };
        assert_eq!(pruned(1, &[1]), [2]);
        assert_eq!(pruned(3, &[]), [1]);
        assert_eq!(pruned(4, &[]), [0; 0]);
        assert_eq!(pruned(0, &[]), [0; 0]);
    }

    #[test]
    fn the_environment_decides_the_maximum() {
        for (value, maximum) in
            [(None, 10), (Some("3"), 3), (Some("0"), 0), (Some("many"), 10), (Some("-1"), 10)]
        {
            assert_eq!(maximum_from_environment(value), maximum, "{value:?}");
        }
    }
}
