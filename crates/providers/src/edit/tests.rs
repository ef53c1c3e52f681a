//! An edited body means what the original meant, but for the edit, however it is written.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::operation::Operation;

/// The edited text, and its meaning.
fn edited(body: &str, edit: impl Fn(&mut Edits, &RequestFacts)) -> (String, Value) {
    let facts = RequestFacts::read(Operation::ChatCompletions, body.as_bytes()).unwrap();
    let mut edits = Edits::of(&facts);
    edit(&mut edits, &facts);
    let sent = edits.apply(&Bytes::copy_from_slice(body.as_bytes()));
    assert_eq!(
        sent.len(),
        sent.pieces().iter().map(Bytes::len).sum::<usize>()
    );
    assert!(sent.pieces().iter().all(|piece| !piece.is_empty()));
    let text = String::from_utf8(sent.into_pieces().concat()).unwrap();
    // What we wrote is read by our own strict reader too: no member stands there twice.
    RequestFacts::read(Operation::ChatCompletions, text.as_bytes()).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn usage(edits: &mut Edits, facts: &RequestFacts) {
    edits.include_usage(&facts.places);
}

#[test]
fn a_body_without_edits_is_the_callers_own_memory() {
    let body = Bytes::from_static(br#"{"model":"a"}"#);
    let facts = RequestFacts::read(Operation::ChatCompletions, &body).unwrap();
    let mut edits = Edits::of(&facts);
    edits.model(&facts, "a");
    let sent = edits.apply(&body);
    assert_eq!(sent.pieces().len(), 1);
    assert_eq!(
        sent.pieces().first().map(|piece| piece.as_ptr()),
        Some(body.as_ptr())
    );
}

#[test]
fn usage_is_asked_for_whatever_the_caller_said_of_it() {
    let table = [
        (
            r#"{"model":"a"}"#,
            r#"{"stream_options":{"include_usage":true},"model":"a"}"#,
        ),
        ("{ }", r#"{"stream_options":{"include_usage":true} }"#),
        (
            r#"{"stream_options":null}"#,
            r#"{"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{ }}"#,
            r#"{"stream_options":{"include_usage":true }}"#,
        ),
        (
            r#"{"stream_options":{"x":1}}"#,
            r#"{"stream_options":{"include_usage":true,"x":1}}"#,
        ),
        (
            r#"{"stream_options" : {"include_usage" : false , "x":1}}"#,
            r#"{"stream_options" : {"include_usage" : true , "x":1}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":null}}"#,
            r#"{"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true}}"#,
            r#"{"stream_options":{"include_usage":true}}"#,
        ),
    ];
    for (body, expected) in table {
        assert_eq!(edited(body, usage).0, expected, "{body}");
    }
}

#[test]
fn a_cap_takes_the_place_of_null_and_never_stands_twice() {
    let cap =
        |member| move |edits: &mut Edits, facts: &RequestFacts| edits.cap(&facts.places, member, 9);
    let (text, _) = edited(r#"{"max_tokens": null}"#, cap(CapMember::MaxTokens));
    assert_eq!(text, r#"{"max_tokens": 9}"#);
    let (text, _) = edited(
        r#"{"max_tokens":null}"#,
        cap(CapMember::MaxCompletionTokens),
    );
    assert_eq!(text, r#"{"max_completion_tokens":9,"max_tokens":null}"#);
    let (text, _) = edited("{}", cap(CapMember::MaxCompletionTokens));
    assert_eq!(text, r#"{"max_completion_tokens":9}"#);
}

#[test]
fn a_model_is_replaced_where_it_stands_or_added() {
    let model = |edits: &mut Edits, facts: &RequestFacts| edits.model(facts, "b\"\\é");
    assert_eq!(
        edited(r#"{"x":1, "model" : "p/b"}"#, model).0,
        r#"{"x":1, "model" : "b\"\\é"}"#
    );
    assert_eq!(
        edited(r#"{"model":null}"#, model).1,
        json!({"model": "b\"\\é"})
    );
    assert_eq!(edited("{}", model).1, json!({"model": "b\"\\é"}));
}

/// White space as JSON allows it.
fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

/// Any JSON value, with texts that look like what is edited.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!(r#""model":"a","stream_options":{}"#)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("model|stream|[a-z\"\\\\é]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A request's members in any order, some of them ours.
fn members() -> impl Strategy<Value = Vec<(String, Value)>> {
    let ours = (
        prop::option::of(Just(json!("mine/a"))),
        prop::option::of(prop_oneof![
            Just(json!(null)),
            Just(json!({})),
            Just(json!({"a": [1], "include_usage": false})),
            Just(json!({"include_usage": null, "b": "}"})),
        ]),
        prop::option::of(Just(Value::Null)),
    );
    let others = prop::collection::btree_map("[A-Z_\"\\\\ü]{1,5}", value(), 0..5);
    (ours, others)
        .prop_map(|((model, options, cap), others)| {
            let named = [
                ("model", model),
                ("stream_options", options),
                ("max_tokens", cap),
            ];
            let ours = named
                .into_iter()
                .filter_map(|(name, it)| Some((name.to_owned(), it?)));
            ours.chain(others).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

/// Writes members with white space wherever JSON allows it at the top level.
fn written(members: &[(String, Value)], space: &str) -> String {
    let member = |(name, value): &(String, Value)| {
        format!(
            "{space}{}{space}:{space}{value}{space}",
            Value::from(name.as_str())
        )
    };
    let all: Vec<String> = members.iter().map(member).collect();
    let inner = if all.is_empty() {
        space.to_owned()
    } else {
        all.join(",")
    };
    format!("{space}{{{inner}}}{space}")
}

proptest! {
    #[test]
    fn an_edited_body_equals_the_original_but_for_the_edit(members in members(), space in space()) {
        let body = written(&members, &space);
        let (_, sent) = edited(&body, |edits, facts| {
            edits.model(facts, "b");
            edits.include_usage(&facts.places);
            edits.cap(&facts.places, CapMember::MaxTokens, 7);
        });
        let mut expected: Map<String, Value> = members.into_iter().collect();
        expected.insert("model".to_owned(), json!("b"));
        expected.insert("max_tokens".to_owned(), json!(7));
        let options = expected.entry("stream_options").or_insert(Value::Null);
        if options.is_null() {
            *options = json!({});
        }
        options.as_object_mut().unwrap().insert("include_usage".to_owned(), json!(true));
        prop_assert_eq!(sent, Value::Object(expected));
    }
}
