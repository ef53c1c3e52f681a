//! What providers offer and the gateway does not serve: what to do instead, for people.

use super::Operation;

/// The first segments after the version, and what to do instead.
const UNSERVED: [(&[&str], &str); 5] = [
    (
        &["uploads"],
        "uploads in parts are not served: send the whole file to /v1/files, which passes one of any size",
    ),
    (
        &["realtime"],
        "realtime sessions are not served: what they cost could not be held before it is spent; use \
         /v1/audio/transcriptions, /v1/chat/completions and /v1/audio/speech",
    ),
    (
        &["assistants", "threads"],
        "assistants are not served: use /v1/responses",
    ),
    (
        &[
            "vector_stores",
            "containers",
            "conversations",
            "videos",
            "evals",
            "fine_tuning",
        ],
        "it is not served, because what it costs could not be metered: use the provider's own key for it",
    ),
    (
        &["complete"],
        "Anthropic's older completions are not served: use /v1/messages",
    ),
];

impl Operation {
    /// What to do instead of asking for this path, where it is one that providers have.
    #[must_use]
    pub fn instead_of(path: &str) -> Option<&'static str> {
        let tail = path.strip_prefix("/openai").unwrap_or(path);
        let first = tail.strip_prefix("/v1/")?.split('/').next()?;
        let found = UNSERVED.iter().find(|(names, _)| names.contains(&first));
        found.map(|(_, instead)| *instead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_providers_have_and_is_not_served_is_told_what_to_do_instead() {
        for path in ["/v1/uploads", "/v1/uploads/u_1/parts", "/openai/v1/uploads"] {
            assert!(
                Operation::instead_of(path).is_some_and(|it| it.contains("/v1/files")),
                "{path}"
            );
        }
        assert!(Operation::instead_of("/v1/realtime/client_secrets").is_some());
        for path in ["/v1/files", "/v1/uploadsx", "/uploads", "/v2/uploads", ""] {
            assert_eq!(Operation::instead_of(path), None, "{path}");
        }
    }

    #[test]
    fn nothing_that_is_served_is_called_unserved() {
        for operation in super::super::OPENAI.iter().chain(super::super::ANTHROPIC) {
            let path = format!("/v1{}", operation.shape().path);
            assert_eq!(Operation::instead_of(&path), None, "{path}");
        }
    }
}
