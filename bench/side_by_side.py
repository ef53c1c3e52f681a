#!/usr/bin/env python3
"""Measures Tollgate beside nginx and beside calling the provider directly, in one interleaved run.

Everything is on 127.0.0.1. The gateway under test is pinned to one core, the simulated provider and
the load generator (wrk) share another. Rounds go A B C A B C, so that the machine's noise falls on
all alike; medians and the spread are printed. CPU a call is the time on a core of the target's
process and its children, by the scheduler's nanosecond counters: trust it more than calls a second.

Tollgate runs as it ships: key check, all three limits set, holds, journal with grouped sync, ledger.

    bench/side_by_side.py [--rounds 5] [--seconds 5] [--connections 64] [--tollgate PATH] [--json FILE]
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

PROVIDER_PORT, NGINX_PORT, GATEWAY_PORT = 9410, 9411, 9412
GATEWAY_CPU, TOOLS_CPU = "1", "0"

NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log stderr warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  keepalive_requests 100000000; keepalive_timeout 300s;
  upstream provider {{ server 127.0.0.1:{provider}; keepalive 1024; keepalive_requests 100000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://provider; }} }}
}}
"""

WRK = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {key}"
wrk.body = '{body}'
"""


def started(command, cpu, ready=None, **options):
    """Starts a program pinned to a core; with `ready`, waits for its first line on stdout."""
    process = subprocess.Popen(["taskset", "-c", cpu, *command], text=True,
                               stdout=subprocess.PIPE if ready else subprocess.DEVNULL, **options)
    return process, (json.loads(process.stdout.readline()) if ready else None)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def family(pid):
    found = [pid]
    for thread_children in [f"/proc/{pid}/task/{task}/children" for task in os.listdir(f"/proc/{pid}/task")]:
        with open(thread_children) as lines:
            for child in lines.read().split():
                found += family(int(child))
    return found


def cpu_ns(pid):
    total = 0
    for member in family(pid):
        for task in os.listdir(f"/proc/{member}/task"):
            with open(f"/proc/{member}/task/{task}/schedstat") as figures:
                total += int(figures.read().split()[0])
    return total


def rss_mib(pid):
    with open(f"/proc/{pid}/status") as lines:
        return int(re.search(r"VmRSS:\s+(\d+)", lines.read()).group(1)) / 1024


def load(port, script, seconds, connections):
    """One closed-loop run of wrk: calls, calls a second, quantiles in milliseconds, errors."""
    out = subprocess.run(
        ["taskset", "-c", TOOLS_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
         "-s", script, f"http://127.0.0.1:{port}/v1/chat/completions"],
        check=True, capture_output=True, text=True).stdout
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}

    def quantile(name):
        value, unit = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * units[unit]

    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: (.*)", out)
    return {"calls": int(re.search(r"(\d+) requests in", out).group(1)),
            "per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "p50_ms": quantile("50"), "p99_ms": quantile("99"),
            "errors": int(bad.group(1)) if bad else (1 if broken else 0)}


def request(url, key, method="GET", body=None):
    made = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode(),
                                  headers={"authorization": f"Bearer {key}", "content-type": "application/json"})
    with urllib.request.urlopen(made, timeout=30) as answer:
        return json.load(answer)


def median(rows, name):
    values = sorted(row[name] for row in rows)
    return statistics.median(values), values[0], values[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--tollgate", default="target/release/tollgate")
    parser.add_argument("--json")
    options = parser.parse_args()
    for tool in ("nginx", "wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: install it (Debian: nginx-light, wrk, util-linux)")
    folder = tempfile.mkdtemp(prefix="tollgate-bench-")
    running, rows = [], {"direct": [], "nginx": [], "tollgate": []}
    try:
        provider, _ = started([options.tollgate, "simulate", "--listen", f"127.0.0.1:{PROVIDER_PORT}", "--json"],
                              TOOLS_CPU, ready=True)
        running.append(provider)
        with open(f"{folder}/nginx.conf", "w") as config:
            config.write(NGINX.format(dir=folder, provider=PROVIDER_PORT, port=NGINX_PORT))
        nginx, _ = started(["nginx", "-c", f"{folder}/nginx.conf"], GATEWAY_CPU)
        running.append(nginx)
        gateway, line = started(
            [options.tollgate, "dev", "--listen", f"127.0.0.1:{GATEWAY_PORT}", "--data-dir", f"{folder}/data",
             "--provider-url", f"http://127.0.0.1:{PROVIDER_PORT}", "--json"],
            GATEWAY_CPU, ready=True, stderr=subprocess.DEVNULL)
        running.append(gateway)
        integration = line["integrations"]["openai"]
        request(f"{line['admin_url']}/api/v1/integrations/{integration}", line["admin_key"], "PATCH",
                {"budget_limit_cents": 1_000_000_000, "token_limit_month": 1_000_000_000_000,
                 "rate_limit_rpm": 100_000_000})
        body = json.dumps({"model": "gpt-4o-mini", "max_tokens": 100,
                           "messages": [{"role": "user", "content": "word " * 180}]})
        script = f"{folder}/call.lua"
        with open(script, "w") as lua:
            lua.write(WRK.format(key=line["caller_key"], body=body))
        idle_mib = rss_mib(gateway.pid)
        targets = [("direct", PROVIDER_PORT, None), ("nginx", NGINX_PORT, nginx), ("tollgate", GATEWAY_PORT, gateway)]
        for number in range(options.rounds + 1):
            for name, port, process in targets:
                before = cpu_ns(process.pid) if process else 0
                row = load(port, script, options.seconds if number else 2, options.connections)
                time.sleep(0.5)
                row["cpu_us"] = (cpu_ns(process.pid) - before) / row["calls"] / 1000 if process else 0.0
                if number:
                    rows[name].append(row)
                    print(f"round {number} {name:9} {row}", file=sys.stderr)
        books = request(f"{line['admin_url']}/api/v1/ledger/verify", line["operator_key"])
        summary = request(f"{line['admin_url']}/api/v1/telemetry/usage-summary", line["admin_key"])
        report(options, rows, {"idle": idle_mib, "after": rss_mib(gateway.pid)}, books, summary)
    finally:
        for process in reversed(running):
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def report(options, rows, memory, books, summary):
    nginx_cpu, nginx_rate = median(rows["nginx"], "cpu_us")[0], median(rows["nginx"], "per_second")[0]
    print(f"| target | CPU µs a call | × nginx | calls/s | × nginx | p50 / p99 ms | errors |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, runs in rows.items():
        cpu, low, high = median(runs, "cpu_us")
        rate, slow, fast = median(runs, "per_second")
        spent = f"{cpu:.1f} ({low:.1f}–{high:.1f}) | {cpu / nginx_cpu:.2f}" if cpu else "– | –"
        print(f"| {name} | {spent} | {rate:,.0f} ({slow:,.0f}–{fast:,.0f}) | {rate / nginx_rate:.2f} | "
              f"{median(runs, 'p50_ms')[0]:.2f} / {median(runs, 'p99_ms')[0]:.2f} | {sum(r['errors'] for r in runs)} |")
    print(f"\nMedians of {options.rounds} interleaved rounds of {options.seconds} s, {options.connections} connections. "
          f"Tollgate's memory: {memory['idle']:.0f} MiB idle, {memory['after']:.0f} MiB after. "
          f"Books: {summary['total_calls']:,} rows, {json.dumps(books)}")
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"rows": rows, "memory_mib": memory, "books": books}, out, indent=1)


if __name__ == "__main__":
    main()
