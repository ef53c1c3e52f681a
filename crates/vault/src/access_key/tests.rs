//! What an access key looks like, and what does not pass for one.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::samples;

/// Computed by another implementation from the sample pepper.
const KNOWN_KEY: &str = "tg_caller_0123456789abcdefghijABCDEFGHIJ424USEZd";
const KNOWN_DIGEST: &str = "21944859623a9838e2dbaabdee9806bc6898b21f749bf6e29977bd533a7a770f";

fn minted(role: Role) -> String {
    samples::ring(&["k1"]).mint(role).unwrap().reveal()
}

#[test]
fn a_known_key_has_the_digest_computed_elsewhere() {
    let digest = samples::ring(&["k1"]).digest(KNOWN_KEY).unwrap();
    assert_eq!(samples::hex(&digest.0), KNOWN_DIGEST);
}

#[test]
fn a_minted_key_names_its_role_and_is_found_by_its_digest() {
    let ring = samples::ring(&["k1"]);
    for role in Role::ALL {
        let key = ring.mint(role).unwrap();
        let (digest, prefix) = (key.digest(), key.prefix().to_owned());
        let text = key.reveal();
        assert_eq!(ring.digest(&text), Some(digest));
        assert!(text.starts_with(&prefix));
        assert_eq!(
            prefix.len(),
            "tg__".len() + role.as_str().len() + SHOWN_LENGTH
        );
        assert_eq!(
            text.len(),
            prefix.len() - SHOWN_LENGTH + RANDOM_LENGTH + CHECKSUM_LENGTH
        );
        assert!(text.starts_with(&format!("tg_{role}_")));
    }
}

#[test]
fn a_digest_survives_a_rotation_of_the_master_key_but_not_another_pepper() {
    let text = minted(Role::Caller);
    let before = samples::ring(&["k1"]).digest(&text).unwrap();
    let rotated = samples::ring(&["k2", "k1"]).digest(&text).unwrap();
    let elsewhere = KeyRing::generate().unwrap().digest(&text).unwrap();
    assert!(is_same(&before, &rotated));
    assert!(!is_same(&before, &elsewhere));
}

#[test]
fn the_checksum_catches_every_change_of_one_character() {
    let ring = samples::ring(&["k1"]);
    for role in Role::ALL {
        let key = minted(role).into_bytes();
        for place in 0..key.len() {
            for byte in 0x20..0x7f_u8 {
                let mut changed = key.clone();
                changed[place] = byte;
                let text = String::from_utf8(changed).unwrap();
                assert_eq!(
                    ring.digest(&text).is_some(),
                    byte == key[place],
                    "{place} {byte}"
                );
            }
        }
    }
}

#[test]
fn a_key_cut_short_prolonged_or_under_another_role_is_none() {
    let ring = samples::ring(&["k1"]);
    let key = minted(Role::Caller);
    for end in 0..key.len() {
        assert_eq!(ring.digest(key.get(..end).unwrap()), None);
    }
    let wrong = [
        format!("{key}0"),
        format!(" {key}"),
        format!("{key}\n"),
        format!("Bearer {key}"),
        key.replace("caller", "operator"),
        key.replace("caller", "root"),
        key.replace("tg_", "sk_"),
        key.replace("tg_", "TG_"),
        format!("tg_caller_{}", "é".repeat(19)),
    ];
    for text in wrong {
        assert_eq!(ring.digest(&text), None, "{text}");
    }
}

#[test]
fn a_body_of_the_wrong_length_or_alphabet_is_none_even_with_the_right_checksum() {
    let ring = samples::ring(&["k1"]);
    let long = "a".repeat(RANDOM_LENGTH + 1);
    let short = "a".repeat(RANDOM_LENGTH - 1);
    let right = "a".repeat(RANDOM_LENGTH);
    let bodies = [
        (format!("tg_caller_{right}"), true),
        (format!("tg_caller_{long}"), false),
        (format!("tg_caller_{short}"), false),
        (format!("tg_caller_{short}-"), false),
        (format!("tg_root_{right}"), false),
        (format!("tg_caller{right}"), false),
    ];
    for (body, is_key) in bodies {
        let sum = checksum(body.as_bytes()).map(char::from);
        let text: String = body.chars().chain(sum).collect();
        assert_eq!(ring.digest(&text).is_some(), is_key, "{text}");
    }
}

#[test]
fn a_hundred_thousand_random_keys_of_the_right_form_make_no_digest() {
    let ring = samples::ring(&["k1"]);
    for _ in 0..100_000 {
        let mut text = "tg_caller_".to_owned();
        push_random(&mut text).unwrap();
        text.push_str("aaaaaa");
        assert_eq!(ring.digest(&text), None, "{text}");
    }
}

#[test]
fn minted_keys_differ_and_use_every_digit_about_equally() {
    let ring = samples::ring(&["k1"]);
    let mut seen = HashSet::new();
    let mut counts = [0_u32; 128];
    for _ in 0..10_000 {
        let text = ring.mint(Role::Viewer).unwrap().reveal();
        let random = random_part(text.as_bytes()).unwrap();
        for byte in &random[..RANDOM_LENGTH] {
            counts[usize::from(*byte)] += 1;
        }
        assert!(seen.insert(text));
    }
    // 320,000 characters over 62 digits: 5161 each, with a deviation of 71.
    for digit in DIGITS {
        let count = counts[usize::from(*digit)];
        assert!(
            (4600..5700).contains(&count),
            "{} came {count} times",
            char::from(*digit)
        );
    }
}

#[test]
fn debug_shows_nothing_of_a_minted_key_but_its_prefix() {
    let key = samples::ring(&["k1"]).mint(Role::Admin).unwrap();
    let debug = format!("{key:?}");
    assert!(debug.contains(key.prefix()));
    let text = key.reveal();
    let random = text.get("tg_admin_".len() + SHOWN_LENGTH..).unwrap();
    assert!(!debug.contains(random.get(..4).unwrap()), "{debug}");
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "(?s).{0,80}", tail in "[0-9A-Za-z_é]{0,50}") {
        let ring = samples::ring(&["k1"]);
        prop_assert_eq!(ring.digest(&text), None);
        prop_assert_eq!(ring.digest(&format!("tg_admin_{tail}")), None);
    }
}
