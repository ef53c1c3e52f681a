//! Which references are read, which refused, and that a refused text is never repeated.

use proptest::prelude::*;

use super::*;

const ID: &str = "5f0d9f6c-7c1e-4a55-8f0b-2f6f0f3c2b22";

fn prefixes(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn each_kind_of_reference_reads_back_as_it_was_written() {
    let texts = [
        format!("encrypted://{ID}"),
        "env://TOLLGATE_CRED_OPENAI".to_owned(),
        "env://_X1".to_owned(),
        "vault://kv/prod/open-ai_1.2#api_key".to_owned(),
    ];
    for text in texts {
        let reference: CredentialRef = text.parse().unwrap();
        assert_eq!(reference.to_string(), text);
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<CredentialRef>(&json).unwrap(),
            reference
        );
    }
    let CredentialRef::Vault(entry) = "vault://kv/a#b".parse().unwrap() else {
        panic!("kind")
    };
    assert_eq!((entry.path(), entry.field()), ("kv/a", "b"));
}

#[test]
fn a_raw_key_or_a_malformed_reference_is_refused_and_not_repeated() {
    let long = format!("env://{}", "CANARY".repeat(50));
    let texts = [
        "sk-canary-0123456789abcdef",
        "sk-ant-api03-canary",
        "AKIACANARY",
        "",
        " env://CANARY",
        "env://CANARY ",
        "env://CANARY\n",
        "ENV://CANARY",
        "env:CANARY",
        "env://",
        "env://canary",
        "env://1CANARY",
        "env://CANARY=1",
        "env://CANÁRY",
        "env://../CANARY",
        "file:///etc/canary",
        "https://canary",
        "encrypted://canary",
        "encrypted://",
        "encrypted://5F0D9F6C-7C1E-4A55-8F0B-2F6F0F3C2B22",
        "encrypted://5f0d9f6c7c1e4a558f0b2f6f0f3c2b22",
        "encrypted://{5f0d9f6c-7c1e-4a55-8f0b-2f6f0f3c2b22}",
        "encrypted://urn:uuid:5f0d9f6c-7c1e-4a55-8f0b-2f6f0f3c2b22",
        "vault://canary",
        "vault://#canary",
        "vault://canary#",
        "vault://canary#a#b",
        "vault://canary#a/b",
        "vault://a//canary#b",
        "vault:///canary#b",
        "vault://canary/#b",
        "vault://canary/../root#b",
        "vault://user:canary@host#b",
        "vault://can ary#b",
        long.as_str(),
    ];
    for text in texts {
        let error = text.parse::<CredentialRef>().unwrap_err();
        assert_eq!(error, VaultError::InvalidReference, "{text}");
        let json = serde_json::to_string(text).unwrap();
        let refused = serde_json::from_str::<CredentialRef>(&json).unwrap_err();
        let shown = format!("{error} {error:?} {refused} {refused:?}").to_lowercase();
        assert!(
            !shown.contains("canary") && !shown.contains("5f0d9f6c"),
            "{shown}"
        );
    }
    let number = serde_json::from_str::<CredentialRef>("424242")
        .unwrap_err()
        .to_string();
    assert!(!number.contains("4242"), "{number}");
}

#[test]
fn a_reference_of_the_greatest_length_is_read_and_one_longer_is_refused() {
    let name = "A".repeat(MAX_REFERENCE_LENGTH - ENV.len());
    assert!(format!("{ENV}{name}").parse::<CredentialRef>().is_ok());
    assert!(format!("{ENV}{name}A").parse::<CredentialRef>().is_err());
}

#[test]
fn a_variable_is_read_only_under_an_allowed_prefix() {
    let source = |name: &str| Some(format!("value of {name}"));
    let cases: [(&str, &[&str], bool); 8] = [
        ("TOLLGATE_CRED_A", &["TOLLGATE_CRED_"], true),
        ("TOLLGATE_CRED_A", &["OTHER_", "TOLLGATE_CRED_"], true),
        ("TOLLGATE_CRED_", &["TOLLGATE_CRED_"], false),
        ("TOLLGATE_CRE", &["TOLLGATE_CRED_"], false),
        ("A_TOLLGATE_CRED_A", &["TOLLGATE_CRED_"], false),
        ("AWS_SECRET_ACCESS_KEY", &["TOLLGATE_CRED_"], false),
        ("PATH", &[], false),
        ("PATH", &[""], false),
    ];
    for (name, allowed, is_allowed) in cases {
        let allowed = prefixes(allowed);
        let text = format!("env://{name}");
        let resolved = text
            .parse::<CredentialRef>()
            .unwrap()
            .resolve_env(&source, &allowed);
        let supplied = CredentialRef::supplied(&text, &allowed);
        if is_allowed {
            assert_eq!(resolved.unwrap().expose(), format!("value of {name}"));
            assert_eq!(supplied.unwrap().to_string(), text);
        } else {
            let refusal = VaultError::Unresolved(Unresolved::EnvNotAllowed);
            assert_eq!(resolved.unwrap_err(), refusal, "{name}");
            assert_eq!(supplied.unwrap_err(), refusal, "{name}");
        }
    }
}

#[test]
fn a_variable_that_is_not_allowed_is_not_even_read() {
    let source = |name: &str| -> Option<String> { panic!("read {name}") };
    let reference: CredentialRef = "env://HOME".parse().unwrap();
    assert!(
        reference
            .resolve_env(&source, &prefixes(&["TOLLGATE_CRED_"]))
            .is_err()
    );
}

#[test]
fn a_variable_that_is_unset_or_empty_is_told_apart_from_one_that_is_not_allowed() {
    let reference: CredentialRef = "env://TOLLGATE_CRED_A".parse().unwrap();
    let allowed = prefixes(&["TOLLGATE_CRED_"]);
    for value in [None, Some(String::new())] {
        let error = reference
            .resolve_env(&|_| value.clone(), &allowed)
            .unwrap_err();
        assert_eq!(error, VaultError::Unresolved(Unresolved::EnvUnset));
    }
}

#[test]
fn a_user_cannot_refer_to_a_sealed_credential_or_to_a_vault() {
    let source = |_: &str| Some("value".to_owned());
    let cases = [
        (format!("encrypted://{ID}"), Unresolved::Encrypted),
        ("vault://kv/a#b".to_owned(), Unresolved::VaultUnsupported),
    ];
    for (text, reason) in cases {
        let refusal = VaultError::Unresolved(reason);
        assert_eq!(CredentialRef::supplied(&text, &[]).unwrap_err(), refusal);
        let reference: CredentialRef = text.parse().unwrap();
        assert_eq!(reference.resolve_env(&source, &[]).unwrap_err(), refusal);
    }
    assert!(
        Unresolved::VaultUnsupported
            .to_string()
            .contains("not supported yet")
    );
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_the_same(
        text in "(env|vault|encrypted)://[A-Z0-9_a-z/#.-]{0,40}|(?s).{0,40}",
    ) {
        if let Ok(reference) = text.parse::<CredentialRef>() {
            prop_assert_eq!(reference.to_string(), text);
        }
    }
}
