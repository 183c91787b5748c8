//! The timeline as a picture: phases as bars, replicas that are ready as steps, and what happened as marks. Places along
//! the time are per cent of the width and everything else is in pixels, so that words stay readable on a phone.

use std::fmt::Write;

use jiff::Timestamp;
use maud::{Markup, html};

use super::{Replicas, Report, duration};
use crate::event::{Severity, StageStatus};

/// Height of the scale above everything.
const SCALE: u32 = 22;
/// Height of the marks' row.
const MARKS: u32 = 26;
/// Height of a phase's row, its words included.
const PHASE: u32 = 34;
/// Height of a workload's row, its words included.
const LANE: u32 = 48;
/// Where a row's bar or steps begin below its words.
const WORDS: u32 = 17;

/// How wide a row's name may be on a wide screen and on a narrow one, in hundredths of the font's size.
const WIDE: u32 = 3700;
const NARROW: u32 = 1580;

/// The span of time that the picture shows.
struct Span {
    from: Timestamp,
    ms: i64,
}

impl Span {
    fn of(report: &Report) -> Self {
        let times = &report.times;
        let from = times.started_at;
        let phases = report.phases.iter().flat_map(|phase| [Some(phase.started_at), phase.ended_at]);
        let steps = lanes(report).flat_map(|lane| lane.timeline).map(|step| Some(step.at));
        let changes = report.changes.iter().map(|change| Some(change.at));
        let told = [times.finished_at, times.restored_at, times.reconciled_at].into_iter();
        let last = told.chain(phases).chain(steps).chain(changes).flatten().max().unwrap_or(from);
        let ms = i64::try_from(last.duration_since(from).as_millis()).unwrap_or(i64::MAX).max(1);
        Self { from, ms }
    }

    /// Where a moment lies, in thousandths of the width.
    fn thousandths(&self, at: Timestamp) -> i64 {
        let ms = i64::try_from(at.duration_since(self.from).as_millis()).unwrap_or(i64::MAX);
        (ms.clamp(0, self.ms).saturating_mul(1000) + self.ms / 2) / self.ms
    }

    /// Where a moment lies, as an attribute.
    fn place(&self, at: Timestamp) -> String {
        per_cent(self.thousandths(at))
    }

    /// The marks of the scale: at most six, at round numbers.
    fn scale(&self) -> Vec<i64> {
        let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000];
        let long =
            [120_000, 300_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000];
        let step = steps.into_iter().chain(long).find(|step| self.ms / step <= 5);
        let step = step.unwrap_or(self.ms / 5 + 1);
        (0..=self.ms / step).map(|index| index * step).collect()
    }
}

fn per_cent(thousandths: i64) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// A moment of the scale in words.
fn tick(ms: i64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..1000 => format!("{ms}ms"),
        1000..60_000 if ms % 1000 != 0 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        1000..60_000 => format!("{}s", ms / 1000),
        60_000..3_600_000 if ms % 60_000 != 0 => format!("{}m {}s", ms / 60_000, ms % 60_000 / 1000),
        60_000..3_600_000 => format!("{}m", ms / 60_000),
        _ => format!("{}h {:02}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A mark: something that happened at a moment.
struct Mark {
    at: Timestamp,
    class: &'static str,
    /// Its outline around its own place.
    outline: &'static str,
    words: String,
}

const DIAMOND: &str = "M0,-6L6,0L0,6L-6,0Z";
const TRIANGLE: &str = "M0,-6L6.5,5.5L-6.5,5.5Z";
const STROKE: &str = "M-1,-6L1,-6L1,6L-1,6Z";
const DISC: &str = "M-5.5,0a5.5,5.5 0 1 0 11,0a5.5,5.5 0 1 0 -11,0Z";

fn marks(report: &Report) -> Vec<Mark> {
    let changes = report.changes.iter().map(|change| Mark {
        at: change.at,
        class: "write",
        outline: STROKE,
        words: format!("{} {}/{}", change.verb, change.object.kind, change.object.name),
    });
    let diagnoses = report.diagnoses.iter().map(|told| Mark {
        at: told.at,
        class: if told.diagnosis.severity == Severity::Fatal { "fatal" } else { "warning" },
        outline: TRIANGLE,
        words: format!("{}/{}: {}", told.object.kind, told.object.name, told.diagnosis.code),
    });
    let mut marks: Vec<Mark> = changes.chain(diagnoses).collect();
    if let Some(at) = report.times.reconciled_at {
        marks.push(Mark { at, class: "record", outline: DIAMOND, words: "Helm's record true".to_owned() });
    }
    if let Some(at) = report.times.restored_at {
        marks.push(Mark { at, class: "restored", outline: DISC, words: "every workload ready".to_owned() });
    }
    marks
}

/// The kinds of marks that there are, for the legend: class, outline, words.
fn legend(marks: &[Mark]) -> Vec<(&'static str, &'static str, &'static str)> {
    [
        ("write", STROKE, "write"),
        ("warning", TRIANGLE, "may come right"),
        ("fatal", TRIANGLE, "will not come right"),
        ("restored", DISC, "every workload ready"),
        ("record", DIAMOND, "Helm's record true"),
    ]
    .into_iter()
    .filter(|(class, _, _)| marks.iter().any(|mark| mark.class == *class))
    .collect()
}

/// A row of steps.
struct Lane<'report> {
    kind: &'report str,
    name: &'report str,
    timeline: &'report [Replicas],
    /// Whether it ended well.
    is_good: bool,
    /// How it ended.
    words: String,
}

impl<'report> Lane<'report> {
    /// `ready` is what the end of the operation says, where it says something; `words` tell the last step.
    fn of(
        (kind, name): (&'report str, &'report str),
        timeline: &'report [Replicas],
        ready: Option<bool>,
        words: impl Fn(&Replicas) -> String,
    ) -> Self {
        let last = timeline.last();
        let is_good = ready.unwrap_or_else(|| last.is_some_and(|last| last.ready >= last.desired));
        Self { kind, name, timeline, is_good, words: last.map(words).unwrap_or_default() }
    }
}

/// Everything that moves over time: workloads, then what ran to an end.
fn lanes(report: &Report) -> impl Iterator<Item = Lane<'_>> {
    let workloads = report.workloads.iter().map(|told| {
        let words = |last: &Replicas| format!("{}/{} ready", last.ready, last.desired);
        Lane::of((&told.kind, &told.name), &told.timeline, told.ready, words)
    });
    let jobs = report
        .jobs
        .iter()
        .map(|told| Lane::of((&told.kind, &told.name), &told.timeline, None, |last| last.state.clone()));
    workloads.chain(jobs)
}

/// Draws the timeline of a report.
pub fn picture(report: &Report) -> Markup {
    let span = Span::of(report);
    let marks = marks(report);
    let lanes: Vec<Lane<'_>> = lanes(report).filter(|lane| !lane.timeline.is_empty()).collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let phases_from = SCALE + MARKS;
    let lanes_from = phases_from + PHASE * count(report.phases.len()) + 8;
    let height = lanes_from + LANE * count(lanes.len());
    if report.phases.is_empty() && marks.is_empty() && lanes.is_empty() {
        return html! { p { "Nothing has been done yet." } };
    }
    html! {
        figure.timeline {
            svg width="100%" height=(height) role="img" aria-labelledby="timeline-title" xmlns="http://www.w3.org/2000/svg" {
                title id="timeline-title" { "Timeline of operation " (report.operation) ": phases, replicas that are ready, and what happened" }
                (scale(&span, height))
                @if let Some(at) = report.times.restored_at {
                    line.restored x1=(span.place(at)) x2=(span.place(at)) y1=(SCALE) y2=(height) {}
                }
                @for (index, phase) in (0_u32..).zip(&report.phases) {
                    (bar(&span, phase, phases_from + PHASE * index))
                }
                @for (index, lane) in (0_u32..).zip(&lanes) {
                    (steps(&span, lane, lanes_from + LANE * index))
                }
                @for mark in &marks {
                    svg.mark.(mark.class) x=(span.place(mark.at)) y=(SCALE + MARKS / 2) overflow="visible" {
                        path d=(mark.outline) { title { (tick_of(&span, mark.at)) " " (mark.words) } }
                    }
                }
            }
            figcaption {
                @for (class, outline, words) in legend(&marks) {
                    span.key {
                        svg.mark.(class) width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true" { path d=(outline) {} }
                        (words)
                    }
                }
                @if !lanes.is_empty() {
                    span.key { svg.steps width="14" height="14" aria-hidden="true" { rect.area x="0" y="4" width="14" height="10" {} line.edge x1="0" x2="14" y1="4" y2="4" {} } "replicas ready" }
                }
            }
        }
    }
}

fn tick_of(span: &Span, at: Timestamp) -> String {
    duration(i64::try_from(at.duration_since(span.from).as_millis()).unwrap_or_default())
}

fn scale(span: &Span, height: u32) -> Markup {
    html! {
        @for ms in span.scale() {
            @let thousandths = (ms.saturating_mul(1000) + span.ms / 2) / span.ms;
            @let place = per_cent(thousandths);
            @let anchor = match thousandths { ..50 => "start", 951.. => "end", _ => "middle" };
            line.grid x1=(place) x2=(place) y1=(SCALE - 4) y2=(height) {}
            text.scale x=(place) y="12" text-anchor=(anchor) { (tick(ms)) }
        }
    }
}

/// A row's name: whole where it fits, else without its middle, because what tells names apart stands at their ends. What fits
/// differs between a desk and a phone; the style sheet shows one of the two. The tables below have every name whole.
fn label(name: &str, y: u32) -> Markup {
    let (wide, narrow) = (shortened(name, WIDE), shortened(name, NARROW));
    html! {
        @if wide == narrow { text x="0" y=(y) { (wide) } }
        @else { text.wide x="0" y=(y) { (wide) } text.narrow x="0" y=(y) { (narrow) } }
    }
}

/// Leaves out as much of a text's middle as is too wide, in hundredths of the font's size.
fn shortened(text: &str, limit: u32) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.iter().copied().map(width).sum::<u32>() <= limit {
        return text.to_owned();
    }
    let fitting = |from: &mut dyn Iterator<Item = &char>, limit: u32| {
        let sums = from.scan(0, |sum, character| {
            *sum += width(*character);
            Some(*sum)
        });
        sums.take_while(|sum| *sum <= limit).count()
    };
    let room = limit.saturating_sub(width('…'));
    let head = fitting(&mut characters.iter(), room / 2);
    let tail = fitting(&mut characters.iter().rev(), room / 2).min(characters.len() - head);
    let (head, tail) = (&characters[..head], &characters[characters.len() - tail..]);
    head.iter().chain(&['…']).chain(tail).collect()
}

/// How wide a character is at most in the fonts that systems have for their windows, in hundredths of the font's size.
fn width(character: char) -> u32 {
    match character {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | '|' | '\'' => 34,
        'f' | 't' | 'r' | '-' | '/' | ' ' => 42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 100,
        'a'..='z' | '0'..='9' => 64,
        ' '..='~' => 84,
        _ => 125,
    }
}

fn bar(span: &Span, phase: &super::PhaseTold, top: u32) -> Markup {
    let ended = phase.ended_at.unwrap_or(phase.started_at);
    let (from, to) = (span.thousandths(phase.started_at), span.thousandths(ended));
    let (class, words) = match phase.status {
        StageStatus::Failed => ("failed", "failed, "),
        StageStatus::Skipped => ("skipped", "skipped, "),
        StageStatus::Started => ("open", "not ended, "),
        StageStatus::Done => ("done", ""),
    };
    let took = i64::try_from(ended.duration_since(phase.started_at).as_millis()).unwrap_or_default();
    html! {
        g.phase.(class) {
            title { (phase.name) ": " (phase.message) }
            (label(&phase.name, top + 12))
            text.value x="100%" y=(top + 12) text-anchor="end" { (words) (duration(took)) }
            rect.track x="0" y=(top + WORDS) width="100%" height="9" rx="2" {}
            rect.bar x=(per_cent(from)) y=(top + WORDS) width=(per_cent((to - from).max(4))) height="9" rx="2" {}
        }
    }
}

fn steps(span: &Span, lane: &Lane<'_>, top: u32) -> Markup {
    const HEIGHT: i32 = 22;
    let most = lane.timeline.iter().map(|step| step.desired.max(step.ready)).max().unwrap_or(1).max(1);
    let level = |ready: i32| HEIGHT - 1 - ready.clamp(0, most) * (HEIGHT - 3) / most;
    let mut edge = String::new();
    for (index, step) in lane.timeline.iter().enumerate() {
        let place = span.thousandths(step.at);
        let _ = if index == 0 {
            write!(edge, "M{place},{}", level(step.ready))
        } else {
            write!(edge, "H{place}V{}", level(step.ready))
        };
    }
    edge.push_str("H1000");
    let from = lane.timeline.first().map_or(0, |step| span.thousandths(step.at));
    let area = format!("{edge}V{HEIGHT}H{from}Z");
    html! {
        g.workload.(if lane.is_good { "ready" } else { "waiting" }) {
            title { (lane.kind) "/" (lane.name) }
            (label(lane.name, top + 12))
            text.value x="100%" y=(top + 12) text-anchor="end" { (lane.words) }
            svg.steps x="0" y=(top + WORDS) width="100%" height=(HEIGHT) viewBox={ "0 0 1000 " (HEIGHT) } preserveAspectRatio="none" {
                rect.track x="0" y="0" width="1000" height=(HEIGHT) {}
                path.area d=(area) {}
                path.edge d=(edge) vector-effect="non-scaling-stroke" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_wide_loses_its_middle() {
        let name = "payments-reconciliation-service-for-the-european-settlement";
        for (name, limit, expected) in [
            ("todo-backend", NARROW, "todo-backend"),
            (name, NARROW, "payments-rec…n-settlement"),
            (name, WIDE, name),
            ("mmmmmmmm", 500, "mm…mm"),
            ("ab", 10, "…"),
            ("", 0, ""),
        ] {
            assert_eq!(shortened(name, limit), expected);
        }
    }
}
