//! A seal opens in its own place and nowhere else, and survives a rotation.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::samples::{self, Place};

/// Made by another implementation of AES-256-GCM, from the sample ring and place, a data key of
/// 0x11, a wrapping nonce of 0x22, a nonce of 0x33.
const KNOWN_SEALED: &str = "\
    0101026b31222222222222222222222222894f988e4f758a0b89639051a740d1fd18a199\
    5fee0e6a3c554c95cba617ebe91811db00d4d3757290ac9f9e0c8300b433333333333333\
    333333333300000019f7e87f25abfc145ecb88f2e471b5b852acd1eabfb7829c012e";

fn secret() -> Secret {
    Secret::new("sk-canary".to_owned())
}

fn refusal(ring: &KeyRing, sealed: &Sealed, place: &Place) -> VaultError {
    ring.open(sealed, &place.binding()).unwrap_err()
}

#[test]
fn a_seal_with_known_keys_and_nonces_is_the_one_computed_elsewhere() {
    let ring = samples::ring(&["k1"]);
    let place = Place::sample();
    let draw = Draw {
        data_key: Zeroizing::new([0x11; 32]),
        wrap_nonce: [0x22; 12],
        nonce: [0x33; 12],
    };
    let sealed = ring.seal_with(&secret(), &place.binding(), &draw).unwrap();
    assert_eq!(samples::hex(sealed.as_bytes()), KNOWN_SEALED);
    assert_eq!(
        ring.open(&sealed, &place.binding()).unwrap().expose(),
        "sk-canary"
    );
}

#[test]
fn a_seal_opens_in_no_other_place() {
    let ring = samples::ring(&["k1"]);
    let home = Place::sample();
    let places = [
        home.clone(),
        Place {
            tenant: "acme2".parse().unwrap(),
            ..home.clone()
        },
        Place {
            integration: IntegrationId::generate(),
            ..home.clone()
        },
        Place {
            credential: CredentialId::generate(),
            ..home.clone()
        },
        Place {
            version: 4,
            ..home.clone()
        },
        Place {
            version: 2,
            ..home.clone()
        },
        Place {
            integration: IntegrationId::from_uuid(home.credential.uuid()),
            credential: CredentialId::from_uuid(home.integration.uuid()),
            ..home
        },
    ];
    let sealed: Vec<_> = places
        .iter()
        .map(|place| ring.seal(&secret(), &place.binding()).unwrap())
        .collect();
    for (from, sealed) in sealed.iter().enumerate() {
        for (to, place) in places.iter().enumerate() {
            let opened = ring.open(sealed, &place.binding());
            let rewrapped = ring.rewrap(sealed, &place.binding());
            if from == to {
                assert_eq!(opened.unwrap().expose(), "sk-canary");
                assert!(rewrapped.is_ok());
            } else {
                assert_eq!(
                    opened.unwrap_err(),
                    VaultError::NotAuthentic,
                    "{from} in {to}"
                );
                assert_eq!(
                    rewrapped.unwrap_err(),
                    VaultError::NotAuthentic,
                    "{from} in {to}"
                );
            }
        }
    }
}

#[test]
fn the_layers_of_two_seals_of_one_place_cannot_be_mixed() {
    let ring = samples::ring(&["k1"]);
    let place = Place::sample();
    let one = ring.seal(&secret(), &place.binding()).unwrap();
    let two = ring.seal(&secret(), &place.binding()).unwrap();
    let (outer, inner) = (one.parts().unwrap(), two.parts().unwrap());
    let mixed = Parts {
        wrap_nonce: outer.wrap_nonce,
        wrapped: outer.wrapped,
        ..inner
    };
    assert_eq!(
        refusal(&ring, &mixed.write().unwrap(), &place),
        VaultError::NotAuthentic
    );
}

#[test]
fn each_layer_alone_is_bound_to_its_place() {
    let home = Place::sample();
    let away = Place {
        tenant: "umbrella".parse().unwrap(),
        ..home.clone()
    };
    let (here, there) = (home.binding(), away.binding());
    let ring = samples::ring(&["k1"]);
    let sealed = ring.seal(&secret(), &here).unwrap();
    let parts = sealed.parts().unwrap();
    let data_key = ring.unwrap_data_key(&parts, &here).unwrap();
    let wrapped = ring
        .wrap_data_key(&data_key, *parts.wrap_nonce, &there)
        .unwrap();
    // The data key now fits the other tenant, the secret still does not.
    let forged = Parts {
        wrapped: &wrapped,
        ..parts
    }
    .write()
    .unwrap();
    assert_eq!(refusal(&ring, &forged, &away), VaultError::NotAuthentic);
    assert_eq!(refusal(&ring, &forged, &home), VaultError::NotAuthentic);
}

#[test]
fn no_flipped_bit_is_overlooked() {
    let ring = samples::ring(&["k1", "k0"]);
    let place = Place::sample();
    let bytes = ring
        .seal(&secret(), &place.binding())
        .unwrap()
        .as_bytes()
        .to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            let opened =
                Sealed::from_bytes(altered).and_then(|sealed| ring.open(&sealed, &place.binding()));
            assert!(opened.is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_seal_cut_short_or_prolonged_is_malformed() {
    let ring = samples::ring(&["k1"]);
    let bytes = ring
        .seal(&secret(), &Place::sample().binding())
        .unwrap()
        .as_bytes()
        .to_vec();
    for end in 0..bytes.len() {
        assert_eq!(
            Sealed::from_bytes(&bytes[..end]).unwrap_err(),
            VaultError::Malformed
        );
    }
    let prolonged = [bytes.as_slice(), &[0]].concat();
    assert_eq!(
        Sealed::from_bytes(prolonged).unwrap_err(),
        VaultError::Malformed
    );
}

#[test]
fn a_rewrapped_secret_opens_without_the_old_master_key() {
    let place = Place::sample();
    let old = samples::ring(&["k1"]);
    let both = samples::ring(&["k2", "k1"]);
    let mut keys = samples::keys(&["k2", "k1"]);
    keys.masters.1.clear();
    let new = KeyRing::from_keys(&keys).unwrap();
    let sealed = old.seal(&secret(), &place.binding()).unwrap();
    assert_eq!(
        both.open(&sealed, &place.binding()).unwrap().expose(),
        "sk-canary"
    );
    let id = old.active_id();
    assert_eq!(
        refusal(&new, &sealed, &place),
        VaultError::UnknownMasterKey { id }
    );

    let rewrapped = both.rewrap(&sealed, &place.binding()).unwrap();
    assert_eq!(rewrapped.master_key_id(), new.active_id());
    let (before, after) = (sealed.parts().unwrap(), rewrapped.parts().unwrap());
    assert_eq!(
        (before.nonce, before.ciphertext),
        (after.nonce, after.ciphertext)
    );
    assert_ne!(before.wrap_nonce, after.wrap_nonce);
    drop((old, both));
    assert_eq!(
        new.open(&rewrapped, &place.binding()).unwrap().expose(),
        "sk-canary"
    );
    let again = new.rewrap(&rewrapped, &place.binding()).unwrap();
    assert_eq!(
        new.open(&again, &place.binding()).unwrap().expose(),
        "sk-canary"
    );
}

#[test]
fn a_master_key_replaced_under_the_same_id_does_not_open() {
    let place = Place::sample();
    let sealed = samples::ring(&["k1"])
        .seal(&secret(), &place.binding())
        .unwrap();
    let other = KeyRing::generate().unwrap();
    assert_eq!(other.active_id(), sealed.master_key_id());
    assert_eq!(refusal(&other, &sealed, &place), VaultError::NotAuthentic);
    assert_eq!(
        other.rewrap(&sealed, &place.binding()).unwrap_err(),
        VaultError::NotAuthentic
    );
}

#[test]
fn a_secret_is_sealed_from_one_byte_to_the_limit_and_not_beyond() {
    let ring = samples::ring(&["k1"]);
    let place = Place::sample();
    for (length, is_sealed) in [
        (0, false),
        (1, true),
        (MAX_SECRET_LENGTH, true),
        (MAX_SECRET_LENGTH + 1, false),
    ] {
        let sealed = ring.seal(&Secret::new("x".repeat(length)), &place.binding());
        if is_sealed {
            let opened = ring.open(&sealed.unwrap(), &place.binding()).unwrap();
            assert_eq!(opened.expose().len(), length);
        } else {
            let refusal = VaultError::SecretLength {
                max: MAX_SECRET_LENGTH,
            };
            assert_eq!(sealed.unwrap_err(), refusal);
        }
    }
}

#[test]
fn a_hundred_thousand_seals_never_repeat_a_nonce_or_a_data_key() {
    let ring = samples::ring(&["k1"]);
    let place = Place::sample();
    let mut nonces = HashSet::new();
    let mut data_keys = HashSet::new();
    for _ in 0..100_000 {
        let sealed = ring.seal(&secret(), &place.binding()).unwrap();
        let parts = sealed.parts().unwrap();
        assert!(nonces.insert(*parts.wrap_nonce) && nonces.insert(*parts.nonce));
        assert!(data_keys.insert(*ring.unwrap_data_key(&parts, &place.binding()).unwrap()));
    }
    assert_eq!((nonces.len(), data_keys.len()), (200_000, 100_000));
}

#[test]
fn debug_shows_no_secret_and_no_key() {
    let ring = KeyRing::generate().unwrap();
    let place = Place::sample();
    let sealed = ring.seal(&secret(), &place.binding()).unwrap();
    let opened = ring.open(&sealed, &place.binding()).unwrap();
    let file = KeyRing::generate_file_text().unwrap();
    let wrong = Place {
        version: 9,
        ..place.clone()
    };
    let error = refusal(&ring, &sealed, &wrong);
    let shown = format!(
        "{opened:?} {ring:?} {sealed:?} {file:?} {:?} {error:?} {error}",
        place.binding()
    );
    let id = ring.active_id();
    let expected = format!(
        "Secret(…) KeyRing {{ master_keys: [MasterKeyId({id})], .. }} Sealed({id}, {} bytes) \
         KeyFileText(…) Binding {{ tenant: TenantId(acme), integration: IntegrationId({}), \
         credential: CredentialId({}), version: 3 }} NotAuthentic {}",
        sealed.as_bytes().len(),
        place.integration,
        place.credential,
        VaultError::NotAuthentic,
    );
    assert_eq!(shown, expected);
}

fn any_place() -> impl Strategy<Value = Place> {
    ("[!-~]{1,100}", any::<[bool; 2]>(), any::<u32>()).prop_map(|(tenant, other, version)| {
        let mut place = Place {
            tenant: tenant.parse().unwrap(),
            version,
            ..Place::sample()
        };
        if other[0] {
            place.integration = IntegrationId::generate();
        }
        if other[1] {
            place.credential = CredentialId::generate();
        }
        place
    })
}

/// Places of which two are often the same, or differ by little.
fn close_place() -> impl Strategy<Value = Place> {
    ("[ab]{1,2}", any::<[bool; 2]>(), 0..2_u32).prop_map(|(tenant, swapped, version)| {
        let mut place = Place {
            tenant: tenant.parse().unwrap(),
            version,
            ..Place::sample()
        };
        let (one, other) = (place.integration.uuid(), place.credential.uuid());
        place.integration = IntegrationId::from_uuid(if swapped[0] { other } else { one });
        place.credential = CredentialId::from_uuid(if swapped[1] { one } else { other });
        place
    })
}

proptest! {
    #[test]
    fn any_secret_opens_in_any_place_and_after_a_rewrap(
        text in "(?s).{1,300}",
        place in any_place(),
    ) {
        let ring = samples::ring(&["k1"]);
        let both = samples::ring(&["k2", "k1"]);
        let sealed = ring.seal(&Secret::new(text.clone()), &place.binding()).unwrap();
        let stored = Sealed::from_bytes(sealed.as_bytes()).unwrap();
        let rewrapped = both.rewrap(&stored, &place.binding()).unwrap();
        for sealed in [sealed, stored, rewrapped] {
            let opened = both.open(&sealed, &place.binding()).unwrap();
            prop_assert_eq!(opened.expose(), text.as_str());
        }
    }

    #[test]
    fn two_bindings_have_the_same_bytes_only_where_they_are_the_same(
        one in close_place(),
        two in close_place(),
    ) {
        let is_same = one.tenant == two.tenant
            && one.integration == two.integration
            && one.credential == two.credential
            && one.version == two.version;
        let (one, two) = (one.binding(), two.binding());
        let bytes = associated(SECRET_PURPOSE, &one, None);
        prop_assert_eq!(bytes == associated(SECRET_PURPOSE, &two, None), is_same);
        prop_assert_ne!(bytes, associated(DATA_KEY_PURPOSE, &one, None));
    }
}
