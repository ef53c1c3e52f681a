//! Golden cases between dialects: `translated/<caller>-to-<provider>/<case>/` holds a caller's
//! `request.json`, the provider's `response.json`, `response.sse` or `response.frames` in its
//! documented shape (with another status in `status`), and in `expected.snap` what we send and what
//! the caller gets. A new case is recorded with `INSTA_UPDATE=always`, and then read.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::tests::golden::frames;

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(of)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|it| it.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The dialect of a direction's caller, and its provider.
fn direction(folder: &Path) -> (Dialect, CusProviderType) {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let (caller, provider) = name.split_once("-to-").unwrap();
    let caller = match caller {
        "openai" => Dialect::OpenAi,
        "anthropic" => Dialect::Anthropic,
        _ => panic!("{name}"),
    };
    (caller, provider.parse().unwrap())
}

/// A recorded case.
struct Case {
    caller: Dialect,
    provider: CusProviderType,
    folder: PathBuf,
}

impl Case {
    fn all() -> Vec<Self> {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("translated");
        let mut cases = Vec::new();
        for folder in folders(&golden) {
            let (caller, provider) = direction(&folder);
            cases.extend(folders(&folder).into_iter().map(|folder| Self {
                caller,
                provider,
                folder,
            }));
        }
        cases
    }

    fn translation(&self) -> Translation {
        translation(self.caller, self.provider)
    }

    fn dialect(&self) -> Dialect {
        registry::find(self.provider).unwrap().describe().dialect
    }

    /// The shape and the bytes of the provider's answer; none where the request is refused.
    fn answer(&self) -> Option<(AnswerShape, Vec<u8>)> {
        let file = |name| fs::read(self.folder.join(name)).ok();
        if let Some(text) = file("response.sse") {
            return Some((AnswerShape::Stream, text));
        }
        if let Some(lines) = file("response.frames") {
            let lines = String::from_utf8(lines).unwrap();
            return Some((AnswerShape::Frames, frames(&lines)));
        }
        file("response.json").map(|text| (AnswerShape::Whole, text))
    }

    fn status(&self) -> StatusCode {
        let status = fs::read_to_string(self.folder.join("status"));
        let code = status.map_or(200, |text| text.trim().parse().unwrap());
        StatusCode::from_u16(code).unwrap()
    }

    fn translated(&self) -> Result<Translated, Untranslatable> {
        let request = fs::read(self.folder.join("request.json")).unwrap();
        self.translation().request(&request, OUTPUT_MAX)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let sent = match self.translated() {
            Ok(sent) => sent,
            Err(refused) => {
                return format!(
                    "=== refused\n{} {}\n{refused}\n",
                    refused.code(),
                    refused.param()
                );
            }
        };
        let body = String::from_utf8(sent.body.to_vec()).unwrap();
        writeln!(text, "=== sent: {}\n{body}", sent.operation.as_str()).unwrap();
        let Some((shape, answer)) = self.answer() else {
            return text;
        };
        let terms = Terms {
            wants_usage: sent.wants_usage,
            ..terms()
        };
        let got = if shape.is_stream() {
            let (got, lost) = streamed(self.translation(), terms, &[&answer]);
            assert!(!lost, "{}", self.folder.display());
            got
        } else {
            let mut reply = self.translation().reply(terms);
            let whole = reply.whole(self.status(), &answer);
            whole.map_or_else(|error| error.to_string().into(), Vec::from)
        };
        writeln!(text, "=== answered\n{}", String::from_utf8(got).unwrap()).unwrap();
        text
    }
}

#[test]
fn every_case_is_sent_and_answered_as_recorded() {
    let cases = Case::all();
    for case in &cases {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&case.folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("expected", case.text()));
    }
    assert!(cases.len() >= 40, "{} cases were found", cases.len());
}

#[test]
fn a_recorded_answer_says_the_same_in_the_callers_words() {
    for case in Case::all() {
        let Some((shape, answer)) = case.answer().filter(|_| case.status().is_success()) else {
            continue;
        };
        let (ours, said) = if shape.is_stream() {
            let (got, _) = streamed(case.translation(), terms(), &[&answer]);
            (got, AnswerShape::Stream)
        } else {
            let mut reply = case.translation().reply(terms());
            let whole = reply.whole(case.status(), &answer);
            let Ok(whole) = whole else { continue };
            (whole.to_vec(), AnswerShape::Whole)
        };
        let theirs = read(case.dialect(), shape, &answer);
        let mut ours = read(case.caller, said, &ours);
        // After an error nothing more is said.
        if theirs.failed {
            assert!(ours.failed && !ours.ended, "{}", case.folder.display());
            continue;
        }
        // Anthropic's words have a usage in any case.
        ours.usage = theirs.usage.and(ours.usage);
        assert_eq!(ours, theirs, "{}", case.folder.display());
    }
}

#[test]
fn a_recorded_stream_that_is_cut_anywhere_is_said_in_the_same_bytes() {
    let mut streams = 0;
    for case in Case::all() {
        let Some((shape, answer)) = case.answer().filter(|(shape, _)| shape.is_stream()) else {
            continue;
        };
        streams += 1;
        let whole = streamed(case.translation(), terms(), &[&answer]);
        for (bytes, step) in spellings(shape, &answer) {
            for at in (0..=bytes.len()).step_by(step) {
                let (before, after) = bytes.split_at(at);
                let cut = streamed(case.translation(), terms(), &[before, after]);
                assert_eq!(cut, whole, "{at} of {}", case.folder.display());
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(streamed(case.translation(), terms(), &single), whole);
        }
    }
    assert!(streams >= 12, "{streams} streams were found");
}

/// The ways of writing the same stream that its standard allows, which are all said alike, and how
/// far their cuts are from each other.
fn spellings(shape: AnswerShape, answer: &[u8]) -> Vec<(Vec<u8>, usize)> {
    if shape == AnswerShape::Frames {
        return vec![(answer.to_vec(), 1)];
    }
    let plain = String::from_utf8(answer.to_vec()).unwrap();
    let texts = [
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        format!("\u{feff}{plain}"),
        plain.replace("\n\n", "\n: a comment, \u{20ac}\u{1f980}\n\nretry: 1\n\n"),
    ];
    let others = texts.map(|text| (text.into_bytes(), 23));
    [vec![(answer.to_vec(), 1)], others.to_vec()].concat()
}
