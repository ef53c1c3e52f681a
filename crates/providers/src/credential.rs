//! A provider account's secret, opened only to become a header.

use std::borrow::Cow;

use aws_credential_types::Credentials;
use http::HeaderValue;
use serde::Deserialize;
use tollgate_vault::Secret;

use crate::json::is_plain;

/// The longest key or token, in bytes.
const API_KEY_MAX: usize = 4_096;

/// Why a credential cannot be used. The text never contains any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It begins like JSON, but is not the object that is expected.
    #[error("the credential must be an object with the one member `api_key`, a text")]
    Malformed,
    /// It has neither of two members, or both.
    #[error("the credential must be an object with one of the members {0}, a text")]
    OneOf(&'static str),
    /// It is not one of AWS's kinds.
    #[error(
        "the credential must be an object with `access_key_id` and `secret_access_key`, and \
         `session_token` where they are temporary, or with `api_key` alone; all are texts"
    )]
    Aws,
    /// The key is empty, too long, or could not stand in a header.
    #[error("a key or token must be 1 to 4096 visible ASCII characters without spaces")]
    ApiKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiKey<'a> {
    #[serde(borrow)]
    api_key: Cow<'a, str>,
}

/// The header value of an API key: `scheme` and the key, marked as sensitive.
///
/// A credential that was entered through the API is a JSON object; one that a reference leads to
/// may also be the bare key, as environment variables of providers usually are.
pub(crate) fn api_key(secret: &Secret, scheme: &str) -> Result<HeaderValue, CredentialError> {
    let text = secret.expose().trim();
    let key = if let Some(key) = usual_key(text) {
        Cow::Borrowed(key)
    } else if text.starts_with('{') {
        // The deserializer's own words may repeat what it read.
        let fields: ApiKey<'_> = serde_json::from_str(text).or(Err(CredentialError::Malformed))?;
        fields.api_key
    } else {
        Cow::Borrowed(text)
    };
    header(&key, scheme)
}

/// The key in an object as such objects are usually written; none where it has to be read.
fn usual_key(text: &str) -> Option<&str> {
    let value = text.strip_prefix(r#"{"api_key":"#)?.strip_suffix('}')?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    let key = value.strip_prefix('"')?.strip_suffix('"')?;
    is_plain(key.as_bytes()).then_some(key)
}

/// One of two kinds of credential: a key as it is, or a token that goes behind `Bearer`.
pub(crate) enum KeyOrToken {
    /// A key.
    Key(HeaderValue),
    /// A token, with its scheme.
    Token(HeaderValue),
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AzureFields<'a> {
    #[serde(borrow)]
    api_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    entra_token: Option<Cow<'a, str>>,
}

/// The header value of a credential with `api_key` or `entra_token`. A bare text is a key.
pub(crate) fn azure(secret: &Secret) -> Result<KeyOrToken, CredentialError> {
    const NEEDED: CredentialError = CredentialError::OneOf("`api_key` and `entra_token`");
    let text = secret.expose().trim();
    if !text.starts_with('{') {
        return header(text, "").map(KeyOrToken::Key);
    }
    // The deserializer's own words may repeat what it read.
    let fields: AzureFields<'_> = serde_json::from_str(text).or(Err(NEEDED))?;
    match (fields.api_key, fields.entra_token) {
        (Some(key), None) => header(&key, "").map(KeyOrToken::Key),
        (None, Some(token)) => header(&token, "Bearer ").map(KeyOrToken::Token),
        _ => Err(NEEDED),
    }
}

/// One of two kinds of credential of AWS.
pub(crate) enum AwsCredential {
    /// Keys to sign with.
    Keys(Box<Credentials>),
    /// An API key, behind `Bearer`.
    Token(HeaderValue),
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AwsFields<'a> {
    #[serde(borrow)]
    access_key_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    secret_access_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    api_key: Option<Cow<'a, str>>,
}

/// The keys or the API key of a credential of AWS. A bare text is an API key.
pub(crate) fn aws(secret: &Secret) -> Result<AwsCredential, CredentialError> {
    let text = secret.expose().trim();
    if !text.starts_with('{') {
        return header(text, "Bearer ").map(AwsCredential::Token);
    }
    // The deserializer's own words may repeat what it read.
    let fields: AwsFields<'_> = serde_json::from_str(text).or(Err(CredentialError::Aws))?;
    match fields {
        AwsFields {
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            api_key: Some(key),
        } => header(&key, "Bearer ").map(AwsCredential::Token),
        AwsFields {
            access_key_id: Some(id),
            secret_access_key: Some(key),
            session_token: token,
            api_key: None,
        } => {
            let fits = |text: &str| {
                let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
                visible && (1..=API_KEY_MAX).contains(&text.len())
            };
            let named = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !named || !fits(&id) || !fits(&key) || !token.as_deref().is_none_or(fits) {
                return Err(CredentialError::Aws);
            }
            let token = token.map(Cow::into_owned);
            let keys = Credentials::new(id, key, token, None, "integration");
            Ok(AwsCredential::Keys(Box::new(keys)))
        }
        _ => Err(CredentialError::Aws),
    }
}

fn header(key: &str, scheme: &str) -> Result<HeaderValue, CredentialError> {
    // Without a stop at the first that is not, so that many are looked at together.
    let visible = key
        .bytes()
        .fold(true, |all, byte| all & byte.is_ascii_graphic());
    if key.is_empty() || key.len() > API_KEY_MAX || !visible {
        return Err(CredentialError::ApiKey);
    }
    let value = [scheme, key].concat();
    let mut value = HeaderValue::try_from(value).or(Err(CredentialError::ApiKey))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<HeaderValue, CredentialError> {
        api_key(&Secret::new(text.to_owned()), "Bearer ")
    }

    #[test]
    fn a_key_is_read_from_its_object_or_bare_and_never_shown() {
        for text in [
            r#"{"api_key":"sk-1"}"#,
            r#" {"api_key":"sk-\u0031"} "#,
            "sk-1\n",
        ] {
            let value = read(text).unwrap();
            assert_eq!(value.as_bytes(), b"Bearer sk-1");
            assert_eq!(format!("{value:?}"), "Sensitive");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_usual_only_where_a_parser_reads_the_same(
            text in "(\\{\"api_key\" ?: {0,2}(\"[!-~]{0,9}\"|5)[ ,]?\\}?|[{}\"api_key:, \u{c}]{0,20})",
        ) {
            let read = serde_json::from_str::<ApiKey<'_>>(&text).ok();
            if let Some(key) = usual_key(&text) {
                prop_assert_eq!(Some(key), read.as_ref().map(|read| &*read.api_key));
            }
        }

        #[test]
        fn a_key_as_it_is_usually_written_is_usual(key in "[!#-\\[\\]-~]{0,40}") {
            let object = serde_json::json!({ "api_key": &key }).to_string();
            prop_assert_eq!(usual_key(&object), Some(&*key));
            let spaced = format!("{{\"api_key\": \"{key}\"}}");
            prop_assert_eq!(usual_key(&spaced), Some(&*key));
        }
    }

    #[test]
    fn a_key_that_cannot_stand_in_a_header_is_refused_without_repeating_it() {
        let table = [
            ("{", CredentialError::Malformed),
            (r#"{"api_key":5}"#, CredentialError::Malformed),
            (
                r#"{"api_key":"canary","other":"canary"}"#,
                CredentialError::Malformed,
            ),
            (r#"{"api_key":""}"#, CredentialError::ApiKey),
            (
                r#"{"api_key":"canary\r\nhost: x"}"#,
                CredentialError::ApiKey,
            ),
            (r#"{"api_key":"canary é"}"#, CredentialError::ApiKey),
            ("", CredentialError::ApiKey),
        ];
        for (text, expected) in table {
            let error = read(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("canary"));
        }
    }
}
