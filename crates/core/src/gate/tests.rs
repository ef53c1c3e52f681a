//! The gate's rules as tables and properties.

use cus_models::CusIntegration;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::account::Granted;
use crate::tokens::TokenUsage;

/// An enabled integration with a budget of 100 cents, 1,000 tokens and 10 calls a minute.
fn integration(changes: &serde_json::Value) -> CusIntegration {
    let mut fields = json!({
        "id": "00000000-0000-4000-8000-000000000001", "tenant_id": "t", "name": "n",
        "provider_type": "openai", "credential_ref": "encrypted://1", "config": null,
        "status": "enabled", "health_state": "healthy", "health_checked_at": null,
        "health_message": null, "default_model": null, "budget_limit_cents": 100,
        "token_limit_month": 1_000, "rate_limit_rpm": 10, "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "created_by": null, "deleted_at": null,
    });
    for (name, value) in changes.as_object().unwrap() {
        fields[name] = value.clone();
    }
    serde_json::from_value(fields).unwrap()
}

fn moment(wall: &str, seconds: i64) -> Moment {
    Moment {
        wall: wall.parse().unwrap(),
        steady_micros: seconds * 1_000_000,
    }
}

const NOVEMBER: &str = "2026-11-15T12:00:00Z";

/// A gate that knows its month: so many cents and tokens spent, all the rest drawn.
fn gate(integration: &CusIntegration, cents: i64, tokens: i64) -> Gate {
    let mut gate = Gate::new(integration, Sharing::Alone);
    let granted = |own, drawn| Granted {
        drawn,
        own,
        elsewhere: 0,
    };
    gate.grant(&Grant {
        period: "2026-11".parse().unwrap(),
        budget: granted(cents * 10_000_000, 1_000_000_000),
        tokens: granted(tokens, 1_000),
    });
    gate
}

fn ask(cents: i64, tokens: i64) -> Ask {
    Ask {
        worst: TokenUsage::plain(tokens.unsigned_abs(), 0),
        cost: Some(Nanos::new(cents * 10_000_000)),
    }
}

fn outcome(decision: &Decision) -> String {
    match decision {
        Decision::Refused(refusal) => {
            format!("{} {}", refusal.verdict().as_str(), refusal.code.as_str())
        }
        Decision::NeedsDraw(_) => "draw".to_owned(),
        Decision::Admitted(admission) => {
            let warnings: Vec<_> = admission
                .warnings
                .iter()
                .map(|warning| warning.code.as_str())
                .collect();
            format!(
                "{} {}",
                admission.warnings.verdict().as_str(),
                warnings.join(" ")
            )
        }
    }
}

#[test]
fn the_first_rule_that_refuses_gives_the_only_reason() {
    // status, health, cents spent, tokens used, calls this minute, then the decision on a call
    // of one cent and one token.
    let table = "
        created  healthy  0    0     0   hard_blocked integration_not_enabled
        disabled failing  100  1000  10  hard_blocked integration_disabled
        error    failing  100  1000  10  hard_blocked integration_error
        enabled  failing  100  1000  10  hard_blocked credentials_invalid
        enabled  healthy  100  1000  10  blocked budget_exceeded
        enabled  healthy  99   1000  10  blocked token_limit_exceeded
        enabled  healthy  85   900   10  throttled rate_limit_exceeded
        enabled  healthy  79   799   9   allowed
        enabled  healthy  80   799   0   warned budget_warning
        enabled  healthy  79   800   0   warned token_warning
        enabled  degraded 85   900   0   warned budget_warning token_warning
        enabled  unknown  0    0     0   allowed
    ";
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let (state, expected) = cells.split_at(5);
        let number = |index: usize| -> i64 { state[index].parse().unwrap() };
        let changes = json!({"status": state[0], "health_state": state[1]});
        let mut gate = gate(&integration(&changes), number(2), number(3));
        gate.remember_calls(0, number(4));
        let decision = gate.admit(&ask(1, 1), moment(NOVEMBER, 1), Attempt::First);
        assert_eq!(outcome(&decision).trim(), expected.join(" "), "{row}");
    }
}

#[test]
fn a_deleted_integration_is_not_found() {
    let gone = integration(&json!({"deleted_at": "2026-02-01T00:00:00Z"}));
    let decision = gate(&gone, 0, 0).admit(&ask(1, 1), moment(NOVEMBER, 1), Attempt::First);
    assert_eq!(outcome(&decision), "hard_blocked integration_not_found");
}

#[test]
fn a_model_without_a_price_is_refused_only_where_a_budget_is_set() {
    let unpriced = Ask {
        worst: TokenUsage::plain(1, 0),
        cost: None,
    };
    let now = moment(NOVEMBER, 1);
    let decision = gate(&integration(&json!({})), 0, 0).admit(&unpriced, now, Attempt::First);
    assert_eq!(outcome(&decision), "blocked price_unknown");
    let free = integration(&json!({"budget_limit_cents": 0}));
    assert_eq!(
        outcome(&gate(&free, 0, 0).admit(&unpriced, now, Attempt::First)).trim(),
        "allowed"
    );
}

#[test]
fn a_thousand_refusals_move_no_counter() {
    for (cents, tokens, calls) in [(100, 0, 0), (0, 1_000, 0), (0, 0, 10)] {
        let mut gate = gate(&integration(&json!({})), cents, tokens);
        gate.remember_calls(0, calls);
        let now = moment(NOVEMBER, 1);
        let before = gate.snapshot(now);
        for _ in 0..1_000 {
            let decision = gate.admit(&ask(1, 1), now, Attempt::First);
            assert!(matches!(decision, Decision::Refused(_)), "{decision:?}");
        }
        assert_eq!(gate.snapshot(now), before);
    }
}

#[test]
fn what_calls_in_flight_hold_may_be_free_again_soon() {
    let mut gate = gate(&integration(&json!({})), 0, 0);
    let now = moment(NOVEMBER, 1);
    let first = gate.admit(&ask(60, 1), now, Attempt::First);
    let Decision::Admitted(admission) = first else {
        panic!("{first:?}")
    };
    let second = gate.admit(&ask(60, 1), now, Attempt::First);
    assert_eq!(outcome(&second), "blocked budget_held");
    gate.settle(
        &admission.hold,
        &Actual {
            cost: Nanos::new(10_000_000),
            tokens: 1,
        },
    );
    assert!(matches!(
        gate.admit(&ask(60, 1), now, Attempt::First),
        Decision::Admitted(_)
    ));
}

#[test]
fn a_month_that_is_not_known_yet_is_asked_for_and_an_unreachable_store_refuses_only_what_is_limited()
 {
    let now = moment(NOVEMBER, 1);
    let mut limited = Gate::new(&integration(&json!({})), Sharing::Alone);
    assert_eq!(
        outcome(&limited.admit(&ask(1, 1), now, Attempt::First)),
        "draw"
    );
    let refused = limited.admit(&ask(1, 1), now, Attempt::StoreUnreachable);
    assert_eq!(outcome(&refused), "blocked limits_unavailable");
    let free = integration(&json!({"budget_limit_cents": 0, "token_limit_month": 0}));
    let mut free = Gate::new(&free, Sharing::Alone);
    let admitted = free.admit(&ask(1, 1), now, Attempt::StoreUnreachable);
    assert_eq!(outcome(&admitted).trim(), "allowed");
}

#[test]
fn a_call_is_charged_to_the_month_that_it_was_admitted_in() {
    let mut gate = gate(&integration(&json!({})), 0, 0);
    let last = moment("2026-11-30T23:59:59.999999Z", 1);
    let Decision::Admitted(admission) = gate.admit(&ask(50, 5), last, Attempt::First) else {
        panic!("not admitted")
    };
    let next = moment("2026-12-01T00:00:00Z", 2);
    assert_eq!(
        outcome(&gate.admit(&ask(1, 1), next, Attempt::First)),
        "draw"
    );
    let (december, _) = gate.snapshot(next);
    assert_eq!((december.budget.held, december.spent()), (0, Nanos::ZERO));
    gate.settle(
        &admission.hold,
        &Actual {
            cost: Nanos::new(7),
            tokens: 5,
        },
    );
    assert_eq!(gate.snapshot(next).0.spent(), Nanos::ZERO);
}

#[test]
fn a_clock_set_back_does_not_open_the_month_before_again() {
    let mut gate = gate(&integration(&json!({})), 100, 0);
    let back = moment("2026-10-31T00:00:00Z", 1);
    assert_eq!(
        outcome(&gate.admit(&ask(1, 1), back, Attempt::First)),
        "blocked budget_exceeded"
    );
}

/// A gate that shares its ten calls a minute with other nodes, and has no other limit.
fn shared_gate() -> Gate {
    let only_rate = json!({"budget_limit_cents": 0, "token_limit_month": 0});
    let mut gate = Gate::new(&integration(&only_rate), Sharing::Shared);
    gate.grant(&Grant {
        period: "2026-11".parse().unwrap(),
        budget: Granted::default(),
        tokens: Granted::default(),
    });
    gate
}

fn permits(calls: i64, retry_after_ms: i64) -> PermitGrant {
    PermitGrant {
        slot: 1,
        calls,
        in_window: 10,
        retry_after_ms,
    }
}

#[test]
fn a_shared_minute_is_drawn_used_and_refused_without_asking_again() {
    let mut gate = shared_gate();
    let now = moment(NOVEMBER, 1);
    let decision = gate.admit(&ask(1, 1), now, Attempt::First);
    let need = Need {
        draw: None,
        permit: true,
    };
    assert_eq!(decision, Decision::NeedsDraw(need));
    gate.grant_permits(&permits(1, 0), now);
    let admitted = gate.admit(&ask(1, 1), now, Attempt::First);
    assert_eq!(outcome(&admitted).trim(), "allowed");
    gate.grant_permits(&permits(0, 30_000), now);
    let refused = gate.admit(&ask(1, 1), now, Attempt::First);
    assert_eq!(outcome(&refused), "throttled rate_limit_exceeded");
    let later = moment(NOVEMBER, 31);
    assert_eq!(
        outcome(&gate.admit(&ask(1, 1), later, Attempt::First)),
        "draw"
    );
    let alone = gate.admit(&ask(1, 1), later, Attempt::StoreUnreachable);
    assert_eq!(outcome(&alone), "blocked limits_unavailable");
}

#[test]
fn a_draw_that_brought_too_little_is_not_repeated_at_once() {
    let mut gate = gate(&integration(&json!({})), 0, 0);
    gate.grant(&Grant {
        period: "2026-11".parse().unwrap(),
        budget: Granted::default(),
        tokens: Granted {
            drawn: 1_000,
            ..Granted::default()
        },
    });
    let now = moment(NOVEMBER, 1);
    let mut decide = |now, attempt| outcome(&gate.admit(&ask(1, 1), now, attempt));
    assert_eq!(decide(now, Attempt::First), "draw");
    assert_eq!(decide(now, Attempt::AfterDraw), "blocked budget_held");
    assert_eq!(decide(now, Attempt::First), "blocked budget_held");
    assert_eq!(decide(moment(NOVEMBER, 2), Attempt::First), "draw");
}

#[test]
fn what_was_drawn_under_a_higher_limit_is_not_handed_out_under_a_lower_one() {
    let now = moment(NOVEMBER, 0);
    for (changes, given_back) in [
        (json!({"budget_limit_cents": 50}), true),
        (json!({"token_limit_month": 500}), true),
        (
            json!({"budget_limit_cents": 200, "token_limit_month": 2_000}),
            false,
        ),
        (json!({"budget_limit_cents": 0, "rate_limit_rpm": 5}), false),
    ] {
        let mut gate = gate(&integration(&json!({})), 10, 100);
        let first = gate.admit(&ask(1, 10), now, Attempt::First);
        assert!(matches!(first, Decision::Admitted(_)), "{changes}");
        gate.update(&integration(&changes));
        let again = gate.admit(&ask(1, 10), now, Attempt::First);
        assert_eq!(
            matches!(again, Decision::NeedsDraw(_)),
            given_back,
            "{changes}"
        );
        if !given_back {
            assert_eq!(gate.take_overdrawn(), vec![]);
            continue;
        }
        let unreachable = gate.admit(&ask(1, 10), now, Attempt::StoreUnreachable);
        assert!(
            outcome(&unreachable).ends_with("limits_unavailable"),
            "{changes}"
        );
        // All of it but what is spent, and held by the call in flight.
        let draw = Draw {
            period: "2026-11".parse().unwrap(),
            budget: 89 * 10_000_000,
            tokens: 890,
        };
        assert_eq!(gate.take_overdrawn(), vec![draw]);
        assert_eq!(gate.take_overdrawn(), vec![], "once");
    }
}

#[test]
fn only_what_is_neither_spent_nor_held_is_given_back_and_only_when_no_call_comes() {
    let mut gate = gate(&integration(&json!({})), 10, 100);
    let now = moment(NOVEMBER, 1);
    let Decision::Admitted(admission) = gate.admit(&ask(20, 200), now, Attempt::First) else {
        panic!("not admitted")
    };
    let idle = 2_000_000;
    assert!(gate.take_spare(idle, now).is_nothing());
    let spare = gate.take_spare(idle, moment(NOVEMBER, 3));
    let draw = Draw {
        period: "2026-11".parse().unwrap(),
        budget: 700_000_000,
        tokens: 700,
    };
    assert_eq!(spare.draws, vec![draw]);
    assert!(gate.take_spare(idle, moment(NOVEMBER, 3)).is_nothing());
    gate.release(&admission.hold);
    let freed = gate.take_spare(idle, moment(NOVEMBER, 3));
    assert_eq!(freed.draws[0].budget, 200_000_000);
}

#[test]
fn what_went_back_without_an_answer_is_asked_about_until_the_store_says_what_it_counts() {
    let mut gate = gate(&integration(&json!({})), 10, 100);
    let period: Period = "2026-11".parse().unwrap();
    let later = moment(NOVEMBER, 9);
    assert!(!gate.take_spare(0, later).is_nothing());
    assert!(gate.take_spare(0, later).is_nothing(), "it is under way");
    gate.doubt(period);
    let nothing = Draw {
        period,
        budget: 0,
        tokens: 0,
    };
    for _unanswered in 0..2 {
        assert_eq!(gate.take_spare(0, later).draws, vec![nothing]);
    }
    let granted = |own, drawn| Granted {
        drawn,
        own,
        elsewhere: 0,
    };
    gate.grant(&Grant {
        period,
        budget: granted(100_000_000, 1_000_000_000),
        tokens: granted(100, 100),
    });
    let still_there = Draw {
        budget: 900_000_000,
        ..nothing
    };
    assert_eq!(gate.take_spare(0, later).draws, vec![still_there]);
    assert!(gate.take_spare(0, later).is_nothing());
}

proptest! {
    /// Whatever calls come, end and fail in whatever order: spent and held never pass the limit
    /// while calls use no more than they hold, and at the end nothing is held.
    #[test]
    fn spent_and_held_never_pass_the_limit(
        steps in prop::collection::vec((0_i64..40, 0_i64..300, 0_u8..4), 1..200),
    ) {
        let mut gate = gate(&integration(&json!({"rate_limit_rpm": 0})), 0, 0);
        let now = moment(NOVEMBER, 1);
        let mut open: Vec<HoldAmount> = Vec::new();
        for (cents, tokens, step) in steps {
            match step {
                0 | 1 => if let Decision::Admitted(admission) = gate.admit(&ask(cents, tokens), now, Attempt::First) {
                    open.push(admission.hold);
                },
                2 => if let Some(hold) = open.pop() {
                    let used = Actual { cost: Nanos::new(hold.cost.get() / 2), tokens: hold.tokens / 2 };
                    gate.settle(&hold, &used);
                },
                _ => if let Some(hold) = open.pop() { gate.release(&hold) },
            }
            let (account, _) = gate.snapshot(now);
            prop_assert!(account.budget.spent() + account.budget.held <= 1_000_000_000);
            prop_assert!(account.tokens.spent() + account.tokens.held <= 1_000);
        }
        for hold in open { gate.release(&hold); }
        prop_assert!(gate.snapshot(now).0.is_idle());
    }
}

#[test]
fn a_call_that_ends_gives_back_its_own_hold_and_no_others() {
    let mut gate = gate(&integration(&json!({})), 10, 100);
    let now = moment(NOVEMBER, 1);
    let mut holds = (0..3).map(|_| {
        let Decision::Admitted(admission) = gate.admit(&ask(10, 10), now, Attempt::First) else {
            panic!("not admitted")
        };
        admission.hold
    });
    let (first, second, third) = (holds.next(), holds.next(), holds.next());
    drop(holds);
    let held = |gate: &mut Gate| gate.snapshot(now).0.tokens.held;
    gate.release(&first.unwrap());
    assert_eq!(held(&mut gate), 20);
    let used = Actual {
        cost: Nanos::ZERO,
        tokens: 0,
    };
    gate.settle(&second.unwrap(), &used);
    assert_eq!(held(&mut gate), 10);
    gate.release(&third.unwrap());
    assert_eq!(held(&mut gate), 0);
}

#[test]
fn what_is_on_its_way_to_the_ledger_counts_as_used_whichever_month_is_taken_up_first() {
    let figures = |period: &str| Grant {
        period: period.parse().unwrap(),
        budget: Granted {
            drawn: 600_000_000,
            own: 100_000_000,
            elsewhere: 0,
        },
        tokens: Granted {
            drawn: 1_000,
            own: 0,
            elsewhere: 0,
        },
    };
    let owed = Actual {
        cost: Nanos::new(200_000_000),
        tokens: 10,
    };
    let earlier = HoldAmount {
        period: "2026-10".parse().unwrap(),
        cost: Nanos::new(1),
        tokens: 1,
        rate_mark: 0,
    };
    for months in [["2026-10", "2026-11"], ["2026-11", "2026-10"]] {
        let mut gate = Gate::new(&integration(&json!({})), Sharing::Alone);
        for month in months {
            gate.resume(&figures(month), &owed);
        }
        gate.retake(&earlier);
        let now = moment(NOVEMBER, 1);
        let account = gate.snapshot(now).0;
        assert_eq!(account.period, "2026-11".parse().unwrap());
        assert_eq!(account.spent(), Nanos::new(300_000_000));
        assert!(matches!(
            gate.admit(&ask(30, 10), now, Attempt::First),
            Decision::Admitted(_)
        ));
        let more = gate.admit(&ask(1, 1), now, Attempt::First);
        assert!(matches!(more, Decision::NeedsDraw(_)), "{more:?}");
    }
}
