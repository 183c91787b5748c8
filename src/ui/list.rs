//! The screen of `list`.

use jiff::Timestamp;

use super::table::{aligned, moment, one_line};
use crate::commands::{ListDocument, ListRow};

const HEADER: [&str; 7] = ["NAME", "NAMESPACE", "REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION"];

/// Renders the releases.
pub fn list_table(list: &ListDocument, now: Timestamp) -> String {
    let header = list.header.then(|| HEADER.map(str::to_owned).to_vec());
    aligned(header.into_iter().chain(list.rows.iter().map(|row| cells(row, now))))
}

fn cells(row: &ListRow, now: Timestamp) -> Vec<String> {
    let (chart, app_version) = match &row.unreadable {
        Some(why) => (one_line(why, None), String::new()),
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
