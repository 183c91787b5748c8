//! What a YAML scalar means to Helm: the YAML 1.1 rules of Go's yaml.v2, and how Go prints numbers.
//!
//! YAML readers of today follow version 1.2 and would change values silently: `yes` stays a text, `0644` becomes 644.

use serde_json::{Number, Value};

/// What an explicit core tag asks for; any other tag leaves the text as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// None: the text decides.
    Absent,
    /// `!!str`, and every tag that Helm does not know.
    Text,
    /// `!!binary`: base64 of a text.
    Binary,
    /// `!!bool`.
    Boolean,
    /// `!!int`.
    Integer,
    /// `!!float`.
    Float,
    /// `!!null`.
    Null,
}

/// Resolves a plain scalar as Helm does.
///
/// The error is a sentence: the text does not fit its tag, or JSON has no such number.
pub fn resolve(text: &str, tag: Tag) -> Result<Value, String> {
    let is_text = matches!(tag, Tag::Text | Tag::Binary);
    let value = if is_text { text.into() } else { resolve_untagged(text)? };
    let fits = match tag {
        Tag::Absent | Tag::Text | Tag::Binary => true,
        Tag::Boolean => value.is_boolean(),
        Tag::Null => value.is_null(),
        Tag::Float => value.is_number(),
        Tag::Integer => value.is_i64() || value.is_u64(),
    };
    if fits { Ok(value) } else { Err(format!("{text:?} does not fit its tag")) }
}

fn resolve_untagged(text: &str) -> Result<Value, String> {
    let as_text = || Ok(Value::from(text));
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(true.into());
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(false.into());
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(format!("JSON has no number {text}")),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(number(float)),
            _ => as_text(),
        },
        b'+' | b'-' | b'0'..=b'9' => {
            let plain = text.replace('_', "");
            if let Some(integer) = integer(&plain) {
                return Ok(integer.into());
            }
            if is_decimal_float(&plain)
                && let Ok(float) = plain.parse::<f64>()
                && float.is_finite()
            {
                return Ok(number(float));
            }
            as_text()
        }
        _ => as_text(),
    }
}

/// Go's `ParseInt` and then `ParseUint` with base 0: prefixes `0x`, `0o`, `0b`, and `0` for octal.
fn integer(text: &str) -> Option<Number> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("+", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.get(..2).unwrap_or_default().to_ascii_lowercase();
    let (base, digits) = match lower.as_str() {
        "0x" => (16, &digits[2..]),
        "0o" => (8, &digits[2..]),
        "0b" => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let signed = format!("{sign}{digits}");
    i64::from_str_radix(&signed, base).ok().map(Number::from).or_else(|| {
        (sign.is_empty()).then(|| u64::from_str_radix(digits, base).ok()).flatten().map(Number::from)
    })
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal_float(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_fits
        && exponent.is_none_or(|exponent| {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent)
        })
}

/// A float as it arrives behind Go's JSON encoder, which writes `1000.0` as `1000`: a whole number.
fn number(float: f64) -> Value {
    // 2^63 and 2^64: from there on the integers end.
    const SIGNED_END: f64 = 9_223_372_036_854_775_808.0;
    const UNSIGNED_END: f64 = 18_446_744_073_709_551_616.0;
    if float.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range checked here")]
        if (-SIGNED_END..SIGNED_END).contains(&float) {
            return (float as i64).into();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, and within the range checked here"
        )]
        if (SIGNED_END..UNSIGNED_END).contains(&float) {
            return (float as u64).into();
        }
    }
    float.into()
}

/// The text of a mapping key; `None` for keys that Helm refuses.
///
/// `text` is the key as written: a float such as `1e7` is printed as one, though its value is whole.
pub fn key_text(text: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(key) => Some(key.clone()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Number(number) => match integer(&text.replace('_', "")) {
            Some(integer) => integer.as_i64().map(|integer| integer.to_string()),
            #[expect(clippy::cast_possible_truncation, reason = "Helm prints keys with 32 bits")]
            None => number.as_f64().map(|float| format_shortest(&format!("{:e}", float as f32))),
        },
        _ => None,
    }
}

/// A float as a Go template prints it: `1.234567e+06` for 1234567.
pub fn format_float(float: f64) -> String {
    format_shortest(&format!("{float:e}"))
}

/// Go's `%g` with as many digits as needed, from Rust's shortest exponent form.
fn format_shortest(scientific: &str) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    // Without a precision Go writes at most six digits before the point.
    if (-4..6).contains(&exponent) {
        let digits = mantissa.replace('.', "");
        let text = match usize::try_from(exponent) {
            Ok(whole) if digits.len() > whole + 1 => {
                format!("{}.{}", &digits[..=whole], &digits[whole + 1..])
            }
            Ok(whole) => format!("{digits:0<width$}", width = whole + 1),
            Err(_) => format!("0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
        };
        format!("{sign}{text}")
    } else {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        format!("{sign}{mantissa}e{exponent_sign}{:02}", exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_helm() {
        for (text, value) in [
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0O17", json!(15)),
            ("08", json!(8)),
            ("012", json!(10)),
            ("1__0", json!(10)),
            ("-0x1F", json!(-31)),
            ("+0b11", json!(3)),
            ("0x", json!("0x")),
            ("0o8", json!("0o8")),
            ("+", json!("+")),
            ("--1", json!("--1")),
            ("0x-1", json!("0x-1")),
            ("5.", json!(5)),
            (".5", json!(0.5)),
            (".", json!(".")),
            ("1e", json!("1e")),
            ("1e3", json!(1000)),
            ("1e400", json!("1e400")),
            ("-1e-2", json!(-0.01)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("18446744073709551616", json!(1.844_674_407_370_955_2e19)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("2001-01-01", json!("2001-01-01")),
            ("12:30", json!("12:30")),
            ("tRue", json!("tRue")),
            ("y", json!(true)),
            ("9f31c02", json!("9f31c02")),
            ("1234567", json!(1_234_567)),
            ("12e4567", json!("12e4567")),
        ] {
            assert_eq!(resolve(text, Tag::Absent).unwrap(), value, "{text}");
        }
        assert!(resolve(".inf", Tag::Absent).is_err());
    }

    #[test]
    fn tags_force_or_refuse() {
        assert_eq!(resolve("5", Tag::Text).unwrap(), json!("5"));
        assert_eq!(resolve("1", Tag::Float).unwrap(), json!(1));
        assert_eq!(resolve("yes", Tag::Boolean).unwrap(), json!(true));
        assert!(resolve("x", Tag::Integer).is_err());
        assert!(resolve("1.5", Tag::Integer).is_err());
    }

    #[test]
    fn floats_print_as_in_go() {
        for (float, text) in [
            (1_234_567.0, "1.234567e+06"),
            (1e6, "1e+06"),
            (123_456.0, "123456"),
            (100_000.0, "100000"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5, "1.5"),
            (0.0, "0"),
            (123_456_789.5, "1.234567895e+08"),
            (-2_000_000.0, "-2e+06"),
            (5e-324, "5e-324"),
            (1e21, "1e+21"),
        ] {
            assert_eq!(format_float(float), text);
        }
    }
}
