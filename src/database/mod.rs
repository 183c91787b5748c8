//! The programs that keep a database's migrations: what they are asked, what their answers mean, and how they are told to
//! go back. Pure: how they are run is [`crate::execute::database`]'s business, what follows from their answers
//! [`crate::plan::database`]'s.
//!
//! Two things are read. What an *image* knows: the migrations that it brings along. Where the *database* is: which of them
//! were applied to it. An old image that lacks a migration cannot undo it, and most cannot even say where the database is;
//! that is why one is asked in the image that runs and the other in the one that is to run (design D9).

mod alembic;
mod command;
mod django;
mod flyway;
pub mod job;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub(crate) use django::application;

use crate::config::{Adapter, DatabaseConfig};
use crate::plan::database::Downgrade;
use crate::wait::redaction::redact;
use crate::words::last_words;

/// One migration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    /// Its identifier: a revision, `app.0001_initial`, a version.
    pub id: String,
    /// Those that it stands on, where the program says so.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parents: Vec<String>,
    /// What its author says about it.
    pub description: String,
    /// Whether the program says that it cannot undo it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub irreversible: bool,
}

/// What a program said in one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// The migrations that the image knows, newest first.
    pub known: Vec<Migration>,
    /// The newest of them: one, or one a branch.
    pub heads: Vec<String>,
    /// Where the database is; empty before the first migration, or where only the image was asked.
    pub at: Vec<String>,
    /// Which of `known` were applied to the database, newest first.
    pub applied: Vec<String>,
    /// Where the database is as far as the image does not know it.
    pub lost: Vec<String>,
}

impl Reading {
    /// Whether the image knows a migration.
    pub fn knows(&self, id: &str) -> bool {
        self.known.iter().any(|migration| migration.id == id)
    }

    /// The position in words: `1a2b3c`, or `no migration`.
    pub fn position(&self) -> String {
        position(if self.lost.is_empty() { &self.at } else { &self.lost })
    }
}

/// A position in words.
pub fn position(at: &[String]) -> String {
    if at.is_empty() { "no migration".to_owned() } else { at.join(", ") }
}

/// What a program is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    /// Where is the database?
    Current,
    /// Which migrations does the image know?
    History,
    /// What would a downgrade run?
    Sql,
}

impl Question {
    /// The word in the output of the pods that we make.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::History => "history",
            Self::Sql => "sql",
        }
    }
}

/// What is wanted of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// What it knows, and where the database is.
    Database,
    /// What it knows.
    Image,
}

/// What a program said to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The question.
    pub question: Question,
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// The output; the program's own words where it failed.
    fn output(&self) -> Result<&str, ReadError> {
        if self.code == 0 {
            return Ok(&self.stdout);
        }
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        Err(ReadError::Failed { question: self.question, code: self.code, said: last_line(said) })
    }
}

/// The line that says what happened, without credentials.
pub fn last_line(text: &str) -> String {
    redact(last_words(text))
}

/// The same of a program that takes a database back.
pub fn last_line_of(adapter: Adapter, text: &str) -> String {
    match adapter {
        Adapter::Flyway => flyway::last_words(text),
        _ => last_line(text),
    }
}

/// Why an answer is no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The program failed.
    #[error("asked for its {}, it ended with exit code {code}{}", .question.as_str(), said_so(.said))]
    Failed {
        /// What it was asked.
        question: Question,
        /// With which code it ended.
        code: i32,
        /// Its last line.
        said: String,
    },
    /// It did not say anything about a question.
    #[error("it said nothing about its {}", .0.as_str())]
    Missing(Question),
    /// What it said is not what such a program says.
    #[error("its {} cannot be read: {what}", .question.as_str())]
    Unreadable {
        /// What it was asked.
        question: Question,
        /// What is wrong.
        what: String,
    },
}

fn said_so(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// The commands that answer what is wanted; they only read.
pub fn questions(config: &DatabaseConfig, wanted: Wanted) -> Vec<(Question, Vec<String>)> {
    let with = |words: &[&str]| called(config, words);
    let asks_database = wanted == Wanted::Database;
    match config.adapter {
        Adapter::Alembic => {
            let mut all = vec![(Question::History, with(&["history"]))];
            if asks_database {
                all.insert(0, (Question::Current, with(&["current"])));
            }
            all
        }
        Adapter::Django => {
            vec![(Question::History, with(&["showmigrations", "--plan", "--no-color", "--verbosity", "2"]))]
        }
        Adapter::Flyway => vec![(Question::History, with(&["info", "-outputType=json"]))],
        Adapter::Command => {
            let Some(commands) = &config.commands else { return Vec::new() };
            let mut all = vec![(Question::History, commands.history.clone())];
            if asks_database {
                all.insert(0, (Question::Current, commands.current.clone()));
            }
            all
        }
    }
}

/// The program with further words.
fn called(config: &DatabaseConfig, words: &[&str]) -> Vec<String> {
    config.program.iter().cloned().chain(words.iter().map(ToString::to_string)).collect()
}

/// What the answers to [`questions`] mean.
pub fn read(config: &DatabaseConfig, wanted: Wanted, said: &[Said]) -> Result<Reading, ReadError> {
    let about = |question: Question| {
        said.iter().find(|said| said.question == question).ok_or(ReadError::Missing(question))
    };
    let current = || (wanted == Wanted::Database).then(|| about(Question::Current)).transpose();
    match config.adapter {
        Adapter::Alembic => alembic::read(current()?, about(Question::History)?),
        Adapter::Django => django::read(about(Question::History)?),
        Adapter::Flyway => flyway::read(about(Question::History)?),
        Adapter::Command => command::read(current()?, about(Question::History)?),
    }
}

/// The commands that take the database back, one after the other.
pub fn downgrade(config: &DatabaseConfig, plan: &Downgrade) -> Vec<Vec<String>> {
    match config.adapter {
        Adapter::Alembic => vec![called(config, &["downgrade", alembic::target(plan)])],
        Adapter::Django => django::targets(plan)
            .iter()
            .map(|(app, name)| called(config, &["migrate", "--no-input", app, name]))
            .collect(),
        Adapter::Flyway => vec![called(config, &["undo", &format!("-target={}", flyway::target(plan))])],
        Adapter::Command => {
            config.commands.iter().map(|commands| filled(&commands.downgrade, plan)).collect()
        }
    }
}

/// The commands that print the SQL of it without running it; empty where the program cannot.
pub fn sql(config: &DatabaseConfig, plan: &Downgrade) -> Vec<Vec<String>> {
    match config.adapter {
        Adapter::Alembic if plan.from.len() == 1 => {
            let range = format!("{}:{}", plan.from[0], alembic::target(plan));
            vec![called(config, &["downgrade", &range, "--sql"])]
        }
        Adapter::Alembic | Adapter::Flyway => Vec::new(),
        Adapter::Django => {
            let of = |migration: &Migration| {
                let (app, name) = migration.id.split_once('.').unwrap_or((&migration.id, ""));
                called(config, &["sqlmigrate", app, name, "--backwards"])
            };
            plan.steps.iter().map(of).collect()
        }
        Adapter::Command => {
            let commands = config.commands.iter().filter(|commands| !commands.sql.is_empty());
            commands.map(|commands| filled(&commands.sql, plan)).collect()
        }
    }
}

/// Whether only the answers about the SQL of a way back tell whether there is one. Django's do; Alembic runs a migration's
/// code to print it, and what that code asks of the database fails without one.
pub fn sql_tells_the_way(adapter: Adapter) -> bool {
    adapter == Adapter::Django
}

/// Of a way back the migrations that cannot be undone, by the answers to the commands of [`sql`].
pub fn one_way(adapter: Adapter, plan: &Downgrade, said: &[Said]) -> Vec<String> {
    if !sql_tells_the_way(adapter) {
        return Vec::new();
    }
    let asked = plan.steps.iter().zip(said);
    asked.filter(|(_, said)| django::is_one_way(said)).map(|(step, _)| step.id.clone()).collect()
}

/// A command with `{from}` and `{to}` filled in.
fn filled(words: &[String], plan: &Downgrade) -> Vec<String> {
    let (from, to) = (plan.from.join(","), plan.to.join(","));
    words.iter().map(|word| word.replace("{from}", &from).replace("{to}", &to)).collect()
}

/// The migrations that one stands on, itself among them.
pub fn ancestors<'a>(known: &'a [Migration], id: &'a str) -> BTreeSet<&'a str> {
    alembic::ancestors(known, [id])
}

#[cfg(test)]
mod tests;
