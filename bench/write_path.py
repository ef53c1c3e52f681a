#!/usr/bin/env python3
"""Measures the write path: ledger rows a second with every book updated, on both engines.

Finished calls of many tenants, models and days go through the very store method that the ledger's writer calls
(`crates/store/examples/write_path`): rows, idempotency keys, balances, allowances, roll-ups, models without a price,
in one transaction a batch. About 2 % of them come twice. Every run ends with `verify` and a count of the rows.

PostgreSQL is a throwaway cluster with fsync, synchronous_commit and full_page_writes on, and otherwise the settings of
`bin/throwaway-postgres`; SQLite is a file with the product's own settings (WAL, synchronous=FULL). Each run begins with
an empty database, or with `--fill` rows. Rounds go A B C A B C, so that the machine's noise falls on all alike.

CPU a row is the time on a core of our process and of the server with all its children: trust it more than rows a second
where the machine has other work, and read rows a second beside the load that is printed.

    bench/write_path.py [--rounds 5] [--rows 200000] [--batches 1000] [--writers 1,2,3] [--engines sqlite,postgres]
                        [--binary NAME=PATH ...] [--fill N] [--reads N] [--trace FILE] [--json FILE]

Without `--binary` the example of this tree is built in release mode; give several to compare builds in one run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
THROWAWAY = os.path.join(ROOT, "bin", "throwaway-postgres")


def built():
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", "tollgate-store", "--example", "write_path"],
                   cwd=ROOT, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    return os.path.join(target, "release", "examples", "write_path")


class Cluster:
    """A throwaway PostgreSQL that means it: what is committed is on the disk."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tg-wp-", dir="/tmp")
        self.url = subprocess.run(
            [THROWAWAY, "start", self.folder, str(os.getpid())], check=True, capture_output=True, text=True,
            env={**os.environ, "TOLLGATE_PG_FSYNC": "on"}).stdout.strip()
        with open(os.path.join(self.folder, "data", "postmaster.pid")) as lines:
            self.server = int(lines.readline())

    def sql(self, statement, database="postgres", user="postgres"):
        programs = subprocess.run([THROWAWAY, "where"], check=True, capture_output=True, text=True).stdout.strip()
        return subprocess.run(
            [os.path.join(programs, "psql"), "-qAtX", "-h", self.folder, "-U", user, "-d", database, "-c", statement],
            check=True, capture_output=True, text=True).stdout.strip()

    def fresh(self):
        self.sql("DROP DATABASE IF EXISTS wp")
        self.sql("CREATE DATABASE wp OWNER tollgate")
        self.sql("CHECKPOINT")
        return self.url.replace("/tollgate?", "/wp?")

    def deadlocks(self):
        return int(self.sql("SELECT SUM(deadlocks) FROM pg_stat_database") or 0)

    def stop(self):
        subprocess.run([THROWAWAY, "stop", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def run(binary, url, server, options, writers, batch):
    arguments = [binary, "--url", url, "--writers", str(writers), "--batch", str(batch), "--rows", str(options.rows),
                 "--integrations", str(options.integrations), "--calls-a-day", str(options.calls_a_day),
                 "--fill", str(options.fill), "--reads", str(options.reads)]
    if server:
        arguments += ["--server", str(server)]
    if options.trace:
        arguments += ["--trace", options.trace]
    out = subprocess.run(arguments, check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in out.stdout.splitlines()]
    return [line for line in lines if "read" in line], lines[-1]


def measured(binary, engine, cluster, options, writers, batch):
    if engine == "postgres":
        return run(binary, cluster.fresh(), cluster.server, options, writers, batch)
    folder = tempfile.mkdtemp(prefix="tg-wp-", dir=options.folder)
    try:
        return run(binary, f"sqlite:{folder}/books.db", None, options, writers, batch)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def spread(rows, name, form="{:,.0f}"):
    values = sorted(row[name] for row in rows)
    show = form.format
    return f"{show(statistics.median(values))} ({show(values[0])}–{show(values[-1])})"


def table(results):
    print("| engine | build | writers | rows a batch | rows/s | CPU µs a row, ours | the server's | both | statements a batch |"
          " slowest batch ms | our MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (engine, name, writers, batch), rows in results.items():
        for row in rows:
            row["both"] = row["own_us_per_row"] + row["server_us_per_row"]
        print(f"| {engine} | {name} | {writers} | {batch:,} | {spread(rows, 'rows_per_second')} "
              f"| {spread(rows, 'own_us_per_row', '{:.1f}')} | {spread(rows, 'server_us_per_row', '{:.1f}')} "
              f"| {spread(rows, 'both', '{:.1f}')} | {rows[0]['statements_per_batch']:.0f} "
              f"| {spread(rows, 'slowest_batch_ms')} | {max(row['own_mib'] for row in rows)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batches", default="1000")
    parser.add_argument("--writers", default="1,2,3")
    parser.add_argument("--engines", default="sqlite,postgres")
    parser.add_argument("--integrations", type=int, default=200)
    parser.add_argument("--calls-a-day", type=int, default=500_000)
    parser.add_argument("--fill", type=int, default=0)
    parser.add_argument("--reads", type=int, default=0)
    parser.add_argument("--trace")
    parser.add_argument("--folder", default="/tmp", help="where SQLite's file is")
    parser.add_argument("--binary", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--json")
    options = parser.parse_args()
    binaries = dict(entry.split("=", 1) for entry in options.binary) or {"this": built()}
    engines = options.engines.split(",")
    cases = [(engine, writers, batch)
             for engine in engines
             for writers in ([1] if engine == "sqlite" else map(int, options.writers.split(",")))
             for batch in map(int, options.batches.split(","))]
    load_before = os.getloadavg()
    cluster = Cluster() if "postgres" in engines else None
    results, reads = {}, {}
    try:
        for round_number in range(options.rounds):
            for engine, writers, batch in cases:
                for name, binary in binaries.items():
                    print(f"round {round_number + 1}: {engine}, {writers} × {batch}, {name}", file=sys.stderr)
                    found, figures = measured(binary, engine, cluster, options, writers, batch)
                    results.setdefault((engine, name, writers, batch), []).append(figures)
                    for line in found:
                        reads.setdefault((engine, name, line["read"]), []).append(line)
        deadlocks = cluster.deadlocks() if cluster else 0
        version = cluster.sql("SHOW server_version") if cluster else None
    finally:
        if cluster:
            cluster.stop()
    table(results)
    if reads:
        print("\n| engine | build | read | median ms | slowest tenth ms |\n| --- | --- | --- | --- | --- |")
        for (engine, name, read), lines in reads.items():
            print(f"| {engine} | {name} | {read} | {spread(lines, 'median_ms', '{:.3f}')} | {spread(lines, 'p90_ms', '{:.3f}')} |")
    load = " ".join(f"{value:.1f}" for value in (*load_before, *os.getloadavg()))
    print(f"\nMedians (least–most) of {options.rounds} interleaved rounds of {options.rows:,} rows over {options.integrations:,} "
          f"integrations, {options.fill:,} rows in the ledger before. Load before and after: {load}. "
          f"PostgreSQL {version}: fsync, synchronous_commit and full_page_writes on; deadlocks: {deadlocks}. "
          "SQLite: WAL, synchronous=FULL. Every run verified: rows counted, books exact.")
    if options.json:
        with open(options.json, "w") as file:
            keyed = [{"engine": engine, "build": name, "writers": writers, "batch": batch, "runs": rows}
                     for (engine, name, writers, batch), rows in results.items()]
            read = [{"engine": engine, "build": name, **row} for (engine, name, _), rows in reads.items() for row in rows]
            json.dump({"results": keyed, "reads": read, "load": load,
                       "deadlocks": deadlocks}, file, indent=1)


if __name__ == "__main__":
    main()
