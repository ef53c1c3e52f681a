//! The committed catalogue is the one that the generator makes; what it cannot carry, it names.

use std::path::PathBuf;

use super::{CATALOGUE, Source, generate, source, undated};

/// Generates from a price list of one `openai` model, with the other sellers empty.
fn generated(model: &str) -> Result<super::Generated, String> {
    let others =
        r#"{"id":"anthropic","models":[]},{"id":"azure","models":[]},{"id":"aws","models":[]}"#;
    let list = format!(r#"[{{"id":"openai","models":[{model}]}},{others}]"#);
    let path = std::env::temp_dir().join(format!(
        "prices-{}-{:016x}.json",
        std::process::id(),
        super::content_hash(list.as_bytes())
    ));
    std::fs::write(&path, list).unwrap();
    let made = generate(&Source {
        path: path.clone(),
        version: "0.2.1".to_owned(),
    });
    std::fs::remove_file(PathBuf::from(&path)).unwrap();
    made
}

fn with_prices(prices: &str) -> Result<super::Generated, String> {
    generated(&format!(
        r#"{{"id":"m","match":{{"equals":"M"}},"prices":{prices}}}"#
    ))
}

#[test]
fn the_committed_catalogue_is_the_one_that_is_generated() {
    let root = crate::workspace_root();
    let list = match source(&root) {
        Ok(list) if list.path.exists() => list,
        Ok(list) => return eprintln!("SKIPPED: {} is not unpacked here", list.path.display()),
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    let made = generate(&list).unwrap();
    let committed = std::fs::read_to_string(root.join(CATALOGUE)).unwrap();
    assert!(
        made.text == committed,
        "stale: run `cargo run -p xtask -- gen`"
    );
    assert!(
        !made.notes.iter().any(|note| note.contains("rounded")),
        "every price of this version is whole: {:#?}",
        made.notes
    );
}

#[test]
fn prices_become_whole_nano_dollars_and_long_requests_are_repriced_whole() {
    let made = with_prices(
        r#"{"input_mtok":{"base":2.5,"tiers":[{"start":200000,"price":5}]},"output_mtok":0.18000000000000002,"requests_kcount":35}"#,
    )
    .unwrap();
    let line = made.text.lines().nth(1).unwrap();
    assert_eq!(
        line,
        concat!(
            r#"{"provider":"openai","model":"m","equals":["m"],"prices":[{"#,
            r#""rates":{"input":2500000000,"output":180000000,"request":35000000},"tiers":[{"#,
            r#""above_input_tokens":200000,"rates":{"input":5000000000,"output":180000000,"request":35000000}}]}]}"#
        )
    );
    assert!(
        made.notes
            .iter()
            .any(|note| note.contains("is rounded to 180000000"))
    );
}

#[test]
fn a_model_that_would_be_charged_too_little_is_left_out_and_named() {
    for prices in [
        "{}",
        r#"{"audio_hours":0.36}"#,
        r#"{"input_mtok":1}"#,
        r#"{"output_mtok":1}"#,
        r#"{"input_mtok":1,"output_mtok":2,"output_image_mtok":2.1}"#,
    ] {
        let made = with_prices(prices).unwrap();
        assert_eq!(made.text.lines().count(), 1, "{prices}");
        assert!(
            made.notes
                .iter()
                .any(|note| note.contains("openai m: left out")),
            "{prices}"
        );
    }
    let cheaper = with_prices(r#"{"input_mtok":1,"output_mtok":2,"output_image_mtok":2}"#).unwrap();
    assert_eq!(cheaper.text.lines().count(), 2);
}

#[test]
fn what_is_not_understood_stops_the_generation() {
    for prices in [
        r#"{"input_mtok":1,"output_mtok":1,"new_mtok":1}"#,
        r#"{"input_mtok":-1,"output_mtok":1}"#,
        r#"[{"constraint":{"start_time":"01:00:00Z"},"prices":{"input_mtok":1,"output_mtok":1}}]"#,
        r#"[{"constraint":{"start_date":"2026-01-01"},"prices":{"input_mtok":1,"output_mtok":1}}]"#,
    ] {
        assert!(with_prices(prices).is_err(), "{prices}");
    }
    for clause in [
        r#"{"and":[{"equals":"a"}]}"#,
        r#"{"regex":"^m.*$"}"#,
        r#"{"like":"m"}"#,
    ] {
        let model = format!(r#"{{"id":"m","match":{clause},"prices":{{}}}}"#);
        assert!(generated(&model).is_err(), "{clause}");
    }
}

#[test]
fn a_pattern_for_dated_names_is_the_name() {
    assert_eq!(
        undated(r"^gpt-5\.6-sol-\d{4}-\d{2}-\d{2}$"),
        Ok("gpt-5.6-sol".to_owned())
    );
    assert_eq!(
        undated(r"^claude-opus-5[-@]\d{8}$"),
        Ok("claude-opus-5".to_owned())
    );
    for other in [
        r"^o[134]",
        r"claude-\d{8}$",
        r"^gpt-5.6-\d{8}$",
        r"^(a|b)-\d{8}$",
        r"^a-\d{6}$",
    ] {
        assert!(undated(other).is_err(), "{other}");
    }
}
