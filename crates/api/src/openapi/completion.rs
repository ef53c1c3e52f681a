//! What is the same for many operations and is said once: refusals, headers, examples, tags.
//!
//! An operation says what it answers when all goes well, and refusals of its own; the others
//! follow from its method, its path, its body and its permission. An answer with a status that
//! is not described is a defect, and the suite looks for one.

use serde_json::{Map, Value, json};

use crate::idempotency;
use crate::precondition::is_conditional;

/// The examples: one of each body and answer, each really given and received.
const EXAMPLES: &str = include_str!("../../examples.json");

/// Refusals: status, name of the component, description, an example's code and detail.
const REFUSALS: [(&str, &str, &str, &str, &str); 14] = [
    (
        "400",
        "BadRequest",
        "A header, the query or the JSON cannot be read",
        "invalid_query",
        "?limit: give a whole number from 1 to 200",
    ),
    (
        "401",
        "Unauthorized",
        "No key, or one that does not work",
        "invalid_api_key",
        "no key, or one that does not work: send a live key as `Authorization: Bearer`",
    ),
    (
        "402",
        "PaymentRequired",
        "The month's budget or tokens do not allow it; `reason` has the figures",
        "budget_exceeded",
        "the month's budget does not allow it",
    ),
    (
        "403",
        "Forbidden",
        "The key's role may not do this",
        "permission_denied",
        "this key's role may not manage keys: use a key with another role",
    ),
    (
        "404",
        "NotFound",
        "There is no such thing, or it belongs to another tenant",
        "not_found",
        "there is no such integration",
    ),
    (
        "409",
        "Conflict",
        "It clashes with what is there, or with a like request that is being done",
        "integration_changed",
        "it was changed meanwhile: read it again and repeat",
    ),
    (
        "412",
        "PreconditionFailed",
        "It was changed since the state that If-Match names; the ETag is the present one",
        "precondition_failed",
        "somebody changed it since you read it: read it again, and repeat what is still wanted with its new ETag",
    ),
    (
        "413",
        "ContentTooLarge",
        "The body has more bytes than are read",
        "body_too_large",
        "the body has more than 1 MiB: send less",
    ),
    (
        "415",
        "UnsupportedMediaType",
        "The body is not JSON",
        "unsupported_media_type",
        "send JSON, with `content-type: application/json`",
    ),
    (
        "422",
        "UnprocessableContent",
        "The body breaks rules, all of which are told; or its idempotency key came with another request",
        "invalid",
        "/name: give 1 to 255 characters, not only spaces, without line breaks",
    ),
    (
        "429",
        "TooManyRequests",
        "Too often: Retry-After says when again",
        "too_often",
        "it was done a moment ago: wait",
    ),
    (
        "500",
        "InternalError",
        "A defect; the log has its cause under the request's id",
        "internal",
        "an internal error; the log has its cause under the request's id",
    ),
    (
        "502",
        "BadGateway",
        "A provider did not answer as it should",
        "upstream",
        "the provider did not answer as it should",
    ),
    (
        "503",
        "Unavailable",
        "The store cannot be reached; nothing was done",
        "unavailable",
        "the store cannot be reached now; try again in a moment",
    ),
];

/// Things with a revision, as the answers name their schemas.
const REVISED: [&str; 4] = ["Tenant", "Key", "CreatedKey", "Integration"];

const TAGS: [(&str, &str); 11] = [
    (
        "tenants",
        "The customers of whoever runs Tollgate; for operators.",
    ),
    (
        "keys",
        "Access keys: what callers present. A key is shown once, when it is made.",
    ),
    (
        "integrations",
        "A tenant's connections to providers: credential, settings, limits, status, health.",
    ),
    ("telemetry", "Usage: reported, summed up, listed, exported."),
    (
        "enforcement",
        "Whether a call would pass, and holds for calls that go past the gateway.",
    ),
    ("prices", "What tokens cost."),
    ("audit", "Who changed what, and whether the trail is whole."),
    ("ledger", "Whether the books are exact."),
    (
        "providers",
        "What each type of provider needs, and what it serves.",
    ),
    ("installation", "Master keys, nodes, migrations, backups."),
    (
        "node",
        "Health and description of this node; without a key.",
    ),
];

/// Adds to a description what follows from the routes.
pub(super) fn complete(description: &mut Value) {
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    if let Some(paths) = description["paths"].as_object_mut() {
        for (path, operations) in paths {
            for (method, operation) in operations.as_object_mut().into_iter().flatten() {
                let method = method.to_ascii_uppercase();
                complete_operation(operation, &method, path, &examples);
            }
        }
    }
    let used = description["paths"].to_string();
    description["tags"] = tags(&used);
    let components = &mut description["components"];
    components["parameters"] = parameters();
    components["headers"] = headers();
    components["responses"] = refusals(&used);
    components["securitySchemes"]["access_key"]["description"] = json!(
        "An access key, `tg_…`. Its role says what it may do, and its tenant whose things it sees."
    );
}

/// The tags of the operations: in the order above, then those that nobody has described.
fn tags(used: &str) -> Value {
    let mut names: Vec<&str> = TAGS.iter().map(|(name, _)| *name).collect();
    for tag in used.split("\"tags\":[\"").skip(1) {
        let name = tag.split('"').next().unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let is_used = |name: &&str| used.contains(&format!("\"tags\":[\"{name}\"]"));
    let described = names.into_iter().filter(is_used).map(|name| {
        let known = TAGS.iter().find(|tag| tag.0 == name);
        json!({ "name": name, "description": known.map_or("", |tag| tag.1) })
    });
    described.collect()
}

fn complete_operation(operation: &mut Value, method: &str, path: &str, examples: &Value) {
    let is_guarded = operation["security"] != json!([]);
    let has_body = !operation["requestBody"].is_null();
    let is_revised = has_revision(operation);
    let takes_key = is_guarded && idempotency::is_for(method, path);
    let is_conditional = is_conditional(method, path);
    let mut named = Vec::new();
    if is_guarded {
        named.push("Tenant");
    }
    if takes_key {
        named.push("IdempotencyKey");
    }
    if is_conditional {
        named.push("IfMatch");
    }
    if method == "GET" && is_revised {
        named.push("IfNoneMatch");
    }
    let references = named
        .iter()
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }));
    let mut parameters = operation["parameters"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    parameters.extend(references);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    let mut statuses = vec!["400"];
    if is_guarded {
        statuses.extend(["401", "403", "404", "500", "503"]);
    }
    if is_guarded && method != "GET" {
        statuses.push("409");
    }
    if is_conditional {
        statuses.push("412");
    }
    if has_body {
        statuses.push("415");
    }
    if has_body || takes_key {
        statuses.extend(["413", "422"]);
    }
    let tag = is_revised.then_some("ETag");
    let replayed = takes_key.then_some("idempotency-replayed");
    let headers: Vec<_> = tag.into_iter().chain(replayed).collect();
    add_answers(operation, &statuses, &headers);
    if method == "GET" && is_revised {
        operation["responses"]["304"] = json!({
            "description": "It is as it was when If-None-Match's ETag was given",
            "headers": { "ETag": { "$ref": "#/components/headers/ETag" } },
        });
    }
    add_examples(operation, examples);
}

/// Whether the answer of an operation is one thing that has a revision.
fn has_revision(operation: &Value) -> bool {
    ["200", "201"].iter().any(|status| {
        let schema = &operation["responses"][status]["content"]["application/json"]["schema"];
        let name = schema["$ref"]
            .as_str()
            .and_then(|name| name.rsplit('/').next());
        name.is_some_and(|name| REVISED.contains(&name))
    })
}

/// Adds refusals of these statuses, and these headers to the answers when all goes well.
fn add_answers(operation: &mut Value, statuses: &[&str], headers: &[&str]) {
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, response) in responses.iter_mut() {
        if let Some((_, name, ..)) = REFUSALS.iter().find(|refusal| refusal.0 == status)
            && response["content"].is_null()
        {
            *response = json!({ "$ref": format!("#/components/responses/{name}") });
            continue;
        }
        let mut named = vec![("x-request-id", "RequestId")];
        if status.starts_with('2') {
            named.extend(headers.iter().map(|header| match *header {
                "ETag" => ("ETag", "ETag"),
                other => (other, "IdempotencyReplayed"),
            }));
        }
        for (header, name) in named {
            response["headers"][header] = json!({ "$ref": format!("#/components/headers/{name}") });
        }
    }
    for status in statuses {
        if let Some((_, name, ..)) = REFUSALS.iter().find(|refusal| refusal.0 == *status) {
            responses
                .entry((*status).to_owned())
                .or_insert_with(|| json!({ "$ref": format!("#/components/responses/{name}") }));
        }
    }
}

fn add_examples(operation: &mut Value, examples: &Value) {
    let id = operation["operationId"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let example = &examples[&id];
    let mut places = vec![("/requestBody".to_owned(), &example["request"])];
    for status in ["200", "201", "207"] {
        places.push((format!("/responses/{status}"), &example["response"]));
    }
    for (place, value) in places.into_iter().filter(|(_, value)| !value.is_null()) {
        let place = format!("{place}/content/application~1json");
        if let Some(content) = operation.pointer_mut(&place) {
            content["example"] = value.clone();
        }
    }
}

fn parameters() -> Value {
    let header = |name: &str, text: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": text, "schema": schema });
    let tags = json!({ "type": "string", "examples": ["\"64a1b2c3d4e5f-9f8e7d6c5b4a3921\""] });
    json!({
        "Tenant": header(
            "x-tollgate-tenant",
            "The tenant that an operator acts on; other keys have their own.",
            json!({ "type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[!-~]+$" }),
        ),
        "IdempotencyKey": header(
            "Idempotency-Key",
            "A key of the caller's own, a new UUID for example: the same request with the same key is \
             done once, and answered again as it was answered for 24 hours.",
            json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" }),
        ),
        "IfMatch": header(
            "If-Match",
            "The ETag of the state that the change is meant for: 412 if somebody changed it since.",
            tags.clone(),
        ),
        "IfNoneMatch": header(
            "If-None-Match",
            "The ETag of the state that the asker has: 304 if it is still so.",
            tags,
        ),
    })
}

fn headers() -> Value {
    let header = |text: &str, schema: Value| json!({ "description": text, "schema": schema });
    json!({
        "RequestId": header("The request's id, which is also in the log.", json!({ "type": "string" })),
        "ETag": header("The revision of what is shown.", json!({ "type": "string" })),
        "RetryAfter": header("Seconds after which to ask again.", json!({ "type": "integer" })),
        "IdempotencyReplayed": header(
            "`true` where the answer is one that was given before.",
            json!({ "type": "string", "enum": ["true"] }),
        ),
    })
}

/// The refusals that some operation refers to.
fn refusals(used: &str) -> Value {
    let mut responses = Map::new();
    for (status, name, description, code, detail) in REFUSALS {
        if !used.contains(&format!("#/components/responses/{name}\"")) {
            continue;
        }
        let mut headers = json!({ "x-request-id": { "$ref": "#/components/headers/RequestId" } });
        match status {
            "412" => headers["ETag"] = json!({ "$ref": "#/components/headers/ETag" }),
            "409" | "429" | "503" => {
                headers["retry-after"] = json!({ "$ref": "#/components/headers/RetryAfter" });
            }
            _ => {}
        }
        let number: u16 = status.parse().unwrap_or_default();
        let title = http::StatusCode::from_u16(number).ok();
        let title = title.and_then(|status| status.canonical_reason());
        let mut example = json!({
            "type": format!("urn:tollgate:problem:{code}"),
            "title": title.unwrap_or("Error"),
            "status": number,
            "detail": detail,
            "instance": "/api/v1/keys",
            "code": code,
            "request_id": "0198c5a0-6f3e-4d6b-9d1c-3f0c2a7b5e11",
        });
        if let Some((pointer, detail)) = detail.split_once(": ")
            && matches!(status, "400" | "422")
        {
            let error = json!({ "pointer": pointer, "detail": detail, "code": "invalid_value" });
            example["errors"] = json!([error]);
        }
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        responses.insert(
            name.to_owned(),
            json!({
                "description": description,
                "headers": headers,
                "content": { "application/problem+json": { "schema": schema, "example": example } },
            }),
        );
    }
    Value::Object(responses)
}
