//! The figures as lines for people.

use super::measure::{Bench, Measured, Pair};
use super::sample::{Figures, Quantiles};
use crate::output::{plain_table, trimmed};

/// What a load on an address came to.
pub(super) fn of_load(figures: &Figures) -> String {
    let mut table = plain_table();
    table.add_row(["calls", &figures.calls.to_string()]);
    table.add_row(["calls/s", &format!("{:.0}", figures.per_second)]);
    for (name, times) in [
        ("latency", figures.latency_ms),
        ("first piece", figures.first_ms),
        ("gap between pieces", figures.gap_ms),
        ("let go late", figures.late_ms),
    ] {
        if times != Quantiles::default() {
            table.add_row([name, &spread(times)]);
        }
    }
    for (fault, count) in &figures.faults {
        table.add_row([&format!("failed: {fault}"), &count.to_string()]);
    }
    trimmed(&table)
}

fn spread(times: Quantiles) -> String {
    let Quantiles {
        p50,
        p90: _,
        p99,
        p999,
        max,
    } = times;
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms")
}

/// What the measurements on a stand came to.
pub(super) fn of_bench(bench: &Bench, measured: &Measured) -> String {
    let mut table = plain_table();
    table.set_header(["", "direct", "tollgate", "added"]);
    let rate = format!("{} calls/s", bench.rate);
    let streams = format!("{} streams", bench.connections);
    let rows: [(&str, &str, &Pair, Reading); 6] = [
        (&rate, "p50", &measured.paced, |f| f.latency_ms.p50),
        ("", "p99", &measured.paced, |f| f.latency_ms.p99),
        (&streams, "first token p50", &measured.streams, |f| {
            f.first_ms.p50
        }),
        ("", "first token p99", &measured.streams, |f| f.first_ms.p99),
        ("", "gap p50", &measured.streams, |f| f.gap_ms.p50),
        ("", "gap p99", &measured.streams, |f| f.gap_ms.p99),
    ];
    for (what, quantile, pair, reading) in rows {
        let (direct, tollgate) = both(pair, reading);
        table.add_row([
            format!("{what} {quantile}").trim().to_owned(),
            format!("{direct:.2} ms"),
            format!("{tollgate:.2} ms"),
            format!("{:+.2} ms", tollgate - direct),
        ]);
    }
    let (direct, tollgate) = both(&measured.saturated, |figures| figures.per_second);
    let flat_out = format!("as fast as it goes, {} connections", bench.connections);
    table.add_row([
        flat_out,
        format!("{direct:.0}/s"),
        format!("{tollgate:.0}/s"),
        String::new(),
    ]);
    for (name, pair) in [
        ("CPU a call", &measured.saturated),
        ("CPU a stream", &measured.streams),
    ] {
        table.add_row([name, "", &shown(cpu(pair), "µs"), ""]);
    }
    let memory = &measured.memory_mib;
    table.add_row(["memory, idle", "", &shown(memory.idle, "MiB"), ""]);
    table.add_row(["memory, after", "", &shown(memory.after, "MiB"), ""]);
    let warning = if cfg!(debug_assertions) {
        "\nThis is a debug build: figures of a release build are many times better."
    } else {
        ""
    };
    format!(
        "{}\nMedians of {} rounds of {} s. On the way: key check, budget, tokens and requests per minute, holds, \
         journal, ledger. Books verified: {} rows.{warning}",
        trimmed(&table),
        bench.rounds,
        bench.time.as_secs(),
        measured.ledger_rows
    )
}

type Reading = fn(&Figures) -> f64;

/// The medians of both targets.
fn both(pair: &Pair, reading: Reading) -> (f64, f64) {
    let direct = pair.direct.iter().map(reading).collect();
    let tollgate = pair.tollgate.iter().map(|round| reading(&round.figures));
    (median(direct), median(tollgate.collect()))
}

fn cpu(pair: &Pair) -> Option<f64> {
    let spent: Option<Vec<f64>> = pair
        .tollgate
        .iter()
        .map(|round| round.cpu_us_a_call)
        .collect();
    spent.map(median)
}

fn shown(figure: Option<f64>, unit: &str) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1} {unit}"))
}

/// The middle one of some values, of two in the middle their mean; zero of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let above = values.len() / 2;
    let below = values.len().saturating_sub(1) / 2;
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    f64::midpoint(at(below), at(above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_stands_in_the_middle() {
        let told = [vec![3.0, 1.0, 9.0], vec![4.0, 1.0], vec![]].map(median);
        assert_eq!(told.map(|value| value.to_string()), ["3", "2.5", "0"]);
    }
}
