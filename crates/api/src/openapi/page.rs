//! The description as a page for people: one HTML document, no script, nothing fetched.

use std::fmt::Write;

use serde_json::Value;

/// The page's only style; its hash stands in the content security policy.
const STYLE: &str = include_str!("page.css");

/// The page of a description.
pub(super) fn render(description: &Value) -> String {
    let mut page = String::with_capacity(256 * 1024);
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.push_str("<title>Tollgate API</title><style>");
    page.push_str(STYLE);
    page.push_str("</style></head><body>");
    let by_tag = by_tag(description);
    navigation(&mut page, &by_tag);
    page.push_str("<main>");
    let info = &description["info"];
    let (title, version) = (text(&info["title"]), text(&info["version"]));
    put(
        &mut page,
        &format!("<h1>{title} API <small>{version}</small></h1>"),
    );
    put(
        &mut page,
        &format!("<p class=\"lead\">{}</p>", prose(&info["description"])),
    );
    put(
        &mut page,
        "<p>Authenticate with <code>Authorization: Bearer tg_…</code>. The same as OpenAPI 3.1: \
         <a href=\"openapi.json\">openapi.json</a>.</p>",
    );
    for (tag, operations) in &by_tag {
        put(&mut page, &format!("<h2 id=\"tag-{tag}\">{tag}</h2>"));
        put(&mut page, &format!("<p>{}</p>", tag_text(description, tag)));
        for operation in operations {
            section(&mut page, description, operation);
        }
    }
    schemas(&mut page, description);
    page.push_str("</main></body></html>\n");
    page
}

struct Entry<'d> {
    method: String,
    path: &'d str,
    operation: &'d Value,
}

/// The operations of each tag, in the order of the tags.
fn by_tag(description: &Value) -> Vec<(String, Vec<Entry<'_>>)> {
    let mut all = Vec::new();
    for (path, operations) in description["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let method = method.to_ascii_uppercase();
            all.push(Entry {
                method,
                path,
                operation,
            });
        }
    }
    let tags = description["tags"].as_array().into_iter().flatten();
    let mut by_tag = Vec::new();
    for tag in tags {
        let of_tag = all.extract_if(.., |entry| entry.operation["tags"][0] == tag["name"]);
        by_tag.push((text(&tag["name"]), of_tag.collect()));
    }
    by_tag
}

fn navigation(page: &mut String, by_tag: &[(String, Vec<Entry<'_>>)]) {
    page.push_str("<nav><strong>Tollgate API</strong>");
    for (tag, operations) in by_tag {
        put(
            page,
            &format!("<a class=\"tag\" href=\"#tag-{tag}\">{tag}</a>"),
        );
        for entry in operations {
            let id = text(&entry.operation["operationId"]);
            put(
                page,
                &format!("<a href=\"#{id}\">{}</a>", id.replace('_', " ")),
            );
        }
    }
    page.push_str("<a class=\"tag\" href=\"#schemas\">schemas</a></nav>");
}

fn section(page: &mut String, description: &Value, entry: &Entry<'_>) {
    let operation = entry.operation;
    let id = text(&operation["operationId"]);
    put(
        page,
        &format!(
            "<section id=\"{id}\"><h3><a href=\"#{id}\">#</a> {}</h3>",
            id.replace('_', " ")
        ),
    );
    let path = escape(entry.path);
    let method = &entry.method;
    put(
        page,
        &format!("<p class=\"route\"><b class=\"{method}\">{method}</b> <code>{path}</code></p>"),
    );
    for part in ["summary", "description"] {
        if operation[part].is_string() {
            put(page, &format!("<p>{}</p>", prose(&operation[part])));
        }
    }
    let parameters: Vec<_> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    if !parameters.is_empty() {
        page.push_str("<h4>Parameters</h4><table>");
        for parameter in parameters {
            let parameter = resolved(description, parameter);
            let place = text(&parameter["in"]);
            let row = format!(
                "<tr><td><code>{}</code><small>{place}</small></td><td>{}</td><td>{}</td></tr>",
                text(&parameter["name"]),
                kind(&parameter["schema"]),
                prose(&parameter["description"]),
            );
            put(page, &row);
        }
        page.push_str("</table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"];
    if !body.is_null() {
        put(page, &format!("<h4>Body: {}</h4>", kind(&body["schema"])));
        example(page, &body["example"]);
    }
    answers(page, description, operation);
    page.push_str("</section>");
}

fn answers(page: &mut String, description: &Value, operation: &Value) {
    page.push_str("<h4>Answers</h4><table>");
    let responses = operation["responses"].as_object().into_iter().flatten();
    for (status, response) in responses.clone() {
        let response = resolved(description, response);
        let content = response["content"]
            .as_object()
            .and_then(|content| content.values().next());
        let shown = content.map_or_else(String::new, |content| kind(&content["schema"]));
        let told = prose(&response["description"]);
        put(
            page,
            &format!("<tr><td><b>{status}</b></td><td>{told}</td><td>{shown}</td></tr>"),
        );
    }
    page.push_str("</table>");
    for (status, response) in responses {
        if status.starts_with('2') {
            example(page, &response["content"]["application/json"]["example"]);
        }
    }
}

fn schemas(page: &mut String, description: &Value) {
    page.push_str("<h2 id=\"schemas\">schemas</h2>");
    let schemas = description["components"]["schemas"].as_object();
    for (name, schema) in schemas.into_iter().flatten() {
        let name = escape(name);
        put(
            page,
            &format!("<section id=\"schema-{name}\"><h3>{name}</h3>"),
        );
        put(
            page,
            &format!("<p>{}</p><table>", prose(&schema["description"])),
        );
        let required = schema["required"].as_array();
        for (member, of) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.is_some_and(|names| names.iter().any(|one| one == member));
            let mark = if is_required {
                "<small>always</small>"
            } else {
                ""
            };
            let row = format!(
                "<tr><td><code>{}</code>{mark}</td><td>{}</td><td>{}</td></tr>",
                escape(member),
                kind(of),
                prose(&of["description"]),
            );
            put(page, &row);
        }
        page.push_str("</table></section>");
    }
}

fn example(page: &mut String, example: &Value) {
    if !example.is_null() {
        let json = serde_json::to_string_pretty(example).unwrap_or_default();
        put(page, &format!("<pre>{}</pre>", escape(&json)));
    }
}

/// What a schema is, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|name| name.rsplit('/').next())
    {
        let name = escape(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let kinds: Vec<_> = choices.iter().map(kind).collect();
            return kinds.join(" or ");
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values
            .iter()
            .map(|one| format!("<code>{}</code>", text(one)))
            .collect();
        return values.join(" ");
    }
    let types = schema["type"].as_array().into_iter().flatten();
    let types: Vec<_> = types.map(text).collect();
    let name = if types.is_empty() {
        text(&schema["type"])
    } else {
        types.join(" or ")
    };
    if schema["items"].is_object() {
        return format!("list of {}", kind(&schema["items"]));
    }
    match schema["format"].as_str() {
        Some(format) => format!("{name} <small>{}</small>", escape(format)),
        None => name,
    }
}

fn resolved<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
    let pointer = value["$ref"]
        .as_str()
        .and_then(|text| text.strip_prefix('#'));
    pointer
        .and_then(|pointer| description.pointer(pointer))
        .unwrap_or(value)
}

fn tag_text(description: &Value, tag: &str) -> String {
    let mut tags = description["tags"].as_array().into_iter().flatten();
    let found = tags.find(|one| one["name"] == tag);
    found.map_or_else(String::new, |found| prose(&found["description"]))
}

/// A text with what stands between backticks as code.
fn prose(value: &Value) -> String {
    let escaped = text(value);
    let mut out = String::with_capacity(escaped.len());
    for (index, part) in escaped.split('`').enumerate() {
        if index % 2 == 0 {
            out.push_str(part);
        } else {
            put(&mut out, &format!("<code>{part}</code>"));
        }
    }
    out
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn put(page: &mut String, html: &str) {
    // Writing to memory cannot fail.
    let _written = writeln!(page, "{html}");
}

/// `GET /api/v1/docs`.
pub(crate) mod get {
    use axum::response::IntoResponse;
    use http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    };

    /// Nothing may be loaded or run; the style is the one with this hash.
    const POLICY: &str = "default-src 'none'; style-src 'sha256-12iD6UPRVSyVv+U7gIpQTxXgO0BmYzrm9qtcz/2DunU='; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// This description as a page for people.
    #[utoipa::path(get, path = "/api/v1/docs", operation_id = "get_docs",
        responses((status = 200, description = "HTML, without script", content_type = "text/html", body = String)))]
    pub(crate) async fn handle() -> impl IntoResponse {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
        ];
        (headers, super::render(&super::super::description()))
    }
}
