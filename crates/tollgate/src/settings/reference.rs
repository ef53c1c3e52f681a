//! References to secrets: a setting says where a secret is, never what it is.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::environment;
use crate::output::Failure;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SecretReference {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

impl SecretReference {
    /// Reads the secret; `setting` is who asks, for the message of what went wrong.
    pub fn read(&self, setting: &str) -> Result<String, Failure> {
        match self {
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| {
                let path = path.display();
                Failure::usage(format_args!("{setting}: cannot read {path}: {error}"))
            }),
            Self::Variable(name) => environment::read(name).ok_or_else(|| {
                let problem = "is not set, is empty or is no text";
                Failure::usage(format_args!(
                    "{setting}: the environment variable {name} {problem}"
                ))
            }),
        }
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Variable(name) => write!(f, "env:{name}"),
        }
    }
}

/// A text that refers to nothing. It is not repeated: it may be the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give file:PATH or env:NAME; a setting never holds a secret itself")]
pub struct NoReference;

impl TryFrom<String> for SecretReference {
    type Error = NoReference;

    fn try_from(text: String) -> Result<Self, NoReference> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Variable(name.to_owned())),
            _ => Err(NoReference),
        }
    }
}

/// Where the store is.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StoreUrl {
    /// At this address.
    Plain(String),
    /// At an address that is itself kept elsewhere, because it holds a password.
    Secret(SecretReference),
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl(…)")
    }
}

/// A text that is no address of a store. It is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give sqlite:PATH, postgres://USER@HOST/NAME, or file:PATH or env:NAME where that is kept")]
pub struct NoStoreUrl;

impl TryFrom<String> for StoreUrl {
    type Error = NoStoreUrl;

    fn try_from(text: String) -> Result<Self, NoStoreUrl> {
        match text.split_once(':') {
            Some(("sqlite", rest)) if !rest.trim_matches('/').is_empty() => {
                return Ok(Self::Plain(text));
            }
            Some(("postgres" | "postgresql", rest)) if names_host(rest) => {
                return Ok(Self::Plain(text));
            }
            _ => {}
        }
        SecretReference::try_from(text)
            .map(Self::Secret)
            .map_err(|_no_reference| NoStoreUrl)
    }
}

/// Whether what follows the scheme says where PostgreSQL is: as a host, or in a parameter.
fn names_host(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix("//") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    !host.is_empty() || rest.contains("host=") || rest.contains("hostaddr=")
}
