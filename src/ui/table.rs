//! Tables without lines, and the short forms of what stands in their cells.

use jiff::Timestamp;
use tabled::builder::Builder;
use tabled::settings::{Modify, Padding, Style, object::Columns};

/// Rows of cells as aligned columns, two spaces apart, without blanks at the ends of lines.
pub fn aligned(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut builder = Builder::default();
    for row in rows {
        builder.push_record(row);
    }
    let mut table = builder.build();
    table.with(Style::empty()).with(Modify::new(Columns::new(..)).with(Padding::new(0, 2, 0, 0)));
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

pub use crate::words::{age, elapsed};

/// A moment to the minute in UTC with its age: `2026-11-24 14:00Z (31m)`.
pub fn moment(then: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", then.strftime("%Y-%m-%d %H:%MZ"), age(then, now))
}

/// A text of somebody else as one line of a table: no control characters, and with a limit not longer than that.
pub fn one_line(text: &str, limit: Option<usize>) -> String {
    let printable: String =
        text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    let words: Vec<&str> = printable.split_whitespace().collect();
    let line = words.join(" ");
    match limit {
        Some(limit) if line.chars().count() > limit => {
            let start: String = line.chars().take(limit.saturating_sub(1)).collect();
            format!("{}…", start.trim_end())
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        let then: Timestamp = "2026-11-24T14:00:00Z".parse().unwrap();
        for (now, text) in [
            ("2026-11-24T13:00:00Z", "0s"),
            ("2026-11-24T14:01:59Z", "119s"),
            ("2026-11-24T14:31:10Z", "31m"),
            ("2026-11-25T18:30:00Z", "28h"),
            ("2026-11-27T14:00:00Z", "3d"),
        ] {
            assert_eq!(age(then, now.parse().unwrap()), text);
        }
        assert_eq!(moment(then, "2026-11-24T14:31:10Z".parse().unwrap()), "2026-11-24 14:00Z (31m)");
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(one_line("a\n\tb\u{1b}[31m", None), "a b [31m");
        assert_eq!(one_line("über alles", Some(6)), "über…");
        assert_eq!(one_line("short", Some(5)), "short");
    }

    #[test]
    fn columns_are_two_spaces_apart() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(aligned([row(["A", "LONG"]), row(["value", ""])]), "A      LONG\nvalue");
    }
}
