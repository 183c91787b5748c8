//! What `ci` says: the result, the lines at the end, the summary, the annotation.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::{Course, Decision, Left, Pipeline};
use crate::ci::summary;
use crate::cli::OutputFormat;
use crate::commands::{Conclusion, Failure, Session};
use crate::event::{FindingStatus, ObjectReference, Severity};
use crate::outcome::{ExitCode, Outcome};
use crate::report::{DeployDiagnosis, DeployResult, ReleaseResult, ResultDocument};
use crate::ui;
use crate::words::counted;

/// The diagnoses so far, which are the deploy's; the rollback's come after them. Gravest first.
pub fn diagnoses(session: &Session) -> Vec<DeployDiagnosis> {
    let namespace = &session.context.namespace;
    let found = session.context.reporter.take_diagnoses();
    let mut found: Vec<DeployDiagnosis> = found
        .into_iter()
        .flat_map(|((kind, name), diagnoses)| {
            let object = ObjectReference { kind, namespace: namespace.clone(), name };
            diagnoses.into_iter().map(move |diagnosis| DeployDiagnosis { object: object.clone(), diagnosis })
        })
        .collect();
    // What was only a suspicion is of no interest where it is known.
    if found.iter().any(|found| found.diagnosis.severity == Severity::Fatal) {
        found.retain(|found| found.diagnosis.severity == Severity::Fatal);
    }
    found
}

/// What the words are made from.
pub struct Told<'a> {
    /// The command at work.
    pub session: &'a Session,
    /// The release.
    pub name: &'a str,
    /// What is known of the deploy.
    pub course: &'a Course,
}

impl Told<'_> {
    /// Shows what is wrong with the deploy, before it is taken back.
    pub fn announce(&self, decision: &Decision) {
        let Decision::RollBack(target) = decision else { return };
        if self.session.output.output == OutputFormat::Jsonl {
            return;
        }
        let printer = self.session.printer();
        let target =
            target.map_or_else(|| "the last good revision".to_owned(), |target| format!("revision {target}"));
        printer.talk(&format!("{}{}: rolling back to {target}", self.failure_text(), self.name));
    }

    /// What is wrong, with its reasons.
    fn failure_text(&self) -> String {
        let printer = self.session.printer();
        let blocks = self.course.result.diagnosis.iter();
        let blocks: String = blocks
            .map(|found| ui::failure_block(printer, &found.object, std::slice::from_ref(&found.diagnosis)))
            .collect();
        blocks + &self.failure_lines()
    }

    /// What is wrong, in one line each.
    fn failure_lines(&self) -> String {
        let printer = self.session.printer();
        let mut text = String::new();
        for failure in self.course.failures() {
            let _ = writeln!(text, "{} {}: {failure}", printer.bad("✘"), self.name);
        }
        text
    }

    /// The same for the end, where the reasons were shown before unless nothing but the end is wanted.
    fn text_at_the_end(&self) -> String {
        if self.session.output.quiet { self.failure_text() } else { self.failure_lines() }
    }

    /// Why it is rolled back, for Helm's history.
    pub fn reason(&self) -> String {
        let failure = self.course.failures().into_iter().next().unwrap_or_default();
        let revision = self
            .course
            .result
            .revision
            .map(|revision| format!(" of revision {revision}"))
            .unwrap_or_default();
        match failure.strip_prefix("the deploy ") {
            Some(what) => format!("the deploy{revision} {what}"),
            None => format!("the deploy{revision} failed: {failure}"),
        }
    }

    fn deploy(&self) -> DeployResult {
        DeployResult { failures: self.course.failures(), ..self.course.result.clone() }
    }

    fn document(&self) -> ResultDocument {
        ResultDocument {
            release: Some(ReleaseResult {
                name: self.name.to_owned(),
                from_revision: self.course.result.revision,
                to_revision: None,
                new_revision: None,
                tag: None,
            }),
            deploy: Some(Box::new(self.deploy())),
            ..self.session.document()
        }
    }

    fn conclude(&self, document: ResultDocument, text: String) -> Conclusion {
        let name = format!("release.helm.sh/{} deployed", self.name);
        Conclusion { document, text, name, own: None }
    }

    /// The deploy is well.
    pub fn well(&self) -> Conclusion {
        let printer = self.session.printer();
        let document = self.document();
        let checks = &self.course.result.verify;
        let passed = checks.iter().filter(|result| result.status == FindingStatus::Pass).count();
        let checked = match checks.len() {
            0 => "nothing was checked besides".to_owned(),
            all => format!("{passed} of {} passed", counted(all, "check")),
        };
        let revision = self.course.result.revision.map(|revision| format!("revision {revision} is ready, "));
        let text = format!(
            "{} {}: {}{checked}{}; nothing had to be rolled back",
            printer.good("✔"),
            self.name,
            revision.unwrap_or_default(),
            document.timings.elapsed()
        );
        self.conclude(document, text)
    }

    /// The deploy failed, and nothing is done about it.
    pub fn left(&self, left: Left) -> Conclusion {
        self.left_because(&left.reason(), left == Left::Interrupted)
    }

    /// The deploy failed, and there is no revision to go back to.
    pub fn nowhere_to_go(&self, failure: &Failure) -> Conclusion {
        let why =
            format!("there is no revision to go back to, and it is left as it is: {}", failure.describe());
        self.left_because(&why, false)
    }

    fn left_because(&self, why: &str, is_interrupted: bool) -> Conclusion {
        let (name, namespace) = (self.name, &self.session.context.namespace);
        let mut document = self.document();
        let signal = self.session.context.interrupt.signal().filter(|_| is_interrupted);
        document.exit_code = match signal {
            Some(signal) => signal.exit_code().code(),
            None => self.course.evidence.exit_code(),
        };
        document.outcome = if is_interrupted { Outcome::Interrupted } else { Outcome::Failed };
        let mut failures = self.course.failures();
        failures.push(why.to_owned());
        document.error = Some(failures.join("; "));
        if let Some(deploy) = &mut document.deploy {
            deploy.left_alone = Some(why.to_owned());
        }
        document.next.push(format!("kubectl rollback status {name} -n {namespace}"));
        let text = format!("{}  not rolled back: {why}", self.failure_text());
        self.conclude(document, text)
    }

    /// A rollback came to its end, good or bad.
    pub fn rolled_back(&self, rollback: Conclusion) -> Conclusion {
        let mut document = rollback.document;
        document.procedure = self.session.procedure;
        document.reason.clone_from(&self.session.output.reason);
        let mut deploy = self.deploy();
        let failures = deploy.failures.join("; ");
        let mut text = self.text_at_the_end();
        text.push_str(rollback.text.trim_end());
        if document.exit_code == ExitCode::Success.code() {
            deploy.rolled_back_to = document.release.as_ref().and_then(|release| release.to_revision);
            document.exit_code = self.course.evidence.exit_code();
            document.outcome = Outcome::Failed;
            let back = deploy.rolled_back_to.map(|target| format!("; back at revision {target}"));
            document.error = Some(format!("{failures}{}", back.unwrap_or_default()));
            let _ = write!(text, "\n  exit code {}, because the deploy has failed", document.exit_code);
        } else {
            let why = document.error.take().unwrap_or_default();
            document.error = Some(format!("{failures}; the rollback failed too: {why}"));
        }
        document.deploy = Some(Box::new(deploy));
        self.conclude(document, text)
    }

    /// The rollback failed before it had begun.
    pub fn not_rolled_back(&self, failure: &Failure) -> Conclusion {
        let mut document = self.document();
        let is_silent = failure.exit == ExitCode::Success;
        document.exit_code = if is_silent { ExitCode::Unexpected.code() } else { failure.exit.code() };
        document.outcome = failure.outcome;
        let failures = self.course.failures().join("; ");
        let why = failure.describe();
        document.error = Some(format!("{failures}; it was not rolled back: {why}"));
        document.next.clone_from(&failure.next);
        let mark = self.session.printer().bad("✘");
        let text = format!("{}{mark} {}: not rolled back: {why}", self.text_at_the_end(), self.name);
        self.conclude(document, text)
    }

    /// Writes what the pipeline shows: the summary, and one annotation. That it cannot be written fails nothing.
    pub fn publish(&self, conclusion: &mut Conclusion, file: Option<&Path>, pipeline: &Pipeline) {
        let context = &self.session.context;
        let path = file.or(pipeline.summary.as_deref().map(Path::new));
        if let Some(path) = path
            && let Err(error) = append(path, &summary::markdown(&conclusion.document))
        {
            context.warn(format!("the summary could not be written to {}: {error}", path.display()));
            self.session.refresh(&mut conclusion.document);
        }
        if let Some(annotation) = summary::annotation(&conclusion.document).filter(|_| pipeline.annotations) {
            self.session.printer().error(&annotation);
        }
    }
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}
