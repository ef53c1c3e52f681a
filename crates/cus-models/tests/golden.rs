//! Holds the records to `golden.json`: what the original did, recorded by running it.
//!
//! Each case has the fields before a call, the call, and what came back and what the fields were afterwards.
//! A case ends in one of three ways, and the totals are asserted so that none is lost:
//!
//! - *agrees*: the same fields, the same answer and the same fields afterwards, or the same refusal;
//! - *refused*: the original takes the input and this crate refuses it, for a reason that [`REFUSED_HERE`], the
//!   tag `python_dynamic` or a number outside its bounds gives. With such a number set by hand the arithmetic
//!   is still compared;
//! - *unwritable*: the call cannot be written in Rust (an argument left out, `None` for a text).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "golden/records.rs"]
mod records;

use std::collections::HashSet;

use cus_models::{CusIntegration, CusLLMUsage, CusUsageDaily, utc_now};
use jiff::Timestamp;
use records::{Answer, Record};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

const GOLDEN: &str = include_str!("golden.json");
const COUNT_MAX: i64 = 9_007_199_254_740_991;

/// What the original takes and this crate refuses, other than by a tag; the crate's documentation says why.
const REFUSED_HERE: [(&str, &str); 7] = [
    (
        "CusIntegration.construct.003",
        "a name, states and a limit out of bounds",
    ),
    ("CusIntegration.validate.015", "an unknown health state"),
    ("CusIntegration.validate.025", "an unknown status"),
    ("CusIntegration.validate.029", "a negative limit"),
    ("CusIntegration.validate.030", "a negative limit"),
    (
        "CusLLMUsage.construct.003",
        "a call id, counts and a policy result out of bounds",
    ),
    ("CusLLMUsage.validate.047", "an empty call id"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    class: String,
    kind: String,
    fields: Map<String, Value>,
    call: String,
    args: Vec<Value>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Failure>,
    after: Option<Map<String, Value>>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    #[serde(rename = "type")]
    _exception: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Detail {
    field: String,
    rule: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<Failure>,
}

impl Case {
    fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|given| given == tag)
    }

    fn refused_here(&self) -> bool {
        REFUSED_HERE.iter().any(|(id, _)| *id == self.id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Agrees,
    Refused,
    Unwritable,
}

/// Runs a case and says how it ended; panics where the crate does other than it should.
fn run<R: Record>(case: &Case) -> Outcome {
    match case.kind.as_str() {
        "method" | "property" | "sequence" => run_call::<R>(case),
        "construct" => run_construct::<R>(case),
        "validate" => run_validate::<R>(case),
        kind => panic!("{}: there is no kind {kind}", case.id),
    }
}

fn run_call<R: Record>(case: &Case) -> Outcome {
    let read = serde_json::from_value::<R>(Value::Object(case.fields.clone()));
    let (mut record, numbers_out_of_bounds) = match read {
        Ok(record) => (record, false),
        Err(_) if case.has("python_dynamic") => return Outcome::Refused,
        Err(refused) => match with_numbers_set_by_hand(case) {
            Some(record) => (record, true),
            None => panic!("{}: {refused}", case.id),
        },
    };
    let written = serde_json::to_value(&record).unwrap();
    assert_eq!(written, Value::Object(case.fields.clone()), "{}", case.id);

    let before = utc_now();
    if case.kind == "sequence" {
        let steps: Vec<(String, Vec<Value>)> = case
            .args
            .iter()
            .map(|step| serde_json::from_value(step.clone()).unwrap())
            .collect();
        let recorded: Vec<Step> =
            serde_json::from_str(case.result.as_ref().unwrap().get()).unwrap();
        assert_eq!(steps.len(), recorded.len(), "{}", case.id);
        for ((name, args), step) in steps.iter().zip(&recorded) {
            let answer = record.call(name, args);
            let result = step.result.to_string();
            assert_answer(case, &answer, Some(&result), step.error.as_ref());
        }
    } else {
        let answer = record.call(&case.call, &case.args);
        if matches!(answer, Answer::Unwritable | Answer::RefusedArgument) {
            assert!(case.has("python_dynamic"), "{}: {answer:?}", case.id);
            let written = serde_json::to_value(&record).unwrap();
            assert_eq!(written, Value::Object(case.fields.clone()), "{}", case.id);
            let unwritable = answer == Answer::Unwritable;
            return if unwritable {
                Outcome::Unwritable
            } else {
                Outcome::Refused
            };
        }
        let result = case.result.as_ref().map(|result| result.get());
        assert_answer(case, &answer, result, case.error.as_ref());
    }
    assert!(
        !case.has("python_dynamic"),
        "{}: this should be refused",
        case.id
    );
    assert_fields(case, &record, before);
    if numbers_out_of_bounds {
        Outcome::Refused
    } else {
        Outcome::Agrees
    }
}

/// The record of a case whose numbers are out of bounds: read with zeros, then set without validation.
fn with_numbers_set_by_hand<R: Record>(case: &Case) -> Option<R> {
    let mut fields = case.fields.clone();
    let mut out_of_bounds = Vec::new();
    for (field, value) in &mut fields {
        if let Some(number) = value.as_i64()
            && !(0..=COUNT_MAX).contains(&number)
        {
            out_of_bounds.push((field.clone(), number));
            *value = json!(0);
        }
    }
    if out_of_bounds.is_empty() {
        return None;
    }
    let mut record: R = serde_json::from_value(Value::Object(fields)).unwrap();
    for (field, number) in &out_of_bounds {
        *record.number(field) = *number;
    }
    let refused = record.valid().unwrap_err();
    assert_eq!(refused.field(), out_of_bounds[0].0, "{}", case.id);
    Some(record)
}

/// Asserts that a call came to what is recorded. No result and no error is the original's `None`.
fn assert_answer(case: &Case, answer: &Answer, result: Option<&str>, error: Option<&Failure>) {
    let id = &case.id;
    if let Some(failure) = error {
        assert_eq!(
            failure.code.as_deref(),
            Some("integration_in_error_state"),
            "{id}"
        );
        assert_eq!(*answer, Answer::ErrorState, "{id}");
        return;
    }
    let result = result.unwrap_or("null");
    match answer {
        Answer::Nothing => assert_eq!(result, "null", "{id}"),
        Answer::Flag(flag) => assert_eq!(result, flag.to_string(), "{id}"),
        Answer::Number(number) => {
            let sum: i128 = result.parse().unwrap();
            let kept = i64::try_from(sum).unwrap_or(i64::MAX);
            assert!(case.has("exceeds_int64") || i128::from(kept) == sum, "{id}");
            assert_eq!(*number, kept, "{id}");
        }
        Answer::Fraction(fraction) => {
            let recorded: f64 = result.parse().unwrap();
            assert_eq!(
                fraction.to_bits(),
                recorded.to_bits(),
                "{id}: {fraction}, {recorded}"
            );
        }
        Answer::ErrorState | Answer::RefusedArgument | Answer::Unwritable => {
            panic!("{id}: {answer:?} instead of {result}")
        }
    }
}

/// Asserts that a record's fields are those recorded after the call, which began at `before`.
fn assert_fields<R: Record>(case: &Case, record: &R, before: Timestamp) {
    let id = &case.id;
    let Value::Object(fields) = serde_json::to_value(record).unwrap() else {
        panic!("{id}: the record is not an object");
    };
    let after = case.after.as_ref().unwrap();
    let keys = |fields: &Map<String, Value>| fields.keys().cloned().collect::<HashSet<_>>();
    assert_eq!(keys(&fields), keys(after), "{id}");
    for (field, recorded) in after {
        let value = &fields[field];
        match recorded.as_str() {
            Some("NOW") => {
                let time: Timestamp = value.as_str().unwrap().parse().unwrap();
                assert!(
                    before <= time && time <= utc_now(),
                    "{id}: {field} is {value}"
                );
                assert!(
                    value.as_str().unwrap().ends_with('Z'),
                    "{id}: {field} is {value}"
                );
            }
            Some("UUID") => {
                let uuid: uuid::Uuid = value.as_str().unwrap().parse().unwrap();
                assert_eq!(uuid.get_version_num(), 4, "{id}: {field} is {value}");
            }
            _ => assert_eq!(value, recorded, "{id}: {field}"),
        }
    }
}

fn run_construct<R: Record>(case: &Case) -> Outcome {
    let before = utc_now();
    match serde_json::from_value::<R>(Value::Object(case.fields.clone())) {
        Ok(read) => {
            assert!(
                !case.refused_here() && !case.has("python_dynamic"),
                "{}",
                case.id
            );
            assert_fields(case, &read, before);
            assert_fields(case, &R::construct(&case.fields), before);
            Outcome::Agrees
        }
        Err(refused) => {
            assert!(
                case.refused_here() || case.has("python_dynamic"),
                "{}: {refused}",
                case.id
            );
            Outcome::Refused
        }
    }
}

fn run_validate<R: Record>(case: &Case) -> Outcome {
    assert!(case.has("declared_constraint"), "{}", case.id);
    let read = serde_json::from_value::<R>(Value::Object(case.fields.clone()));
    match (read, &case.error) {
        (Ok(record), None) => {
            assert!(!case.refused_here(), "{}: this should be refused", case.id);
            assert_eq!(record.valid(), Ok(()), "{}", case.id);
            Outcome::Agrees
        }
        (Err(refused), Some(failure)) => {
            // A value of the wrong type is reported with its place in the text and not with its field.
            let named = ["missing", "string_too_long", "greater_than_equal", "enum"];
            let message = refused.to_string();
            assert!(
                failure
                    .details
                    .iter()
                    .any(|detail| !named.contains(&detail.rule.as_str())
                        || message.contains(&format!("`{}`", detail.field))),
                "{}: {message}",
                case.id
            );
            Outcome::Agrees
        }
        (Err(refused), None) => {
            assert!(case.refused_here(), "{}: {refused}", case.id);
            Outcome::Refused
        }
        (Ok(_), Some(_)) => panic!("{}: this should be refused", case.id),
    }
}

#[test]
fn the_records_do_what_the_original_did() {
    let cases: Vec<Case> = serde_json::from_str(GOLDEN).unwrap();
    let ids: HashSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!((cases.len(), ids.len()), (283, 283));
    for (id, reason) in REFUSED_HERE {
        assert!(ids.contains(id), "there is no case {id}: {reason}");
    }

    let outcomes: Vec<(&str, Outcome)> = cases
        .iter()
        .map(|case| {
            let outcome = match case.class.as_str() {
                "CusIntegration" => run::<CusIntegration>(case),
                "CusLLMUsage" => run::<CusLLMUsage>(case),
                "CusUsageDaily" => run::<CusUsageDaily>(case),
                class => panic!("{}: there is no class {class}", case.id),
            };
            (case.class.as_str(), outcome)
        })
        .collect();
    let count = |class: &str| {
        [Outcome::Agrees, Outcome::Refused, Outcome::Unwritable].map(|outcome| {
            outcomes
                .iter()
                .filter(|found| **found == (class, outcome))
                .count()
        })
    };
    assert_eq!(count("CusIntegration"), [161, 16, 3]);
    assert_eq!(count("CusLLMUsage"), [38, 9, 0]);
    assert_eq!(count("CusUsageDaily"), [41, 15, 0]);
}
