#!/usr/bin/env python3
"""Measures what a healthy client notices while hostile ones are at work.

A gateway pinned to one core is asked at a steady rate by one client, in rounds: quiet, hostile, quiet, hostile. In the
hostile rounds, a crowd on the other core, which runs only when nobody else wants that core, sends at once

- heads and bodies a letter at a time, on hundreds of connections;
- bodies of two gigabytes, as far as they are taken;
- JSON that is nested 100,000 deep, members that stand there twice, two credentials in one request, keys that are none.

It prints the quantiles of the healthy client's calls, the ratio of the medians of its 99th percentiles, what the crowd
was told, and by how much the gateway grew; it fails when the ratio is above 2, when a healthy call fails, or when one
of the crowd gets anything but a clear refusal.

    bench/hostile.py [--rounds 5] [--seconds 8] [--rate 200] [--tollgate PATH] [--json FILE]
"""

import argparse
import asyncio
import collections
import json
import multiprocessing
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

GATEWAY_CPU, TOOLS_CPU = 1, 0
RATIO_MAX = 2.0
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "one two three"}]})


def started(command, cpu):
    """Starts a program pinned to a core, and waits for the line that says that it is ready."""
    process = subprocess.Popen(["taskset", "-c", str(cpu), *command], text=True, stdout=subprocess.PIPE)
    return process, json.loads(process.stdout.readline())


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def request(url, key, body=None, tenant=None):
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    if tenant:
        headers["x-tollgate-tenant"] = tenant
    made = urllib.request.Request(url, headers=headers, data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(made, timeout=30) as answer:
        return json.load(answer)


def caller(ready, provider_url, name):
    """A tenant with an integration, and a caller's key."""
    api, operator = f"{ready['admin_url']}/api/v1", ready["operator_key"]
    tenant = request(f"{api}/tenants", operator, {"name": name})["id"]
    told = {"name": "openai", "provider_type": "openai", "credential": {"api_key": "sk-worth-nothing"},
            "config": {"base_url": f"{provider_url}/v1"}}
    made = request(f"{api}/integrations", operator, told, tenant)["id"]
    request(f"{api}/integrations/{made}/enable", operator, {}, tenant)
    return request(f"{api}/keys", operator, {"name": "client", "role": "caller"}, tenant)["key"]


def memory_mib(pid):
    with open(f"/proc/{pid}/status") as lines:
        return int(re.search(r"VmHWM:\s+(\d+)", lines.read()).group(1)) / 1024


def head(key, more="", length=None):
    said = "" if length is None else f"content-length: {length}\r\n"
    return f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{said}{more}\r\n".encode()


async def answered(reader):
    """One answer on a connection: its status and its body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = re.search(r"content-length: (\d+)", lines)
    body = await reader.readexactly(int(length.group(1))) if length else b""
    return int(lines.split()[1]), body


# The healthy client.


async def healthy(port, key, seconds, rate, connections=8):
    """Calls at a steady rate; gives how long each took, in milliseconds, from when it was due."""
    wanted = head(key, length=len(BODY)) + BODY.encode()
    took, failed = [], []
    begun = time.perf_counter()

    async def calls(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = begun + number / rate
        while due < begun + seconds:
            await asyncio.sleep(max(0, due - time.perf_counter()))
            writer.write(wanted)
            status, body = await answered(reader)
            took.append((time.perf_counter() - due) * 1000)
            if status != 200:
                failed.append((status, body[:200]))
            due += connections / rate
        writer.close()

    await asyncio.gather(*(calls(number) for number in range(connections)))
    return took, failed


# The crowd.


async def letters(port, key, told):
    """A head, or a body, a letter at a time, until it is cut; then again."""
    for round_ in range(1 << 30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        slow = head(key, "x-more: and more\r\n" * 100) if round_ % 2 else BODY.encode().ljust(1000)
        if not round_ % 2:
            writer.write(head(key, length=1000))
        try:
            for at in range(len(slow)):
                writer.write(slow[at:at + 1])
                await writer.drain()
                await asyncio.sleep(0.5)
                if reader.at_eof() or writer.is_closing():
                    break
            said = await asyncio.wait_for(reader.read(4096), 5)
            told["slow", said[9:12].decode() or "cut"] += 1
        except (OSError, asyncio.TimeoutError):
            told["slow", "cut"] += 1
        writer.close()


async def gigabytes(port, key, told, bytes_a_second):
    """A body of two gigabytes, as far as it is taken; then again."""
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for _ in range(1 << 30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun, sent = time.perf_counter(), 0
        try:
            writer.write(head(key, "transfer-encoding: chunked\r\n"))
            while sent < 2 << 30:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                await asyncio.sleep(max(0, begun + sent / bytes_a_second - time.perf_counter()))
            told["2 GB", "all taken"] += 1
        except OSError:
            said = b""
            try:
                said = await asyncio.wait_for(reader.read(4096), 5)
            except (OSError, asyncio.TimeoutError):
                pass
            told["2 GB", said[9:12].decode() or "cut"] += 1
        writer.close()


async def absurd(port, what, wanted, told, rate):
    """The same request again and again, a new connection each time."""
    for _ in range(1 << 30):
        begun = time.perf_counter()
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(wanted)
            status, body = await asyncio.wait_for(answered(reader), 20)
            has_code = bool(json.loads(body)["error"]["code"])
            told[what, f"{status}" if has_code else f"{status} without a code"] += 1
        except (OSError, EOFError, asyncio.TimeoutError, ValueError, KeyError) as error:
            told[what, type(error).__name__] += 1
        if writer:
            writer.close()
        await asyncio.sleep(max(0, begun + 1 / rate - time.perf_counter()))


def absurdities(key):
    deep = '{"model":"gpt-4o-mini","max_tokens":' + "[" * 100_000 + "]" * 100_000 + "}"
    double = '{"model":"gpt-4o-mini","model":"gpt-4o","messages":[]}'
    yield "100,000 deep", head(key, length=len(deep)) + deep.encode(), 20
    yield "double members", head(key, length=len(double)) + double.encode(), 100
    yield "two credentials", head(key, "x-api-key: tg_caller_other\r\n", len(BODY)) + BODY.encode(), 100
    yield "no key", head("tg_caller_" + "0" * 38, length=len(BODY)) + BODY.encode(), 200


async def at_work(port, key, told):
    crowd = [letters(port, key, told) for _ in range(300)]
    crowd += [gigabytes(port, key, told, 16 << 20) for _ in range(4)]
    crowd += [absurd(port, what, wanted, told, rate) for what, wanted, rate in absurdities(key)]
    await asyncio.gather(*crowd)


def crowd(port, key, end, tell):
    """A process of hostile clients that only has what is left of its core; it works until it is told to end."""
    os.sched_setaffinity(0, {TOOLS_CPU})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    told = collections.Counter()

    async def until_told():
        working = asyncio.create_task(at_work(port, key, told))
        while not end.is_set() and not working.done():
            await asyncio.sleep(0.1)
        if working.done():
            working.result()
        working.cancel()

    asyncio.run(until_told())
    tell.put(told)


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def rounds(options, port, keys, told):
    """Quiet and hostile rounds in turn: how long each call took, by kind of round; and what failed."""
    took, failures = {"quiet": [], "hostile": []}, []
    for _ in range(options.rounds):
        for kind in took:
            end, tell = multiprocessing.Event(), multiprocessing.Queue()
            hostile = multiprocessing.Process(target=crowd, args=(port, keys[1], end, tell))
            if kind == "hostile":
                hostile.start()
                time.sleep(3)
            try:
                times, failed = asyncio.run(healthy(port, keys[0], options.seconds, options.rate))
            finally:
                end.set()
            took[kind].append(times)
            failures += failed
            if kind == "hostile":
                try:
                    told.update(tell.get(timeout=60))
                except queue.Empty:
                    failures.append(("the crowd did not end", b""))
                hostile.join(10)
                hostile.kill()
    return took, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rate", type=float, default=200, help="calls a second of the healthy client")
    parser.add_argument("--tollgate", default="target/release/tollgate")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    os.sched_setaffinity(0, {TOOLS_CPU})
    told = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        anywhere = ["--json", "--listen", "127.0.0.1:0"]
        provider, provider_ready = started([options.tollgate, "simulate", *anywhere], TOOLS_CPU)
        gateway, ready = started([options.tollgate, "dev", *anywhere, "--data-dir", f"{folder}/data",
                                  "--provider-url", provider_ready["url"]], GATEWAY_CPU)
        try:
            keys = [caller(ready, provider_ready["url"], name) for name in ("Healthy", "Hostile")]
            port = int(ready["url"].rsplit(":", 1)[1])
            asyncio.run(healthy(port, keys[0], 2, options.rate))
            before = memory_mib(gateway.pid)
            took, failures = rounds(options, port, keys, told)
            grown = memory_mib(gateway.pid) - before
            verified = request(f"{ready['admin_url']}/api/v1/ledger/verify", ready["operator_key"])
        finally:
            stop(gateway)
            stop(provider)
    figures = {kind: {f"p{share}_ms": [round(quantile(times, share / 100), 3) for times in took[kind]]
                      for share in (50, 99)} for kind in took}
    ratio = statistics.median(figures["hostile"]["p99_ms"]) / statistics.median(figures["quiet"]["p99_ms"])
    for kind, quantiles in figures.items():
        print(f"{kind:8} p50 {statistics.median(quantiles['p50_ms']):7.3f} ms   p99 "
              f"{statistics.median(quantiles['p99_ms']):7.3f} ms   each round's p99: {quantiles['p99_ms']}")
    print(f"ratio of the p99s {ratio:.2f} (at most {RATIO_MAX}); the gateway grew by {grown:.0f} MiB; "
          f"books exact: {verified['exact']}")
    for (what, said), times in sorted(told.items()):
        print(f"  {what}: {said}, {times} times")
    unclear = [pair for pair in told if pair[1] not in ("400", "401", "408", "413", "cut")]
    if options.json:
        with open(options.json, "w") as out:
            heard = {f"{what}: {said}": times for (what, said), times in told.items()}
            json.dump({"figures": figures, "ratio": ratio, "grown_mib": grown, "told": heard}, out, indent=1)
    if ratio > RATIO_MAX or failures or unclear or not verified["exact"]:
        sys.exit(f"FAILED: {failures[:5]} {unclear}")


if __name__ == "__main__":
    main()
