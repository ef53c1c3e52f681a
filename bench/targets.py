#!/usr/bin/env python3
"""The targets of speed, each beside what was measured: `bin/bench` prints this at its end.

    bench/targets.py FILE...           # of kept runs (`bin/bench --json FILE`), each file one or several
    bench/targets.py --tables FILE...  # and the tables of each phase, in Markdown
"""

import json
import statistics
import sys


def middle(rows, name):
    return statistics.median(row[name] for row in rows)


def over_nginx(phase, name, less=False):
    """A ratio to nginx, or a difference, of each engine's Tollgate."""
    def measured(run):
        rows = run[phase]["rows"] if "rows" in run[phase] else run[phase]
        nginx = middle(rows["nginx"], name)
        take = (lambda value: value - nginx) if less else (lambda value: value / nginx)
        return {engine: take(middle(rows[target], name)) for engine, target in ENGINES.items() if target in rows}
    return measured


def of_streams(run):
    return {engine: run["memory"][f"{target} 500"]["kib_a_stream"] for engine, target in ENGINES.items() if f"{target} 500" in run["memory"]}


def resident(when):
    return lambda run: {engine: run["resident"][target][when]["rss"] for engine, target in ENGINES.items() if target in run["resident"]}


def soaked(run):
    quarter = max(1, len(run["soak"]["rows"]) // 4)
    values = [row["rss_mib"] for row in run["soak"]["rows"]]
    return {"SQLite": statistics.median(values[-quarter:]) - statistics.median(values[quarter:2 * quarter] or values)}


def crowded(run):
    """Of the least crowd to the greatest, in their order."""
    costs = [middle(rows, "cpu_us") for _, rows in sorted(run["crowd"].items(), key=lambda entry: int(entry[0].split()[0].replace(",", "")))]
    return {"SQLite": costs[-1] / costs[0]}


def beside_rows(read):
    return lambda run: {NAMES[row["engine"]]: row["large_ms"] / row["empty_ms"] for row in run["ledger"]["reads"] if row["read"] == read}


def written(engine):
    def measured(run):
        runs = [case["runs"] for case in run["writes"]["results"] if case["engine"] == engine]
        return {NAMES[engine]: max(middle(rows, "rows_per_second") for rows in runs)} if runs else {}
    return measured


NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
ENGINES = {"SQLite": "tollgate", "PostgreSQL": "postgres"}
# Phase, figure, the bound in words, the least and the most, how it is measured, its form.
TARGETS = [
    ("sat", "CPU a call, not streamed", "≤ 1.8 × nginx", None, 1.8, over_nginx("sat", "cpu_us"), "{:.2f} ×"),
    ("sat", "calls a second on one core", "≥ 0.6 × nginx", 0.6, None, over_nginx("sat", "per_second"), "{:.2f} ×"),
    ("fixed", "added p50 at 500 calls/s, 20 ms upstream", "≤ nginx + 0.05 ms", None, 0.05, over_nginx("fixed", "p50", True), "{:+.3f} ms"),
    ("fixed", "added p99 at 500 calls/s, 20 ms upstream", "≤ nginx + 0.5 ms", None, 0.5, over_nginx("fixed", "p99", True), "{:+.2f} ms"),
    ("streams", "CPU a stream of 50 chunks", "≤ 1.6 × nginx", None, 1.6, over_nginx("streams", "cpu_us"), "{:.2f} ×"),
    ("streams", "added time to first token, 100 streams, p50", "≤ nginx + 0.4 ms", None, 0.4, over_nginx("streams", "first_p50", True), "{:+.2f} ms"),
    ("streams", "added time to first token, 100 streams, p99", "≤ nginx + 2 ms", None, 2.0, over_nginx("streams", "first_p99", True), "{:+.2f} ms"),
    ("memory", "memory an open stream (500 open)", "≤ 32 KiB", None, 32, of_streams, "{:.0f} KiB"),
    ("resident", "resident memory, idle", "≤ 20 MiB", None, 20, resident("idle"), "{:.1f} MiB"),
    ("resident", "resident memory after 1 M calls", "≤ 40 MiB", None, 40, resident("rest"), "{:.1f} MiB"),
    ("soak", "growth over an hour's soak", "flat: ≤ 2 MiB", None, 2.0, soaked, "{:+.1f} MiB"),
    ("crowd", "CPU a call, 1 against 100,000 integrations", "≤ 1.1 ×", None, 1.1, crowded, "{:.2f} ×"),
    ("ledger", "a draw (admission) beside 10 M rows", "unchanged, ± 10 %", None, 1.1, beside_rows("draw"), "{:.2f} ×"),
    ("ledger", "the summary of a day beside 10 M rows", "unchanged, ± 10 %", None, 1.1, beside_rows("summary of a day"), "{:.2f} ×"),
    ("writes", "ledger writes with all books, SQLite", "≥ 30,000 rows/s", 30_000, None, written("sqlite"), "{:,.0f}"),
    ("writes", "ledger writes with all books, PostgreSQL", "≥ 20,000 rows/s", 20_000, None, written("postgres"), "{:,.0f}"),
]


def verdicts(runs):
    """A line a target and engine: what each run measured, and in how many it held. Only of phases that ran."""
    lines = []
    for phase, figure, words, least, most, measure, form in TARGETS:
        found = [measure(run) if phase in run else {} for run in runs]
        for engine in dict.fromkeys(engine for told in found for engine in told):
            values = [told[engine] for told in found if engine in told]
            held = [(least is None or value >= least) and (most is None or value <= most) for value in values]
            lines.append({"figure": figure, "engine": engine, "target": words, "measured": [form.format(value) for value in values], "held": held})
    return lines


def verdict(held):
    """Of the runs in which a target held or did not."""
    if len(held) == 1:
        return "ok" if held[0] else "MISSED"
    return f"ok in all {len(held)}" if all(held) else f"MISSED in all {len(held)}" if not any(held) else f"held only in {sum(held)} of {len(held)}"


def shown(kept):
    """The table of targets, and what is to be known beside it, in Markdown."""
    runs = kept["runs"]
    lines = verdicts(runs)
    text = ["| figure | store | target | measured | |", "| --- | --- | --- | --- | --- |"]
    for line in lines:
        text.append(f"| {line['figure']} | {line['engine']} | {line['target']} | {', '.join(line['measured'])} | {verdict(line['held'])} |")
    load = ", ".join(f"{run['load_before'][0]:.1f} → {run.get('load_after', [float('nan')])[0]:.1f}" for run in runs)
    text.append(f"\nMedians of {kept['rounds']} interleaved rounds of {kept['seconds']} s; {len(runs)} run(s); load before and after: {load}; "
                f"{kept['machine']['cores']} cores, {kept['machine']['processor']}, Linux {kept['machine']['kernel']}.")
    books = [f"{name} {book['rows']:,} rows {'exact' if book['exact'] else 'NOT EXACT'}" for run in runs for name, book in run.get("books", {}).items()]
    text.append(f"Books verified at the end: {'; '.join(books) or 'none'}.")
    if kept.get("quick"):
        text.append("This was a quick run: it shows that everything works, and no figure.")
    text += [f"FAILED: {name}: {why}" for run in runs for name, why in run.get("failed", {}).items()]
    return "\n".join(text)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--tables"]
    if not arguments:
        sys.exit(__doc__)
    files = [json.load(open(path)) for path in arguments]
    unfit = [path for path, kept in zip(arguments, files) if "runs" not in kept]
    if unfit:
        sys.exit(f"not kept by this bin/bench: {', '.join(unfit)}")
    kept = {**files[0], "runs": [run for file in files for run in file["runs"]]}
    if "--tables" in sys.argv:
        for number, run in enumerate(kept["runs"], 1):
            for name, text in run["text"].items():
                print(f"## {name}" + (f", run {number}" if len(kept["runs"]) > 1 else "") + f"\n\n{text}\n")
    print(shown(kept))


if __name__ == "__main__":
    main()
