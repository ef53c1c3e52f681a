"""The measurements of `bin/bench`, one function each: it measures, prints a table, and returns every figure of every round."""

import json
import os
import pathlib
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
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
    calls = re.search(r"(\d+) requests in", out)
    if not calls or calls.group(1) == "0":
        raise SystemExit(f"no call to {target.name} was answered: {out}")
    return {"calls": int(calls.group(1)),
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
    if not told["calls"]:
        raise SystemExit(f"no call to {target.name} was answered: {told['faults']}")
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
            before, threads = target.cpu(), target.threads()
            row = run(target, options.seconds if number else min(2, options.seconds))
            target.at_rest()
            a_call = lambda nanos: nanos / max(1, row["calls"]) / 1_000  # noqa: E731,B023
            row["cpu_us"], row["server_us"] = (a_call(now - then) for now, then in zip(target.cpu(), before))
            row["threads_us"] = {name: a_call(now - threads.get(name, 0)) for name, now in target.threads().items()}
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
    say("| " + " | ".join(heads + ["failed"]) + " |\n|" + " --- |" * (len(heads) + 1))
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
        say("| " + " | ".join(cells + [str(sum(row["failed"] for row in found))]) + " |")


# What the phase that runs has printed: kept beside its figures, so that a result can be shown again.
said = []


def say(text=""):
    said.append(text)
    print(text, flush=True)


def by_thread(rows):
    """What a call costs on each kind of thread: the runtime's does the calls, the journal and the metrics, SQLite's the ledger."""
    names = sorted({name for found in rows.values() for row in found for name in row["threads_us"]})
    say("\n| target | " + " | ".join(f"{name} µs a call" for name in names) + " |\n|" + " --- |" * (len(names) + 1))
    for target, found in rows.items():
        cells = [statistics.median(row["threads_us"].get(name, 0.0) for row in found) for name in names]
        if any(cells):
            say(f"| {target} | " + " | ".join(f"{cell:.1f}" if cell else "–" for cell in cells) + " |")


CPU = [("CPU µs a call", "cpu_us", ".1f", "×"), ("the database server's", "server_us", ".1f", "")]


def saturated(field, options):
    """As fast as it goes, 64 connections, 1 KB in and out, a provider that answers at once."""
    field.provider_takes()
    idle = {target.name: target.memory() for target in field.targets.values()}
    rows = interleaved(field, options, lambda target, seconds: wrk(field, target, seconds, 64))
    table(rows, [*CPU, ("calls/s", "per_second", ",.0f", "×"), ("p50 ms", "p50", ".2f", ""), ("p99 ms", "p99", ".2f", ""),
                 ("MiB after", "memory_mib", ".0f", "")])
    by_thread(rows)
    say("\nMiB before: " + ", ".join(f"{name} {memory:.0f}" for name, memory in idle.items() if memory))
    return {"rows": rows, "idle_mib": idle}


def resident(field, options):
    """Memory of a program that was just started, and after so many calls: at their end, and when it has come to rest."""
    field.provider_takes()
    found = {}
    say("| target | calls | MiB idle | of it own | MiB after the calls | of it own | MiB at rest | of it own |\n|" + " --- |" * 8)
    for name in [name for name, target in field.targets.items() if target.process]:
        target = field.anew(name)
        time.sleep(5)
        row = {"idle": target.parts(), "calls": 0, "failed": 0}
        while row["calls"] < options.calls:
            told = wrk(field, target, max(1, min(30, round((options.calls - row["calls"]) / 20_000))), 64)
            row["calls"], row["failed"] = row["calls"] + told["calls"], row["failed"] + told["failed"]
            print(f"resident {name}: {row['calls']:,} of {options.calls:,} calls, {target.memory():.0f} MiB", file=sys.stderr, flush=True)
        row["after"] = target.parts()
        target.at_rest()
        time.sleep(5)
        row["rest"] = target.parts()
        found[name] = row
        cells = [f"{row[when][part]:.1f}" for when in ("idle", "after", "rest") for part in ("rss", "anonymous")]
        say(f"| {name} | {row['calls']:,} | {' | '.join(cells)} |")
    return found


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
    say("| target | asked for | open | KiB a stream | MiB before | MiB with all open | failed |\n|" + " --- |" * 7)
    for count in map(int, options.open_streams.split(",")):
        for name in [name for name, target in field.targets.items() if target.process]:
            # Anew, because what an earlier load left behind would hide what these take.
            target = field.anew(name)
            field.provider_takes()
            load(field, target, 1, 8, stream=True, tokens=8)
            field.provider_takes(chunk_interval_ms=1_000)
            row = remembered(field, target, count)
            found[f"{name} {count}"] = row
            say(f"| {name} | {count:,} | {row['open']:,} | {row['kib_a_stream']:.0f} | {row['before_mib']:.0f} | {row['most_mib']:.0f} | {row['failed']} |")
            print(f"memory {name} {count}: {json.dumps(row['faults'])}", file=sys.stderr, flush=True)
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
        say(f"\n{size:,} bytes:\n")
        rows = interleaved(field, options, lambda target, seconds: load(field, target, seconds, 4, prompt=size))  # noqa: B023
        table(rows, [*CPU, ("p50 ms", "p50", ".2f", "+"), ("calls/s", "per_second", ",.1f", "")])
        found[size] = rows
    return found


def crowd(field, options):
    """What a call costs where so many other integrations and keys are known; on the embedded store."""
    field.provider_takes()
    folders = {count: pathlib.Path(field.folder, f"crowd-{count}") for count in map(int, options.crowds.split(","))}
    for count, folder in folders.items():
        print(f"crowd: making {count:,} integrations and keys", file=sys.stderr, flush=True)
        field.end(field.tollgate("crowd", data=folder))
        fill(folder, count)
    rows = {}
    for number in range(options.rounds + 1):
        for count, folder in folders.items():
            began = time.monotonic()
            target = field.tollgate("crowd", data=folder)
            began = time.monotonic() - began
            wrk(field, target, 1, 64)
            before = target.cpu()
            row = wrk(field, target, options.seconds, 64)
            target.at_rest()
            row["cpu_us"] = (target.cpu()[0] - before[0]) / max(1, row["calls"]) / 1_000
            row["memory_mib"], row["start_s"] = target.memory(), began
            field.end(target)
            if number:
                rows.setdefault(f"{count:,} known", []).append(row)
            print(f"round {number} {count:,} known {json.dumps(row)}", file=sys.stderr, flush=True)
    table(rows, [("CPU µs a call", "cpu_us", ".1f", ""), ("calls/s", "per_second", ",.0f", ""), ("MiB", "memory_mib", ".0f", ""),
                 ("s until ready", "start_s", ".2f", "")])
    return rows


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
    """Writing and reading beside an empty ledger and beside a large one, on both engines: what admission waits for now and
    then (a draw), and the summaries of a day."""
    found = {}
    for size in (0, options.rows):
        print(f"ledger: {size:,} rows first, on both engines", file=sys.stderr, flush=True)
        found[size] = write_path(["--engines", options.engines, "--writers", "1", "--rounds", str(min(3, options.rounds) if not size else 1),
                                  "--fill", str(size), "--reads", "400"])
    reads = {size: {(row["engine"], row["read"]): row["median_ms"] for row in told["reads"]} for size, told in found.items()}
    empty, large = reads[0], reads[options.rows]
    say(f"| engine | read | beside nothing, ms | beside {options.rows:,} rows, ms | × |\n| --- | --- | --- | --- | --- |")
    for place, before in empty.items():
        say(f"| {place[0]} | {place[1]} | {before:.3f} | {large[place]:.3f} | {large[place] / before:.2f} |" if before else "")
    return {"rows": options.rows, "reads": [{"engine": engine, "read": read, "empty_ms": before, "large_ms": large[engine, read]}
                                            for (engine, read), before in empty.items()], "empty": found[0], "large": found[options.rows]}


def writes(field, options):
    """Rows a second that the ledger takes; on both engines."""
    told = write_path(["--rounds", str(options.rounds), "--engines", options.engines, "--writers", "1,2"])
    return told


def write_path(arguments):
    with tempfile.NamedTemporaryFile(suffix=".json") as kept:
        ran = subprocess.run([ROOT / "bench" / "write_path.py", *arguments, "--json", kept.name], stdout=subprocess.PIPE, text=True)
        if ran.returncode:
            raise SystemExit(f"bench/write_path.py {' '.join(arguments)} ended with {ran.returncode}")
        say(ran.stdout)
        return json.load(kept)


def instructions(field, options):
    """Instructions and allocations of a call: the same that gates a merge, which builds the program with its symbols."""
    ran = subprocess.run([ROOT / "bench" / "instructions.py", "--features"], stdout=subprocess.PIPE, text=True)
    say(ran.stdout)
    if ran.returncode > 1 or not ran.stdout:
        raise SystemExit("bench/instructions.py failed")
    return {"held": ran.returncode == 0}


def features(field, options):
    """What a call costs without some of what it is made of. The difference to all of it is what that costs."""
    field.provider_takes()
    kinds = {"everything": {}, "no limits set": {"limits": {"budget_limit_cents": 0, "token_limit_month": 0, "rate_limit_rpm": 0}},
             "journal never synced": {"settings": {"TOLLGATE__APP__JOURNAL_SYNC": "never"}},
             "journal synced before each call": {"settings": {"TOLLGATE__APP__JOURNAL_SYNC": "always"}},
             "rows in transactions of 100": {"settings": {"TOLLGATE__APP__LEDGER_BATCH_ROWS": "100", "TOLLGATE__APP__LEDGER_GATHER_MS": "1"}}}
    rows = {}
    for number in range(options.rounds + 1):
        for kind, changed in kinds.items():
            target = field.tollgate("crowd", data=pathlib.Path(field.folder, f"feature-{number}-{len(kind)}"), **changed)
            wrk(field, target, 1, 64)
            target.at_rest()
            before, threads = target.cpu(), target.threads()
            row = wrk(field, target, options.seconds, 64)
            target.at_rest()
            a_call = lambda nanos: nanos / max(1, row["calls"]) / 1_000  # noqa: E731,B023
            row["cpu_us"] = a_call(target.cpu()[0] - before[0])
            row["threads_us"] = {name: a_call(now - threads.get(name, 0)) for name, now in target.threads().items()}
            field.end(target)
            if number:
                rows.setdefault(kind, []).append(row)
            print(f"round {number} {kind} {row['cpu_us']:.1f} µs", file=sys.stderr, flush=True)
    table(rows, [("CPU µs a call", "cpu_us", ".1f", ""), ("calls/s", "per_second", ",.0f", ""), ("p99 ms", "p99", ".2f", "")])
    by_thread(rows)
    return rows


def soak(field, options):
    """An hour at a fixed rate (`--minutes`): memory, files, books."""
    kept = pathlib.Path(field.folder, "soak.json")
    ran = subprocess.run([ROOT / "bench" / "soak.py", "--tollgate", options.tollgate, "--minutes", str(options.minutes), "--json", kept],
                         stdout=subprocess.PIPE, text=True)
    say(ran.stdout)
    if not kept.exists():
        raise SystemExit("bench/soak.py did not come to its end")
    return json.loads(kept.read_text())


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
    target.at_rest()
    found = request(f"{target.told['admin_url']}/api/v1/ledger/verify", target.told["operator_key"], patience=600)
    return {"exact": found["exact"], "rows": found["rows"]}


# In the order in which they run; about how many minutes each takes with five rounds of four seconds.
PHASES = {"sat": saturated, "resident": resident, "fixed": fixed, "streams": streams, "single": single, "memory": memory, "bodies": bodies,
          "telemetry": telemetry, "crowd": crowd, "features": features, "writes": writes, "ledger": ledger, "instructions": instructions, "soak": soak}
MINUTES = {"sat": 3, "resident": 5, "fixed": 3, "streams": 3, "single": 3, "memory": 4, "bodies": 9, "telemetry": 2, "crowd": 4, "features": 5,
           "writes": 6, "ledger": 20, "instructions": 6, "soak": 65}
