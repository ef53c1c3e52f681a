//! The operations of each family of paths.

use super::Operation;

/// What a deployment of Azure's can be asked for; one whose tail ends another's stands after it.
pub(super) const DEPLOYED: [Operation; 8] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Embeddings,
    Operation::GenerateImages,
    Operation::Speech,
    Operation::Transcriptions,
    Operation::Translations,
    Operation::ImageEdits,
];

/// What one of Bedrock's models can be asked for.
pub(super) const BEDROCK: [Operation; 4] = [
    Operation::Converse,
    Operation::ConverseStream,
    Operation::Invoke,
    Operation::InvokeStream,
];

/// What can be asked for in OpenAI's words; of two patterns that fit a path, the first is meant.
pub(crate) const OPENAI: &[Operation] = &[
    Operation::ChatCompletions,
    Operation::CreateResponse,
    Operation::Embeddings,
    Operation::Completions,
    Operation::CountResponseTokens,
    Operation::GetResponse,
    Operation::DeleteResponse,
    Operation::CancelResponse,
    Operation::ListResponseInput,
    Operation::Moderations,
    Operation::GenerateImages,
    Operation::ImageEdits,
    Operation::ImageVariations,
    Operation::Speech,
    Operation::Transcriptions,
    Operation::Translations,
    Operation::CreateFile,
    Operation::ListFiles,
    Operation::GetFile,
    Operation::DeleteFile,
    Operation::GetFileContent,
    Operation::CreateBatch,
    Operation::ListBatches,
    Operation::GetBatch,
    Operation::CancelBatch,
    Operation::ListModels,
    Operation::GetModel,
];

/// The same in Anthropic's words.
pub(crate) const ANTHROPIC: &[Operation] = &[
    Operation::Messages,
    Operation::CountTokens,
    Operation::CreateMessageBatch,
    Operation::ListMessageBatches,
    Operation::GetMessageBatch,
    Operation::DeleteMessageBatch,
    Operation::CancelMessageBatch,
    Operation::GetMessageBatchResults,
    Operation::ListModels,
    Operation::GetModel,
];
