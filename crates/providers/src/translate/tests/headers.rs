//! Headers of requests and of answers that cross dialects.

use http::{HeaderMap, HeaderValue};

use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_callers_headers_that_only_its_own_dialect_knows_do_not_go_on() {
    let translation = translation(Dialect::OpenAi, CusProviderType::Anthropic);
    let mut told = headers(&[
        ("accept", "application/json"),
        ("openai-beta", "assistants=v2"),
        ("anthropic-version", "2023-06-01"),
        ("user-agent", "OpenAI/Python"),
        ("x-tollgate-call-id", "c1"),
    ]);
    translation.headers(&mut told).unwrap();
    assert_eq!(names(&told), ["user-agent", "x-tollgate-call-id"]);
    for name in ["anthropic-beta", "x-amzn-bedrock-trace"] {
        let refused = translation.headers(&mut headers(&[(name, "x")]));
        assert_eq!(refused.unwrap_err().param(), name);
    }
}

#[test]
fn an_answer_in_other_words_has_headers_of_its_own() {
    let translation = translation(Dialect::OpenAi, CusProviderType::Bedrock);
    let mut reply = translation.reply(terms());
    let mut told = headers(&[
        ("content-type", "application/vnd.amazon.eventstream"),
        ("x-amzn-bedrock-input-token-count", "3"),
        ("openai-processing-ms", "3"),
        ("retry-after", "3"),
    ]);
    reply.head(&mut told, AnswerShape::Frames);
    assert_eq!(names(&told), ["content-type", "retry-after"]);
    assert_eq!(told["content-type"], "text/event-stream; charset=utf-8");
    reply.head(&mut told, AnswerShape::Whole);
    assert_eq!(told["content-type"], "application/json");
    let named = "ThrottlingException:http://internal.amazon.com/";
    reply.head(
        &mut headers(&[("x-amzn-errortype", named)]),
        AnswerShape::Whole,
    );
    let said = reply.whole(StatusCode::TOO_MANY_REQUESTS, br#"{"message":"slow"}"#);
    let said = String::from_utf8(said.unwrap().to_vec()).unwrap();
    assert!(
        said.contains(r#""code":"ThrottlingException""#) && said.contains("slow"),
        "{said}"
    );
}
