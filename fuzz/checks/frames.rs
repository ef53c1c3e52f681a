//! Binary event streams, in any pieces: frames with right and wrong checksums pass as they came, and what is read of them
//! does not depend on the pieces.

use bytes::Bytes;
use cus_models::CusProviderType;
use tollgate_providers::{
    AnswerShape, Bounds, End, MeterPlan, Observed, Operation, UsageChunk, registry,
};

use crate::framing;

/// The first byte chooses the operation, the second the length of pieces. What follows are parts of
/// frames.
pub(crate) fn check(input: &[u8]) {
    let [choice, length, parts @ ..] = input else {
        return;
    };
    let operation = match choice & 1 {
        0 => Operation::ConverseStream,
        _ => Operation::InvokeStream,
    };
    let stream = framing::stream(parts);
    let provider = registry::find(CusProviderType::Bedrock).expect("it is served");
    let read = |end, pieces: usize| -> (Vec<u8>, Observed) {
        let plan = MeterPlan {
            usage_chunk: UsageChunk::Keep,
            bounds: Bounds::NONE,
        };
        let mut meter = provider.meter(operation, AnswerShape::Frames, plan);
        let mut passed = Vec::new();
        let mut out = |piece: Bytes| passed.extend_from_slice(&piece);
        for piece in stream.chunks(pieces) {
            meter.push(&Bytes::copy_from_slice(piece), &mut out);
        }
        let observed = meter.finish(end, &mut out);
        (passed, observed)
    };
    let some = usize::from(*length).max(1);
    let whole = stream.len().max(1);
    let kept = read(End::Clean, whole);
    assert_eq!(kept.0, stream, "not the same bytes");
    let cut = read(End::Broken, whole);
    assert!(stream.starts_with(&cut.0), "other bytes");
    for pieces in [some, 1] {
        assert_eq!(read(End::Clean, pieces), kept);
        assert_eq!(read(End::Broken, pieces), cut);
    }
}
