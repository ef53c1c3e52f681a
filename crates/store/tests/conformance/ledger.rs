//! The ledger: one row a call, equal to its balance and roll-up, never changed.

use std::sync::Arc;

use cus_models::CusPolicyResult;
use jiff::Timestamp;
use tollgate_core::page::PageAsk;
use tollgate_core::price::{PricePin, Rates};
use tollgate_core::usage::{Origin, UsageEntry, UsageSource};
use tollgate_core::{IntegrationId, Nanos, Period, TenantId, TokenUsage};
use tollgate_store::{Balance, Fate, ReportedEntry, Standing, StoreError, UsageFilter};

use crate::world::{World, call, id_of, moment, refusal};

fn november() -> Period {
    "2026-11".parse().unwrap()
}

/// A call with everything that a call can have.
pub(crate) fn full(tenant: &TenantId, integration: IntegrationId) -> UsageEntry {
    UsageEntry {
        session_id: Some("session-1".parse().unwrap()),
        agent_id: Some("agent-1".parse().unwrap()),
        tokens: TokenUsage {
            cached_input: 5,
            reasoning: 7,
            ..TokenUsage::plain(100, 20)
        },
        cost: Nanos::new(123_456_789),
        held: Nanos::new(200_000_000),
        source: UsageSource::Counted,
        price: Some(PricePin {
            version: "2026-11-01".into(),
            rates: Rates {
                input: 1,
                output: 2,
                cached_input: Some(3),
                ..Rates::default()
            },
        }),
        policy_result: CusPolicyResult::Warned,
        error_code: Some("interrupted".into()),
        error_message: Some("cut off".to_owned()),
        extra: Some(r#"{"attempt":1}"#.into()),
        ..call(tenant, integration, "c-1")
    }
}

pub(crate) async fn a_call_is_one_row_that_bears_all_it_was_charged_by(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let entry = full(&acme, id);
    let batch = std::slice::from_ref(&entry);
    let report = world.operator().append(batch, moment(9)).await.unwrap();
    assert_eq!((report.written, report.duplicates), (1, 0));

    let store = world.tenant(&acme);
    let page = store.usage_history(PageAsk::default(), UsageFilter::default());
    let row = page.await.unwrap().rows.remove(0);
    let usage = row.usage;
    assert_eq!(
        (usage.tokens_in, usage.tokens_out, usage.cost_cents),
        (105, 27, 12)
    );
    assert_eq!((row.cost, row.held), (entry.cost, entry.held));
    assert_eq!(
        (row.tokens, row.price, row.source),
        (entry.tokens, entry.price, entry.source)
    );
    assert_eq!((row.node, row.settled_at), (world.store.node(), moment(9)));
    assert_eq!(
        (usage.call_id.as_str(), usage.created_at),
        ("c-1", entry.created_at)
    );
    assert_eq!(usage.session_id.as_deref(), Some("session-1"));
    assert_eq!(usage.agent_id.as_deref(), Some("agent-1"));
    assert_eq!(usage.error_code.as_deref(), Some("interrupted"));
    assert_eq!(usage.error_message.as_deref(), Some("cut off"));
    assert_eq!(usage.policy_result, CusPolicyResult::Warned);
    assert_eq!(usage.extra_data.unwrap()["attempt"], 1);
    usage.id.parse::<uuid::Uuid>().unwrap();
}

pub(crate) async fn a_call_is_in_its_balance_and_roll_up(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let entry = full(&acme, id);
    let batch = std::slice::from_ref(&entry);
    world.operator().append(batch, moment(9)).await.unwrap();

    let balance = world.tenant(&acme).balance(id, november()).await.unwrap();
    let expected = Balance {
        settled: entry.cost,
        tokens: 132,
        posted_cents: 12,
        calls: 1,
    };
    assert_eq!(balance, expected);
    let day = "2026-11-15".parse().unwrap();
    let days = world
        .tenant(&acme)
        .usage_daily(day, day, None)
        .await
        .unwrap();
    assert_eq!((days.len(), days[0].cost), (1, entry.cost));
    let daily = &days[0].daily;
    assert_eq!(
        (daily.total_calls, daily.error_count, daily.blocked_count),
        (1, 1, 0)
    );
    assert_eq!((daily.total_tokens_in, daily.total_tokens_out), (105, 27));
    assert_eq!(daily.total_cost_cents, 12);
    assert_eq!(
        (daily.avg_latency_ms, daily.updated_at),
        (Some(10), moment(9))
    );
    assert!(
        world
            .operator()
            .is_call_known(&acme, &entry.call_id)
            .await
            .unwrap()
    );
    let other = "c-2".parse().unwrap();
    assert!(!world.operator().is_call_known(&acme, &other).await.unwrap());
}

pub(crate) async fn a_call_that_comes_twice_is_booked_once(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let calls: Vec<_> = ["a", "b", "a", "a"]
        .map(|name| call(&acme, id, name))
        .into();
    let report = world.operator().append(&calls, moment(1)).await.unwrap();
    assert_eq!((report.written, report.duplicates), (2, 2));
    let report = world
        .operator()
        .append(&calls[1..3], moment(2))
        .await
        .unwrap();
    assert_eq!((report.written, report.duplicates), (0, 2));
    assert!(report.conflicts.is_empty());
    let balance = world.tenant(&acme).balance(id, november()).await.unwrap();
    assert_eq!((balance.calls, balance.settled), (2, Nanos::new(2_000)));
    // Another tenant may give its call the same name.
    let other = world.create_tenant("other").await;
    let theirs = id_of(&world.create_integration(&other, "main").await);
    let report = world
        .operator()
        .append(&[call(&other, theirs, "a")], moment(3))
        .await
        .unwrap();
    assert_eq!(report.written, 1);
}

pub(crate) async fn the_same_call_with_other_content_is_a_conflict_and_the_first_stands(
    world: &World,
) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let first = call(&acme, id, "a");
    let other = UsageEntry {
        cost: Nanos::new(999),
        ..first.clone()
    };
    let report = world
        .operator()
        .append(&[first.clone(), other.clone()], moment(1))
        .await
        .unwrap();
    let conflict = [(acme.clone(), first.call_id.clone())];
    assert_eq!(
        (report.written, report.conflicts.as_slice()),
        (1, conflict.as_slice())
    );
    let report = world
        .operator()
        .append(&[other, call(&acme, id, "b")], moment(2))
        .await
        .unwrap();
    assert_eq!(
        (report.written, report.conflicts.as_slice()),
        (1, conflict.as_slice())
    );
    let balance = world.tenant(&acme).balance(id, november()).await.unwrap();
    assert_eq!((balance.calls, balance.settled), (2, Nanos::new(2_000)));
}

pub(crate) async fn a_call_that_an_earlier_version_booked_is_known_by_the_hash_that_it_kept(
    world: &World,
) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let [first, other] = ["a", "b"].map(|name| call(&acme, id, name));
    let batch = [first.clone(), other.clone()];
    world.operator().append(&batch, moment(1)).await.unwrap();
    for entry in &batch {
        // Of its JSON, by FNV-1a.
        let json = serde_json::to_string(entry).unwrap();
        let hash = json.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let (hash, call) = (hash.cast_signed(), &entry.call_id);
        let update = format!("UPDATE call_keys SET entry_hash = {hash} WHERE call_id = '{call}'");
        assert_eq!(world.raw(&update).await, Ok(1));
    }
    let changed = UsageEntry {
        cost: Nanos::new(999),
        ..other.clone()
    };
    let again = [first.clone(), first, changed.clone(), other, changed];
    let report = world.operator().append(&again, moment(2)).await.unwrap();
    assert_eq!((report.written, report.duplicates), (0, 3));
    assert_eq!(report.conflicts.len(), 2);
}

pub(crate) async fn a_refused_call_is_a_row_that_changes_no_balance(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let batch = [
        refusal(&acme, id, "r-1"),
        call(&acme, id, "c-1"),
        refusal(&acme, id, "r-2"),
    ];
    let report = world.operator().append(&batch, moment(1)).await.unwrap();
    assert_eq!(report.written, 3);
    let balance = world.tenant(&acme).balance(id, november()).await.unwrap();
    let one = Balance {
        settled: Nanos::new(1_000),
        tokens: 3,
        posted_cents: 0,
        calls: 1,
    };
    assert_eq!(balance, one);
    let day = "2026-11-15".parse().unwrap();
    let daily = world
        .tenant(&acme)
        .usage_daily(day, day, None)
        .await
        .unwrap()
        .remove(0)
        .daily;
    assert_eq!(
        (daily.total_calls, daily.blocked_count, daily.error_count),
        (3, 2, 2)
    );
    assert_eq!(
        daily.avg_latency_ms,
        Some(10),
        "a refused call has no latency"
    );
}

pub(crate) async fn a_row_can_neither_be_changed_nor_deleted(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    world
        .operator()
        .append(&[call(&acme, id, "a")], moment(1))
        .await
        .unwrap();
    let mut attempts = vec![
        "UPDATE cus_llm_usage SET cost_nanos = 0",
        "DELETE FROM cus_llm_usage",
    ];
    if world.kind == crate::world::Kind::Postgres {
        attempts.extend([
            "TRUNCATE cus_llm_usage",
            "TRUNCATE cus_llm_usage_2026_11",
            "UPDATE cus_llm_usage_2026_11 SET cost_nanos = 0",
            "DELETE FROM cus_llm_usage_2026_11",
        ]);
    }
    for attempt in attempts {
        let refused = world.raw(attempt).await.unwrap_err();
        assert!(refused.contains("append-only"), "{attempt}: {refused}");
    }
    assert_eq!(
        world.operator().ledger_status().await.unwrap().cost,
        Nanos::new(1_000)
    );
}

pub(crate) async fn cents_add_up_to_the_exact_total(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    // 700 calls of $0.0000333: 2.331 cents in all, none of them worth a cent alone.
    let calls: Vec<_> = (0..700)
        .map(|index| UsageEntry {
            cost: Nanos::new(33_300),
            ..call(&acme, id, &format!("c-{index}"))
        })
        .collect();
    for batch in calls.chunks(333) {
        world.operator().append(batch, moment(1)).await.unwrap();
    }
    let status = world.operator().ledger_status().await.unwrap();
    assert_eq!((status.rows, status.cost), (700, Nanos::new(23_310_000)));
    assert_eq!(status.cost_cents, 2);
    let balance = world.tenant(&acme).balance(id, november()).await.unwrap();
    assert_eq!(
        (balance.posted_cents, balance.settled),
        (2, Nanos::new(23_310_000))
    );
}

pub(crate) async fn a_call_that_would_overflow_the_books_is_refused_alone(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let most = UsageEntry {
        cost: Nanos::MAX,
        tokens: TokenUsage::plain(u64::MAX, u64::MAX),
        ..call(&acme, id, "most")
    };
    let slow = UsageEntry {
        cost: Nanos::ZERO,
        latency_ms: Some(i64::MAX),
        ..call(&acme, id, "slow")
    };
    let negative = UsageEntry {
        cost: Nanos::new(-1),
        ..call(&acme, id, "negative")
    };
    let one = call(&acme, id, "one");
    let free = UsageEntry {
        cost: Nanos::ZERO,
        ..call(&acme, id, "free")
    };
    let batch = [most, one.clone(), slow, negative, free];
    let report = world.operator().append(&batch, moment(1)).await.unwrap();
    let refused: Vec<_> = report
        .refused
        .iter()
        .map(|refused| refused.call.as_str())
        .collect();
    assert_eq!(refused, ["one", "slow", "negative"]);
    assert_eq!(report.written, 2);
    assert!(
        !world
            .operator()
            .is_call_known(&acme, &one.call_id)
            .await
            .unwrap()
    );
    let balance = world.tenant(&acme).balance(id, november()).await.unwrap();
    let tokens = 2 * ((1 << 53) - 1) + 3;
    assert_eq!(
        (balance.settled, balance.tokens, balance.calls),
        (Nanos::MAX, tokens, 2)
    );
    // An integration is of one tenant: a call that says otherwise is not booked on it.
    let other = world.create_tenant("other").await;
    let report = world
        .operator()
        .append(&[call(&other, id, "stray")], moment(1))
        .await
        .unwrap();
    assert_eq!((report.written, report.refused.len()), (0, 1));
}

pub(crate) async fn a_zero_character_is_kept_as_a_mark(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let odd = UsageEntry {
        model: Arc::from("gpt\0"),
        error_message: Some("a\0b".to_owned()),
        ..call(&acme, id, "odd")
    };
    let report = world.operator().append(&[odd], moment(1)).await.unwrap();
    assert_eq!(report.written, 1);
    let store = world.tenant(&acme);
    let page = store.usage_history(PageAsk::default(), UsageFilter::default());
    let usage = page.await.unwrap().rows.remove(0).usage;
    assert_eq!(
        (usage.model.as_str(), usage.error_message.as_deref()),
        ("gpt\u{fffd}", Some("a\u{fffd}b"))
    );
}

pub(crate) async fn the_first_and_the_last_moment_of_a_month_belong_to_it(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let at = |name: &str, time: &str| UsageEntry {
        created_at: time.parse::<Timestamp>().unwrap(),
        ..call(&acme, id, name)
    };
    let batch = [
        at("a", "2026-10-31T23:59:59.999999Z"),
        at("b", "2026-11-01T00:00:00Z"),
        at("c", "2026-11-30T23:59:59.999999Z"),
        at("d", "2026-12-01T00:00:00Z"),
        at("e", "2028-02-29T12:00:00Z"),
    ];
    let report = world.operator().append(&batch, moment(1)).await.unwrap();
    assert_eq!(report.written, 5);
    for (month, calls) in [
        ("2026-10", 1),
        ("2026-11", 2),
        ("2026-12", 1),
        ("2028-02", 1),
    ] {
        let balance = world
            .tenant(&acme)
            .balance(id, month.parse().unwrap())
            .await
            .unwrap();
        assert_eq!(balance.calls, calls, "{month}");
    }
    let (from, to) = ("2026-10-31".parse().unwrap(), "2028-02-29".parse().unwrap());
    let days = world
        .tenant(&acme)
        .usage_daily(from, to, None)
        .await
        .unwrap();
    let days: Vec<_> = days.iter().map(|row| row.daily.date.to_string()).collect();
    assert_eq!(
        days,
        [
            "2026-10-31",
            "2026-11-01",
            "2026-11-30",
            "2026-12-01",
            "2028-02-29"
        ]
    );
}

pub(crate) async fn the_status_sums_the_ledger(world: &World) {
    let empty = world.operator().ledger_status().await.unwrap();
    assert_eq!(
        (empty.rows, empty.first, empty.cost),
        (0, None, Nanos::ZERO)
    );
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let late = UsageEntry {
        created_at: moment(86_400),
        ..call(&acme, id, "late")
    };
    let batch = [call(&acme, id, "a"), refusal(&acme, id, "r"), late];
    world.operator().append(&batch, moment(1)).await.unwrap();
    let status = world.operator().ledger_status().await.unwrap();
    assert_eq!(
        (status.rows, status.refused, status.balances, status.days),
        (3, 1, 1, 2)
    );
    assert_eq!(
        (status.first, status.last),
        (Some(moment(0)), Some(moment(86_400)))
    );
    assert_eq!(
        (status.tokens_in, status.tokens_out, status.cost),
        (2, 4, Nanos::new(2_000))
    );
}

/// A report of a call, as its caller tells it.
fn report(entry: UsageEntry, content: &str) -> ReportedEntry {
    ReportedEntry {
        entry,
        client_cost: Some(Nanos::new(1_234)),
        content: content.to_owned(),
        hold: None,
    }
}

/// What became of each report, in a word, and how many rows there are different ids of.
fn told(fates: &[Fate]) -> Vec<&'static str> {
    let word = |fate: &Fate| match fate {
        Fate::Written(_) => "written",
        Fate::Duplicate(_) => "duplicate",
        Fate::Conflict(_) => "conflict",
        Fate::Refused(_) => "refused",
    };
    fates.iter().map(word).collect()
}

fn row_of(fate: &Fate) -> Option<&Standing> {
    match fate {
        Fate::Written(row) => Some(row),
        Fate::Duplicate(row) | Fate::Conflict(row) => row.as_ref(),
        Fate::Refused(_) => None,
    }
}

pub(crate) async fn a_batch_of_reports_tells_the_fate_of_each(world: &World) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let of = |name: &str, content: &str| report(call(&acme, id, name), content);
    let store = world.tenant(&acme);
    let first = store
        .report_usage(&[of("a", "a")], moment(1))
        .await
        .unwrap();
    let flawed = report(
        UsageEntry {
            latency_ms: Some(-1),
            ..call(&acme, id, "f")
        },
        "f",
    );
    let batch = [
        of("a", "a"),
        of("b", "b"),
        of("b", "b"),
        flawed,
        of("a", "other"),
        of("b", "other"),
        of("c", "c"),
        of("c", "other"),
    ];
    let fates = store.report_usage(&batch, moment(2)).await.unwrap();
    assert_eq!(
        told(&fates),
        [
            "duplicate",
            "written",
            "duplicate",
            "refused",
            "conflict",
            "conflict",
            "written",
            "conflict"
        ]
    );
    // Whoever reports a call twice is told of the one row there is.
    assert_eq!(row_of(&fates[0]), row_of(&first[0]));
    assert_eq!(row_of(&fates[4]), row_of(&first[0]));
    assert_eq!(row_of(&fates[2]), row_of(&fates[1]));
    let page = store.usage_history(PageAsk::default(), UsageFilter::default());
    let rows = page.await.unwrap().rows;
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!(row.origin, Origin::Telemetry);
        assert_eq!(row.client_cost, Some(Nanos::new(1_234)));
        assert_eq!(
            row.cost,
            Nanos::new(1_000),
            "the client's figure is not charged"
        );
    }
}

pub(crate) async fn a_report_and_a_call_of_the_gateway_are_never_both_booked_under_one_id(
    world: &World,
) {
    let acme = world.create_tenant("acme").await;
    let globex = world.create_tenant("globex").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let theirs = id_of(&world.create_integration(&globex, "main").await);
    let through = call(&acme, id, "a");
    let gateway = world.operator();
    gateway
        .append(std::slice::from_ref(&through), moment(1))
        .await
        .unwrap();
    let fates = world
        .tenant(&acme)
        .report_usage(
            &[report(through, "a"), report(call(&acme, id, "b"), "b")],
            moment(2),
        )
        .await
        .unwrap();
    assert_eq!(told(&fates), ["conflict", "written"]);
    assert_eq!(row_of(&fates[0]).unwrap().origin, Origin::Gateway);
    // The other way round the gateway is told whose row is in its way.
    let late = gateway
        .append(&[call(&acme, id, "b"), call(&acme, id, "a")], moment(3))
        .await
        .unwrap();
    let b = (acme.clone(), "b".parse().unwrap());
    assert_eq!((&late.conflicts, late.duplicates), (&vec![b.clone()], 1));
    assert_eq!(late.reported, [b]);
    // Another tenant's call of the same id is another call.
    let other = world
        .tenant(&globex)
        .report_usage(&[report(call(&globex, theirs, "a"), "a")], moment(4))
        .await
        .unwrap();
    assert_eq!(told(&other), ["written"]);
    let foreign = world
        .tenant(&globex)
        .report_usage(&[report(call(&acme, id, "c"), "c")], moment(5))
        .await;
    assert!(matches!(foreign, Err(StoreError::InvalidRow { .. })));
}
