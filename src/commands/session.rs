//! What every command that talks to a cluster begins and ends with: connect, run, print the result or the error.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Conclusion, Failure};
use crate::cli::{Cli, ConfigurationArgs, DryRun, OutputArgs, OutputFormat, ProtectionArgs};
use crate::config::{self, Loaded};
use crate::context::interrupt::{Interrupt, Signal};
use crate::context::{Context, Deadline, actor, client, interrupt, new_operation_id};
use crate::event::EventKind;
use crate::helm::storage::Driver;
use crate::outcome::{ExitCode, Outcome};
use crate::report::{Requests, ResultDocument, Timings};
use crate::ui::{self, Answer, EventStyle, Printer, Reporter};

/// A command at work.
pub struct Session {
    /// What every phase needs.
    pub context: Context,
    /// The operator's wishes about output.
    pub output: OutputArgs,
    /// Where the configuration is.
    pub configuration: ConfigurationArgs,
    /// Where Helm keeps its records.
    pub driver: Driver,
    /// `emergency`, `reconcile`, …
    pub procedure: &'static str,
    /// The command line, without credentials.
    pub invocation: String,
    /// Where copies of journals are kept on this machine.
    pub local_folder: Option<PathBuf>,
    started: Instant,
    started_at: Timestamp,
    loaded: tokio::sync::OnceCell<Loaded>,
}

impl Session {
    /// Where results and talk go.
    pub fn printer(&self) -> &Printer {
        self.context.reporter.printer()
    }

    /// Whether stdout holds one machine-readable document and nothing else.
    pub fn is_machine_readable(&self) -> bool {
        matches!(self.output.output, OutputFormat::Json | OutputFormat::Yaml | OutputFormat::Jsonl)
    }

    /// Whether tables get more columns.
    pub fn is_wide(&self) -> bool {
        self.output.output == OutputFormat::Wide
    }

    /// The configuration; read when it is first asked for.
    pub async fn config(&self) -> Result<&Loaded, Failure> {
        let Context { client, namespace, .. } = &self.context;
        let load = async || {
            let path = self.configuration.config.as_deref();
            self.unless_interrupted(async {
                config::load(path, client, namespace).await.map_err(Failure::from)
            })
            .await
        };
        self.loaded.get_or_try_init(load).await
    }

    /// Whether the configuration names a database.
    pub async fn knows_a_database(&self) -> Result<bool, Failure> {
        Ok(self.config().await?.config.database.is_some())
    }

    /// Lets a protected context be changed only by those who name it, whether or not they are asked for anything else.
    pub async fn protect(&self, protection: &ProtectionArgs, dry_run: DryRun) -> Result<(), Failure> {
        if dry_run != DryRun::None {
            return Ok(());
        }
        let name = &self.context.context_name;
        let loaded = self.config().await?;
        let Some(pattern) = loaded.config.protects(name) else { return Ok(()) };
        let given = protection.confirm_context.as_deref();
        if given == Some(name) {
            return Ok(());
        }
        let why = match given {
            None => "--confirm-context was not given".to_owned(),
            Some(given) => format!("--confirm-context names {given}"),
        };
        let message = format!(
            "context {name} is protected ({pattern:?} in {}), and {why}; nothing was changed",
            loaded.source,
            pattern = pattern.to_string()
        );
        Err(Failure::not_confirmed(message)
            .hinted(format!("if {name} is meant, add: --confirm-context {name}")))
    }

    /// Reports the first event.
    pub fn start(&self, release: Option<&str>, target: &str) {
        self.context.emit(EventKind::OperationStarted {
            procedure: self.procedure.to_owned(),
            context: self.context.context_name.clone(),
            namespace: self.context.namespace.clone(),
            release: release.map(str::to_owned),
            target: target.to_owned(),
            reason: self.output.reason.clone(),
            incident: self.output.incident.clone(),
            actor: self.context.actor.clone(),
        });
    }

    /// Runs something that has changed nothing yet: a signal or the deadline ends it at once.
    pub async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let deadline = async {
            match self.context.deadline.end() {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = work => answer,
            signal = self.context.interrupt.wait() => Err(interrupted(signal)),
            () = deadline => {
                let error = anyhow::anyhow!("the time limit of {} passed before anything was changed", self.output.timeout);
                Err(Failure::new(ExitCode::TimedOut, Outcome::TimedOut, error))
            }
        }
    }

    /// Asks the operator to confirm by typing a word, unless `--yes`; the time limit starts anew afterwards.
    pub async fn confirm(&self, question: &str, word: &str) -> Result<(), Failure> {
        if self.output.yes {
            return Ok(());
        }
        let answer = tokio::select! {
            answer = ui::confirm(self.printer(), question, word) => answer,
            signal = self.context.interrupt.wait() => return Err(interrupted(signal)),
        };
        self.context.deadline.restart();
        match answer {
            Answer::Yes => Ok(()),
            Answer::No => Err(Failure::not_confirmed("not confirmed; nothing was changed")),
            Answer::NobodyThere => {
                let message = "there is no terminal to ask on, and --yes was not given; nothing was changed";
                Err(Failure::not_confirmed(message).hinted("add --yes to go on without being asked"))
            }
        }
    }

    /// An empty result of this session: what every result has.
    pub fn document(&self) -> ResultDocument {
        let collected = self.context.reporter.collected();
        let requests = &self.context.requests;
        let load =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        let blank =
            ResultDocument::new(self.procedure, Outcome::Succeeded, ExitCode::Success, self.context.now());
        ResultDocument {
            operation: self.context.operation.clone(),
            context: self.context.context_name.clone(),
            namespace: self.context.namespace.clone(),
            reason: self.output.reason.clone(),
            incident: self.output.incident.clone(),
            timings: Timings {
                started_at: Some(self.started_at),
                first_write_at: collected.first_write_at,
                phases: collected.phases,
                ..blank.timings.clone()
            },
            requests: Requests {
                total: load(&requests.total),
                writes: load(&requests.writes),
                retries: requests.retries(),
            },
            preflight: collected.preflight,
            warnings: collected.warnings,
            ..blank
        }
    }

    /// This session as if it had been begun with another operation, by its own command.
    #[must_use]
    pub fn of_operation(&self, head: &crate::journal::Head) -> Self {
        let procedure = match head.procedure.as_str() {
            "to" => "to",
            super::db::DOWNGRADE => super::db::DOWNGRADE,
            _ => "emergency",
        };
        let context = Context { operation: head.operation.clone(), ..self.context.clone() };
        let output = OutputArgs {
            reason: head.reason.clone(),
            incident: head.incident.clone(),
            ..self.output.clone()
        };
        Self { context, output, procedure, ..self.again() }
    }

    /// This session for the rollback of a deploy that it has watched: with a time limit that starts now, and of the signals
    /// only those to come.
    #[must_use]
    pub fn for_a_rollback(&self, reason: &str) -> Self {
        let talk = self.printer().clone();
        let context = Context {
            deadline: Arc::new(Deadline::new(self.output.timeout.0)),
            interrupt: listen(talk),
            ..self.context.clone()
        };
        let reason = self.output.reason.clone().unwrap_or_else(|| reason.to_owned());
        let output = OutputArgs { yes: true, reason: Some(reason), ..self.output.clone() };
        Self { context, output, procedure: "to", ..self.again() }
    }

    /// Another session of the same settings.
    fn again(&self) -> Self {
        Self {
            context: self.context.clone(),
            output: self.output.clone(),
            configuration: self.configuration.clone(),
            driver: self.driver,
            procedure: self.procedure,
            invocation: self.invocation.clone(),
            local_folder: self.local_folder.clone(),
            started: self.started,
            started_at: self.started_at,
            loaded: tokio::sync::OnceCell::new(),
        }
    }

    /// Brings into a result what has happened since it was made.
    pub fn refresh(&self, document: &mut ResultDocument) {
        let now = self.document();
        document.timings.phases = now.timings.phases;
        document.timings.finished_at = now.timings.finished_at;
        document.requests = now.requests;
        for warning in now.warnings {
            if !document.warnings.contains(&warning) {
                document.warnings.push(warning);
            }
        }
    }

    fn finish(&self, answer: Result<Conclusion, Failure>) -> u8 {
        let conclusion = answer.unwrap_or_else(|failure| Conclusion::of_failure(self, &failure));
        let collected = self.context.reporter.collected();
        let finished = EventKind::OperationFinished {
            outcome: conclusion.document.outcome,
            exit_code: conclusion.document.exit_code,
            elapsed_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            changed: collected.changed,
            error: conclusion.document.error.clone(),
            next: conclusion.document.next.clone(),
        };
        // A resumed operation keeps its identifier.
        self.context.reporter.emit(&conclusion.document.operation, self.context.now(), finished);
        self.context.reporter.finish();
        conclusion.print(self);
        conclusion.document.exit_code
    }
}

pub(super) fn interrupted(signal: Signal) -> Failure {
    let error = anyhow::anyhow!("{}: nothing was changed", signal.name());
    Failure::new(signal.exit_code(), Outcome::Interrupted, error)
}

/// Listens for signals from now on, and says what they lead to.
fn listen(talk: Printer) -> Interrupt {
    interrupt::listen(move |signal, before| {
        let name = signal.name();
        talk.error(&if before == 0 {
            format!("{name}: finishing what was begun, so that nothing stays stopped")
        } else {
            format!("{name}: still finishing what was begun; nothing is left half done")
        });
    })
}

/// Connects, runs a command, prints what came of it, and answers the exit code.
pub async fn with(
    cli: &Cli,
    printer: Printer,
    lookup: impl Fn(&str) -> Option<String>,
    procedure: &'static str,
    command: impl AsyncFnOnce(&Session) -> Result<Conclusion, Failure>,
) -> u8 {
    let output = cli.output.clone();
    let style = match output.output {
        OutputFormat::Jsonl => EventStyle::JsonLines,
        _ if output.quiet
            || matches!(
                procedure,
                "checklist"
                    | "config"
                    | "diff"
                    | "history"
                    | "list"
                    | "notify"
                    | "operations"
                    | "preflight"
                    | "report"
                    | "status"
                    | "tags"
            ) =>
        {
            EventStyle::Silent
        }
        // The deploy prints too.
        _ if procedure == "ci"
            || output.no_progress
            || lookup("CI").is_some()
            || !crate::ui::stderr_is_terminal() =>
        {
            EventStyle::Lines
        }
        _ => EventStyle::Progress,
    };
    let reporter = Arc::new(Reporter::new(printer.clone(), style));
    let connection = match client::connect(&cli.connection, output.concurrency).await {
        Ok(connection) => connection,
        Err(error) => {
            let next = error.next();
            let failure = Failure::new(ExitCode::Unexpected, Outcome::Failed, error).hinted(next);
            return Conclusion::without_session(&printer, &output, procedure, &failure);
        }
    };
    let local_folder = crate::execute::operation::local_folder(&lookup);
    let driver = match Driver::from_environment(lookup("HELM_DRIVER").as_deref()) {
        Ok(driver) => driver,
        Err(error) => {
            let failure = Failure::new(ExitCode::Usage, Outcome::Refused, error);
            return Conclusion::without_session(&printer, &output, procedure, &failure);
        }
    };
    let interrupt = listen(printer.clone());
    let started = Instant::now();
    let limit = output.timeout.0;
    let context = Context {
        client: connection.client,
        bare: connection.bare,
        guard: connection.guard,
        context_name: connection.context_name,
        namespace: connection.namespace,
        requests: connection.requests,
        operation: new_operation_id(),
        reporter: reporter.clone(),
        interrupt,
        deadline: Arc::new(Deadline::new(limit)),
        registries: Arc::new(cli.registry.settings(&lookup)),
        actor: actor(lookup),
    };
    let session = Session {
        started_at: context.now(),
        context,
        output,
        configuration: cli.configuration.clone(),
        driver,
        procedure,
        invocation: cli.invocation.clone(),
        local_folder,
        started,
        loaded: tokio::sync::OnceCell::new(),
    };
    let reminder = tokio::spawn(reporter.remind());
    let answer = command(&session).await;
    reminder.abort();
    session.finish(answer)
}
