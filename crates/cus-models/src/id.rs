//! Random ids: the one place of the project that makes them.

use uuid::Uuid;

/// A new random identifier: a version 4 UUID in lower case with hyphens.
#[must_use]
pub fn generate_uuid() -> String {
    let mut text = Uuid::encode_buffer();
    random_uuid()
        .hyphenated()
        .encode_lower(&mut text)
        .to_owned()
}

/// The same, for whoever does not need its text.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where random ids come from"
)]
pub fn random_uuid() -> Uuid {
    Uuid::new_v4()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use uuid::Uuid;

    use super::generate_uuid;

    #[test]
    fn an_id_is_a_random_uuid_in_lower_case_with_hyphens() {
        let id = generate_uuid();
        let uuid = Uuid::parse_str(&id).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(uuid.hyphenated().to_string(), id);
    }

    #[test]
    fn no_two_ids_are_equal() {
        let ids: HashSet<String> = (0..1000).map(|_| generate_uuid()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
