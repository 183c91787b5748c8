//! Takes credentials out of what other programs say. Registry errors, events and log lines are shown to people,
//! written to CI logs and kept in reports, and all of them can quote a URL with a password in it.

const MASK: &str = "***";

/// Names of assignments whose value is never shown. Compared in lower case, anywhere in the name.
const SECRET_NAMES: [&str; 12] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "accesskey",
    "signature",
    "credential",
];

/// `text` with user information of URLs and connection strings, bearer and basic credentials, signed query
/// parameters, JSON Web Tokens and assignments to secret names masked.
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut follows_scheme = false;
    let mut previous = ("", "");
    while !rest.is_empty() {
        let word_end = rest.find(is_separator).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        if !word.is_empty() {
            if follows_scheme && !word.to_ascii_lowercase().starts_with("realm=") {
                shown.push_str(MASK);
            } else {
                shown.push_str(&redact_word(word));
            }
            follows_scheme = is_authorization_scheme(word);
        }
        let separator_end = after.find(|c| !is_separator(c)).unwrap_or(after.len());
        let (separators, next) = after.split_at(separator_end);
        shown.push_str(separators);
        if hides_next(previous, word, separators) {
            let value_end = value_end(separators, next);
            if value_end > 0 {
                shown.push_str(MASK);
            }
            rest = &next[value_end..];
        } else {
            rest = next;
        }
        previous = (word, separators);
    }
    shown
}

fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, '"' | '\'' | '`' | '<' | '>' | '{' | '}' | '\\')
}

fn is_authorization_scheme(word: &str) -> bool {
    let scheme = word.rsplit(['=', ':']).next().unwrap_or(word);
    scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic")
}

/// Whether a variable or key of that name holds something that must not be shown.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// `"password": "x"`, `password="x y"` and `DB_PASSWORD: x`: the value stands behind separators of its own.
/// "unexpected token: x" is prose, so before a bare colon only names that cannot be prose count.
fn hides_next((name, gap): (&str, &str), word: &str, separators: &str) -> bool {
    if matches!(word, ":" | "=") {
        // `volume "token" : secret "x" not found` is prose: there the value is not in quotes.
        let is_quoted = separators.ends_with(['"', '\'', '`']);
        return is_secret_name(name) && (is_quoted || !gap.contains(char::is_whitespace));
    }
    if let Some(name) = word.strip_suffix('=') {
        return is_secret_name(name.rsplit(['&', '?', ',', ';']).next().unwrap_or(name));
    }
    let Some(name) = word.strip_suffix(':') else {
        return false;
    };
    if name.is_empty() || separators.contains('\n') {
        return false;
    }
    let is_prose =
        matches!(name.to_ascii_lowercase().as_str(), "token" | "secret" | "signature" | "credential");
    !is_prose && !name.contains('/') && is_secret_name(name)
}

/// Where the hidden value ends: at the closing quote when it is quoted, else at the next separator.
fn value_end(separators: &str, next: &str) -> usize {
    match separators.chars().last() {
        Some(quote @ ('"' | '\'' | '`')) => next.find(quote).unwrap_or(next.len()),
        _ => next.find(char::is_whitespace).unwrap_or(next.len()),
    }
}

/// One word: no white space and no quotes inside.
fn redact_word(word: &str) -> String {
    if looks_like_web_token(word) {
        return MASK.to_owned();
    }
    let word = redact_user_information(word);
    redact_assignments(&word)
}

/// Three parts of base64 of which the first opens a JSON object.
fn looks_like_web_token(word: &str) -> bool {
    word.starts_with("eyJ") && word.len() > 30 && word.matches('.').count() >= 2
}

/// `postgres://user:pass@host/db` and `user:pass@tcp(host)/db`; an image's digest (`name:tag@sha256:…`) stays.
fn redact_user_information(word: &str) -> String {
    let start = match word.find("://") {
        Some(scheme_end) => scheme_end + 3,
        None => word.find('=').map_or(0, |equals| equals + 1),
    };
    let (head, body) = word.split_at(start);
    let authority_end = body.find(['/', '?', '#']).unwrap_or(body.len());
    let authority = &body[..authority_end];
    if let Some(at) = authority.rfind('@')
        && (head.ends_with("://") || authority[..at].contains(':'))
        && !is_digest(&authority[at + 1..])
    {
        return format!("{head}{MASK}{}", &body[at..]);
    }
    // A password may hold a slash; a port holds only digits.
    if let Some((_, maybe_password)) = authority.split_once(':')
        && !maybe_password.chars().all(|c| c.is_ascii_digit())
        && let Some(at) = body.rfind('@')
        && !is_digest(&body[at + 1..])
    {
        return format!("{head}{MASK}{}", &body[at..]);
    }
    word.to_owned()
}

fn is_digest(text: &str) -> bool {
    text.starts_with("sha256:") || text.starts_with("sha512:")
}

/// `name=value` inside a word, as in a query or a command line: `?X-Amz-Signature=…&X-Amz-Date=…`.
fn redact_assignments(word: &str) -> String {
    let mut shown = String::with_capacity(word.len());
    for part in word.split_inclusive(['&', '?', ',', ';']) {
        let (body, end) = match part.char_indices().next_back() {
            Some((index, '&' | '?' | ',' | ';')) => part.split_at(index),
            _ => (part, ""),
        };
        match body.split_once('=') {
            Some((name, value))
                if !value.is_empty() && (is_secret_name(name) || name.eq_ignore_ascii_case("sig")) =>
            {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(MASK);
            }
            _ => shown.push_str(body),
        }
        shown.push_str(end);
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_are_masked_and_the_rest_stays() {
        for (text, expected) in [
            ("dial postgres://bob:hunter2@db:5432/x failed", "dial postgres://***@db:5432/x failed"),
            ("https://token@ghcr.io/v2/", "https://***@ghcr.io/v2/"),
            ("amqp://u:p/q@host", "amqp://***@host"),
            ("root:hunter2@tcp(db:3306)/shop", "***@tcp(db:3306)/shop"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            ("authorization: basic dXNlcjpwYXNz", "authorization: basic ***"),
            ("Basic realm=\"registry\"", "Basic realm=\"registry\""),
            (
                "GET https://s3/x?X-Amz-Credential=AKIA%2F1&X-Amz-Date=2026&X-Amz-Signature=beef: 403",
                "GET https://s3/x?X-Amz-Credential=***&X-Amz-Date=2026&X-Amz-Signature=***",
            ),
            ("https://x.blob/y?sv=1&sig=abc", "https://x.blob/y?sv=1&sig=***"),
            ("{\"password\": \"hun ter2\", \"user\": \"bob\"}", "{\"password\": \"***\", \"user\": \"bob\"}"),
            ("{\"token\" : \"abc\"}", "{\"token\" : \"***\"}"),
            ("DB_PASSWORD: hunter2", "DB_PASSWORD: ***"),
            ("--db-password=hunter2 --port=1", "--db-password=*** --port=1"),
            ("--password='hun ter2' x", "--password='***' x"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc", "***"),
        ] {
            let found = redact(text);
            assert!(found.starts_with(expected), "{text:?} became {found:?}");
        }
    }

    #[test]
    fn what_an_engineer_needs_stays() {
        for text in [
            "Failed to pull image \"ghcr.io/acme/backend:abc@sha256:beef\": not found",
            "https://ghcr.io:443/v2/acme@sha256:beef",
            "secret \"db-password\" not found",
            "couldn't find key password in Secret default/db",
            "SyntaxError: Unexpected token: ;",
            "KeyError: 'SMTP_URL'",
            "Readiness probe failed: Get \"http://10.0.0.1:8080/ready\": dial tcp 10.0.0.1:8080: connect refused",
            "MountVolume.SetUp failed for volume \"token\" : secret \"x\" not found",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_canary_never_comes_through(before in "[ a-z]{0,9}", after in "( [ -~]{0,9})?", canary in "CANARY[A-Za-z0-9]{8}") {
            for template in [
                "https://user:CANARY@host/x", "https://CANARY@host", "Bearer CANARY", "x?token=CANARY&y=1",
                "password=CANARY", "\"client_secret\": \"CANARY\"", "api_key: CANARY", "u:CANARY@tcp(db)/x",
            ] {
                let text = format!("{before} {}{after}", template.replace("CANARY", &canary));
                prop_assert!(!redact(&text).contains(&canary), "{text}");
            }
        }

        #[test]
        fn any_text_is_survived(text in ".{0,80}") {
            redact(&text);
        }
    }
}
