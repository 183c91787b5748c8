//! A scenario: a history that is told twice, a rollback, and what may differ afterwards.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::compare::{self, Found};
use crate::contender::Contender;
use crate::differences;
use crate::harness::Test;
use crate::side::{Mode, Side};

/// How both sides are rolled back.
#[derive(Debug, Clone, Default)]
pub struct Rollback {
    /// To which revision.
    pub revision: u64,
    /// Flags that Helm is given.
    pub helm: Vec<&'static str>,
    /// Flags that the program is given.
    pub ours: Vec<&'static str>,
    /// Whether both wait for readiness.
    pub waits: bool,
    /// Whether whole objects take the place of what is there.
    pub replaces: bool,
}

impl Rollback {
    /// Back to a revision, without waiting.
    pub fn to(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// A flag that means the same to both.
    pub fn flag(mut self, flag: &'static str) -> Self {
        self.helm.push(flag);
        self.ours.push(flag);
        self
    }

    /// A flag that only the program needs, to do what Helm does without asking.
    pub fn ours(mut self, flag: &'static str) -> Self {
        self.ours.push(flag);
        self
    }

    /// A flag of Helm's for what the program does anyway.
    pub fn helm(mut self, flag: &'static str) -> Self {
        self.helm.push(flag);
        self
    }

    /// Whole objects in place of patches.
    pub fn replacing(mut self) -> Self {
        self.helm.push("--force");
        self.ours.push("--force-replace");
        self.replaces = true;
        self
    }

    /// Both wait until everything is ready.
    pub fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }
}

/// One scenario.
pub struct Scenario {
    /// Brings a side into the state from which it is rolled back.
    pub state: fn(&Side),
    /// The rollback.
    pub rollback: fn() -> Rollback,
    /// What is done afterwards on both sides, by Helm; the sides are then compared once more.
    pub then: Option<fn(&Side)>,
    /// What may differ, and must: by the name of the difference in `differences.rs`, where, and for which Helm.
    pub expected: &'static [Expected],
    /// What Helm and the program find in their environment.
    pub environment: &'static [(&'static str, &'static str)],
}

/// A difference that a scenario shows.
pub struct Expected {
    /// The Helms for which it holds.
    pub modes: &'static [Mode],
    /// Its name in `differences.rs`.
    pub why: &'static str,
    /// The paths; one that ends in `*` stands for all that begin so.
    pub paths: &'static [&'static str],
}

/// Tells one of the scenarios for one Helm.
pub fn run(scenarios: &[(&str, Scenario)], name: &str, mode: &str) {
    let (_, scenario) = scenarios.iter().find(|(own, _)| *own == name).unwrap();
    let rollback = (scenario.rollback)();
    let Some(Told { mut helm, mut ours, contender, .. }) =
        tell(name, mode, scenario.environment, scenario.state, &rollback)
    else {
        return;
    };
    let judge = helm.0.judge;
    let expected: Vec<&Expected> =
        scenario.expected.iter().filter(|expected| expected.modes.contains(&judge)).collect();
    let expected = if contender == Contender::Program { expected } else { Vec::new() };
    settle(name, judge, &helm, &ours, &expected, true);
    if let Some(then) = scenario.then {
        let (left, right) = (&mut helm.0, &mut ours.0);
        both(move || then(left), move || then(right));
        // What differed may be gone by now, but nothing else may differ.
        settle(&format!("{name}, then"), judge, &helm, &ours, &expected, false);
    }
}

/// What became of both sides.
pub struct Told {
    /// The side that Helm rolled back, and what Helm said.
    pub helm: (Side, Output),
    /// The side that the contender rolled back, and what it said.
    pub ours: (Side, Output),
    /// Who that was.
    pub contender: Contender,
    /// Holds the place among the tests; goes last.
    _test: Test,
}

/// Builds a state twice and rolls both sides back; nothing where there is no cluster.
pub fn tell(
    name: &str,
    mode: &str,
    environment: &[(&'static str, &'static str)],
    state: fn(&Side),
    rollback: &Rollback,
) -> Option<Told> {
    let mut test = Test::named(&format!("{}-{mode}", &name[..name.len().min(25)]))?;
    let contender = Contender::chosen();
    let judge = Mode::named(mode);
    test.cluster.environment.extend(environment.iter().copied());
    let build = |name: &str| {
        let side = Side::create(&test.cluster, name, judge);
        state(&side);
        if rollback.replaces {
            // Helm replaces the version that it has read: a controller that writes the status in between makes it fail.
            side.cluster.settled_versions();
        }
        side
    };
    let (helm, ours) = both(
        || {
            let side = build("helm");
            let output = Contender::Helm.roll_back(&side, rollback);
            (side, output)
        },
        || {
            let side = build("ours");
            let output = contender.roll_back(&side, rollback);
            (side, output)
        },
    );
    Some(Told { helm, ours, contender, _test: test })
}

/// Does two things at the same time; a failure of either fails the test.
fn both<A: Send, B: Send>(left: impl FnOnce() -> A + Send, right: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let left = scope.spawn(left);
        let right = scope.spawn(right);
        let (left, right) = (left.join(), right.join());
        match (left, right) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(error), _) | (_, Err(error)) => std::panic::resume_unwind(error),
        }
    })
}

/// Compares until the sides differ exactly as expected: controllers take their time.
fn settle(
    name: &str,
    judge: Mode,
    helm: &(Side, Output),
    ours: &(Side, Output),
    expected: &[&Expected],
    must_differ: bool,
) {
    let deadline = Instant::now() + Duration::from_secs(6);
    loop {
        let (left, right) = (compare::picture(&helm.0, &helm.1), compare::picture(&ours.0, &ours.1));
        let found = compare::differences(&left, &right);
        let complaints = complaints(&found, expected, must_differ);
        if complaints.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            let said = |output: &Output| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
                format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
            };
            panic!(
                "{name} ({judge:?})\n{}\n--- Helm: {}\n--- ours: {}",
                complaints.join("\n"),
                said(&helm.1),
                said(&ours.1)
            );
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// What is wrong: differences that nobody explains, and explanations of differences that there are not.
fn complaints(found: &[Found], expected: &[&Expected], must_differ: bool) -> Vec<String> {
    let explains =
        |expected: &Expected, found: &Found| expected.paths.iter().any(|path| is_meant(path, &found.path));
    let unexplained = found.iter().filter(|found| !expected.iter().any(|expected| explains(expected, found)));
    let mut complaints: Vec<String> = unexplained.map(|found| format!("unexplained: {found}")).collect();
    for expected in expected.iter().filter(|_| must_differ) {
        assert!(differences::find(expected.why).is_some(), "no difference is called {}", expected.why);
        let unseen =
            expected.paths.iter().filter(|path| !found.iter().any(|found| is_meant(path, &found.path)));
        complaints.extend(unseen.map(|path| format!("not seen, although {} says so: {path}", expected.why)));
    }
    complaints
}

fn is_meant(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == path, |prefix| path.starts_with(prefix))
}

/// Makes a list of scenarios, and a test of every one for each of its Helms.
macro_rules! scenarios {
    ($($name:ident [$($mode:ident)+] { $($field:ident: $value:expr),+ $(,)? })+) => {
        /// The scenarios of this file by name.
        pub const ALL: &[(&str, $crate::story::Scenario)] = &[$((
            stringify!($name),
            $crate::story::Scenario { $($field: $value,)+ ..$crate::story::PLAIN },
        )),+];

        $(
            mod $name {
                $(
                    #[test]
                    fn $mode() {
                        $crate::story::run(super::ALL, stringify!($name), stringify!($mode));
                    }
                )+
            }
        )+
    };
}
pub(crate) use scenarios;

/// What a scenario has where it says nothing.
pub const PLAIN: Scenario =
    Scenario { state: |_| {}, rollback: || Rollback::to(1), then: None, expected: &[], environment: &[] };

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_needs_its_explanation_and_the_other_way_round() {
        let found = |path: &str| Found { path: path.to_owned(), helm: Some(json!(1)), ours: None };
        let replicas = Expected {
            modes: &[],
            why: "autoscaler-keeps-its-number",
            paths: &["Deployment/web spec.replicas", "record *"],
        };
        let seen = [found("Deployment/web spec.replicas"), found("record 3 info.status")];
        assert_eq!(complaints(&seen, &[&replicas], true), [""; 0]);
        assert_eq!(complaints(&seen[..1], &[&replicas], true).len(), 1);
        assert_eq!(complaints(&seen[..1], &[&replicas], false), [""; 0]);
        let more = [&seen[..], &[found("Deployment/web spec.paused")]].concat();
        assert!(
            complaints(&more, &[&replicas], true)[0].starts_with("unexplained: Deployment/web spec.paused")
        );
    }
}
