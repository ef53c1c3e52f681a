#!/usr/bin/env python3
"""Loads Tollgate for an hour at a fixed rate, and says whether its memory stays flat, its calls succeed and its books balance.

Many tenants' integrations are called in turn: whole answers, streams, calls beyond a budget and beyond a rate; beside them
usage of the last month is reported, so that many days are booked. Every few seconds resident memory, CPU, open files, the
journal, the store and the latencies are sampled. At the end the load stops, the ledger catches up and is verified, and three
counts have to agree: what the load generator heard, what the provider billed, and what the ledger says, calls and tokens.

Memory is flat when the median of the last quarter is no more than 5 % and 2 MiB above that of the second: the first quarter
is for what is bought once (caches that fill, connections that open).

    bench/soak.py [--rate 5000] [--minutes 60] [--integrations 48] [--postgres] [--pin] [--json FILE]

Everything is on 127.0.0.1 and in a folder of its own under --folder, which is removed at the end. An hour at 5,000 calls a
second is 18 million rows: about 1.2 KB each on the embedded store. It does not begin where that is not free, and 5 GB; it
ends early, and says so, when less than 3 GB are left.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stage import cpu_ns, memory_parts, request, started, stop  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
TENANTS = 6
# Of all calls: how many are streams, and how many are refused, half for their budget and half for their rate.
STREAMS, REFUSED = 0.03, 0.05
STREAM_TOKENS, WHOLE_TOKENS = 24, 100
TOKENS = re.compile(rb'"tokens_in":(\d+),"tokens_out":(\d+)')
FREE_LEAST, FREE_SPARE, ROW_BYTES = 3 << 30, 5 << 30, 1_200
# Rows of the ledger that had no part in the load: the gateway's own.
REPORTS_A_BATCH = 100
GROWTH_PERCENT, GROWTH_MIB = 5.0, 2.0


class Stand:
    """The provider, the gateway under test, and whom the load calls as."""

    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-soak-", dir=options.folder))
        self.running, self.cluster = [], None
        self.whole_keys, self.budget_keys, self.rate_keys, self.reporters = [], [], [], []

    def set_up(self):
        tools, gate = ("0", "1") if self.options.pin else (None, None)
        self.billed = self.folder / "billed.jsonl"
        provider, told = started([self.options.tollgate, "simulate", "--json", "--journal", self.billed, "--chunk-interval-ms", "2"],
                                 tools, ready=True)
        self.running.append(provider)
        self.provider_url = told["url"]
        environment = dict(os.environ)
        if self.options.postgres:
            from write_path import Cluster
            self.cluster = Cluster()
            environment["TOLLGATE__STORE__URL"] = self.cluster.fresh()
        self.data = self.folder / "data"
        self.log = open(self.folder / "gateway.log", "w+")
        self.gateway, self.told = started(
            [self.options.tollgate, "dev", "--listen", "127.0.0.1:0", "--data-dir", self.data, "--provider-url", self.provider_url, "--json"],
            gate, ready=True, stderr=self.log, env=environment)
        self.running.append(self.gateway)
        for number in range(TENANTS):
            self.tenant(f"soak-{number}", self.options.integrations // TENANTS)

    def tenant(self, tenant, count):
        """A tenant with so many integrations under large limits, each with a key of its own; and one poor, and one slow."""
        admin, operator = self.told["admin_url"] + "/api/v1", self.told["operator_key"]
        ask = lambda path, body: request(admin + path, operator, "POST", body, {"x-tollgate-tenant": tenant})  # noqa: E731
        request(f"{admin}/tenants", operator, "POST", {"id": tenant, "name": tenant})
        large = {"budget_limit_cents": 1_000_000_000, "token_limit_month": 1_000_000_000_000, "rate_limit_rpm": 100_000_000}
        kinds = [(self.whole_keys, large)] * count + [(self.budget_keys, {**large, "budget_limit_cents": 1}),
                                                      (self.rate_keys, {**large, "rate_limit_rpm": 60})]
        for number, (keys, limits) in enumerate(kinds):
            made = ask("/integrations", {"name": f"integration {number}", "provider_type": "openai", "default_model": "gpt-4o-mini",
                                         "credential": {"api_key": "sk-simulated"}, "config": {"base_url": self.provider_url}, **limits})
            ask(f"/integrations/{made['id']}/enable", {})
            key = ask("/keys", {"name": f"key {number}", "role": "caller", "integration_id": made["id"]})["key"]
            keys.append(key)
            if limits is large:
                self.reporters.append((key, made["id"]))

    def strike(self):
        for process in reversed(self.running):
            if process.poll() is None:
                stop(process)
        if self.cluster:
            self.cluster.stop()
        if not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class Load:
    """Calls of one kind: our own load generator, started anew for each sample, so that connections come and go."""

    def __init__(self, stand, name, share, keys, stream=False, refused=()):
        self.stand, self.name, self.keys, self.stream, self.refused = stand, name, keys, stream, refused
        self.rate = max(1, round(stand.options.rate * share))
        self.calls, self.faults = 0, {}

    def begin(self, seconds):
        command = [str(self.stand.options.tollgate), "bench", "--url", self.stand.told["url"], "--json", "--seconds", str(seconds),
                   "--rate", str(self.rate), "--connections", str(min(64, max(32 if self.stream else 8, self.rate // 20))),
                   "--output-tokens", str(STREAM_TOKENS if self.stream else WHOLE_TOKENS), *(["--stream"] if self.stream else [])]
        command = ["taskset", "-c", "0", *command] if self.stand.options.pin else command
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "TOLLGATE_KEY": " ".join(self.keys)})

    def end(self):
        """What was heard; a fault is what this kind is not meant to run into."""
        out, said = self.process.communicate(timeout=300)
        if not out:
            raise SystemExit(f"the load of {self.name} calls failed: {said}")
        told = json.loads(out)
        self.calls += told["calls"]
        for fault, count in told["faults"].items():
            self.faults[fault] = self.faults.get(fault, 0) + count
        wrong = sum(count for fault, count in told["faults"].items() if fault not in self.refused)
        return {"calls": told["calls"], "refused": told["failed"] - wrong, "wrong": wrong, "p50_ms": told["latency_ms"]["p50"],
                "p99_ms": told["latency_ms"]["p99"], "late_p99_ms": told["late_ms"]["p99"], "first_p99_ms": told["first_ms"]["p99"],
                **({"faults": told["faults"]} if wrong else {})}

    def wrong(self):
        return {fault: count for fault, count in self.faults.items() if fault not in self.refused}


class Reports(threading.Thread):
    """Usage of calls made elsewhere during the last month: a batch a second."""

    def __init__(self, stand):
        super().__init__(daemon=True)
        self.stand, self.ended = stand, threading.Event()
        self.accepted, self.refused, self.tokens = 0, 0, 0

    def run(self):
        number = 0
        while not self.ended.wait(1.0):
            key, integration = self.stand.reporters[number % len(self.stand.reporters)]
            number += 1
            now = datetime.datetime.now(datetime.timezone.utc)
            records = [{"integration_id": integration, "call_id": str(uuid.uuid4()), "model": "gpt-4o-mini", "tokens_in": 1_200, "tokens_out": 300,
                        "created_at": (now - datetime.timedelta(hours=(number * 7 + place * 8) % 800)).isoformat()} for place in range(REPORTS_A_BATCH)]
            try:
                said = request(f"{self.stand.told['admin_url']}/api/v1/telemetry/llm-usage/batch", key, "POST", {"records": records})
                accepted = said["accepted"]
            except (urllib.error.URLError, OSError) as error:
                accepted = 0
                print(f"reports were not taken: {error}", file=sys.stderr)
            self.accepted += accepted
            self.refused += REPORTS_A_BATCH - accepted


class Billed:
    """The provider's own journal, read as it grows."""

    def __init__(self, path, is_kept):
        self.path, self.is_kept, self.offset, self.calls, self.tokens_in, self.tokens_out = path, is_kept, 0, 0, 0, 0

    def read(self):
        if not self.path.exists():
            return
        with open(self.path, "rb") as lines:
            lines.seek(self.offset)
            while piece := lines.read(1 << 24):
                piece = piece[:piece.rfind(b"\n") + 1]
                if not piece:
                    break
                found = TOKENS.findall(piece)
                self.calls += len(found)
                self.tokens_in += sum(int(tokens) for tokens, _ in found)
                self.tokens_out += sum(int(tokens) for _, tokens in found)
                self.offset += len(piece)
                lines.seek(self.offset)
        # What was counted need not take room on the disk; where that cannot be, it does.
        if not self.is_kept:
            subprocess.run(["fallocate", "--punch-hole", "--offset", "0", "--length", str(self.offset), self.path], stderr=subprocess.DEVNULL)


def metric(text, name):
    found = re.search(rf"^{name}(?:_total)? ([\d.e+-]+)$", text, re.M)
    return float(found.group(1)) if found else 0.0


def size(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path.stat().st_size if path.exists() else 0)


def sample(stand):
    pid = stand.gateway.pid
    text = request(stand.told["admin_url"] + "/metrics", stand.told["operator_key"], raw=True)
    return {"rss_mib": round(memory_parts(pid)["rss"], 2), "anon_mib": round(memory_parts(pid)["anonymous"], 2),
            "cpu_ns": cpu_ns(pid), "files": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task")),
            "journal_bytes": int(metric(text, "tollgate_journal_bytes")), "open_calls": int(metric(text, "tollgate_journal_open_calls")),
            "lag_rows": int(metric(text, "tollgate_ledger_lag_rows")),
            "store_bytes": sum(size(path) for path in stand.data.glob("*.db*")), "free_bytes": shutil.disk_usage(stand.folder).free}


def soak(stand, options):
    """The load, and a row every few seconds."""
    loads = [Load(stand, "whole", 1 - STREAMS - REFUSED, stand.whole_keys),
             Load(stand, "stream", STREAMS, stand.whole_keys, stream=True),
             Load(stand, "over budget", REFUSED / 2, stand.budget_keys, refused=("status 402", "status 429")),
             Load(stand, "over rate", REFUSED / 2, stand.rate_keys, refused=("status 429",))]
    reports, billed = Reports(stand), Billed(stand.billed, options.keep)
    reports.start()
    rows, began, ended_early = [], time.monotonic(), None
    total = options.minutes * 60
    before = sample(stand)
    idle = before
    try:
        while (elapsed := time.monotonic() - began) < total:
            for load in loads:
                load.begin(min(options.every, max(1, round(total - elapsed))))
            heard = {load.name: load.end() for load in loads}
            billed.read()
            now = sample(stand)
            calls = sum(kind["calls"] + kind["refused"] for kind in heard.values())
            row = {"at_s": round(time.monotonic() - began, 1), **now, "calls": calls, "wrong": sum(kind["wrong"] for kind in heard.values()),
                   "cpu_us": round((now["cpu_ns"] - before["cpu_ns"]) / max(1, calls) / 1_000, 1),
                   "per_second": round(calls / max(0.001, time.monotonic() - began - (rows[-1]["at_s"] if rows else 0))),
                   "heard": heard, "billed": billed.calls, "load": os.getloadavg()[0]}
            before = now
            rows.append(row)
            tell(row, total)
            if stand.gateway.poll() is not None:
                ended_early = "the gateway ended"
            elif now["free_bytes"] < FREE_LEAST:
                ended_early = "less than 3 GB are free on the disk"
            if ended_early:
                break
    except KeyboardInterrupt:
        ended_early = "it was interrupted"
    reports.ended.set()
    reports.join()
    return {"loads": loads, "reports": reports, "billed": billed, "rows": rows, "idle": idle, "ended_early": ended_early}


def tell(row, total):
    left = max(0, total - row["at_s"])
    print(f"{row['at_s'] / 60:5.1f} min, {left / 60:4.1f} left: {row['per_second']:,}/s, {row['cpu_us']} µs a call, whole p50 {row['heard']['whole']['p50_ms']:.2f} "
          f"p99 {row['heard']['whole']['p99_ms']:.1f} ms, RSS {row['rss_mib']:.1f} (own {row['anon_mib']:.1f}) MiB, {row['files']} files, lag {row['lag_rows']:,}, "
          f"journal {row['journal_bytes'] >> 20} MiB, store {row['store_bytes'] >> 20:,} MiB, wrong {row['wrong']}", file=sys.stderr, flush=True)


def settle(stand):
    """Waits until no call is open and the ledger has everything."""
    for _ in range(600):
        now = sample(stand)
        if not now["open_calls"] and not now["lag_rows"]:
            return now
        time.sleep(0.5)
    raise SystemExit(f"the ledger did not catch up in five minutes: {now}")


def counts(stand):
    """Rows and tokens of the ledger by where they come from and whether they were refused."""
    query = ("SELECT origin, CASE WHEN policy_result = 'blocked' THEN 'refused' ELSE usage_source END, COUNT(*), SUM(tokens_in), SUM(tokens_out) "
             "FROM cus_llm_usage GROUP BY 1, 2")
    if stand.cluster:
        found = [line.split("|") for line in stand.cluster.sql(query, database="wp").splitlines()]
    else:
        [path] = stand.data.glob("*.db")
        store = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        found = store.execute(query).fetchall()
        store.close()
    return {f"{origin} {what}": [int(rows), int(tokens_in), int(tokens_out)] for origin, what, rows, tokens_in, tokens_out in found}


def balance(stand, found):
    """The checks at the end, each with what it saw."""
    settled = settle(stand)
    found["billed"].read()
    print("verifying the books", file=sys.stderr, flush=True)
    began = time.monotonic()
    books = request(f"{stand.told['admin_url']}/api/v1/ledger/verify", stand.told["operator_key"], patience=3_600)
    found["verified_s"] = round(time.monotonic() - began, 1)
    found["counts"] = ledger = counts(stand)
    answered = sum(load.calls for load in found["loads"])
    refused = sum(count for load in found["loads"] for fault, count in load.faults.items() if fault in load.refused)
    wrong = {fault: count for load in found["loads"] for fault, count in load.wrong().items()}
    gateway = [sum(figures) for figures in zip(*(row for name, row in ledger.items() if name.startswith("gateway") and "refused" not in name))] or [0, 0, 0]
    billed = [found["billed"].calls, found["billed"].tokens_in, found["billed"].tokens_out]
    reported = sum(row[0] for name, row in ledger.items() if name.startswith("telemetry"))
    flat, second, last = flatness([row["rss_mib"] for row in found["rows"]])
    files = [row["files"] for row in found["rows"]]
    log = stand.folder / "gateway.log"
    stand.log.flush()
    lines = [line for line in log.read_text().splitlines() if " ERROR " in line or "panicked" in line]
    found["settled"], found["books"] = settled, books
    return [
        ("no call failed that should not", not wrong, wrong or f"{answered:,} answered, {refused:,} refused as they should be"),
        ("books verify", books["exact"], f"{books['rows']:,} rows, {books['differences']} differences, in {found['verified_s']:.0f} s"),
        ("calls: provider's journal = ledger", billed[0] == gateway[0], f"{billed[0]:,} and {gateway[0]:,}"),
        ("calls: load generator = ledger", answered == gateway[0] or bool(wrong), f"{answered:,} and {gateway[0]:,}"),
        ("tokens: provider's journal = ledger", billed[1:] == gateway[1:], f"{billed[1]:,} + {billed[2]:,} and {gateway[1]:,} + {gateway[2]:,}"),
        ("refusals: load generator = ledger", refused == ledger.get("gateway refused", [0])[0], f"{refused:,} and {ledger.get('gateway refused', [0])[0]:,}"),
        ("reports: accepted = ledger", found["reports"].accepted == reported and not found["reports"].refused,
         f"{found['reports'].accepted:,} and {reported:,}, {found['reports'].refused} not taken"),
        ("memory is flat", flat, f"median of the second quarter {second:.1f} MiB, of the last {last:.1f} MiB"),
        ("open files do not grow", statistics.median(files[-3:]) <= statistics.median(files[:3]) * 1.2 + 16, f"{files[0]} at first, {files[-1]} at the end"),
        ("nothing in the log", not lines, lines[0] if lines else "no error, no panic"),
        ("it ran to its end", not found["ended_early"], found["ended_early"] or f"{found['rows'][-1]['at_s'] / 60:.0f} minutes"),
    ]


def flatness(values):
    """Whether the last quarter's median is that of the second, about; with both."""
    quarter = max(1, len(values) // 4)
    second, last = statistics.median(values[quarter:2 * quarter] or values), statistics.median(values[-quarter:])
    return last - second <= max(GROWTH_MIB, second * GROWTH_PERCENT / 100), second, last


def table(found, checks):
    rows = found["rows"]
    print("| minutes | calls/s | CPU µs a call | whole p50 ms | p99 ms | stream p99 ms | MiB | of it own | files | journal MiB | lag rows | store MiB | wrong |")
    print("|" + " --- |" * 13)
    parts = min(12, len(rows))
    for part in range(parts):
        some = rows[part * len(rows) // parts:(part + 1) * len(rows) // parts]
        middle = lambda take: statistics.median(take(row) for row in some)  # noqa: E731,B023
        print(f"| {some[0]['at_s'] / 60:.1f}–{some[-1]['at_s'] / 60:.1f} | {middle(lambda row: row['per_second']):,.0f} | {middle(lambda row: row['cpu_us']):.1f} "
              f"| {middle(lambda row: row['heard']['whole']['p50_ms']):.2f} | {middle(lambda row: row['heard']['whole']['p99_ms']):.1f} "
              f"| {middle(lambda row: row['heard']['stream']['p99_ms']):.1f} | {middle(lambda row: row['rss_mib']):.1f} | {middle(lambda row: row['anon_mib']):.1f} "
              f"| {middle(lambda row: row['files']):.0f} | {middle(lambda row: row['journal_bytes']) / 2**20:.0f} | {middle(lambda row: row['lag_rows']):,.0f} "
              f"| {some[-1]['store_bytes'] / 2**20:,.0f} | {sum(row['wrong'] for row in some)} |")
    print("\n| check | | seen |\n| --- | --- | --- |")
    for what, held, seen in checks:
        print(f"| {what} | {'ok' if held else 'MISSED'} | {seen} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=5_000, help="calls a second, of all kinds")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=int, default=30, help="seconds from one sample to the next")
    parser.add_argument("--integrations", type=int, default=48)
    parser.add_argument("--postgres", action="store_true", help="on a throwaway PostgreSQL instead of the embedded store")
    parser.add_argument("--pin", action="store_true", help="the gateway on one core, everything else on another")
    parser.add_argument("--folder", default="/tmp", help="where the store and the provider's journal are kept meanwhile")
    parser.add_argument("--keep", action="store_true", help="leave that folder behind")
    parser.add_argument("--tollgate", default=ROOT / "target/release/tollgate")
    parser.add_argument("--json", help="write every sample and every check here")
    options = parser.parse_args()
    if not pathlib.Path(options.tollgate).exists():
        sys.exit(f"there is no {options.tollgate}: build it (cargo build --release), or name one with --tollgate")
    needed = round(options.rate * options.minutes * 60) * ROW_BYTES + FREE_SPARE
    free = shutil.disk_usage(options.folder).free
    if needed > free:
        sys.exit(f"{options.minutes:g} minutes at {options.rate:,} calls/s may take {needed >> 30} GB of {options.folder}, where {free >> 30} GB are free: "
                 f"choose another --folder, or a --rate of at most {max(0, int((free - FREE_SPARE) / ROW_BYTES / options.minutes / 60)):,}")
    stand = Stand(options)
    try:
        stand.set_up()
        print(f"soaking {options.minutes:g} minutes at {options.rate:,} calls/s in {stand.folder}", file=sys.stderr, flush=True)
        found = soak(stand, options)
        checks = balance(stand, found)
    finally:
        stand.strike()
    table(found, checks)
    if options.json:
        kept = {name: found[name] for name in ("rows", "idle", "settled", "books", "counts", "verified_s", "ended_early")}
        kept["checks"] = [{"what": what, "held": bool(held), "seen": str(seen)} for what, held, seen in checks]
        pathlib.Path(options.json).write_text(json.dumps(kept, indent=1) + "\n")
    sys.exit(0 if all(held for _, held, _ in checks) else 1)


if __name__ == "__main__":
    main()
