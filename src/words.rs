//! Words that depend on a number, for every sentence that counts something. Pure.

/// `1 workload`, `2 workloads`: for nouns whose plural only takes an s.
pub fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let said = [0, 1, 2].map(|number| counted(number, "check"));
        assert_eq!(said, ["0 checks", "1 check", "2 checks"]);
    }
}
