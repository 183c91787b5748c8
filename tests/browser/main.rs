//! The pages that the tool writes, in a real browser: for every reader they load nothing, say nothing to the console, and
//! show every text whole, large enough and with enough contrast; also on paper.
//!
//! `KUBECTL_ROLLBACK_TEST_PICTURES=FOLDER` keeps what was seen as pictures and PDFs, for people to look at.

mod chromium;
mod reports;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use chromium::{Browser, Reader};

const DESK: Reader =
    Reader { name: "desk", width: 1280, height: 900, is_phone: false, media: "screen", scheme: "light" };
const PHONE: Reader = Reader { name: "phone", width: 390, height: 844, is_phone: true, ..DESK };
/// A4 between the margins that a browser leaves.
const PAPER: Reader = Reader { name: "paper", width: 717, height: 1000, media: "print", ..DESK };
const READERS: [Reader; 6] = [
    DESK,
    Reader { name: "desk-dark", scheme: "dark", ..DESK },
    PHONE,
    Reader { name: "phone-dark", scheme: "dark", ..PHONE },
    PAPER,
    // Who reads in the dark prints on white paper all the same.
    Reader { name: "paper-dark", scheme: "dark", ..PAPER },
];

/// A browser, where this machine has one.
fn browser() -> Option<Browser> {
    let program = chromium::program();
    if program.is_none() {
        skipped();
    }
    program.map(|program| Browser::start(&program))
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests learns what did not run")]
fn skipped() {
    eprintln!("skipped: there is no Chromium on this machine (Debian: apt-get install chromium)");
}

/// The folder of somebody who wants to look at what was seen.
fn wanted() -> Option<OsString> {
    std::env::var_os("KUBECTL_ROLLBACK_TEST_PICTURES")
}

/// Keeps a picture or a PDF there.
fn keep(name: &str, base64: &str) {
    if let Some(folder) = wanted() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(Path::new(&folder).join(name), STANDARD.decode(base64).unwrap()).unwrap();
    }
}

/// Opens a page for a reader: what was seen, and what is wrong with it.
fn look(browser: &mut Browser, file: &Path, reader: Reader) -> (Value, Vec<String>) {
    browser.open(file, reader);
    let seen = browser.evaluate(&format!("({})({})", include_str!("probe.js"), reader.width));
    let mut wrong: Vec<String> = seen["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem.as_str().unwrap().to_owned())
        .collect();
    wrong.extend(browser.complaints());
    let own = format!("file://{}", file.display());
    wrong.extend(
        browser.requests().into_iter().filter(|url| *url != own).map(|url| format!("a request to {url}")),
    );
    (seen, wrong)
}

fn texts(seen: &Value) -> BTreeSet<String> {
    seen["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_report_can_be_read_by_everybody() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, page) in reports::pages() {
        let file = folder.path().join(format!("{name}.html"));
        fs::write(&file, &page).unwrap();
        let mut on_screen = BTreeSet::new();
        for reader in READERS {
            let (seen, problems) = look(&mut browser, &file, reader);
            let place = format!("{name}, {}", reader.name);
            wrong.extend(problems.into_iter().map(|problem| format!("{place}: {problem}")));

            let number = |value: &Value| value.as_f64().unwrap_or_default();
            let (picture, bars) = (&seen["picture"], number(&seen["bars"]));
            if name == "empty" {
                assert!(
                    picture.is_null() && texts(&seen).contains("Nothing has been done yet."),
                    "{place}: {seen}"
                );
            } else {
                assert!(
                    number(&picture["width"]) > 280.0 && number(&picture["height"]) > 100.0,
                    "{place}: {seen}"
                );
                assert!(bars >= 2.0 && number(&seen["shapes"]) > 3.0 * bars, "{place}: {seen}");
            }

            let is_dark = number(&seen["background"][0]) < 60.0;
            assert_eq!(is_dark, reader.scheme == "dark" && reader.media == "screen", "{place}: {seen}");
            let texts = texts(&seen);
            assert!(texts.len() > 10, "{place}: {texts:?}");
            if reader.name == "desk" {
                on_screen = texts;
            } else if reader.media == "print" {
                let missing: Vec<&String> = on_screen.difference(&texts).collect();
                assert!(missing.is_empty(), "{place}: not printed: {missing:?}");
            }
            if wanted().is_some() {
                keep(&format!("{name}-{}.png", reader.name), &browser.picture());
            }
        }
        browser.open(&file, PAPER);
        let pdf = browser.print();
        let bytes = STANDARD.decode(&pdf).unwrap();
        assert!(bytes.starts_with(b"%PDF-") && bytes.len() > 5_000, "{name}: {} bytes", bytes.len());
        keep(&format!("{name}.pdf"), &pdf);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Faults that were put into a good page are found, each of them: else the test above could not fail.
#[test]
fn faults_of_a_page_are_found() {
    let Some(mut browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (_, good) = reports::pages().remove(0);
    let policy = "http-equiv=\"Content-Security-Policy\"";
    assert!(good.contains(policy));
    let faults = [
        ("<script>console.error('a fault')</script>", DESK, "console: "),
        ("<script>nowhere()</script>", DESK, "exception: "),
        ("<img src='http://example.com/picture.png'>", DESK, "a request to http://example.com/picture.png"),
        ("<p style='width: 700px'>wide</p>", PHONE, "the page is 7"),
        ("<p style='font-size: 11px'>small</p>", DESK, "font of 11px: small"),
        ("<p style='color: #999; background: #fff'>pale</p>", DESK, "contrast of 2.85: pale"),
        ("<p style='color: #333'>dim</p>", READERS[1], "contrast of 1."),
        ("<p style='opacity: 0.4'>faint</p>", DESK, "contrast of "),
        (
            "<p style='width: 40px; overflow: hidden; white-space: nowrap'>more than fits</p>",
            DESK,
            "cut off: ",
        ),
        ("<p style='margin-bottom: -1.4em'>one</p><p>two</p>", DESK, "one text lies on another: "),
        ("<style>figure.timeline > svg { height: 60px }</style>", DESK, "outside of the picture: "),
        ("<style>figure.timeline rect.bar { width: 0 }</style>", DESK, "a bar that cannot be seen: "),
        ("<p style='position: absolute; left: -99px; width: 80px'>left</p>", DESK, "outside of the screen: "),
    ];
    for (fault, reader, expected) in faults {
        // Without the policy, so that what is put in works.
        let page = good.replace(policy, "name=\"none\"").replace("<footer>", &format!("{fault}<footer>"));
        let file = folder.path().join("fault.html");
        fs::write(&file, page).unwrap();
        let (_, problems) = look(&mut browser, &file, reader);
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{fault}: {problems:?}");
    }

    // What a printer leaves out is missed.
    let file = folder.path().join("fault.html");
    fs::write(&file, good.replace("</style>", "@media print { footer { display: none } }</style>")).unwrap();
    let (on_screen, _) = look(&mut browser, &file, DESK);
    let (on_paper, _) = look(&mut browser, &file, PAPER);
    let missing: Vec<String> = texts(&on_screen).difference(&texts(&on_paper)).cloned().collect();
    assert!(missing.concat().contains("Made from the journal of operation"), "{missing:?}");
    // And with the policy nothing of somebody else runs or loads, but it is told.
    fs::write(&file, good.replace("<footer>", &format!("{}<footer>", faults[0].0))).unwrap();
    let (_, problems) = look(&mut browser, &file, DESK);
    assert!(problems.iter().any(|problem| problem.starts_with("log: ")), "{problems:?}");
    assert_eq!(problems.len(), 1, "{problems:?}");
}
