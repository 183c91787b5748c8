//! Which release is meant where none was named: the only one of the namespace, or what the operator chooses.

use super::session::interrupted;
use super::{Failure, Session};
use crate::discover::{DiscoverError, Scope, release, scope::check_release_name};
use crate::helm::error::StorageError;
use crate::ui;

/// The release's name: the one given, the only one of the namespace, or the operator's choice.
pub async fn release(session: &Session, name: Option<&str>) -> Result<String, Failure> {
    if let Some(name) = name {
        check_release_name(name).map_err(Failure::usage)?;
        return Ok(name.to_owned());
    }
    let (client, namespace) = (&session.context.client, &session.context.namespace);
    let names = session
        .unless_interrupted(async {
            release::names(client, namespace, session.driver)
                .await
                .map_err(|error| no_names(namespace, error))
        })
        .await?;
    let namespace = namespace.clone();
    match names.as_slice() {
        [] => Err(DiscoverError::NoRelease(namespace).into()),
        [name] => Ok(name.clone()),
        _ => ask(session, DiscoverError::SeveralReleases { namespace, names: names.clone() }.into()).await,
    }
}

fn no_names(namespace: &str, error: StorageError) -> Failure {
    let is_forbidden = matches!(error, StorageError::Forbidden { .. });
    let failure = Failure::from(DiscoverError::from(error));
    if is_forbidden {
        failure.hinted(format!("kubectl auth can-i list secrets -n {namespace}"))
    } else {
        failure
    }
}

/// Reads what a scope means; where that is one of several releases and somebody is there to ask, once more for the one chosen.
pub async fn with_release<T>(
    session: &Session,
    scope: &Scope,
    read: impl AsyncFn(&Scope) -> Result<T, Failure>,
) -> Result<T, Failure> {
    match read(scope).await {
        Err(failure) if several(&failure).is_some() => {
            let name = ask(session, failure).await?;
            read(&Scope::Release(Some(name))).await
        }
        answer => answer,
    }
}

fn several(failure: &Failure) -> Option<&[String]> {
    match failure.error.downcast_ref::<DiscoverError>()? {
        DiscoverError::SeveralReleases { names, .. } => Some(names),
        _ => None,
    }
}

/// Asks which of several; without anybody to ask the refusal, which lists them, stands.
async fn ask(session: &Session, refusal: Failure) -> Result<String, Failure> {
    let names = several(&refusal).unwrap_or_default();
    if session.output.yes {
        return Err(refusal);
    }
    let question = question(&session.context.namespace, names);
    let answer = tokio::select! {
        answer = ui::ask_line(session.printer(), &question) => answer,
        signal = session.context.interrupt.wait() => return Err(interrupted(signal)),
    };
    session.context.deadline.restart();
    match answer {
        None => Err(refusal),
        Some(answer) => pick(names, &answer).map(str::to_owned).ok_or_else(|| {
            Failure::not_confirmed(format!("{answer:?} is none of them; nothing was changed"))
        }),
    }
}

fn question(namespace: &str, names: &[String]) -> String {
    let mut lines = vec![format!("Namespace {namespace} holds several releases:")];
    lines.extend((1..).zip(names).map(|(number, name)| format!("  {number}) {name}")));
    lines.push("Which one? [number or name] ".to_owned());
    lines.join("\n")
}

/// The name that an answer means: the name itself, else the number in the list.
fn pick<'a>(names: &'a [String], answer: &str) -> Option<&'a str> {
    let by_number = || names.get(answer.parse::<usize>().ok()?.checked_sub(1)?);
    names.iter().find(|name| *name == answer).or_else(by_number).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_name_or_a_number() {
        let names = ["shop", "todo-app", "1"].map(str::to_owned);
        for (answer, picked) in [
            ("shop", Some("shop")),
            ("2", Some("todo-app")),
            // A release may be named like a number: the name counts.
            ("1", Some("1")),
            ("0", None),
            ("4", None),
            ("", None),
            ("Shop", None),
        ] {
            assert_eq!(pick(&names, answer), picked, "{answer:?}");
        }
        assert_eq!(
            question("prod", &names[..2]),
            "Namespace prod holds several releases:\n  1) shop\n  2) todo-app\nWhich one? [number or name] "
        );
    }
}
