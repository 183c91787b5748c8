//! What a `ResourceQuota`'s refusal says: the admission plugin's message is the only place where the numbers stand.

/// One resource of an exceeded quota.
#[derive(Debug, Clone, PartialEq)]
struct Resource {
    requested: f64,
    used: f64,
    limited: f64,
}

/// An exceeded quota.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortage(Vec<Resource>);

impl Shortage {
    /// Whether `pods_after` pods fit once `pods_now` pods of the same template are gone. An image swap changes no
    /// request, so what one new pod asks for is what one old pod holds.
    pub fn fits_after_stop(&self, pods_now: usize, pods_after: usize) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "numbers of pods are small")]
        let difference = pods_after as f64 - pods_now as f64;
        self.0
            .iter()
            .all(|resource| resource.used + resource.requested * difference <= resource.limited + 1e-9)
    }
}

/// Reads `exceeded quota: NAME, requested: pods=1, used: pods=8, limited: pods=8`; `None` for every other message.
pub fn exceeded(message: &str) -> Option<Shortage> {
    let text = &message[message.find("exceeded quota: ")?..];
    let requested = amounts(text, "requested: ", Some(", used: "))?;
    let used = amounts(text, "used: ", Some(", limited: "))?;
    let limited = amounts(text, "limited: ", None)?;
    let resources = requested.iter().map(|(name, requested)| {
        let find =
            |list: &[(String, f64)]| list.iter().find(|(other, _)| other == name).map(|(_, amount)| *amount);
        Some(Resource { requested: *requested, used: find(&used)?, limited: find(&limited)? })
    });
    resources.collect::<Option<Vec<Resource>>>().map(Shortage)
}

fn amounts(text: &str, from: &str, to: Option<&str>) -> Option<Vec<(String, f64)>> {
    let rest = &text[text.find(from)? + from.len()..];
    let list = match to {
        Some(to) => &rest[..rest.find(to)?],
        None => rest,
    };
    list.trim()
        .split(',')
        .map(|item| {
            item.trim().split_once('=').and_then(|(name, amount)| Some((name.to_owned(), quantity(amount)?)))
        })
        .collect()
}

/// A Kubernetes quantity (`100m`, `1500M`, `2Gi`, `3`) as a number.
pub fn quantity(text: &str) -> Option<f64> {
    let split = text
        .find(|character: char| !(character.is_ascii_digit() || matches!(character, '.' | '-' | '+')))
        .unwrap_or(text.len());
    let number: f64 = text[..split].parse().ok()?;
    let factor = match &text[split..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"pods "web-x" is forbidden: exceeded quota: small, requested: limits.memory=128Mi,pods=1, used: limits.memory=1Gi,pods=8, limited: limits.memory=1Gi,pods=8"#;

    #[test]
    fn a_full_quota_has_room_for_what_was_stopped() {
        let shortage = exceeded(FULL).unwrap();
        assert!(shortage.fits_after_stop(2, 2));
        assert!(!shortage.fits_after_stop(2, 3));
        assert!(!shortage.fits_after_stop(0, 1));
    }

    #[test]
    fn a_lowered_quota_has_not() {
        let shortage =
            exceeded("exceeded quota: q, requested: pods=1, used: pods=8, limited: pods=4").unwrap();
        assert!(!shortage.fits_after_stop(2, 2));
        assert!(shortage.fits_after_stop(6, 2));
    }

    #[test]
    fn other_messages_are_no_quota() {
        assert_eq!(exceeded("violates PodSecurity \"restricted:latest\""), None);
        assert_eq!(exceeded("exceeded quota: x, requested: pods"), None);
    }

    #[test]
    fn quantities() {
        for (text, number) in [("3", 3.0), ("100m", 0.1), ("1Ki", 1024.0), ("1.5G", 1.5e9)] {
            assert_eq!(quantity(text), Some(number), "{text}");
        }
        assert_eq!(quantity("much"), None);
    }
}
