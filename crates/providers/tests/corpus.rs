//! What the fuzz targets check, on every input that is kept of them: ordinary runs of the tests guard what fuzzing found.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

#[path = "../../../fuzz/checks/edit.rs"]
mod edit;
#[path = "../../../fuzz/checks/form.rs"]
mod form;
#[path = "../../../fuzz/checks/frames.rs"]
mod frames;
#[path = "../../../fuzz/checks/framing.rs"]
mod framing;
#[path = "../../../fuzz/checks/key.rs"]
mod key;
#[path = "../../../fuzz/checks/request.rs"]
mod request;
#[path = "../../../fuzz/checks/stream.rs"]
mod stream;
#[path = "../../../fuzz/checks/translate.rs"]
mod translate;
#[path = "../../../fuzz/checks/url.rs"]
mod url;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

type Check = fn(&[u8]);

const TARGETS: [(&str, Check); 8] = [
    ("edit", edit::check),
    ("form", form::check),
    ("frames", frames::check),
    ("key", key::check),
    ("request", request::check),
    ("stream", stream::check),
    ("translate", translate::check),
    ("url", url::check),
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(fuzz().join(folder)).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_input_that_is_kept_passes_its_check() {
    for (target, check) in TARGETS {
        let folder = format!("corpus/{target}");
        let names = names_in(&folder);
        assert!(names.len() >= 3, "{target}: {} inputs", names.len());
        for name in names {
            let path = fuzz().join(&folder).join(&name);
            let input = fs::read(&path).unwrap();
            let checked = catch_unwind(|| check(&input));
            assert!(checked.is_ok(), "{} fails its check", path.display());
        }
    }
}

#[test]
fn every_fuzz_target_is_replayed() {
    let replayed = TARGETS.map(|(target, _)| format!("{target}.rs"));
    assert_eq!(names_in("fuzz_targets"), BTreeSet::from(replayed));
}
