//! Kills the program at a write of its choice.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Recorder, Run, Test, Verdict, is_write};

/// Between the program and the API server: counts writes, and kills the program at one of them.
pub struct Killer {
    state: Arc<Mutex<State>>,
    recorder: Recorder,
}

#[derive(Default)]
struct State {
    writes: usize,
    victim: Option<u32>,
    /// At which write, and whether after it has arrived.
    at: Option<(usize, bool)>,
    /// The write at which it was killed, in words.
    killed: Option<String>,
}

impl Killer {
    /// Stands before the test's cluster.
    pub fn new(test: &Test) -> Self {
        Self::at(test, is_write)
    }

    /// The same, for some requests only: by method and target.
    pub fn at(test: &Test, counts: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let recorder = Recorder::with(&test.cluster, move |method, target| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if state.killed.is_some() && is_write(method, target) {
                return Verdict::Lose;
            }
            if !counts(method, target) {
                return Verdict::Pass;
            }
            state.writes += 1;
            let Some((at, after)) = state.at else { return Verdict::Pass };
            if state.writes != at {
                return Verdict::Pass;
            }
            let when = if after { "after" } else { "before" };
            state.killed = Some(format!("{when} write {at} ({method} {target})"));
            let victim = state.victim.expect("the program runs").to_string();
            let killed = Command::new("kill").args(["-KILL", &victim]).status().unwrap();
            assert!(killed.success());
            if after { Verdict::LoseAnswer } else { Verdict::Lose }
        });
        Self { state, recorder }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the program through here to its end, and counts its writes.
    pub fn count(&self, test: &Test, arguments: &[&str]) -> (Run, usize) {
        *self.state() = State::default();
        let run = test.run(&self.through(arguments));
        (run, self.state().writes)
    }

    /// Runs the program and kills it at a write, counted from 1, before or (`true`) after it has arrived; answers at which, in
    /// words, or nothing where the program came to its end before.
    #[track_caller]
    pub fn kill(&self, test: &Test, arguments: &[&str], at: (usize, bool)) -> Option<String> {
        let mut state = self.state();
        *state = State { at: Some(at), ..State::default() };
        let running = test.start(&self.through(arguments));
        state.victim = Some(running.id());
        drop(state);
        let run = running.finish();
        let killed = self.state().killed.take();
        assert_eq!(run.code, if killed.is_some() { None } else { Some(0) }, "{run}");
        killed
    }

    fn through<'a>(&self, arguments: &[&'a str]) -> Vec<&'a str> {
        let url: &'static str = Box::leak(self.recorder.url().into_boxed_str());
        arguments.iter().copied().chain(["--server", url]).collect()
    }
}
