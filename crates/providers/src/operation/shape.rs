//! How each operation is asked for: its name, its method, its path, what it carries and who pays.

use http::Method;

use super::Operation;

/// Where an id stands in a path.
pub(super) const ID: &str = "{id}";

/// Where a model's name stands in a path, slashes and all.
pub(super) const MODEL: &str = "{model}";

/// What an operation looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// The name that stands in metrics and descriptions.
    pub(super) name: &'static str,
    /// How it is asked for.
    pub(super) verb: Verb,
    /// The path after the version, or after the model of a path that names one.
    pub(super) path: &'static str,
    /// What providers charge for it.
    pub(super) charge: Charge,
}

/// How an operation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `GET`.
    Get,
    /// `POST` with a JSON body.
    Post,
    /// `POST` with a form of several parts.
    Form,
    /// `POST` whose body, if any, says nothing that matters.
    Order,
    /// `DELETE`.
    Delete,
}

/// What providers charge for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// Nothing.
    Nothing,
    /// The call itself: it needs a hold and leaves a row.
    Call,
    /// What it sets off, which is booked when its results are read.
    Later,
    /// Nothing, but what it reads may be the results of a batch that is not booked yet.
    Results,
}

impl Shape {
    const fn new(name: &'static str, verb: Verb, path: &'static str, charge: Charge) -> Self {
        Self {
            name,
            verb,
            path,
            charge,
        }
    }

    pub(super) const fn method(&self) -> Method {
        match self.verb {
            Verb::Get => Method::GET,
            Verb::Post | Verb::Form | Verb::Order => Method::POST,
            Verb::Delete => Method::DELETE,
        }
    }
}

const fn call(name: &'static str, path: &'static str) -> Shape {
    Shape::new(name, Verb::Post, path, Charge::Call)
}

const fn post(name: &'static str, path: &'static str) -> Shape {
    Shape::new(name, Verb::Post, path, Charge::Nothing)
}

const fn form(name: &'static str, path: &'static str, charge: Charge) -> Shape {
    Shape::new(name, Verb::Form, path, charge)
}

const fn later(name: &'static str, path: &'static str) -> Shape {
    Shape::new(name, Verb::Post, path, Charge::Later)
}

const fn get(name: &'static str, path: &'static str) -> Shape {
    Shape::new(name, Verb::Get, path, Charge::Nothing)
}

const fn results(name: &'static str, path: &'static str) -> Shape {
    Shape::new(name, Verb::Get, path, Charge::Results)
}

const fn order(name: &'static str, path: &'static str) -> Shape {
    Shape::new(name, Verb::Order, path, Charge::Nothing)
}

const fn delete(name: &'static str, path: &'static str) -> Shape {
    Shape::new(name, Verb::Delete, path, Charge::Nothing)
}

impl Operation {
    /// What it looks like.
    pub(super) const fn shape(self) -> Shape {
        match self {
            Self::ChatCompletions => call("chat_completions", "/chat/completions"),
            Self::Completions => call("completions", "/completions"),
            Self::Embeddings => call("embeddings", "/embeddings"),
            Self::ListModels => get("list_models", "/models"),
            Self::GetModel => get("get_model", "/models/{model}"),
            Self::CreateResponse => call("create_response", "/responses"),
            Self::CountResponseTokens => post("count_response_tokens", "/responses/input_tokens"),
            Self::GetResponse => get("get_response", "/responses/{id}"),
            Self::DeleteResponse => delete("delete_response", "/responses/{id}"),
            Self::CancelResponse => order("cancel_response", "/responses/{id}/cancel"),
            Self::ListResponseInput => get("list_response_input", "/responses/{id}/input_items"),
            Self::Moderations => post("moderations", "/moderations"),
            Self::GenerateImages => call("generate_images", "/images/generations"),
            Self::Speech => call("speech", "/audio/speech"),
            Self::ListFiles => get("list_files", "/files"),
            Self::GetFile => get("get_file", "/files/{id}"),
            Self::DeleteFile => delete("delete_file", "/files/{id}"),
            Self::GetFileContent => results("get_file_content", "/files/{id}/content"),
            Self::CreateBatch => later("create_batch", "/batches"),
            Self::ListBatches => get("list_batches", "/batches"),
            Self::GetBatch => get("get_batch", "/batches/{id}"),
            Self::CancelBatch => order("cancel_batch", "/batches/{id}/cancel"),
            Self::Messages => call("messages", "/messages"),
            Self::CountTokens => post("count_tokens", "/messages/count_tokens"),
            Self::CreateMessageBatch => later("create_message_batch", "/messages/batches"),
            Self::ListMessageBatches => get("list_message_batches", "/messages/batches"),
            Self::GetMessageBatch => get("get_message_batch", "/messages/batches/{id}"),
            Self::DeleteMessageBatch => delete("delete_message_batch", "/messages/batches/{id}"),
            Self::CancelMessageBatch => {
                order("cancel_message_batch", "/messages/batches/{id}/cancel")
            }
            Self::GetMessageBatchResults => results(
                "get_message_batch_results",
                "/messages/batches/{id}/results",
            ),
            Self::Transcriptions => form("transcriptions", "/audio/transcriptions", Charge::Call),
            Self::Translations => form("translations", "/audio/translations", Charge::Call),
            Self::ImageEdits => form("image_edits", "/images/edits", Charge::Call),
            Self::ImageVariations => form("image_variations", "/images/variations", Charge::Call),
            Self::CreateFile => form("create_file", "/files", Charge::Nothing),
            Self::Converse => call("converse", "/converse"),
            Self::ConverseStream => call("converse_stream", "/converse-stream"),
            Self::Invoke => call("invoke", "/invoke"),
            Self::InvokeStream => call("invoke_stream", "/invoke-with-response-stream"),
        }
    }
}
