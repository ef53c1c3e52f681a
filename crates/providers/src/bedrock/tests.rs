//! What is sent to Bedrock and signed, and what its answers mean. The signatures here were made by
//! botocore, AWS's own client for Python, of the same requests at the same moment.

use bytes::Bytes;
use http::HeaderValue;
use tollgate_core::CallId;

use super::*;
use crate::tests::now;

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn prepared(model: &str, credential: &str, body: &'static str) -> Outbound {
    let config = IntegrationConfig {
        region: Some("us-east-1".to_owned()),
        ..IntegrationConfig::default()
    };
    let endpoint = Bedrock.endpoint(&config, &UrlPolicy::default()).unwrap();
    let body = Bytes::from_static(body.as_bytes());
    let facts = RequestFacts::read(Operation::Converse, &body).unwrap();
    let secret = Secret::new(credential.to_owned());
    Bedrock
        .prepare(&PrepareCall {
            operation: Operation::Converse,
            face: Face::Bedrock,
            now: now(),
            call_id: &"call-1".parse::<CallId>().unwrap(),
            headers: &HeaderMap::new(),
            query: None,
            endpoint: &endpoint,
            config: &config,
            credential: Some(&secret),
            model: Some(model),
            thing: None,
            prices: None,
            body: Some((&body, &facts)),
        })
        .unwrap()
}

fn text<'o>(outbound: &'o Outbound, name: &str) -> &'o str {
    outbound.headers.get(name).unwrap().to_str().unwrap()
}

#[test]
fn a_signature_is_the_one_that_awss_own_client_makes() {
    const KEYS: &str = r#"{"access_key_id":"AKIDEXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}"#;
    const TEMPORARY: &str = r#"{"access_key_id":"AKIDEXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY","session_token":"token-canary"}"#;
    const ARN: &str =
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456";
    let table = [
        (
            MODEL,
            KEYS,
            "87e114dcbbaf782b0b033c88905b9bf9956d44b2a0f41c3174eac2780fb31277",
        ),
        (
            ARN,
            KEYS,
            "d6154cf3f5ba77f51e549860462f833fc779c208507d27d670c6179bb26edd9e",
        ),
        (
            MODEL,
            TEMPORARY,
            "9279c8503ac952f0724cf0e0e3e7799fc6c34795e641a7d4d98d81f0245f13c2",
        ),
    ];
    for (model, keys, signature) in table {
        let outbound = prepared(model, keys, r#"{"messages":[]}"#);
        let sent = text(&outbound, "authorization");
        let token = if keys == TEMPORARY {
            ";x-amz-security-token"
        } else {
            ""
        };
        assert_eq!(
            sent,
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/bedrock/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date{token}, Signature={signature}"
            )
        );
        assert_eq!(text(&outbound, "x-amz-date"), "20260102T030405Z");
        assert!(outbound.headers["authorization"].is_sensitive());
        assert!(!format!("{outbound:?}").contains("canary"));
    }
}

#[test]
fn a_models_name_is_sent_as_awss_own_client_sends_it() {
    let uri = |model| prepared(model, "key", "{}").uri.to_string();
    let at = "https://bedrock-runtime.us-east-1.amazonaws.com/model";
    assert_eq!(
        uri(MODEL),
        format!("{at}/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse")
    );
    assert_eq!(
        uri("arn:aws:bedrock:us-east-1::foundation-model/m+1"),
        format!("{at}/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Fm%2B1/converse")
    );
}

#[test]
fn an_api_key_goes_as_a_bearer_and_nothing_is_signed() {
    for credential in ["bedrock-key", r#"{"api_key":"bedrock-key"}"#] {
        let outbound = prepared(MODEL, credential, "{}");
        assert_eq!(text(&outbound, "authorization"), "Bearer bedrock-key");
        assert!(outbound.headers.get("x-amz-date").is_none());
    }
}

#[test]
fn a_credential_that_is_neither_kind_is_refused_without_repeating_it() {
    for wrong in [
        "{}",
        r#"{"access_key_id":"canary"}"#,
        r#"{"access_key_id":"canary","secret_access_key":""}"#,
        r#"{"access_key_id":"can-ary","secret_access_key":"canary"}"#,
        r#"{"access_key_id":"canary","secret_access_key":"can ary"}"#,
        r#"{"access_key_id":"canary","secret_access_key":"canary","api_key":"canary"}"#,
        r#"{"api_key":"canary","session_token":"canary"}"#,
        r#"{"api_key":"canary","more":"canary"}"#,
    ] {
        let error = Bedrock
            .check_credential(&Secret::new(wrong.to_owned()))
            .unwrap_err();
        assert_eq!(error, CredentialError::Aws, "{wrong}");
        assert!(!error.to_string().contains("canary"));
    }
}

#[test]
fn only_what_awss_clients_mean_by_it_marks_a_credential_as_refused() {
    let of = |status: u16, kind: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
        let status = StatusCode::from_u16(status).unwrap();
        let failure = Bedrock.classify(status, &headers).unwrap();
        (
            failure.code(),
            Bedrock.disowns_credential(status, &headers),
            Bedrock.judge_probe(status, &headers, 5),
        )
    };
    assert_eq!(
        of(403, "ExpiredTokenException"),
        ("upstream_auth_failed", true, Finding::Refused)
    );
    assert_eq!(
        of(403, "UnrecognizedClientException:http://x/"),
        ("upstream_auth_failed", true, Finding::Refused)
    );
    assert_eq!(
        of(403, "AccessDeniedException"),
        ("upstream_access_denied", false, Finding::Good)
    );
    assert_eq!(
        of(429, "ThrottlingException"),
        ("upstream_rate_limited", false, Finding::RateLimited)
    );
}

#[test]
fn a_region_has_a_form_and_an_address_is_in_it() {
    for region in [
        "us-east-1",
        "us-gov-west-1",
        "ap-southeast-7",
        "cn-north-1",
        "eu-central-2",
    ] {
        assert!(is_region(region), "{region}");
    }
    for region in [
        "",
        "us",
        "us-east",
        "us-east-",
        "US-EAST-1",
        "us-east-1.evil.example",
        "us-east-1/",
        "us--1",
        "u-east-1",
        "us-a-b-c-1",
    ] {
        assert!(!is_region(region), "{region}");
    }
    let check = |region: &str, url: Option<&str>| {
        let config = IntegrationConfig {
            region: Some(region.to_owned()),
            base_url: url.map(str::to_owned),
            ..IntegrationConfig::default()
        };
        Bedrock.check_config(&config).map_err(|error| error.member)
    };
    let private = "https://vpce-1-a.bedrock-runtime.us-east-1.vpce.amazonaws.com";
    assert_eq!(check("us-east-1", None), Ok(()));
    assert_eq!(check("us-east-1", Some(private)), Ok(()));
    assert_eq!(check("us-east-1", Some("http://127.0.0.1:1")), Ok(()));
    assert_eq!(check("eu-west-1", Some(private)), Err("base_url"));
    let other = Some("https://bedrock.us-east-1.amazonaws.com");
    assert_eq!(check("us-east-1", other), Err("base_url"));
    assert_eq!(check("Virginia", None), Err("region"));
}

#[test]
fn a_resource_is_booked_by_its_last_part() {
    assert_eq!(Bedrock.booked(MODEL), MODEL);
    assert_eq!(
        Bedrock.booked("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.m"),
        "us.amazon.m"
    );
    assert_eq!(Bedrock.booked("name/m"), "name/m");
}
