//! What Bedrock says was used: its counts of input do not include what a cache read or took.

use tollgate_core::TokenUsage;

use super::{InvalidUsage, Reported, count, members, without};
use crate::json::{Raw, object};

/// Bedrock's own counts, wherever they stand.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::meter) struct BedrockCounts {
    /// Input that no cache had to do with.
    pub(in crate::meter) input: Option<u64>,
    /// Output.
    pub(in crate::meter) output: Option<u64>,
    /// Everything.
    pub(in crate::meter) total: Option<u64>,
    /// Input read from a cache.
    pub(in crate::meter) read: Option<u64>,
    /// Input written to a cache.
    pub(in crate::meter) written: Option<u64>,
    /// The part of that which is kept for an hour.
    pub(in crate::meter) written_hour: u64,
}

object! {
    ConverseUsage {
        input_tokens as "inputTokens",
        output_tokens as "outputTokens",
        total_tokens as "totalTokens",
        cache_read_input_tokens as "cacheReadInputTokens",
        cache_write_input_tokens as "cacheWriteInputTokens",
        // As some makers' own answers have it.
        cache_read_input_token_count as "cacheReadInputTokenCount",
        cache_write_input_token_count as "cacheWriteInputTokenCount",
        cache_details as "cacheDetails",
    }
}

object! {
    CacheDetail {
        ttl,
        input_tokens as "inputTokens",
    }
}

object! {
    #[expect(clippy::struct_field_names, reason = "the names are Bedrock's")]
    InvocationMetrics {
        input_token_count as "inputTokenCount",
        output_token_count as "outputTokenCount",
        cache_read_input_token_count as "cacheReadInputTokenCount",
        cache_write_input_token_count as "cacheWriteInputTokenCount",
    }
}

impl BedrockCounts {
    /// Input and output alone.
    pub(in crate::meter) fn from_raw(input: Raw<'_>, output: Raw<'_>) -> Reported<Self> {
        Ok(Self {
            input: count(input)?,
            output: count(output)?,
            ..Self::default()
        })
    }

    /// All classes; nothing where it says nothing.
    pub(in crate::meter) fn all(&self) -> Reported<Option<TokenUsage>> {
        let (input, output) = match (self.input, self.output) {
            (None, None) => return Ok(None),
            (Some(input), Some(output)) => (input, output),
            _ => return Err(InvalidUsage::Incomplete),
        };
        let (read, written) = (self.read.unwrap_or(0), self.written.unwrap_or(0));
        let plain = input.saturating_add(output);
        let cached = read.saturating_add(written);
        // Where the total leaves no room for them, the cache's tokens are part of the input.
        let inside = cached > 0 && self.total == Some(plain);
        let input = if inside {
            without(input, &[cached])?
        } else {
            input
        };
        let all = if inside {
            plain
        } else {
            plain.saturating_add(cached)
        };
        // A total beyond the classes is output that was not shown.
        let apart = match self.total {
            Some(total) => without(total, &[all])?,
            None => 0,
        };
        Ok(Some(TokenUsage {
            input,
            cached_input: read,
            cache_write: without(written, &[self.written_hour])?,
            cache_write_hour: self.written_hour,
            output,
            reasoning: apart,
            ..TokenUsage::NONE
        }))
    }
}

/// The usage of `converse`, also of makers whose own answers say it in the same words.
pub(in crate::meter) fn converse(raw: Raw<'_>) -> Reported<Option<TokenUsage>> {
    let Some(usage) = members::<ConverseUsage<'_>>(raw)? else {
        return Ok(None);
    };
    let either = |one: Raw<'_>, other| count(if one.text().is_some() { one } else { other });
    BedrockCounts {
        input: count(usage.input_tokens)?,
        output: count(usage.output_tokens)?,
        total: count(usage.total_tokens)?,
        read: either(
            usage.cache_read_input_tokens,
            usage.cache_read_input_token_count,
        )?,
        written: either(
            usage.cache_write_input_tokens,
            usage.cache_write_input_token_count,
        )?,
        written_hour: kept_an_hour(usage.cache_details)?,
    }
    .all()
}

/// The counts that Bedrock adds to the last event of a maker's own stream.
pub(in crate::meter) fn invocation(raw: Raw<'_>) -> Reported<Option<TokenUsage>> {
    let Some(metrics) = members::<InvocationMetrics<'_>>(raw)? else {
        return Ok(None);
    };
    BedrockCounts {
        input: count(metrics.input_token_count)?,
        output: count(metrics.output_token_count)?,
        read: count(metrics.cache_read_input_token_count)?,
        written: count(metrics.cache_write_input_token_count)?,
        ..BedrockCounts::default()
    }
    .all()
}

/// The tokens that a cache keeps for an hour.
fn kept_an_hour(raw: Raw<'_>) -> Reported<u64> {
    let Some(text) = raw.present() else {
        return Ok(0);
    };
    let details: Vec<CacheDetail<'_>> =
        serde_json::from_str(text).or(Err(InvalidUsage::NotACount))?;
    let mut sum = 0_u64;
    for detail in &details {
        if detail.ttl.text() == Some(r#""1h""#) {
            sum = sum.saturating_add(count(detail.input_tokens)?.unwrap_or(0));
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        usage: Raw<'a>,
    }

    fn read(usage: &str) -> Reported<Option<[u64; 5]>> {
        let text = format!(r#"{{"usage":{usage}}}"#);
        let answer: Answer<'_> = serde_json::from_str(&text).unwrap();
        let found = converse(answer.usage)?;
        Ok(found.map(|it| {
            assert_eq!(it.audio_input + it.audio_output, 0);
            assert_eq!(
                it.cached_input + it.input + it.cache_write + it.cache_write_hour,
                it.tokens_in()
            );
            [
                it.input,
                it.cached_input,
                it.cache_write,
                it.cache_write_hour,
                it.tokens_out(),
            ]
        }))
    }

    #[test]
    fn the_classes_are_disjoint_and_their_sum_is_the_total() {
        let table = [
            (
                r#"{"inputTokens":3,"outputTokens":5,"totalTokens":8}"#,
                [3, 0, 0, 0, 5],
            ),
            (r#"{"inputTokens":3,"outputTokens":5}"#, [3, 0, 0, 0, 5]),
            (
                r#"{"inputTokens":3,"outputTokens":5,"totalTokens":38,"cacheReadInputTokens":10,"cacheWriteInputTokens":20}"#,
                [3, 10, 20, 0, 5],
            ),
            (
                r#"{"inputTokens":3,"outputTokens":5,"totalTokens":28,"cacheReadInputTokens":0,"cacheWriteInputTokens":20,"cacheDetails":[{"ttl":"1h","inputTokens":12},{"ttl":"5m","inputTokens":8}]}"#,
                [3, 0, 8, 12, 5],
            ),
            // The cache's tokens are part of this input: the total says so.
            (
                r#"{"inputTokens":33,"outputTokens":5,"totalTokens":38,"cacheReadInputTokens":10,"cacheWriteInputTokens":20}"#,
                [3, 10, 20, 0, 5],
            ),
            (
                r#"{"inputTokens":7,"outputTokens":10,"totalTokens":18,"cacheReadInputTokenCount":1,"cacheWriteInputTokenCount":null}"#,
                [7, 1, 0, 0, 10],
            ),
            // More than is shown is output.
            (
                r#"{"inputTokens":3,"outputTokens":5,"totalTokens":10}"#,
                [3, 0, 0, 0, 7],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(read("null"), Ok(None));
        assert_eq!(read("{}"), Ok(None));
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        let table = [
            (r#"{"inputTokens":3}"#, InvalidUsage::Incomplete),
            (
                r#"{"inputTokens":-3,"outputTokens":5}"#,
                InvalidUsage::NotACount,
            ),
            (
                r#"{"inputTokens":3,"outputTokens":5,"totalTokens":7}"#,
                InvalidUsage::PartsExceedTotal,
            ),
            (
                r#"{"inputTokens":3,"outputTokens":5,"cacheWriteInputTokens":1,"cacheDetails":[{"ttl":"1h","inputTokens":2}]}"#,
                InvalidUsage::PartsExceedTotal,
            ),
            (
                r#"{"inputTokens":3,"outputTokens":5,"cacheDetails":{}}"#,
                InvalidUsage::NotACount,
            ),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }
}
