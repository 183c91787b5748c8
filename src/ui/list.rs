//! The screen of `list`.

use std::fmt::Write;

use jiff::Timestamp;

use super::Printer;
use super::table::{aligned, moment, one_line};
use crate::commands::{ListDocument, ListRow};

const HEADER: [&str; 7] = ["NAME", "NAMESPACE", "REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION"];

/// Renders the releases, and why records among theirs cannot be read.
pub fn list_table(printer: &Printer, list: &ListDocument, now: Timestamp) -> String {
    let header = list.header.then(|| HEADER.map(str::to_owned).to_vec());
    let mut text = aligned(header.into_iter().chain(list.rows.iter().map(|row| cells(row, now))));
    for (row, why) in list.rows.iter().filter_map(|row| Some((row, row.unreadable.as_ref()?))) {
        let _ = write!(
            text,
            "\n{} {}/{}: {}",
            printer.caution("!"),
            row.namespace,
            row.name,
            one_line(why, None)
        );
    }
    text
}

fn cells(row: &ListRow, now: Timestamp) -> Vec<String> {
    let (chart, app_version) = match &row.unreadable {
        Some(_) => ("unreadable".to_owned(), String::new()),
        None => (row.chart.clone(), one_line(&row.app_version, None)),
    };
    vec![
        row.name.clone(),
        row.namespace.clone(),
        row.revision.clone(),
        row.moment.map_or_else(|| "-".to_owned(), |then| moment(then, now)),
        row.status.clone(),
        chart,
        app_version,
    ]
}
