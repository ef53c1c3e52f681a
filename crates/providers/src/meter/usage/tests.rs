//! What providers say, row by row.

use super::*;

fn openai_says(text: &str) -> Reported<Option<TokenUsage>> {
    openai(serde_json::from_str(text).unwrap(), Output::Tokens)
}

#[test]
fn openais_totals_are_split_into_disjoint_classes() {
    let usage = openai_says(
        r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
            "prompt_tokens_details":{"cached_tokens":60,"audio_tokens":10},
            "completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":5,
            "accepted_prediction_tokens":1,"rejected_prediction_tokens":2}}"#,
    );
    let expected = TokenUsage {
        input: 30,
        cached_input: 60,
        audio_input: 10,
        output: 15,
        reasoning: 30,
        audio_output: 5,
        ..TokenUsage::NONE
    };
    assert_eq!(usage, Ok(Some(expected)));
    assert_eq!((expected.tokens_in(), expected.tokens_out()), (100, 50));
}

#[test]
fn reasoning_that_a_server_counts_apart_is_found_in_its_total() {
    let usage = openai_says(
        r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":45,
            "completion_tokens_details":{"reasoning_tokens":30}}"#,
    );
    let expected = TokenUsage {
        reasoning: 30,
        ..TokenUsage::plain(10, 5)
    };
    assert_eq!(usage, Ok(Some(expected)));
}

#[test]
fn absent_is_nothing_and_zero_is_zero() {
    for text in ["null", "[]", "5"] {
        assert_eq!(openai_says(text), Ok(None), "{text}");
    }
    assert_eq!(openai(Nested::default(), Output::Tokens), Ok(None));
    let zero = openai_says(r#"{"prompt_tokens":0,"completion_tokens":0}"#);
    assert_eq!(zero, Ok(Some(TokenUsage::NONE)));
    let embedding = openai(
        serde_json::from_str(r#"{"prompt_tokens":8,"total_tokens":8}"#).unwrap(),
        Output::Nothing,
    );
    assert_eq!(embedding, Ok(Some(TokenUsage::plain(8, 0))));
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let table = [
        (
            r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
            InvalidUsage::NotACount,
        ),
        (
            r#"{"prompt_tokens":1.5,"completion_tokens":1}"#,
            InvalidUsage::NotACount,
        ),
        (
            r#"{"prompt_tokens":"1","completion_tokens":1}"#,
            InvalidUsage::NotACount,
        ),
        (
            r#"{"prompt_tokens":1e2,"completion_tokens":1}"#,
            InvalidUsage::NotACount,
        ),
        (
            r#"{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":1}"#,
            InvalidUsage::NotACount,
        ),
        (r#"{"prompt_tokens":1}"#, InvalidUsage::Incomplete),
        (r#"{"completion_tokens":1}"#, InvalidUsage::Incomplete),
        (r"{}", InvalidUsage::Incomplete),
        (
            r#"{"prompt_tokens":18446744073709551615,"completion_tokens":1}"#,
            InvalidUsage::AboveBound,
        ),
        (
            r#"{"prompt_tokens":99999999999999999999999,"completion_tokens":1}"#,
            InvalidUsage::AboveBound,
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":9}"#,
            InvalidUsage::PartsExceedTotal,
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":10}}"#,
            InvalidUsage::PartsExceedTotal,
        ),
        (
            r#"{"prompt_tokens":9,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":2}}"#,
            InvalidUsage::PartsExceedTotal,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(openai_says(text), Err(expected), "{text}");
    }
}

#[test]
fn anthropics_counts_are_already_disjoint_but_for_the_hours_writes() {
    let mut counts = AnthropicCounts::default();
    let said = r#"{"input_tokens":10,"cache_read_input_tokens":20,"cache_creation_input_tokens":30,
        "cache_creation":{"ephemeral_5m_input_tokens":18,"ephemeral_1h_input_tokens":12},"output_tokens":1}"#;
    assert_eq!(counts.take(serde_json::from_str(said).unwrap()), Ok(true));
    assert_eq!(
        counts.take(serde_json::from_str(r#"{"output_tokens":77}"#).unwrap()),
        Ok(true)
    );
    let expected = TokenUsage {
        cached_input: 20,
        cache_write: 18,
        cache_write_hour: 12,
        ..TokenUsage::plain(10, 77)
    };
    assert_eq!(counts.all(), Ok(Some(expected)));
}

#[test]
fn anthropics_split_cannot_exceed_its_total() {
    let mut counts = AnthropicCounts::default();
    let said = r#"{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":3,
        "cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":2}}"#;
    assert_eq!(counts.take(serde_json::from_str(said).unwrap()), Ok(true));
    assert_eq!(counts.all(), Err(InvalidUsage::PartsExceedTotal));
}

#[test]
fn a_usage_beyond_what_the_request_allows_is_refused() {
    let bounds = Bounds {
        tokens_in: 10,
        tokens_out: 5,
    };
    assert_eq!(
        within(TokenUsage::plain(10, 5), bounds),
        Ok(TokenUsage::plain(10, 5))
    );
    assert_eq!(
        within(TokenUsage::plain(11, 5), bounds),
        Err(InvalidUsage::AboveBound)
    );
    let reasoning = TokenUsage {
        reasoning: 1,
        ..TokenUsage::plain(10, 5)
    };
    assert_eq!(within(reasoning, bounds), Err(InvalidUsage::AboveBound));
}
