//! Bodies of callers: what is taken is JSON to everybody, and names one model to everybody.

use serde_json::Value;
use tollgate_core::config::IntegrationConfig;
use tollgate_providers::{Operation, RequestFacts};

/// The first byte chooses the operation, the rest is the body.
pub(crate) fn check(input: &[u8]) {
    let [choice, body @ ..] = input else {
        return;
    };
    let operation = match choice & 7 {
        0 => Operation::ChatCompletions,
        1 => Operation::Completions,
        2 => Operation::Messages,
        3 => Operation::Embeddings,
        4 => Operation::CountTokens,
        5 => Operation::Converse,
        6 => Operation::Invoke,
        _ => Operation::InvokeStream,
    };
    let Ok(facts) = RequestFacts::read(operation, body) else {
        return;
    };
    let config = IntegrationConfig::default();
    let bytes = u64::try_from(body.len()).expect("it is short");
    assert!(facts.input_bound(None) >= bytes, "fewer than its bytes");
    if let Ok(ask) = facts.ask(&config, None) {
        assert!(ask.worst.tokens_in() >= bytes || !operation.is_billed());
    }
    let _bounds = facts.bounds(&config, None);
    // Another reader, which takes the last of several members and has its own bound of depth.
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            let other = value.get("model").and_then(Value::as_str);
            assert_eq!(facts.model().map(|model| &**model), other, "another model");
            if operation.may_stream() {
                let streams = value.get("stream").and_then(Value::as_bool);
                let streams = streams == Some(true) || operation == Operation::InvokeStream;
                assert_eq!(facts.streams(), streams, "another stream");
            }
        }
        Err(error) => {
            let told = error.to_string();
            let is_only_strict = [
                "recursion limit",
                "number out of range",
                "surrogate",
                "escape",
            ]
            .iter()
            .any(|known| told.contains(known));
            assert!(is_only_strict, "taken, and no JSON: {told}");
        }
    }
}
