//! What a world is like: drawn from its seed, so that worlds differ in more than their order of things.

use cus_models::{CusIntegration, CusIntegrationStatus, CusProviderType};
use serde_json::json;
use tollgate_core::gate::Sharing;
use tollgate_core::{IntegrationId, TenantId};

use super::dice::Dice;
use crate::journal::{JournalConfig, SyncPolicy};
use crate::ledger::WriterConfig;

/// The model that every call asks for.
pub(super) const MODEL: &str = "test-model";

/// What can happen in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Ask,
    Leave,
    Finish,
    Release,
    HangUp,
    Serve,
    Deliver,
    Tick,
    Chores,
    GiveBack,
    Beat,
    HearChange,
    HearWant,
    Crash,
    Tear,
    Restart,
    Stop,
    Retire,
    ChangeLimits,
    Toggle,
    Outage,
    Cut,
    DiskFault,
    SetWall,
    SetStoreClock,
    Sleep,
}

/// How likely each is; the last column tells whether a world may be without it.
const ACTS: [(Act, usize, bool); 26] = [
    (Act::Ask, 200, false),
    (Act::Leave, 170, false),
    (Act::Finish, 160, false),
    (Act::Release, 15, true),
    (Act::HangUp, 10, true),
    (Act::Serve, 210, false),
    (Act::Deliver, 210, false),
    (Act::Tick, 100, false),
    (Act::Chores, 20, false),
    (Act::GiveBack, 12, true),
    (Act::Beat, 10, false),
    (Act::HearChange, 12, false),
    (Act::HearWant, 20, false),
    (Act::Crash, 3, true),
    (Act::Tear, 2, true),
    (Act::Restart, 10, false),
    (Act::Stop, 2, true),
    (Act::Retire, 1, true),
    (Act::ChangeLimits, 3, true),
    (Act::Toggle, 2, true),
    (Act::Outage, 2, true),
    (Act::Cut, 1, true),
    (Act::DiskFault, 2, true),
    (Act::SetWall, 2, true),
    (Act::SetStoreClock, 1, true),
    (Act::Sleep, 1, true),
];

/// One integration as the control plane has it.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) id: IntegrationId,
    pub(super) record: CusIntegration,
    /// How often it was changed.
    pub(super) version: u64,
    pub(super) is_capped: bool,
    /// The most tokens that a call asks for on either side.
    pub(super) call_tokens_max: i64,
}

/// A world before anything has happened.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) beginning: &'static str,
    pub(super) tenant: TenantId,
    pub(super) sharing: Sharing,
    pub(super) subjects: Vec<Subject>,
    /// How far each node's wall clock is ahead, in microseconds.
    pub(super) wall_ahead: Vec<i64>,
    pub(super) journal: JournalConfig,
    pub(super) writing: WriterConfig,
    pub(super) backlog_rows_max: u64,
    /// How many questions in a thousand fail on the way there, and how many answers on the way back.
    pub(super) lost_questions: usize,
    pub(super) lost_answers: usize,
    pub(super) acts: Vec<(Act, usize)>,
    /// Time goes by so many times more slowly, which makes minutes full.
    pub(super) slowness: i64,
    /// How many steps go by between two rests.
    pub(super) steps_to_rest: u64,
}

impl Plan {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let is_alone = dice.per_mille(150);
        let sharing = if is_alone {
            Sharing::Alone
        } else {
            Sharing::Shared
        };
        let nodes = if is_alone { 1 } else { 1 + dice.below(5) };
        let is_skewed = !is_alone && dice.per_mille(600);
        let beginning = dice.one_of(&[
            "2028-02-29T23:40:00Z",
            "2027-02-28T23:40:00Z",
            "2026-12-31T23:30:00Z",
            "2026-11-30T20:00:00Z",
            "2026-10-15T12:00:00Z",
        ]);
        let minute = 60_000_000_i64;
        let wall_ahead = (0..nodes)
            .map(|_| match dice.below(3) {
                _ if !is_skewed => 0,
                0 => dice.one_of(&[minute, -minute]),
                _ => dice.between(-5_000_000, 5_000_000),
            })
            .collect();
        let subjects = 1 + dice.below(3);
        let lossy = dice.one_of(&[0, 0, 5, 30, 150]);
        Self {
            beginning,
            tenant: "acme".parse().unwrap(),
            sharing,
            subjects: (0..subjects).map(|at| subject(at, dice)).collect(),
            wall_ahead,
            journal: journal(dice),
            writing: WriterConfig {
                gather_ms: dice.one_of(&[0, 5]),
                batch_rows: dice.one_of(&[1, 7, 64, 1_000]),
            },
            backlog_rows_max: dice.one_of(&[20, 1_000, 100_000]),
            lost_questions: if is_alone { 0 } else { lossy },
            lost_answers: if is_alone { 0 } else { lossy },
            acts: acts(sharing, dice),
            slowness: dice.one_of(&[1, 1, 10, 50]),
            steps_to_rest: dice.one_of(&[500, 2_000, 5_000]),
        }
    }
}

fn journal(dice: &mut Dice) -> JournalConfig {
    let segment_bytes = dice.one_of(&[1_500, 4_000, 20_000, 1 << 20]);
    JournalConfig {
        dir: "simulated".into(),
        sync: dice.one_of(&[
            SyncPolicy::Grouped { millis: 5 },
            SyncPolicy::Grouped { millis: 5 },
            SyncPolicy::Always,
            SyncPolicy::Never,
        ]),
        segment_bytes,
        // Room for several segments, without which none is ever full and removed.
        bytes_max: segment_bytes * dice.one_of(&[8, 100, 10_000]),
        free_bytes_min: 0,
    }
}

/// How likely each act is in a world: some do without some.
fn acts(sharing: Sharing, dice: &mut Dice) -> Vec<(Act, usize)> {
    // On a store of its own a node neither shares nor loses it.
    let shared = [
        Act::Outage,
        Act::Cut,
        Act::SetStoreClock,
        Act::Retire,
        Act::Sleep,
    ];
    ACTS.into_iter()
        .map(|(act, weight, may_miss)| {
            let factor = match dice.below(3) {
                0 if may_miss => 0,
                1 if may_miss => 3,
                _ => 1,
            };
            let is_out = sharing == Sharing::Alone && shared.contains(&act);
            (act, if is_out { 0 } else { weight * factor })
        })
        .collect()
}

fn subject(at: usize, dice: &mut Dice) -> Subject {
    let is_capped = !dice.per_mille(150);
    let mut record =
        CusIntegration::new("acme", format!("i{at}"), CusProviderType::OpenAi, "env://X").unwrap();
    record.id = format!("00000000-0000-4000-8000-{:012}", at + 1);
    record.status = CusIntegrationStatus::Enabled;
    record.created_at = "2026-01-01T00:00:00Z".parse().unwrap();
    record.updated_at = record.created_at;
    record.budget_limit_cents = dice.one_of(&[0, 1, 3, 20, 500]);
    record.token_limit_month = dice.one_of(&[0, 0, 3_000, 50_000]);
    record.rate_limit_rpm = dice.one_of(&[0, 1, 10, 60, 600]);
    // An input token for one nano-dollar, so that a call can fit to the last; and an odd price for output.
    let config = json!({
        "hard_cap": is_capped,
        "prices": { MODEL: { "input": 1_000_000, "output": 7_777_777_777_u64 } },
    });
    record.config = config.as_object().cloned();
    Subject {
        id: record.id.parse().unwrap(),
        record,
        version: 0,
        is_capped,
        call_tokens_max: dice.one_of(&[30, 300, 2_000]),
    }
}
