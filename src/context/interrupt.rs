//! Ctrl-C and SIGTERM as a value that every phase can look at and wait for. A signal never kills the process in
//! the middle of something: the phase decides what must still be written.

use tokio::sync::watch;

use crate::outcome::ExitCode;

/// Which signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// The exit code that says so.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Interrupt => ExitCode::Interrupted,
            Self::Terminate => ExitCode::Terminated,
        }
    }

    /// The signal's name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// Tells whether a signal came.
#[derive(Debug, Clone)]
pub struct Interrupt {
    signal: watch::Receiver<Option<Signal>>,
    cancelled: watch::Receiver<bool>,
}

/// Makes an [`Interrupt`] come.
#[derive(Debug)]
pub struct Interrupter {
    signal: watch::Sender<Option<Signal>>,
    cancelled: watch::Sender<bool>,
}

impl Interrupter {
    /// Reports a signal; the first one counts.
    pub fn interrupt(&self, signal: Signal) {
        let first = self.signal.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(signal);
            is_first
        });
        if first {
            self.cancelled.send_replace(true);
        }
    }
}

impl Interrupt {
    /// An interrupt that has not come, and what makes it come: for tests and for [`listen`].
    pub fn new() -> (Interrupter, Self) {
        let (signal_sender, signal) = watch::channel(None);
        let (cancelled_sender, cancelled) = watch::channel(false);
        (Interrupter { signal: signal_sender, cancelled: cancelled_sender }, Self { signal, cancelled })
    }

    /// The signal, if one came.
    pub fn signal(&self) -> Option<Signal> {
        *self.signal.borrow()
    }

    /// Waits for a signal; never returns without one.
    pub async fn wait(&self) -> Signal {
        let mut receiver = self.signal.clone();
        loop {
            if let Some(signal) = *receiver.borrow_and_update() {
                return signal;
            }
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// For code that only wants to know that something came: true once it did.
    pub fn cancelled(&self) -> watch::Receiver<bool> {
        self.cancelled.clone()
    }
}

/// Listens for Ctrl-C and, on Unix, SIGTERM, for as long as the process lives. `on_signal` is called for each one,
/// with how many came before it.
pub fn listen(on_signal: impl Fn(Signal, u32) + Send + 'static) -> Interrupt {
    let (interrupter, interrupt) = Interrupt::new();
    // Before anything else is done: until then a signal would end the process on the spot.
    let mut signals = Signals::new();
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            let signal = signals.next().await;
            on_signal(signal, count);
            count += 1;
            interrupter.interrupt(signal);
        }
    });
    interrupt
}

/// The signals that reach the process.
#[cfg(unix)]
struct Signals(Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>);

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self(signal(SignalKind::interrupt()).ok().zip(signal(SignalKind::terminate()).ok()))
    }

    async fn next(&mut self) -> Signal {
        let Some((interrupt, terminate)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
        }
    }
}

/// The signals that reach the process.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        Signal::Interrupt
    }
}
