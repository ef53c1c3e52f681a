"""The measurements of `bin/bench`, one function each: it measures, prints a table, and returns every figure of every round."""

import json
import os
import pathlib
import re
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import uuid

from stage import request

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
WRK = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {key}"
wrk.body = '{body}'
"""


def wrk(field, target, seconds, connections):
    """One closed loop of wrk, which takes less of the tools' core than our own: calls, calls a second, quantiles, errors."""
    body = json.dumps({"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "word " * 180}]})
    script = pathlib.Path(field.folder, f"{target.name}.lua")
    script.write_text(WRK.format(key=target.key, body=body))
    out = subprocess.run(
        ["taskset", "-c", field.tools, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script),
         f"{target.url}/v1/chat/completions"], check=True, capture_output=True, text=True).stdout

    def quantile(name):
        value, unit = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * UNITS[unit]

    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: (.*)", out)
    return {"calls": int(re.search(r"(\d+) requests in", out).group(1)),
            "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "p50": quantile("50"), "p99": quantile("99"), "failed": int(bad.group(1)) if bad else (1 if broken else 0)}


def load(field, target, seconds, connections, rate=None, stream=False, prompt=900, tokens=100):
    """One run of our own load generator, flattened."""
    command = ["taskset", "-c", field.tools, str(field.options.tollgate), "bench", "--url", target.url, "--json", "--seconds", str(seconds),
               "--connections", str(connections), "--body-bytes", str(prompt), "--output-tokens", str(tokens),
               *(["--rate", str(rate)] if rate else []), *(["--stream"] if stream else [])]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TOLLGATE_KEY": target.key})
    if not ran.stdout:
        raise SystemExit(f"the load on {target.name} failed: {ran.stderr}")
    told = json.loads(ran.stdout)
    row = {name: told[name] for name in ("calls", "failed", "faults", "per_second")}
    for prefix, times in (("", "latency_ms"), ("first_", "first_ms"), ("gap_", "gap_ms"), ("late_", "late_ms")):
        row.update({f"{prefix}{name}": value for name, value in told[times].items()})
    return row


def interleaved(field, options, run, targets=None):
    """Rounds that take turns, after one that is not counted; each row has the CPU of its calls."""
    targets = targets or field.targets.values()
    rows = {target.name: [] for target in targets}
    for number in range(options.rounds + 1):
        for target in targets:
            before = target.cpu()
            row = run(target, options.seconds if number else min(2, options.seconds))
            time.sleep(0.5)
            spent = [now - then for now, then in zip(target.cpu(), before)]
            row["cpu_us"], row["server_us"] = (nanos / max(1, row["calls"]) / 1_000 for nanos in spent)
            row["memory_mib"] = target.memory()
            if number:
                rows[target.name].append(row)
            print(f"round {number} {target.name:9} {json.dumps({k: v for k, v in row.items() if not isinstance(v, dict)})}",
                  file=sys.stderr, flush=True)
    return rows


def median(rows, name):
    return statistics.median(row[name] for row in rows) if rows else float("nan")


def spread(rows, name, form):
    values = sorted(row[name] for row in rows)
    return f"{statistics.median(values):{form}} ({values[0]:{form}}–{values[-1]:{form}})"


def table(rows, columns):
    """One line a target; a column is a heading, the name of a figure, its form, and what it is compared with:
    `×` is the ratio to nginx, `+` what comes on top of calling the provider directly."""
    heads = ["target"]
    for head, _, _, compared in columns:
        heads += [head] + ({"×": ["× nginx"], "+": ["added"]}.get(compared, []))
    print("| " + " | ".join(heads + ["failed"]) + " |\n|" + " --- |" * (len(heads) + 1))
    for target, found in rows.items():
        cells = [target]
        for _, name, form, compared in columns:
            value = median(found, name)
            shown = spread(found, name, form) if value else "–"
            cells.append(shown)
            if compared == "×":
                nginx = median(rows.get("nginx", []), name)
                cells.append(f"{value / nginx:.2f}" if value and nginx == nginx and nginx else "–")
            elif compared == "+":
                direct = median(rows.get("direct", []), name)
                cells.append(f"{value - direct:+.2f}" if direct == direct else "–")
        print("| " + " | ".join(cells + [str(sum(row["failed"] for row in found))]) + " |", flush=True)


CPU = [("CPU µs a call", "cpu_us", ".1f", "×"), ("the database server's", "server_us", ".1f", "")]


def saturated(field, options):
    """As fast as it goes, 64 connections, 1 KB in and out, a provider that answers at once."""
    field.provider_takes()
    idle = {target.name: target.memory() for target in field.targets.values()}
    rows = interleaved(field, options, lambda target, seconds: wrk(field, target, seconds, 64))
    table(rows, [*CPU, ("calls/s", "per_second", ",.0f", "×"), ("p50 ms", "p50", ".2f", ""), ("p99 ms", "p99", ".2f", ""),
                 ("MiB after", "memory_mib", ".0f", "")])
    print("\nMiB idle: " + ", ".join(f"{name} {memory:.0f}" for name, memory in idle.items() if memory))
    return {"rows": rows, "idle_mib": idle}


def fixed(field, options):
    """500 calls a second by the clock, a provider that takes 20 ms."""
    field.provider_takes(latency_ms=20)
    rows = interleaved(field, options, lambda target, seconds: load(field, target, seconds, 64, rate=500))
    table(rows, [("p50 ms", "p50", ".2f", "+"), ("p99 ms", "p99", ".2f", "+"), ("p99.9 ms", "p999", ".2f", "+"),
                 ("let go late, p99 ms", "late_p99", ".2f", ""), *CPU])
    return rows


def streams(field, options):
    """100 streams at once of 50 events, 5 ms between them."""
    field.provider_takes(chunk_interval_ms=5)
    run = lambda target, seconds: load(field, target, seconds, 100, stream=True, tokens=48)  # noqa: E731
    rows = interleaved(field, options, run)
    table(rows, [("CPU µs a stream", "cpu_us", ".0f", "×"), ("first p50 ms", "first_p50", ".2f", "+"),
                 ("first p99 ms", "first_p99", ".2f", "+"), ("gap p50 ms", "gap_p50", ".2f", "+"), ("gap p99 ms", "gap_p99", ".2f", "+"),
                 ("streams/s", "per_second", ",.0f", "")])
    return rows


def single(field, options):
    """One connection, call after call."""
    field.provider_takes()
    rows = interleaved(field, options, lambda target, seconds: load(field, target, seconds, 1))
    table(rows, [("p50 ms", "p50", ".3f", "+"), ("p99 ms", "p99", ".3f", "+"), *CPU])
    return rows


def memory(field, options):
    """Memory of streams that are open at once, with a second between their events; how many there are is read off the
    target's own sockets, two a stream."""
    field.provider_takes(chunk_interval_ms=1_000)
    found = {}
    print("| target | asked for | open | KiB a stream | MiB before | MiB with all open |\n| --- | --- | --- | --- | --- | --- |")
    for count in (500, 5_000):
        for target in field.targets.values():
            if not target.process:
                continue
            row = remembered(field, target, count)
            found[f"{target.name} {count}"] = row
            print(f"| {target.name} | {count:,} | {row['open']:,} | {row['kib_a_stream']:.0f} | {row['before_mib']:.0f} | "
                  f"{row['most_mib']:.0f} |", flush=True)
    field.provider_takes()
    return found


def remembered(field, target, count):
    before, sockets, most, ended = target.memory(), target.files(), [0.0, 0], threading.Event()

    def watch():
        while not ended.wait(0.2):
            most[:] = max(most[0], target.memory()), max(most[1], target.files())

    watching = threading.Thread(target=watch)
    watching.start()
    # Long enough that the first is still open when the last has begun.
    begin = 2 + count // 500
    row = load(field, target, begin, count, stream=True, tokens=begin + 10)
    ended.set()
    watching.join()
    at_once = max(1, (most[1] - sockets) // 2)
    return {**row, "open": at_once, "kib_a_stream": (most[0] - before) * 1024 / at_once, "before_mib": before, "most_mib": most[0]}


def bodies(field, options):
    """Large prompts, four connections."""
    field.provider_takes()
    found = {}
    for size in (10_000, 100_000, 1_000_000, 10_000_000):
        print(f"\n{size:,} bytes:\n")
        rows = interleaved(field, options, lambda target, seconds: load(field, target, seconds, 4, prompt=size))
        table(rows, [*CPU, ("p50 ms", "p50", ".2f", "+"), ("calls/s", "per_second", ",.1f", "")])
        found[size] = rows
    return found


def crowd(field, options):
    """What a call costs where so many other integrations and keys are known; on the embedded store."""
    field.provider_takes()
    folders = {count: pathlib.Path(field.folder, f"crowd-{count}") for count in map(int, options.crowds.split(","))}
    for count, folder in folders.items():
        end(field.tollgate("crowd", data=folder))
        fill(folder, count)
    rows = {}
    for number in range(options.rounds + 1):
        for count, folder in folders.items():
            target = field.tollgate("crowd", data=folder)
            wrk(field, target, 1, 64)
            before = target.cpu()
            row = wrk(field, target, options.seconds, 64)
            time.sleep(0.5)
            row["cpu_us"] = (target.cpu()[0] - before[0]) / max(1, row["calls"]) / 1_000
            row["memory_mib"] = target.memory()
            end(target)
            if number:
                rows.setdefault(f"{count:,} known", []).append(row)
            print(f"round {number} {count:,} known {json.dumps(row)}", file=sys.stderr, flush=True)
    table(rows, [("CPU µs a call", "cpu_us", ".1f", ""), ("calls/s", "per_second", ",.0f", ""), ("MiB", "memory_mib", ".0f", "")])
    return rows


def end(target):
    target.process.terminate()
    target.process.wait(60)


def fill(data, count):
    """Copies of the demo tenant's integration and caller key under another tenant. They are disabled, so that their
    health is not asked for; what a node keeps of them in memory is the same."""
    [path] = [path for path in data.iterdir() if path.suffix in (".db", ".sqlite", ".sqlite3")]
    store = sqlite3.connect(path)
    store.row_factory = sqlite3.Row

    def copies(table, like, changed):
        row = dict(store.execute(f"SELECT * FROM {table} WHERE {like} LIMIT 1").fetchone())
        names = list(row)
        marks = ", ".join("?" for _ in names)
        made = ([{**row, **changed(number)}[name] for name in names] for number in range(count))
        store.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", made)

    tenant = dict(store.execute("SELECT * FROM tenants LIMIT 1").fetchone())
    tenant.update(id="crowd", name="Crowd")
    store.execute(f"INSERT INTO tenants ({', '.join(tenant)}) VALUES ({', '.join('?' for _ in tenant)})", list(tenant.values()))
    integrations = [str(uuid.uuid4()) for _ in range(count)]
    copies("cus_integrations", "provider_type = 'openai'",
           lambda number: {"id": integrations[number], "tenant_id": "crowd", "name": f"integration {number}", "status": "disabled"})
    copies("access_keys", "role = 'caller'",
           lambda number: {"id": str(uuid.uuid4()), "tenant_id": "crowd", "name": f"key {number}", "digest": os.urandom(32),
                           "integration_id": integrations[number]})
    store.commit()
    store.close()


def ledger(field, options):
    """Writing and reading beside a ledger that is large already; on both engines."""
    return write_path(["--engines", "sqlite,postgres", "--writers", "1", "--rounds", "1", "--fill", str(options.rows), "--reads", "200"])


def writes(field, options):
    """Rows a second that the ledger takes; on both engines."""
    return write_path(["--rounds", str(options.rounds)])


def write_path(arguments):
    ran = subprocess.run([ROOT / "bench" / "write_path.py", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    print(ran.stdout)
    return ran.stdout


def instructions(field, options):
    """Instructions and allocations of a call: the same that gates a merge, which builds the program with its symbols."""
    ran = subprocess.run([ROOT / "bench" / "instructions.py"], stdout=subprocess.PIPE, text=True)
    print(ran.stdout)
    return ran.stdout


def telemetry(field, options):
    """Reports of calls made elsewhere, in batches of 100, from two clients."""
    def run(target, seconds):
        counts, ends_at = [0, 0], time.monotonic() + seconds
        lock = threading.Lock()

        def report():
            while time.monotonic() < ends_at:
                records = [{"integration_id": target.told["integrations"]["openai"], "call_id": str(uuid.uuid4()), "model": "gpt-4o-mini",
                            "tokens_in": 1_200, "tokens_out": 300} for _ in range(100)]
                try:
                    said = request(f"{target.told['admin_url']}/api/v1/telemetry/llm-usage/batch", target.key, "POST", {"records": records})
                except urllib.error.HTTPError as refused:
                    said = {"accepted": 0, "why": refused.code}
                with lock:
                    counts[0] += said["accepted"]
                    counts[1] += 100 - said["accepted"]

        began = time.monotonic()
        clients = [threading.Thread(target=report) for _ in range(2)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return {"calls": counts[0], "failed": counts[1], "per_second": counts[0] / (time.monotonic() - began)}

    rows = interleaved(field, options, run, [target for target in field.targets.values() if target.told])
    table(rows, [("CPU µs a record", "cpu_us", ".1f", ""), ("the database server's", "server_us", ".1f", ""),
                 ("records/s", "per_second", ",.0f", "")])
    return rows


def verified(target):
    """The rows of a target's ledger, once the writer has caught up and the books were verified."""
    for _ in range(120):
        status = request(f"{target.told['admin_url']}/api/v1/ledger/status", target.told["operator_key"])
        if not status.get("lag_rows", 0):
            break
        time.sleep(0.5)
    found = request(f"{target.told['admin_url']}/api/v1/ledger/verify", target.told["operator_key"])
    return {"exact": found["exact"], "rows": found["rows"]}


PHASES = {"sat": saturated, "fixed": fixed, "streams": streams, "single": single, "memory": memory, "bodies": bodies, "crowd": crowd,
          "ledger": ledger, "writes": writes, "telemetry": telemetry, "instructions": instructions}
