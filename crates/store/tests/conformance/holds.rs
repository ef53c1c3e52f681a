//! Direct holds: kept, ended once by whoever comes first, and always within what was drawn.
#![expect(clippy::panic, reason = "a test stops where it fails")]

use cus_models::{CusIntegration, CusPolicyResult};
use tollgate_core::account::{Draw, Grant};
use tollgate_core::clock::Moment;
use tollgate_core::gate::{Attempt, Decision, Gate, Sharing};
use tollgate_core::hold::direct::{DirectHold, HoldEnd, HoldOutcome, HoldState};
use tollgate_core::hold::{Actual, Ask, HoldAmount};
use tollgate_core::limit::Limits;
use tollgate_core::{HoldId, IntegrationId, Nanos, TenantId, TokenUsage};
use tollgate_store::{DrawAsk, Fate, ReportedEntry, Store, StoreError};

use crate::world::{World, audit, call, id_of, moment};

struct Scene<'w> {
    world: &'w World,
    limit: i64,
    acme: TenantId,
    id: IntegrationId,
}

impl<'w> Scene<'w> {
    async fn set(world: &'w World) -> Self {
        let acme = world.create_tenant("acme").await;
        let id = id_of(&world.create_integration(&acme, "main").await);
        let limit = 10_000;
        Self {
            world,
            limit,
            acme,
            id,
        }
    }

    fn draw_ask(&self, nanos: i64) -> DrawAsk {
        DrawAsk {
            integration: self.id,
            tenant: self.acme.clone(),
            need: Draw {
                period: "2026-11".parse().unwrap(),
                budget: nanos,
                tokens: 0,
            },
            limits: Limits {
                budget: Some(Nanos::new(self.limit)),
                tokens: None,
                rate_rpm: None,
            },
            share: u32::MAX,
        }
    }

    async fn draw(&self, store: &Store, nanos: i64) -> Grant {
        store.operator().draw(&self.draw_ask(nanos)).await.unwrap()
    }

    /// What a node has drawn.
    async fn drawn(&self, store: &Store) -> i64 {
        self.draw(store, 0).await.budget.drawn
    }

    /// A hold of so much, taken by a node.
    async fn hold(&self, store: &Store, nanos: i64) -> DirectHold {
        let hold = DirectHold {
            id: HoldId::generate(),
            tenant_id: self.acme.clone(),
            integration_id: self.id,
            period: "2026-11".parse().unwrap(),
            cost: Nanos::new(nanos),
            tokens: 0,
            node: store.node(),
            model: None,
            call_id: None,
            policy_result: CusPolicyResult::Allowed,
            created_at: moment(0),
            expires_at: moment(600),
        };
        store.tenant(&self.acme).create_hold(&hold).await.unwrap();
        hold
    }

    /// A report of a call that cost so much, and names a hold.
    fn report(&self, call_id: &str, nanos: i64, hold: HoldId) -> ReportedEntry {
        let mut entry = call(&self.acme, self.id, call_id);
        entry.cost = Nanos::new(nanos);
        ReportedEntry {
            entry,
            client_cost: None,
            content: call_id.to_owned(),
            hold: Some(hold),
        }
    }

    async fn book(&self, store: &Store, report: ReportedEntry) -> HoldOutcome {
        let fates = store
            .tenant(&self.acme)
            .report_usage(&[report], moment(1))
            .await
            .unwrap();
        match fates.as_slice() {
            [Fate::Written(row)] => row.hold.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn state(&self, hold: &DirectHold) -> HoldState {
        let store = self.world.tenant(&self.acme);
        let (kept, state) = store.get_hold(hold.id).await.unwrap();
        assert_eq!(&kept, hold);
        state
    }

    async fn spent(&self) -> i64 {
        let period = "2026-11".parse().unwrap();
        let balance = self.world.tenant(&self.acme).balance(self.id, period).await;
        balance.unwrap().settled.get()
    }
}

pub(crate) async fn a_released_hold_goes_back_from_its_nodes_allowance(world: &World) {
    let scene = Scene::set(world).await;
    let other = world.another_node().await;
    scene.draw(&world.store, 10_000).await;
    let hold = scene.hold(&world.store, 3_000).await;
    let released = other
        .tenant(&scene.acme)
        .release_hold(hold.id, moment(1))
        .await;
    assert_eq!(released.unwrap().1, HoldState::Held);
    assert_eq!(scene.drawn(&world.store).await, 7_000);
    let again = other
        .tenant(&scene.acme)
        .release_hold(hold.id, moment(2))
        .await;
    assert_eq!(again.unwrap().1, HoldState::Released);
    assert_eq!(scene.drawn(&world.store).await, 7_000, "once and no more");
    scene.draw(&other, 3_000).await;
    let stranger = world.create_tenant("globex").await;
    for missing in [
        world
            .tenant(&stranger)
            .release_hold(hold.id, moment(3))
            .await,
        world.tenant(&stranger).get_hold(hold.id).await,
        world.tenant(&scene.acme).get_hold(HoldId::generate()).await,
    ] {
        assert!(matches!(missing, Err(StoreError::NotFound)));
    }
}

pub(crate) async fn a_report_settles_its_hold_once_whoever_hears_of_it(world: &World) {
    let scene = Scene::set(world).await;
    let other = world.another_node().await;
    scene.draw(&world.store, 10_000).await;
    let hold = scene.hold(&world.store, 3_000).await;
    let outcome = scene
        .book(&other, scene.report("one", 1_000, hold.id))
        .await;
    assert_eq!(outcome, HoldOutcome::Settled);
    assert_eq!(scene.state(&hold).await, HoldState::Settled);
    // 1,000 of it is spent through the node that held it, and 2,000 are anybody's again.
    let grant = scene.draw(&world.store, 0).await.budget;
    assert_eq!((grant.drawn, grant.own, grant.elsewhere), (8_000, 1_000, 0));
    let retried = scene.report("one", 1_000, hold.id);
    let fates = other
        .tenant(&scene.acme)
        .report_usage(&[retried], moment(2))
        .await;
    match fates.unwrap().as_slice() {
        [Fate::Duplicate(Some(row))] => assert_eq!(row.hold, Some(HoldOutcome::Settled)),
        fates => panic!("{fates:?}"),
    }
    let outcome = scene
        .book(&other, scene.report("two", 1_000, hold.id))
        .await;
    assert_eq!(outcome, HoldOutcome::SettledBefore);
    assert_eq!(scene.spent().await, 2_000, "booked all the same");
    // One that cost more than was held takes what it cost, and gives nothing back.
    let hold = scene.hold(&world.store, 500).await;
    let before = scene.drawn(&world.store).await;
    let outcome = scene
        .book(&world.store, scene.report("three", 700, hold.id))
        .await;
    assert_eq!(outcome, HoldOutcome::Settled);
    assert_eq!(scene.drawn(&world.store).await, before);
}

pub(crate) async fn a_report_that_comes_too_late_is_booked_and_marked(world: &World) {
    let scene = Scene::set(world).await;
    let second = id_of(&world.create_integration(&scene.acme, "second").await);
    let store = world.tenant(&scene.acme);
    let released = scene.hold(&world.store, 10).await;
    store.release_hold(released.id, moment(1)).await.unwrap();
    let expired = scene.hold(&world.store, 10).await;
    assert_eq!(world.operator().expire_holds(moment(600)).await.unwrap(), 1);
    let held = scene.hold(&world.store, 10).await;
    let mut elsewhere = scene.report("d", 10, held.id);
    elsewhere.entry.integration_id = second;
    let reports = [
        scene.report("a", 10, released.id),
        scene.report("b", 10, expired.id),
        scene.report("c", 10, HoldId::generate()),
        elsewhere,
        scene.report("e", 10, held.id),
        scene.report("f", 10, held.id),
    ];
    let fates = store.report_usage(&reports, moment(700)).await.unwrap();
    let outcomes: Vec<_> = fates
        .iter()
        .map(|fate| {
            let Fate::Written(row) = fate else {
                panic!("{fate:?}")
            };
            row.hold.unwrap().as_str()
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            "released",
            "expired",
            "unknown",
            "unknown",
            "settled",
            "settled_before"
        ]
    );
    assert_eq!(scene.spent().await, 50);
}

pub(crate) async fn a_report_of_another_month_settles_nothing_in_the_holds_own(world: &World) {
    let scene = Scene::set(world).await;
    let other = world.another_node().await;
    scene.draw(&world.store, 10_000).await;
    let hold = scene.hold(&world.store, 3_000).await;
    let mut report = scene.report("one", 1_000, hold.id);
    report.entry.created_at = "2026-10-31T23:59:59Z".parse().unwrap();
    assert_eq!(scene.book(&other, report).await, HoldOutcome::Settled);
    let grant = scene.draw(&world.store, 0).await.budget;
    assert_eq!((grant.drawn, grant.own), (7_000, 0), "all of it goes back");
}

pub(crate) async fn of_many_who_end_a_hold_at_once_one_does(world: &World) {
    let scene = Scene::set(world).await;
    let other = world.another_node().await;
    scene.draw(&world.store, 10_000).await;
    for round in 0..5 {
        let hold = scene.hold(&world.store, 1_000).await;
        let before = (scene.drawn(&world.store).await, scene.spent().await);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..6 {
            let store = if number % 2 == 0 {
                &world.store
            } else {
                &other
            }
            .clone();
            let report = scene.report(&format!("{round}-{number}"), 400, hold.id);
            let (acme, id) = (scene.acme.clone(), hold.id);
            tasks.spawn(async move {
                match number {
                    0 | 1 => {
                        let (_, before) = store.tenant(&acme).release_hold(id, moment(601)).await.unwrap();
                        usize::from(before == HoldState::Held)
                    }
                    2 => store.operator().expire_holds(moment(601)).await.unwrap(),
                    _ => {
                        let fates = store.tenant(&acme).report_usage(&[report], moment(601)).await.unwrap();
                        let settled = |fate: &Fate| matches!(fate, Fate::Written(row) if row.hold == Some(HoldOutcome::Settled));
                        fates.iter().filter(|fate| settled(fate)).count()
                    }
                }
            });
        }
        let ended: usize = tasks.join_all().await.into_iter().sum();
        assert_eq!(ended, 1, "round {round}");
        let freed = before.0 - scene.drawn(&world.store).await;
        let expected = match scene.state(&hold).await {
            HoldState::Settled => 600,
            HoldState::Released | HoldState::Expired => 1_000,
            HoldState::Held => panic!("nobody ended it"),
        };
        assert_eq!(freed, expected, "round {round}");
        assert_eq!(
            scene.spent().await - before.1,
            3 * 400,
            "every report is booked"
        );
    }
}

pub(crate) async fn a_hold_expires_on_its_own_node_first(world: &World) {
    let scene = Scene::set(world).await;
    let other = world.another_node().await;
    let first = scene.hold(&world.store, 10).await;
    let expire = |store: &Store, seconds| {
        let operator = store.operator();
        async move { operator.expire_holds(moment(seconds)).await.unwrap() }
    };
    assert_eq!(expire(&world.store, 599).await, 0);
    if other.node() == world.store.node() {
        assert_eq!(expire(&world.store, 600).await, 1);
    } else {
        assert_eq!(expire(&other, 659).await, 0, "its clock may be wrong");
        assert_eq!(expire(&other, 660).await, 1, "its node may be dead");
    }
    assert_eq!(scene.state(&first).await, HoldState::Expired);
    let second = scene.hold(&world.store, 10).await;
    assert_eq!(expire(&world.store, 600).await, 1);
    assert_eq!(scene.state(&second).await, HoldState::Expired);
    // A node that is retired leaves no hold behind.
    let third = scene.hold(&world.store, 10).await;
    world.operator().heartbeat(moment(0)).await.unwrap();
    world
        .operator()
        .retire_node(world.store.node(), None, audit(None, "node.retire"))
        .await
        .unwrap();
    assert_eq!(scene.state(&third).await, HoldState::Expired);
}

pub(crate) async fn a_node_learns_of_its_living_and_its_ended_holds(world: &World) {
    let scene = Scene::set(world).await;
    let operator = world.operator();
    scene.draw(&world.store, 10_000).await;
    let living = scene.hold(&world.store, 100).await;
    let settled = scene.hold(&world.store, 200).await;
    scene
        .book(&world.store, scene.report("one", 150, settled.id))
        .await;
    let known = operator.living_holds().await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].holds, [living]);
    assert_eq!(known[0].figures.budget.drawn, 9_950);
    assert_eq!(operator.unheeded_holds().await.unwrap(), [scene.id]);
    let ended = operator.ended_holds(scene.id).await.unwrap();
    let actual = Actual {
        cost: Nanos::new(150),
        tokens: 3,
    };
    assert_eq!(ended.holds.len(), 1);
    assert_eq!(
        (ended.holds[0].id, ended.holds[0].end),
        (settled.id, HoldEnd::Settled(actual))
    );
    assert_eq!(
        (ended.figures[0].budget.drawn, ended.figures[0].budget.own),
        (9_950, 150)
    );
    // A node that begins gives back what it had drawn, but not what its living holds are in.
    operator.give_back_all(&[]).await.unwrap();
    assert_eq!(scene.drawn(&world.store).await, 150 + 100);
    operator.heed_holds(&[settled.id]).await.unwrap();
    assert_eq!(operator.unheeded_holds().await.unwrap(), []);
}

/// A node of a model: its gate, and the holds that it remembers.
struct Node {
    store: Store,
    gate: Gate,
    record: CusIntegration,
    open: Vec<(HoldId, HoldAmount)>,
}

impl Node {
    /// What the program does to take a hold: ask the gate, draw, ask again, keep it.
    async fn take(&mut self, scene: &Scene<'_>, nanos: i64) -> Option<HoldId> {
        let ask = Ask {
            worst: TokenUsage::NONE,
            cost: Some(Nanos::new(nanos)),
        };
        let now = Moment {
            wall: moment(0),
            steady_micros: 1,
        };
        let mut decision = self.gate.admit(&ask, now, Attempt::First);
        if let Decision::NeedsDraw(need) = decision {
            let lacks = need.draw.map_or(0, |draw| draw.budget);
            let grant = scene.draw(&self.store, lacks).await;
            self.gate.grant(&grant);
            decision = self.gate.admit(&ask, now, Attempt::AfterDraw);
        }
        let Decision::Admitted(admission) = decision else {
            return None;
        };
        let hold = scene.hold(&self.store, nanos).await;
        self.open.push((hold.id, admission.hold));
        Some(hold.id)
    }

    /// What the program does to hear of its holds' ends.
    async fn heed(&mut self, scene: &Scene<'_>) {
        let operator = self.store.operator();
        let ended = operator.ended_holds(scene.id).await.unwrap();
        for one in &ended.holds {
            if let Some(place) = self.open.iter().position(|(id, _)| *id == one.id) {
                let (_, amount) = self.open.swap_remove(place);
                self.gate.heed(&amount, one.end);
            }
        }
        for figures in &ended.figures {
            self.gate.grant(figures);
        }
        let ids: Vec<_> = ended.holds.iter().map(|one| one.id).collect();
        operator.heed_holds(&ids).await.unwrap();
    }

    /// What the program does after a crash.
    async fn restart(&mut self, scene: &Scene<'_>) {
        self.gate = Gate::new(&self.record, Sharing::Alone);
        self.open.clear();
        for living in self.store.operator().living_holds().await.unwrap() {
            assert_eq!(living.integration, scene.id);
            for hold in living.holds {
                let amount = HoldAmount {
                    period: hold.period,
                    cost: hold.cost,
                    tokens: hold.tokens,
                    rate_mark: 1,
                };
                self.gate.retake(&amount);
                self.open.push((hold.id, amount));
            }
            self.gate.grant(&living.figures);
        }
    }
}

/// A repeatable stream of numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % end).unwrap()
    }
}

/// The holds of a model that live, and how many were taken and refused.
#[derive(Default)]
struct Tally {
    living: Vec<(HoldId, i64)>,
    taken: u32,
    refused: u32,
}

impl Tally {
    fn any(&mut self, dice: &mut Dice) -> Option<(HoldId, i64)> {
        let end = u64::try_from(self.living.len()).unwrap();
        (end > 0).then(|| self.living.swap_remove(dice.below(end)))
    }

    /// One thing that may happen to a node.
    async fn step(&mut self, scene: &Scene<'_>, node: &mut Node, dice: &mut Dice) {
        let acme = node.store.tenant(&scene.acme);
        match dice.below(10) {
            0..=4 => {
                let nanos = i64::try_from(dice.below(900_000)).unwrap() + 100_000;
                match node.take(scene, nanos).await {
                    Some(id) => {
                        self.living.push((id, nanos));
                        self.taken += 1;
                    }
                    None => self.refused += 1,
                }
            }
            5 | 6 => {
                if let Some((id, held)) = self.any(dice) {
                    let report = scene.report(&id.to_string(), held / 3, id);
                    let outcome = scene.book(&node.store, report).await;
                    assert_eq!(outcome, HoldOutcome::Settled);
                }
            }
            7 => {
                if let Some((id, _)) = self.any(dice) {
                    let (_, before) = acme.release_hold(id, moment(1)).await.unwrap();
                    assert_eq!(before, HoldState::Held);
                }
            }
            8 => node.restart(scene).await,
            _ => node.heed(scene).await,
        }
    }
}

/// Real gates over a real store, in an order that no one would think of: whatever is spent and held stays within the limit.
pub(crate) async fn nodes_with_gates_and_holds_never_pass_the_limit(world: &World) {
    let acme = world.create_tenant("acme").await;
    let mut record = world.create_integration(&acme, "model").await;
    record.status = cus_models::CusIntegrationStatus::Enabled;
    record.budget_limit_cents = 1;
    let scene = Scene {
        world,
        limit: 10_000_000,
        acme,
        id: id_of(&record),
    };
    let other = world.another_node().await;
    let mut stores = vec![world.store.clone()];
    stores.extend(Some(other).filter(|other| other.node() != world.store.node()));
    let mut nodes: Vec<Node> = stores
        .into_iter()
        .map(|store| Node {
            store,
            gate: Gate::new(&record, Sharing::Alone),
            record: record.clone(),
            open: Vec::new(),
        })
        .collect();
    let (mut tally, mut dice) = (Tally::default(), Dice(7));
    for step in 0..250 {
        let which = dice.below(u64::try_from(nodes.len()).unwrap());
        tally.step(&scene, &mut nodes[which], &mut dice).await;
        let held: i64 = tally.living.iter().map(|(_, held)| held).sum();
        let spent = scene.spent().await;
        assert!(
            spent + held <= scene.limit,
            "step {step}: {spent} spent and {held} held"
        );
    }
    let (taken, refused) = (tally.taken, tally.refused);
    assert!(
        taken > 20 && refused > 5,
        "{taken} taken, {refused} refused"
    );
}
