//! The table of health, row by row, and what holds for every sequence of findings.

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus, CusProviderType};
use proptest::prelude::*;

use super::*;

const FRESH: Health = Health {
    state: CusHealthState::Unknown,
    cause: None,
    failures: 0,
    successes: 0,
};

const FINDINGS: [(&str, Finding); 7] = [
    ("good", Finding::Good),
    ("slow", Finding::Slow),
    ("429", Finding::RateLimited),
    ("404", Finding::NoModels),
    ("down", Finding::Unreachable),
    ("unusable", Finding::Unusable),
    ("401", Finding::Refused),
];

/// Findings from the beginning, the state that they lead to, and its cause.
const TABLE: &str = "
    good                            | healthy  | -
    slow                            | degraded | provider_slow
    429                             | degraded | provider_rate_limited
    404                             | degraded | models_not_found
    401                             | failing  | credentials_invalid
    down                            | degraded | provider_unreachable
    down down                       | degraded | provider_unreachable
    down down down                  | failing  | provider_unreachable
    down down 429 down down         | degraded | provider_unreachable
    down down good down down        | degraded | provider_unreachable
    unusable unusable unusable      | failing  | integration_unusable
    good slow                       | degraded | provider_slow
    good slow good                  | degraded | provider_slow
    good slow good good             | healthy  | -
    good slow good slow good slow   | degraded | provider_slow
    good 404                        | healthy  | -
    slow good 404 good              | degraded | models_not_found
    down down down good             | degraded | provider_recovering
    down down down good good        | healthy  | -
    down down down good down        | degraded | provider_unreachable
    down down down good down down down | failing | provider_unreachable
    down down down slow             | degraded | provider_slow
    down down down 429              | degraded | provider_rate_limited
    down down down 404              | degraded | models_not_found
    down down down 401              | failing  | credentials_invalid
    401 good                        | failing  | credentials_invalid
    401 good good                   | healthy  | -
    401 good 401 good 401 good      | failing  | credentials_invalid
    401 good!                       | healthy  | -
    401 slow!                       | degraded | provider_slow
    401 429!                        | failing  | credentials_invalid
    401 404!                        | failing  | credentials_invalid
    401 down! down! down!           | failing  | credentials_invalid
    401 ~good ~good ~good           | failing  | credentials_invalid
    ~good                           | healthy  | -
    ~down                           | degraded | provider_unreachable
    ~down ~down ~down ~down         | degraded | provider_unreachable
    ~down ~down down                | failing  | provider_unreachable
    ~down ~down good                | degraded | provider_unreachable
    ~429                            | degraded | provider_rate_limited
    ~429 ~good ~good                | healthy  | -
    ~401                            | failing  | credentials_invalid
    good ~401                       | failing  | credentials_invalid
    down down down ~good ~good      | failing  | provider_unreachable
    slow ~good ~good ~good          | degraded | provider_slow
    down down down good ~good       | healthy  | -
";

/// A finding as the table writes it: `good` of the schedule, `good!` asked for, `~good` of traffic.
fn finding(word: &str) -> (Finding, Source) {
    let (word, source) = match (word.strip_prefix('~'), word.strip_suffix('!')) {
        (Some(rest), _) => (rest, Source::Traffic),
        (_, Some(rest)) => (rest, Source::Asked),
        _ => (word, Source::Scheduled),
    };
    let found = FINDINGS.into_iter().find(|(name, _)| *name == word);
    (found.expect("a known finding").1, source)
}

fn run(words: &str) -> Health {
    words.split_whitespace().fold(FRESH, |health, word| {
        let (finding, source) = finding(word);
        health.after(finding, source)
    })
}

#[test]
fn findings_lead_to_the_states_of_the_table() {
    let mut rows: u32 = 0;
    for row in TABLE.trim().lines() {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let [words, state, code] = columns[..] else {
            panic!("a row has three columns: {row}");
        };
        let health = run(words);
        assert_eq!(health.state.as_str(), state, "{words}");
        assert_eq!(health.cause.map_or("-", Cause::as_str), code, "{words}");
        rows += 1;
    }
    assert_eq!(rows, 46);
}

#[test]
fn a_cause_reads_back_from_the_message_that_begins_with_it() {
    for cause in Cause::ALL {
        let message = format!("{}: something happened", cause.as_str());
        assert_eq!(Cause::of_message(&message), Some(cause));
    }
    assert_eq!(Cause::of_message("slow"), None);
}

#[test]
fn an_integration_in_error_counts_as_refused_whatever_its_message_says() {
    let mut integration =
        CusIntegration::new("acme", "main", CusProviderType::OpenAi, "env://KEY").unwrap();
    integration.status = CusIntegrationStatus::Error;
    integration.health_message = Some("somebody's own words".to_owned());
    assert!(Health::of(&integration, 0, 0).is_refused());
}

#[test]
fn several_are_as_healthy_as_the_worst_that_is_known() {
    use CusHealthState as S;
    let table: [(&[S], S); 7] = [
        (&[], S::Unknown),
        (&[S::Unknown, S::Unknown], S::Unknown),
        (&[S::Unknown, S::Healthy], S::Healthy),
        (&[S::Healthy, S::Healthy], S::Healthy),
        (&[S::Healthy, S::Degraded, S::Unknown], S::Degraded),
        (&[S::Degraded, S::Failing, S::Healthy], S::Failing),
        (&[S::Failing], S::Failing),
    ];
    for (states, expected) in table {
        assert_eq!(overall(states.iter().copied()), expected, "{states:?}");
    }
}

fn any_finding() -> impl Strategy<Value = (Finding, Source)> {
    let findings: Vec<Finding> = FINDINGS.into_iter().map(|(_, finding)| finding).collect();
    let sources = vec![Source::Asked, Source::Scheduled, Source::Traffic];
    (
        proptest::sample::select(findings),
        proptest::sample::select(sources),
    )
}

fn changes(findings: impl IntoIterator<Item = (Finding, Source)>) -> u32 {
    let mut health = FRESH;
    let mut changes = 0;
    for (finding, source) in findings {
        let next = health.after(finding, source);
        changes += u32::from(next.differs_from(&health));
        health = next;
    }
    changes
}

proptest! {
    /// A good answer and a bad one in turn: the first says something, the first bad one takes it
    /// back, and from then on it stays as it is.
    #[test]
    fn alternating_answers_change_the_state_at_most_twice(
        bad in proptest::sample::select(vec![
            Finding::Slow, Finding::RateLimited, Finding::NoModels, Finding::Unreachable,
            Finding::Unusable, Finding::Refused,
        ]),
        begins_good: bool,
        by_traffic: bool,
        rounds in 1_usize..50,
    ) {
        let source = if by_traffic { Source::Traffic } else { Source::Scheduled };
        let findings = (0..rounds * 2).map(|turn| {
            let is_good = (turn % 2 == 0) == begins_good;
            (if is_good { Finding::Good } else { bad }, source)
        });
        prop_assert!(changes(findings) <= 2);
    }

    /// Out of service only for a refused credential, or when a probe failed after two failures.
    #[test]
    fn nothing_is_out_of_service_without_a_refusal_or_a_failed_probe(
        findings in proptest::collection::vec(any_finding(), 0..60),
    ) {
        let mut health = FRESH;
        for (finding, source) in findings {
            let next = health.after(finding, source);
            let newly = next.state == CusHealthState::Failing
                && health.state != CusHealthState::Failing;
            if newly && finding != Finding::Refused {
                prop_assert!(source.is_probe() && next.failures >= FAILURES_TO_FAIL);
            }
            if health.is_refused() && !next.is_refused() {
                prop_assert!(source.is_probe());
                prop_assert!(matches!(finding, Finding::Good | Finding::Slow));
            }
            prop_assert_eq!(next.state == CusHealthState::Healthy, next.cause.is_none()
                && next.state != CusHealthState::Unknown);
            health = next;
        }
    }

    /// Whatever came before, good answers to probes make it healthy within three.
    #[test]
    fn a_provider_that_answers_well_is_healthy_after_three_probes(
        findings in proptest::collection::vec(any_finding(), 0..60),
    ) {
        let mut health = findings
            .into_iter()
            .fold(FRESH, |health, (finding, source)| health.after(finding, source));
        for _ in 0..3 {
            health = health.after(Finding::Good, Source::Scheduled);
        }
        prop_assert_eq!(health.state, CusHealthState::Healthy);
    }
}
