//! Access keys, references and master keys of strangers: what passes has the form of one, to the last letter.

use tollgate_vault::access_key::is_well_formed;
use tollgate_vault::{CredentialRef, KeyRing};

/// The input is what somebody gives for a key.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if is_well_formed(text) {
        assert!(text.is_ascii() && text.starts_with("tg_"));
        for more in ["0", " ", "\n", "\0"] {
            assert!(!is_well_formed(&format!("{text}{more}")), "more than a key");
        }
        let fewer: String = text.chars().take(text.len() - 1).collect();
        assert!(!is_well_formed(&fewer), "less than a key");
    }
    if let Ok(reference) = text.parse::<CredentialRef>() {
        let again = reference.to_string().parse::<CredentialRef>();
        assert_eq!(
            again.map(|it| it.to_string()).ok(),
            Some(reference.to_string())
        );
    }
    let _ring = KeyRing::parse(text);
}
