//! Which paths are served, as what, and which near misses are not.

use super::*;

fn route<'p>(method: &Method, path: &'p str) -> Option<Matched<'p>> {
    Operation::route(method, path, &HeaderMap::new())
}

#[test]
fn every_served_path_has_its_operation() {
    let table = [
        (
            "/v1/chat/completions",
            Operation::ChatCompletions,
            Face::OpenAi,
        ),
        ("/v1/completions", Operation::Completions, Face::OpenAi),
        ("/v1/embeddings", Operation::Embeddings, Face::OpenAi),
        ("/v1/messages", Operation::Messages, Face::Anthropic),
        (
            "/v1/messages/count_tokens",
            Operation::CountTokens,
            Face::Anthropic,
        ),
        ("/v1/models", Operation::ListModels, Face::OpenAi),
        (
            "/openai/v1/chat/completions",
            Operation::ChatCompletions,
            Face::AzureV1,
        ),
        ("/openai/v1/models", Operation::ListModels, Face::AzureV1),
        (
            "/openai/models",
            Operation::ListModels,
            Face::AzureDeployments,
        ),
    ];
    for (path, operation, face) in table {
        let method = operation.method();
        assert_eq!(
            route(&method, path),
            Some(Matched {
                operation,
                face,
                model: None,
                thing: None,
            }),
            "{path}"
        );
    }
}

#[test]
fn a_near_miss_is_no_route() {
    for path in [
        "/v1/chat/completions/",
        "/v1//messages",
        "/V1/messages",
        "/v1/",
        "/",
        "",
        "/openai/chat/completions",
        "/openai/deployments//chat/completions",
        "/openai/deployments/../chat/completions",
        "/openai/deployments/d/chat/completions/",
        "/openai/v1/messages",
        "/openai/v1/",
    ] {
        assert_eq!(route(&Method::POST, path), None, "{path}");
    }
    assert_eq!(route(&Method::GET, "/v1/messages"), None);
    assert_eq!(route(&Method::DELETE, "/v1/models/x"), None);
}

#[test]
fn a_model_list_is_answered_in_the_dialect_of_its_header() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "anthropic-version",
        http::HeaderValue::from_static("2023-06-01"),
    );
    let matched = Operation::route(&Method::GET, "/v1/models", &headers).unwrap();
    assert_eq!(matched.dialect(), Dialect::Anthropic);
    let chat = Operation::route(&Method::POST, "/v1/chat/completions", &headers).unwrap();
    assert_eq!(chat.dialect(), Dialect::OpenAi);
}

#[test]
fn a_deployment_in_the_path_is_the_model() {
    for (path, operation, deployment) in [
        ("d/chat/completions", Operation::ChatCompletions, "d"),
        ("my%20chat/completions", Operation::Completions, "my chat"),
        (
            "name/d-1/chat/completions",
            Operation::ChatCompletions,
            "name/d-1",
        ),
        ("d/embeddings", Operation::Embeddings, "d"),
    ] {
        let path = format!("/openai/deployments/{path}");
        let matched = route(&Method::POST, &path).unwrap();
        assert_eq!(
            (matched.operation, matched.face),
            (operation, Face::AzureDeployments)
        );
        assert_eq!(matched.model.as_deref(), Some(deployment));
    }
}

#[test]
fn a_model_in_the_path_is_decoded_and_cannot_climb() {
    let model = |path: &str| route(&Method::GET, path)?.model.map(Cow::into_owned);
    assert_eq!(model("/v1/models/gpt-4o").as_deref(), Some("gpt-4o"));
    assert_eq!(
        model("/v1/models/meta%2Fllama-3%3A8b").as_deref(),
        Some("meta/llama-3:8b")
    );
    for path in [
        "",
        "..",
        "a/../b",
        "%2e%2e/x",
        "a%2F..%2Fb",
        "a%00",
        "a%0d%0ab",
        "%zz",
        "%e9",
        "a%3Fb",
        "a#b",
    ] {
        assert_eq!(model(&format!("/v1/models/{path}")), None, "{path}");
    }
}

#[test]
fn a_model_of_bedrocks_is_named_by_the_path() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.m-v1:0";
    let table = [
        (
            "us.amazon.m-v1:0/converse",
            Operation::Converse,
            "us.amazon.m-v1:0",
        ),
        (
            "us.amazon.m-v1%3A0/converse-stream",
            Operation::ConverseStream,
            "us.amazon.m-v1:0",
        ),
        (
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.m-v1%3A0/invoke",
            Operation::Invoke,
            arn,
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.m-v1:0/invoke-with-response-stream",
            Operation::InvokeStream,
            arn,
        ),
    ];
    for (path, operation, model) in table {
        let path = format!("/model/{path}");
        let matched = route(&Method::POST, &path).unwrap();
        assert_eq!(
            (matched.operation, matched.face),
            (operation, Face::Bedrock)
        );
        assert_eq!(matched.model.as_deref(), Some(model));
        assert_eq!(route(&Method::GET, &path), None);
    }
    for path in [
        "/model/m",
        "/model//converse",
        "/model/m/count-tokens",
        "/model/a%2F..%2Fb/invoke",
    ] {
        assert_eq!(route(&Method::POST, path), None, "{path}");
    }
}

#[test]
fn an_id_is_encoded_as_one_segment() {
    let mut path = String::new();
    push_encoded(&mut path, "a/b c?é");
    assert_eq!(path, "a%2Fb%20c%3F%C3%A9");
    let mut path = String::new();
    push_reserved_encoded(&mut path, "arn:a/b.c-1:0");
    assert_eq!(path, "arn%3Aa%2Fb.c-1%3A0");
}
