//! What a key file may be, and the many things it may not.

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;

use super::*;

pub(super) const ONE: Seeded = Seeded("one");
pub(super) const TWO: Seeded = Seeded("two");
pub(super) const THREE: Seeded = Seeded("three");

/// A key as good as random, and the same each time; no usable key stands in this file.
pub(super) struct Seeded(&'static str);

impl fmt::Display for Seeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(digest(&SHA256, self.0.as_bytes())))
    }
}

fn problem(text: &str) -> KeyFileProblem {
    match KeyRing::parse(text) {
        Err(VaultError::KeyFile(problem)) => problem,
        other => panic!("{text:?} gave {other:?}"),
    }
}

/// The same 32 bytes in a spelling whose two spare bits are not zero.
fn not_canonical(key: &str) -> String {
    let last = key.chars().rev().nth(1).unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let next = alphabet
        .chars()
        .skip_while(|character| *character != last)
        .nth(1)
        .unwrap();
    format!("{}{next}=", key.get(..TEXT_LENGTH - 2).unwrap())
}

fn file(key: &[u8]) -> String {
    format!("k1:{}\npepper:{TWO}", STANDARD.encode(key))
}

#[test]
fn a_key_file_with_comments_blank_lines_and_windows_line_ends_is_read() {
    let text = format!("# mine\r\n\r\n  new:{ONE}  \r\npepper:{TWO}\r\n#old:x\r\nold:{THREE}");
    let ring = KeyRing::parse(&text).unwrap();
    assert_eq!(
        ring.ids().map(|id| id.to_string()).collect::<Vec<_>>(),
        ["new", "old"]
    );
}

#[test]
fn a_file_that_lacks_a_line_or_breaks_one_is_refused() {
    use KeyFileProblem as P;
    let cases = [
        (String::new(), P::NoMasterKey),
        ("# nothing\n\n".to_owned(), P::NoMasterKey),
        (format!("pepper:{TWO}"), P::NoMasterKey),
        (format!("k1:{ONE}"), P::NoPepper),
        (format!("{ONE}"), P::NotAKey { line: 1 }),
        (format!("pepper:{TWO}\n\nchangeme"), P::NotAKey { line: 3 }),
    ];
    for (text, expected) in cases {
        assert_eq!(problem(&text), expected, "{text}");
    }
}

#[test]
fn a_key_that_is_not_thirty_two_bytes_in_base64_is_refused() {
    let one = ONE.to_string();
    let keys = [
        String::new(),
        "changeme".to_owned(),
        STANDARD.encode([7_u8; 31]),
        STANDARD.encode([7_u8; 33]),
        one.replace('=', "A"),
        one.replace('=', ""),
        one.replacen(|_| true, "-", 1),
        not_canonical(&one),
        "ab".repeat(32),
        format!(" {one}"),
    ];
    for key in keys {
        let text = format!("pepper:{TWO}\nk1:{key}");
        assert_eq!(problem(&text), KeyFileProblem::BadKey { line: 2 }, "{key}");
        let text = format!("k1:{ONE}\npepper:{key}");
        assert_eq!(problem(&text), KeyFileProblem::BadKey { line: 2 }, "{key}");
    }
}

#[test]
fn a_line_with_a_bad_id_is_refused() {
    for id in ["K1", "", "k 1", "k1 ", "Pepper", &"k".repeat(33)] {
        let text = format!("pepper:{TWO}\n{id}:{ONE}");
        assert_eq!(problem(&text), KeyFileProblem::BadId { line: 2 }, "{id}");
    }
}

#[test]
fn an_id_a_key_or_a_pepper_that_stands_twice_is_refused() {
    let files = [
        format!("k1:{ONE}\nk1:{THREE}\npepper:{TWO}"),
        format!("k1:{ONE}\nk2:{ONE}\npepper:{TWO}"),
        format!("k1:{TWO}\npepper:{TWO}"),
        format!("pepper:{TWO}\nk1:{TWO}"),
        format!("pepper:{TWO}\npepper:{THREE}\nk1:{ONE}"),
    ];
    for text in files {
        assert_eq!(
            problem(&text),
            KeyFileProblem::Repeated { line: 2 },
            "{text}"
        );
    }
}

#[test]
fn a_pepper_is_held_to_the_same_rules_as_a_master_key() {
    let zero = format!("k1:{ONE}\npepper:{}", STANDARD.encode([0; 32]));
    assert_eq!(problem(&zero), KeyFileProblem::Guessable { line: 2 });
    let published = format!("k1:{ONE}\npepper:{}", PUBLISHED[0]);
    assert_eq!(problem(&published), KeyFileProblem::Published { line: 2 });
}

#[test]
fn a_key_that_was_typed_or_counted_is_refused() {
    let counting: Vec<u8> = (0..32).collect();
    let by_sevens: Vec<u8> = (0..32).map(|index: u8| index.wrapping_mul(7)).collect();
    let nist_gcm = [
        0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83,
        0x08,
    ]
    .repeat(2);
    let mostly_zero = [
        [0; 20].as_slice(),
        &[9, 8, 200, 4, 77, 2, 3, 65, 99, 12, 145, 31],
    ]
    .concat();
    let doubled = digest(&SHA256, b"half").as_ref()[..16].repeat(2);
    let few: Vec<u8> = digest(&SHA256, b"half")
        .as_ref()
        .iter()
        .map(|byte| byte & 0xe1)
        .collect();
    let typed: [&[u8]; 11] = [
        &[0; 32],
        &[0xff; 32],
        &counting,
        &by_sevens,
        &nist_gcm,
        &mostly_zero,
        &doubled,
        &few,
        b"Zx9!qwErTy7#uIoP2$asDfGh4%jKlL6^",
        b"correct horse battery staple, ok",
        b"0123456789abcdef0123456789ABCDEF",
    ];
    for key in typed {
        assert_eq!(
            problem(&file(key)),
            KeyFileProblem::Guessable { line: 1 },
            "{key:?}"
        );
    }
}

#[test]
fn every_key_that_this_crate_shows_is_refused() {
    let sources = [include_str!("../keyfile.rs"), include_str!("../samples.rs")];
    let mut count = 0;
    for word in sources
        .iter()
        .flat_map(|text| text.split([' ', ':', '"', '\n']))
    {
        if word.len() == TEXT_LENGTH && word.ends_with('=') {
            count += 1;
            let text = format!("k1:{word}\npepper:{TWO}");
            assert_eq!(
                problem(&text),
                KeyFileProblem::Published { line: 1 },
                "{word}"
            );
        }
    }
    assert!(count >= 8, "found only {count}");
}

#[test]
fn a_problem_never_repeats_the_line() {
    let text = format!("canary-canary\npepper:{TWO}");
    let error = KeyRing::parse(&text).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
    assert_eq!(
        error.to_string(),
        "the key file is not usable: line 1 is not `<id>:<key>`"
    );
}

#[test]
fn a_generated_file_is_a_usable_ring_and_differs_each_time() {
    let one = KeyRing::generate_file_text().unwrap();
    let two = KeyRing::generate_file_text().unwrap();
    assert_eq!(one.ring().unwrap().active_id().as_str(), "k1");
    assert_ne!(one.0.as_str(), two.0.as_str());
    assert!(one.0.capacity() >= one.0.len() && one.0.len() < GENERATED_HEADER.len() + 256);
    let mut written = Vec::new();
    one.write_to(&mut written).unwrap();
    assert_eq!(written, one.0.as_bytes());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_never_panics(text in "(?s).{0,200}") {
        prop_assert!(KeyRing::parse(&text).is_err());
    }

    #[test]
    fn a_random_key_is_never_taken_for_a_guessable_one(seed in any::<u64>()) {
        let key = digest(&SHA256, &seed.to_be_bytes());
        prop_assert!(KeyRing::parse(&file(key.as_ref())).is_ok());
    }
}
