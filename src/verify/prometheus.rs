//! A number in Prometheus now, and what it was before the rollback: error rate, latency.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::http::{ask, short};
use super::{Answer, Request};
use crate::config::PrometheusCheck;
use crate::context::Context;

/// Asks for both numbers and compares.
pub async fn check(
    context: &Context,
    request: &Request<'_>,
    check: &PrometheusCheck,
    limit: Duration,
) -> Answer {
    let after = match number(context, check, None, limit).await {
        Ok(after) => after,
        Err(answer) => return answer,
    };
    let before = match (check.max_factor, request.since) {
        (Some(_), Some(since)) => match number(context, check, Some(since), limit).await {
            Ok(before) => before,
            Err(answer) => return answer,
        },
        _ => None,
    };
    judge(check, before, after)
}

fn judge(check: &PrometheusCheck, before: Option<f64>, after: Option<f64>) -> Answer {
    let Some(after) = after else {
        return Answer::fail("the query has no result")
            .hinted("where nothing to count is good, write `or vector(0)` behind it");
    };
    if after.is_nan() {
        return Answer::fail("the query's result is not a number: nothing was divided by nothing")
            .hinted("without traffic there is no rate; write `or vector(0)` or a filter behind it");
    }
    let said = match before {
        Some(before) => format!("{} after, {} before", shown(after), shown(before)),
        None => shown(after),
    };
    if let Some(max) = check.max.filter(|&max| after > max) {
        return Answer::fail(format!("{said}; at most {max} is good"));
    }
    match (check.max_factor, before.filter(|before| !before.is_nan())) {
        (Some(factor), Some(before)) if after > before * factor => {
            Answer::fail(format!("{said}; at most {factor} times the number before is good"))
        }
        (Some(_), None) if check.max.is_none() => {
            Answer::warn(format!("{said}; there is no number from before to compare with"))
        }
        _ => Answer::pass(said),
    }
}

/// A number with four digits that count: rates come with sixteen.
fn shown(number: f64) -> String {
    if number.abs() >= 1000.0 {
        return format!("{number:.0}");
    }
    let rounded: Option<f64> = format!("{number:.3e}").parse().ok();
    rounded.unwrap_or(number).to_string()
}

async fn number(
    context: &Context,
    check: &PrometheusCheck,
    time: Option<Timestamp>,
    limit: Duration,
) -> Result<Option<f64>, Answer> {
    let mut parameters = vec![("query", check.query.clone())];
    parameters.extend(time.map(|time| ("time", time.to_string())));
    let Ok(mut form) = reqwest::Url::parse("http://x/api/v1/query") else {
        return Err(Answer::fail("no query"));
    };
    form.query_pairs_mut().extend_pairs(parameters);
    let query = form.query().unwrap_or_default().to_owned();
    let mut place = check.place();
    let path = format!("/api/v1/query?{query}");
    if let Some(address) = place.url.take() {
        let joined = format!("{}{path}", address.to_string().trim_end_matches('/'));
        place.url = Some(joined.parse().map_err(Answer::fail)?);
    }
    let reply = ask(context, &place, &path, &[], true, limit).await?;
    let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    read(reply.status, &document)
}

/// The one number of an answer; nothing where the result is empty.
fn read(status: u16, document: &Value) -> Result<Option<f64>, Answer> {
    if document.get("status").and_then(Value::as_str) != Some("success") {
        let why =
            document.get("error").and_then(Value::as_str).unwrap_or("and it is no answer of Prometheus");
        return Err(Answer::fail(format!("Prometheus answers {status}: {}", short(why))));
    }
    let result = document.pointer("/data/result");
    let value = match document.pointer("/data/resultType").and_then(Value::as_str) {
        Some("scalar") => result.and_then(|result| result.get(1)),
        Some("vector") => match result.and_then(Value::as_array).map(Vec::as_slice) {
            Some([]) => return Ok(None),
            Some([one]) => one.pointer("/value/1"),
            Some(many) => {
                let message = format!("the query has {} results instead of one", many.len());
                return Err(Answer::fail(message).hinted("put sum( ) or max( ) around it"));
            }
            None => None,
        },
        _ => None,
    };
    match value.and_then(Value::as_str).and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(Answer::fail("the query's result is not one number")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::FindingStatus::{self, Fail, Pass, Warn};

    #[test]
    fn results_are_one_number() {
        let vector =
            |items: Value| json!({"status": "success", "data": {"resultType": "vector", "result": items}});
        let one = json!({"metric": {}, "value": [1.5, "0.25"]});
        assert_eq!(read(200, &vector(json!([one]))), Ok(Some(0.25)));
        assert_eq!(read(200, &vector(json!([]))), Ok(None));
        let scalar = json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}});
        assert_eq!(read(200, &scalar), Ok(Some(3.0)));
        for (document, expected) in [
            (vector(json!([one, one])), "2 results"),
            (json!({"status": "error", "error": "parse error"}), "answers 400: parse error"),
            (Value::Null, "no answer of Prometheus"),
            (json!({"status": "success", "data": {"resultType": "matrix", "result": []}}), "not one number"),
        ] {
            let error = read(400, &document).unwrap_err();
            assert!(error.message.contains(expected), "{error:?}");
        }
    }

    #[test]
    fn numbers_are_shown_short() {
        for (number, expected) in [
            (0.830_577_777, "0.8306"),
            (0.0, "0"),
            (1_234_567.8, "1234568"),
            (12.0, "12"),
            (0.000_012_346, "0.00001235"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(shown(number), expected);
        }
    }

    #[test]
    fn thresholds_are_absolute_or_against_before() {
        let check = |max, max_factor| PrometheusCheck { max, max_factor, ..PrometheusCheck::default() };
        for (max, factor, before, after, expected) in [
            (Some(0.1), None, None, Some(0.1), Pass),
            (Some(0.1), None, None, Some(0.2), Fail),
            (None, Some(1.0), Some(0.5), Some(0.5), Pass),
            (None, Some(1.0), Some(0.5), Some(0.6), Fail),
            (None, Some(2.0), Some(0.5), Some(0.6), Pass),
            (None, Some(1.0), None, Some(0.6), Warn),
            (Some(1.0), Some(1.0), None, Some(0.6), Pass),
            (None, Some(1.0), Some(f64::NAN), Some(0.6), Warn),
            (Some(1.0), None, None, None, Fail),
            (Some(1.0), None, None, Some(f64::NAN), Fail),
        ] {
            let found: FindingStatus = judge(&check(max, factor), before, after).status;
            assert_eq!(found, expected, "max {max:?} factor {factor:?} before {before:?} after {after:?}");
        }
    }
}
