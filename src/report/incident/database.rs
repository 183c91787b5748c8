//! What was done to a database, as sentences.

use serde_json::Value;

/// Lines of a failed program's output that a report shows.
const LAST_LINES: usize = 20;

/// The sentences of a result's `database`.
pub fn sentences(database: &Value) -> Vec<String> {
    let text = |pointer: &str| database.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let list = |pointer: &str| -> Vec<&str> {
        let all = database.pointer(pointer).and_then(Value::as_array);
        all.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let place = |pointer: &str| match list(pointer).as_slice() {
        [] => "before the first migration".to_owned(),
        at => at.join(", "),
    };
    let mut told = vec![format!(
        "{} of {}: from {} to {}, run in {}.",
        text("/adapter"),
        text("/workload"),
        place("/from"),
        place("/to"),
        text("/image")
    )];
    let steps = database.pointer("/steps").and_then(Value::as_array).into_iter().flatten();
    told.extend(steps.map(|step| {
        let word = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
        format!("To be undone: {} {}", word("id"), word("description")).trim_end().to_owned()
    }));
    if database.get("done").is_none_or(Value::is_null) {
        return told;
    }
    let became = match text("/done/standing") {
        "down" => "It went back.",
        "halfWay" => "It went back in part.",
        "untouched" => "It was not taken back.",
        _ => "Nobody could tell where it was.",
    };
    let at = database.pointer("/done/at").is_some_and(Value::is_array);
    let at = if at { format!(" It was then at {}.", place("/done/at")) } else { String::new() };
    told.push(format!("{became}{at}"));
    let problem = text("/done/problem");
    told.extend((!problem.is_empty()).then(|| format!("Why: {problem}")));
    told
}

/// The last lines of what the program said, where it failed.
pub fn last_lines(database: &Value) -> Vec<String> {
    let done = &database["done"];
    if done["problem"].is_null() {
        return Vec::new();
    }
    let output = done["output"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let output: Vec<String> = output.map(str::to_owned).collect();
    output[output.len().saturating_sub(LAST_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_end_is_told() {
        let result = |done: Value| {
            json!({"adapter": "alembic", "workload": "deploy/web", "image": "web:2", "from": ["03"], "to": [],
                "steps": [{"id": "03", "description": "rename"}], "done": done})
        };
        let planned = sentences(&result(Value::Null));
        assert_eq!(
            planned,
            [
                "alembic of deploy/web: from 03 to before the first migration, run in web:2.",
                "To be undone: 03 rename"
            ]
        );
        for (done, said) in [
            (
                json!({"standing": "down", "at": []}),
                "It went back. It was then at before the first migration.",
            ),
            (
                json!({"standing": "halfWay", "at": ["02"], "problem": "x"}),
                "It went back in part. It was then at 02.",
            ),
            (json!({"standing": "unknown", "at": null, "problem": "x"}), "Nobody could tell where it was."),
        ] {
            let told = sentences(&result(done.clone()));
            assert_eq!(told[2], said, "{done}");
            assert_eq!(told.len() == 4, done.get("problem").is_some(), "{told:?}");
        }
    }
}
