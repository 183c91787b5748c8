//! What a registry asks for before it answers: the header `WWW-Authenticate` (RFC 9110, 11.6.1).

use std::collections::BTreeMap;

/// One way to log in that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token that another address hands out.
    Bearer {
        /// The address.
        realm: String,
        /// Whom the token is for.
        service: Option<String>,
        /// What it must allow.
        scope: Option<String>,
    },
    /// User and password with every request.
    Basic,
}

/// Reads one header; schemes that are not known, and bearers without a realm, are left out.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find(['=', ' ', ',']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if let Some(value) = behind.strip_prefix('=') {
            let (value, behind) = parameter(value);
            if let Some((_, parameters)) = found.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = behind;
        } else {
            found.push((word.to_ascii_lowercase(), BTreeMap::new()));
            rest = behind;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    let read = |(scheme, mut parameters): (String, BTreeMap<String, String>)| match scheme.as_str() {
        "bearer" => Some(Challenge::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope").filter(|scope| !scope.is_empty()),
        }),
        "basic" => Some(Challenge::Basic),
        _ => None,
    };
    found.into_iter().filter_map(read).collect()
}

/// A parameter's value, quoted or not, and what stands behind it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut signs = quoted.char_indices();
    while let Some((index, sign)) = signs.next() {
        match sign {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(signs.next().map(|(_, escaped)| escaped)),
            sign => value.push(sign),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
        Challenge::Bearer { realm: realm.to_owned(), service, scope }
    }

    #[test]
    fn challenges_of_registries_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/redis:pull,push""#;
        let expected = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:library/redis:pull,push"),
        );
        assert_eq!(parse(hub), [expected]);
        let two = r#"Basic realm="a \"b\", c", bearer realm=https://x/token , service=y, Negotiate"#;
        assert_eq!(parse(two), [Challenge::Basic, bearer("https://x/token", Some("y"), None)]);
        for nothing in ["", "Negotiate", "Bearer service=\"x\"", "realm=\"x\"", "Bearer realm"] {
            assert_eq!(parse(nothing), [], "{nothing}");
        }
        assert_eq!(parse("Bearer realm=\"cut off"), [bearer("cut off", None, None)]);
    }
}
