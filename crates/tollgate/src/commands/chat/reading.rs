//! What an answer says, whole or as events, in either vendor's words.

use serde_json::Value;

use crate::output::Failure;

/// Bytes of one line of a stream beyond which it is no answer of a model's.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Events of a stream, put together from pieces that may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
}

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) model: Option<String>,
    pub(super) tokens_in: Option<u64>,
    pub(super) tokens_out: Option<u64>,
    pub(super) finish: Option<String>,
}

impl Events {
    /// The data of the events that a piece completes; what is no JSON is none of them.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<Value> {
        let mut events = Vec::new();
        for byte in piece {
            if *byte != b'\n' {
                if self.line.len() < LINE_BYTES_MAX {
                    self.line.push(*byte);
                }
                continue;
            }
            let data = self.line.strip_prefix(b"data:");
            events.extend(data.and_then(|data| serde_json::from_slice(data).ok()));
            self.line.clear();
        }
        events
    }
}

impl Heard {
    /// Takes in one event, and shows what text it has.
    pub(super) fn take(
        &mut self,
        event: &Value,
        show: &mut impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if event.get("error").is_some_and(|error| !error.is_null()) {
            let message = event.pointer("/error/message").and_then(Value::as_str);
            let message = message.unwrap_or("the provider did not say why");
            return Err(Failure::plain(format_args!(
                "the answer broke off: {message}"
            )));
        }
        self.note(event);
        // Anthropic's begins with a message that has the model and the input.
        if let Some(message) = event.get("message") {
            self.note(message);
        }
        let texts = ["/choices/0/delta/content", "/delta/text"];
        for text in texts
            .iter()
            .filter_map(|place| event.pointer(place)?.as_str())
        {
            self.text.push_str(text);
            if !text.is_empty() {
                show(text)?;
            }
        }
        Ok(())
    }

    /// Takes in a whole answer, and shows its text.
    pub(super) fn take_whole(
        &mut self,
        body: &[u8],
        show: &mut impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let answer: Value = serde_json::from_slice(body).map_err(|_unfit| {
            Failure::plain("the answer is not JSON: is --url a gateway's, without /v1?")
        })?;
        self.note(&answer);
        let chosen = answer.pointer("/choices/0/message/content");
        if let Some(text) = chosen.and_then(Value::as_str) {
            self.text.push_str(text);
        }
        let blocks = answer.get("content").and_then(Value::as_array);
        for block in blocks.into_iter().flatten() {
            if let Some(text) = block.get("text").and_then(Value::as_str) {
                self.text.push_str(text);
            }
        }
        show(&self.text)
    }

    /// Notes what is said beside the text; what comes later stands.
    fn note(&mut self, said: &Value) {
        let number = |places: [&str; 2]| {
            places
                .iter()
                .find_map(|place| said.pointer(place)?.as_u64())
        };
        let text = |places: &[&str]| {
            let found = places
                .iter()
                .find_map(|place| said.pointer(place)?.as_str());
            found.map(str::to_owned)
        };
        self.model = text(&["/model"]).or_else(|| self.model.take());
        self.tokens_in = number(["/usage/prompt_tokens", "/usage/input_tokens"]).or(self.tokens_in);
        self.tokens_out =
            number(["/usage/completion_tokens", "/usage/output_tokens"]).or(self.tokens_out);
        let finish = [
            "/choices/0/finish_reason",
            "/delta/stop_reason",
            "/stop_reason",
        ];
        self.finish = text(&finish).or_else(|| self.finish.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(stream: &str, cut: usize) -> (Heard, Vec<String>) {
        let (mut events, mut heard, mut shown) = (Events::default(), Heard::default(), Vec::new());
        for piece in stream.as_bytes().chunks(cut) {
            for event in events.push(piece) {
                let mut show = |text: &str| {
                    shown.push(text.to_owned());
                    Ok(())
                };
                heard.take(&event, &mut show).unwrap();
            }
        }
        (heard, shown)
    }

    const OPENAI: &str = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\r\n\r\n\
        data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"H\u{e9}\"}}]}\n\n\
        : a comment\n\ndata: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

    const ANTHROPIC: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"H\u{e9}\"}}\n\n\
        data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"llo\"}}\n\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"stop\"},\"usage\":{\"output_tokens\":5}}\n\n";

    #[test]
    fn a_stream_is_heard_the_same_however_it_is_cut() {
        for stream in [OPENAI, ANTHROPIC] {
            for cut in 1..stream.len() {
                let (heard, shown) = heard(stream, cut);
                assert_eq!(heard.text, "H\u{e9}llo", "{cut}");
                assert_eq!(shown.concat(), heard.text);
                assert_eq!((heard.tokens_in, heard.tokens_out), (Some(3), Some(5)));
                assert_eq!(
                    (heard.model.as_deref(), heard.finish.as_deref()),
                    (Some("m"), Some("stop"))
                );
            }
        }
    }

    #[test]
    fn an_error_in_a_stream_is_a_failure() {
        for stream in [
            "data: {\"error\":{\"message\":\"too slow\",\"type\":\"x\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"too slow\"}}\n\n",
        ] {
            let [event] = &Events::default().push(stream.as_bytes())[..] else {
                panic!("one event");
            };
            let failure = Heard::default().take(event, &mut |_| Ok(())).unwrap_err();
            assert!(failure.message.contains("too slow"), "{failure}");
        }
    }

    #[test]
    fn a_whole_answer_is_heard_in_the_words_of_each() {
        let openai = r#"{"model":"m","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
        let anthropic = r#"{"model":"m","content":[{"type":"text","text":"H"},{"type":"text","text":"i"}],"stop_reason":"stop","usage":{"input_tokens":3,"output_tokens":5}}"#;
        for body in [openai, anthropic] {
            let mut heard = Heard::default();
            heard.take_whole(body.as_bytes(), &mut |_| Ok(())).unwrap();
            assert_eq!(
                (&*heard.text, heard.tokens_in, heard.tokens_out),
                ("Hi", Some(3), Some(5))
            );
            assert_eq!(heard.finish.as_deref(), Some("stop"));
        }
        assert!(
            Heard::default()
                .take_whole(b"<html>", &mut |_| Ok(()))
                .is_err()
        );
    }
}
