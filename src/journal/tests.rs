//! Journals as they are written, cut off, damaged, and of a newer program.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::codec::{
    JournalError, PIECE, decode, decode_entries, decode_head, decode_restore, encode_entry, encode_head,
    encode_restore,
};
use super::restore::Restore;
use super::{EmergencyWork, Entry, Head, State, VERSION, Work};
use crate::execute::Options;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::plan::rollback::objects::ObjectKey;

fn head() -> Head {
    Head {
        version: VERSION,
        operation: "7f3a".into(),
        procedure: "emergency".into(),
        context: "prod".into(),
        namespace: "default".into(),
        release: Some("todo-app".into()),
        target: "tag good".into(),
        actor: "jane@host".into(),
        command: "kubectl rollback emergency --tag good".into(),
        reason: None,
        incident: None,
        started_at: Timestamp::UNIX_EPOCH,
        driver: "secrets".into(),
        deployed_at: None,
        statuses: vec![(7, "deployed".into())],
        work: Work::Emergency(Box::new(EmergencyWork {
            plan: Plan {
                release: None,
                target: "tag good".into(),
                tag: Some("good".into()),
                same_images_as: None,
                workloads: Vec::new(),
                unchanged: Vec::new(),
                skipped: Vec::new(),
                findings: Vec::new(),
                database: None,
            },
            findings: Vec::new(),
            options: Options::default(),
            writes_record: true,
            image_managers: [].into(),
            verify: true,
        })),
    }
}

fn entries() -> Vec<Entry> {
    let at = Timestamp::UNIX_EPOCH;
    vec![
        Entry::Run { at, actor: "jane".into(), command: "x".into() },
        Entry::Intent {
            write: 1,
            at,
            verb: "PATCH".into(),
            path: "/apis/apps/v1/namespaces/n/deployments/web".into(),
        },
        Entry::Answer { write: 1, at, status: 200 },
        Entry::Milestone { at, name: "pre-rollback hooks".into() },
        Entry::Event { event: json!({"type": "Stage"}) },
        Entry::Finished { at, outcome: Outcome::Succeeded, exit_code: 0, result: json!({"kind": "Result"}) },
    ]
}

#[test]
fn what_is_written_is_read() {
    let text: String = entries().iter().map(encode_entry).collect();
    let (first, second) = text.split_at(text.len() / 2);
    // Pieces may end anywhere: the lines belong to the journal, not to a piece.
    let pieces = [first.as_bytes().to_vec(), second.as_bytes().to_vec()];
    let journal = decode(Some(&encode_head(&head())), &pieces).unwrap();
    assert_eq!(journal.head, head());
    assert_eq!(journal.entries, entries());
    assert_eq!(journal.writes(), 1);
    assert!(journal.milestones().contains("pre-rollback hooks"));
    assert!(journal.may_have_sent(&["PATCH"], "/apis/apps/v1/namespaces/n/deployments/web"));
    assert!(!journal.may_have_sent(&["DELETE"], "/apis/apps/v1/namespaces/n/deployments/web"));
    assert!(
        journal.finished().is_some_and(|(_, outcome, code, _)| (outcome, code) == (Outcome::Succeeded, 0))
    );
}

#[test]
fn a_line_that_was_cut_off_at_the_end_is_left_out() {
    let text: String = entries().iter().map(encode_entry).collect();
    let cut = &text[..text.len() - 5];
    assert_eq!(decode_entries(cut).unwrap(), entries()[..5]);
    let damaged = text.replacen("\"entry\"", "\"entr", 1);
    assert!(matches!(decode_entries(&damaged), Err(JournalError::Syntax { part: "entries", .. })));
}

#[test]
fn a_newer_program_is_named_as_the_reason() {
    let newer = Head { version: VERSION + 1, ..head() };
    let error = decode_head(&encode_head(&newer)).unwrap_err();
    assert!(error.to_string().contains("the program that wrote it"), "{error}");
}

#[test]
fn what_is_missing_or_damaged_is_said() {
    assert!(matches!(decode(None, &[]), Err(JournalError::Missing("head"))));
    assert!(matches!(decode_restore(&[]), Err(JournalError::Missing(_))));
    let bytes = encode_head(&head());
    for end in [0, 5, bytes.len() / 2, bytes.len() - 1] {
        assert!(matches!(decode_head(&bytes[..end]), Err(JournalError::Damaged { .. })), "{end}");
    }
}

#[test]
fn restore_documents_are_cut_into_pieces_and_joined_again() {
    let key = ObjectKey {
        group: String::new(),
        kind: "Secret".into(),
        namespace: Some("n".into()),
        name: "s".into(),
    };
    // Noise does not compress.
    let noise: String = (0_u64..1_200_000)
        .map(|number| char::from(b'a' + u8::try_from(number.wrapping_mul(2_654_435_761) >> 7 & 15).unwrap()))
        .collect();
    let documents =
        vec![Restore { key, api_version: "v1".into(), before: Some(json!({"data": noise})), after: None }];
    let pieces = encode_restore(&documents);
    assert!(pieces.iter().all(|piece| piece.len() <= PIECE));
    assert_eq!(decode_restore(&pieces).unwrap(), documents);
}

#[test]
fn states_survive_their_label() {
    for state in
        [State::Open, State::Failed, State::Aborting, State::Aborted, State::Finished, State::Abandoned]
    {
        assert_eq!(State::from_label(state.as_str()), state);
    }
    assert!(State::from_label("of a newer program").blocks());
}

proptest! {
    #[test]
    fn reading_never_panics(bytes: Vec<u8>, pieces: Vec<Vec<u8>>) {
        let _ = decode(Some(&bytes), &pieces);
        let _ = decode_restore(&pieces);
    }
}
