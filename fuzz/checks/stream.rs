//! Answers of providers, in any pieces: the bytes come out as they came in, but for the usage that is taken out; what is
//! read of them does not depend on the pieces.

use bytes::Bytes;
use cus_models::CusProviderType;
use tollgate_providers::{
    AnswerShape, Bounds, End, MeterPlan, Observed, Operation, UsageChunk, registry,
};

/// The first byte chooses provider, operation and shape, the second the length of pieces; the rest is the answer.
pub(crate) fn check(input: &[u8]) {
    let [choice, length, answer @ ..] = input else {
        return;
    };
    let (provider, operation) = match choice & 3 {
        0 => (CusProviderType::OpenAi, Operation::ChatCompletions),
        1 => (CusProviderType::AzureOpenAi, Operation::Completions),
        2 => (CusProviderType::Anthropic, Operation::Messages),
        _ => (CusProviderType::Custom, Operation::Embeddings),
    };
    let shape = match choice & 4 {
        0 => AnswerShape::Stream,
        _ => AnswerShape::Whole,
    };
    let provider = registry::find(provider).expect("it is served");
    let read = |usage_chunk, pieces: usize| -> (Vec<u8>, Observed) {
        let bounds = Bounds::NONE;
        let plan = MeterPlan {
            usage_chunk,
            bounds,
        };
        let mut meter = provider.meter(operation, shape, plan);
        let mut passed = Vec::new();
        let mut out = |piece: Bytes| passed.extend_from_slice(&piece);
        for piece in answer.chunks(pieces) {
            meter.push(&Bytes::copy_from_slice(piece), &mut out);
        }
        let observed = meter.finish(End::Clean, &mut out);
        (passed, observed)
    };
    let whole = answer.len().max(1);
    let some = usize::from(*length).max(1);
    let (kept, seen) = read(UsageChunk::Keep, whole);
    assert_eq!(kept, answer, "not the same bytes");
    for pieces in [some, 1] {
        assert_eq!(read(UsageChunk::Keep, pieces), (kept.clone(), seen.clone()));
    }
    let (stripped, also_seen) = read(UsageChunk::Strip, whole);
    assert!(stripped.len() <= answer.len(), "more than came");
    assert_eq!(also_seen, seen);
    for pieces in [some, 1] {
        let again = read(UsageChunk::Strip, pieces);
        assert_eq!(again, (stripped.clone(), seen.clone()));
    }
}
