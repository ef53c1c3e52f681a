//! The oracle: the provider's own journal, joined with the ledger call by call.
//!
//! It is asked at quiet points, when every node is up and idle. Each time it reads what is new on both sides.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tollgate_tests::{Line, Simulator, Tables};

use crate::tally::{Broken, Tally};

const MINUTE_MICROS: i64 = 60_000_000;

/// A minute by moments of admission. The wall clock may be set by a little against the steady one.
const WINDOW: i64 = MINUTE_MICROS - 2_000;

/// A minute by moments of billing: between the two a node may have been stopped where it was.
const WINDOW_BILLED: i64 = MINUTE_MICROS - 5_000_000;

/// A row may have been made so much earlier than one that was compared before it, by a clock that was set back.
const SLACK_MICROS: i64 = 10 * MINUTE_MICROS;

/// So many examples of one difference are told.
const EXAMPLES: usize = 3;

/// A row of the ledger, as far as it is compared.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    call_id: String,
    integration_id: String,
    tokens_in: u64,
    tokens_out: u64,
    cost_nanos: i64,
    held_nanos: i64,
    policy_result: String,
    error_code: Option<String>,
    usage_source: String,
    created_at: i64,
}

/// What an integration may never pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct Promise {
    /// Its id.
    pub(crate) integration: String,
    /// Nano-dollars a month.
    pub(crate) nanos: Option<i64>,
    /// Tokens a month.
    pub(crate) tokens: Option<i64>,
    /// Calls in any 60 seconds.
    pub(crate) rpm: Option<usize>,
    /// Whether answers of callers who went away are read to their end.
    pub(crate) is_drained: bool,
}

/// The span of a rolling restart, in microseconds since 1970.
pub(crate) type Span = (i64, i64);

/// What was compared so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// What must hold of integrations.
    pub(crate) promises: Vec<Promise>,
    /// Whether nodes' clocks are set back, so that only the provider knows when calls were made.
    pub(crate) clocks_lie: bool,
    /// Bytes of the provider's journal that were compared.
    offset: u64,
    /// The latest row that was compared.
    since: i64,
    /// The calls whose rows were compared.
    seen: BTreeSet<String>,
    sums: BTreeMap<String, (i64, i64)>,
    moments: BTreeMap<String, Vec<i64>>,
}

impl Row {
    fn is_refused(&self) -> bool {
        self.policy_result == "blocked"
    }

    fn error(&self) -> &str {
        self.error_code.as_deref().unwrap_or_default()
    }
}

/// What is new on both sides, not yet taken for compared.
#[derive(Debug)]
pub(crate) struct News {
    lines: Vec<Line>,
    rows: Vec<Row>,
    offset: u64,
}

impl News {
    /// How many rows are new.
    pub(crate) const fn rows(&self) -> usize {
        self.rows.len()
    }

    /// When each call was billed.
    fn billed(&self) -> BTreeMap<&str, i64> {
        let moment = |line| (id_of(line), line.time.as_microsecond());
        self.lines.iter().map(moment).collect()
    }

    /// Billed requests without a row.
    pub(crate) fn missing(&self) -> Vec<&Line> {
        let booked: BTreeSet<&str> = self.rows.iter().map(|row| &*row.call_id).collect();
        let is_missing = |line: &&Line| !booked.contains(id_of(line));
        self.lines.iter().filter(is_missing).collect()
    }
}

fn id_of(line: &Line) -> &str {
    line.client_request_id.as_deref().unwrap_or_default()
}

impl Oracle {
    /// Reads what is new.
    pub(crate) fn news(&self, simulator: &Simulator, tables: &Tables<'_>) -> News {
        let (lines, offset) = simulator.lines_from(self.offset);
        let statement = format!(
            "SELECT call_id, integration_id, tokens_in, tokens_out, cost_nanos, held_nanos, policy_result, error_code, \
             usage_source, created_at FROM cus_llm_usage WHERE created_at > {} ORDER BY created_at",
            self.since.saturating_sub(SLACK_MICROS)
        );
        let rows = tables.rows(&statement).into_iter();
        let rows = rows.map(|row| serde_json::from_value::<Row>(row).unwrap());
        let rows = rows.filter(|row| !self.seen.contains(&row.call_id));
        let rows = rows.collect();
        News {
            lines,
            rows,
            offset,
        }
    }

    /// Compares what is new and notes every promise that it breaks.
    pub(crate) fn compare(&mut self, news: &News, tally: &Tally, broken: &Broken) {
        compare_calls(news, tally, broken);
        self.drained_calls_are_whole(news, broken);
        for row in news.rows.iter().filter(|row| !row.is_refused()) {
            let (nanos, tokens) = self.sums.entry(row.integration_id.clone()).or_default();
            *nanos += row.cost_nanos;
            *tokens += i64::try_from(row.tokens_in + row.tokens_out).unwrap();
        }
        self.count_minutes(news);
        self.limits_hold(tally, broken);
        self.offset = news.offset;
        let latest = news.rows.last().map_or(0, |row| row.created_at);
        self.since = self.since.max(latest);
        let calls = news.rows.iter().map(|row| row.call_id.clone());
        self.seen.extend(calls);
    }

    /// When the billed calls of every integration with a rate were admitted.
    fn count_minutes(&mut self, news: &News) {
        let billed = news.billed();
        let rated = self.promises.iter().filter(|promise| promise.rpm.is_some());
        for promise in rated {
            let rows = news.rows.iter();
            let of_it = rows.filter(|row| {
                row.integration_id == promise.integration && billed.contains_key(&*row.call_id)
            });
            let moments: Vec<i64> = of_it.filter_map(|row| self.moment(row, &billed)).collect();
            let kept = self.moments.entry(promise.integration.clone()).or_default();
            kept.extend(moments);
        }
    }

    /// When a call was admitted; where the nodes' clocks lie, when it was billed, if it was.
    fn moment(&self, row: &Row, billed: &BTreeMap<&str, i64>) -> Option<i64> {
        if self.clocks_lie {
            billed.get(&*row.call_id).copied()
        } else {
            Some(row.created_at)
        }
    }

    fn limits_hold(&self, tally: &Tally, broken: &Broken) {
        let window = if self.clocks_lie {
            WINDOW_BILLED
        } else {
            WINDOW
        };
        for promise in &self.promises {
            let id = &promise.integration;
            let (nanos, tokens) = self.sums.get(id).copied().unwrap_or_default();
            for (sum, limit, unit) in [
                (nanos, promise.nanos, "nano-dollars"),
                (tokens, promise.tokens, "tokens"),
            ] {
                let Some(limit) = limit else { continue };
                if sum > limit {
                    broken.note(format!(
                        "overshoot: the integration {id} has used {sum} of {limit} {unit}"
                    ));
                }
                let percent = sum.saturating_mul(100) / limit.max(1);
                tally.most("limits: fullest, percent", u64::try_from(percent).unwrap());
            }
            let moments = self.moments.get(id).map_or(&[][..], Vec::as_slice);
            if let Some(rpm) = promise.rpm {
                minute_holds((id, rpm, window), moments, tally, broken);
            }
        }
    }

    /// What a rolling restart must not leave behind: a row that is estimated.
    pub(crate) fn nothing_is_estimated_in(&self, spans: &[Span], news: &News, broken: &Broken) {
        let is_drained = |row: &Row| {
            let own = |promise: &&Promise| promise.integration == row.integration_id;
            self.promises
                .iter()
                .find(own)
                .is_some_and(|promise| promise.is_drained)
        };
        let billed = news.billed();
        let within = |row: &Row| {
            let at = self.moment(row, &billed);
            at.is_some_and(|at| spans.iter().any(|(from, to)| (*from..*to).contains(&at)))
        };
        let estimated = news.rows.iter().filter(|row| {
            row.usage_source == "estimated" && !row.is_refused() && is_drained(row) && within(row)
        });
        for row in estimated.take(EXAMPLES) {
            broken.note(format!("estimated in a rolling restart: {row:?}"));
        }
    }

    /// A caller who went away changes nothing about what is booked, where its answer is read on.
    fn drained_calls_are_whole(&self, news: &News, broken: &Broken) {
        let drained = self.promises.iter().filter(|promise| promise.is_drained);
        let drained: BTreeSet<&str> = drained.map(|promise| &*promise.integration).collect();
        let wrong = news.rows.iter().filter(|row| {
            !row.is_refused()
                && drained.contains(&*row.integration_id)
                && row.usage_source != "provider"
                && row.error() != "interrupted"
        });
        for row in wrong.take(EXAMPLES) {
            broken.note(format!("neither as billed nor interrupted: {row:?}"));
        }
    }
}

/// What only the whole ledger shows: no call twice, and no row that came after it was compared.
pub(crate) fn whole_ledger(tables: &Tables<'_>, tally: &Tally, broken: &Broken) {
    let twice = "SELECT tenant_id, call_id, count(*) AS n FROM cus_llm_usage GROUP BY tenant_id, call_id HAVING count(*) > 1";
    for row in tables.rows(twice) {
        tally.count("books: double");
        broken.note(format!("double: {row}"));
    }
    let count = tables.rows("SELECT count(*) AS n FROM cus_llm_usage");
    let (all, seen) = (count[0]["n"].as_u64().unwrap(), tally.of("books: rows"));
    if all != seen {
        broken.note(format!(
            "the ledger has {all} rows, and {seen} were compared: some came late"
        ));
    }
}

fn compare_calls(news: &News, tally: &Tally, broken: &Broken) {
    let mut billed: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in &news.lines {
        let again = billed.insert(id_of(line), line);
        if again.is_some() {
            broken.note(format!("billed twice under one id: {line:?}"));
        }
    }
    tally.add("books: billed", u64::try_from(news.lines.len()).unwrap());
    tally.add("books: rows", u64::try_from(news.rows.len()).unwrap());
    let missing = news.missing();
    tally.add("books: missing", u64::try_from(missing.len()).unwrap());
    for line in missing.iter().take(EXAMPLES) {
        broken.note(format!("missing: billed and without a row: {line:?}"));
    }
    let mut seen = BTreeSet::new();
    let mut examples = 0;
    for row in &news.rows {
        let is_first = seen.insert(&*row.call_id);
        let line = billed.get(&*row.call_id).copied();
        let wrong = row_is_wrong(row, line);
        count_row(row, line, tally);
        let wrong = if is_first { wrong } else { Some("double") };
        if let Some(wrong) = wrong {
            tally.count("books: wrong rows");
            examples += 1;
            if examples <= EXAMPLES {
                broken.note(format!("{wrong}: {row:?}"));
            }
        }
    }
    if examples > EXAMPLES {
        broken.note(format!("{examples} wrong rows in all"));
    }
}

fn count_row(row: &Row, line: Option<&Line>, tally: &Tally) {
    match (row.is_refused(), row.error(), &*row.usage_source) {
        (true, ..) => tally.count("books: refused"),
        (false, "interrupted", _) => {
            tally.count("books: interrupted");
            if line.is_none() {
                tally.count("books: interrupted, never billed");
            }
        }
        (false, _, "counted") => tally.count("books: counted"),
        (false, _, "estimated") => tally.count("books: estimated otherwise"),
        (false, ..) => {}
    }
}

/// What is wrong with a row beside what the provider says of its call.
fn row_is_wrong(row: &Row, line: Option<&Line>) -> Option<&'static str> {
    let Some(line) = line else {
        // Either may have left without ever getting there. Where an answer is read on, `caller_gone` is a fault of its own.
        let is_explained =
            row.is_refused() || ["interrupted", "caller_gone"].contains(&row.error());
        return (!is_explained).then_some("a row without a billed request");
    };
    if row.is_refused() {
        return Some("refused and billed");
    }
    if row.error() == "interrupted" {
        let is_safe = row.usage_source == "estimated" && row.cost_nanos >= row.held_nanos;
        return (!is_safe).then_some("interrupted and charged less than held");
    }
    let is_same = (row.tokens_in, row.tokens_out) == (line.tokens_in, line.tokens_out);
    (row.usage_source == "provider" && !is_same).then_some("other tokens than were billed")
}

/// No 60 seconds with more calls than the limit.
fn minute_holds(
    (id, rpm, window): (&str, usize, i64),
    moments: &[i64],
    tally: &Tally,
    broken: &Broken,
) {
    let mut moments = moments.to_vec();
    moments.sort_unstable();
    let mut first = 0;
    let mut fullest = 0;
    for (at, moment) in moments.iter().enumerate() {
        while moment - moments[first] >= window {
            first += 1;
        }
        fullest = fullest.max(at + 1 - first);
    }
    tally.most(
        "limits: most calls in a minute",
        u64::try_from(fullest).unwrap(),
    );
    if fullest > rpm {
        broken.note(format!(
            "rate: {fullest} calls of the integration {id} within 60 seconds, {rpm} are allowed"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str) -> Line {
        let line = serde_json::json!({
            "time": "2026-01-01T00:00:00Z", "client_request_id": id, "model": "m",
            "tokens_in": 3, "tokens_out": 4, "path": "/",
        });
        serde_json::from_value(line).unwrap()
    }

    fn row(id: &str, error: Option<&str>, tokens_out: u64) -> Row {
        Row {
            call_id: id.to_owned(),
            integration_id: "i".to_owned(),
            tokens_in: 3,
            tokens_out,
            cost_nanos: 7,
            held_nanos: 9,
            policy_result: "allowed".to_owned(),
            error_code: error.map(str::to_owned),
            usage_source: "provider".to_owned(),
            created_at: 0,
        }
    }

    fn broken_by(lines: &[&str], rows: Vec<Row>, promise: Promise) -> Vec<String> {
        let lines = lines.iter().map(|id| line(id)).collect();
        let news = News {
            lines,
            rows,
            offset: 0,
        };
        let mut oracle = Oracle {
            promises: vec![promise],
            ..Oracle::default()
        };
        let broken = Broken::default();
        oracle.compare(&news, &Tally::default(), &broken);
        let kinds = broken.all().into_iter();
        kinds
            .map(|said| said.split(':').next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_fits_breaks_nothing() {
        let rows = vec![row("a", None, 4), row("b", None, 4)];
        assert_eq!(broken_by(&["a", "b"], rows, Promise::default()), [""; 0]);
    }

    #[test]
    fn every_difference_is_told() {
        let promise = || Promise {
            integration: "i".to_owned(),
            ..Promise::default()
        };
        let told = |lines: &[&str], rows| broken_by(lines, rows, promise());
        assert_eq!(told(&["a"], vec![]), ["missing"]);
        assert_eq!(
            told(&["a"], vec![row("a", None, 4), row("a", None, 4)]),
            ["double"]
        );
        assert_eq!(
            told(&["a", "a"], vec![row("a", None, 4)]),
            ["billed twice under one id"]
        );
        assert_eq!(
            told(&["a"], vec![row("a", None, 5)]),
            ["other tokens than were billed"]
        );
        assert_eq!(
            told(&[], vec![row("a", None, 4)]),
            ["a row without a billed request"]
        );
        let cheap = told(&["a"], vec![row("a", Some("interrupted"), 4)]);
        assert_eq!(cheap, ["interrupted and charged less than held"]);
        let refused = Row {
            policy_result: "blocked".to_owned(),
            ..row("a", None, 4)
        };
        assert_eq!(told(&["a"], vec![refused]), ["refused and billed"]);
    }

    #[test]
    fn a_limit_is_passed_by_one() {
        let promise = Promise {
            integration: "i".to_owned(),
            nanos: Some(13),
            tokens: Some(14),
            ..Promise::default()
        };
        let rows = || vec![row("a", None, 4), row("b", None, 4)];
        assert_eq!(
            broken_by(&["a", "b"], rows(), promise.clone()),
            ["overshoot"]
        );
        let enough = Promise {
            nanos: Some(14),
            ..promise
        };
        assert_eq!(broken_by(&["a", "b"], rows(), enough), [""; 0]);
    }

    #[test]
    fn a_minute_is_counted_wherever_it_begins() {
        let minutes = |rpm, moments: &[i64]| {
            let broken = Broken::default();
            minute_holds(("i", rpm, WINDOW), moments, &Tally::default(), &broken);
            broken.all().len()
        };
        let moments = [50_000_000, 0, 60_000_000, 109_000_000];
        assert_eq!(minutes(3, &moments), 0);
        assert_eq!(minutes(2, &moments), 1);
        assert_eq!(minutes(1, &[0, MINUTE_MICROS]), 0);
    }
}
