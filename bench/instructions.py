#!/usr/bin/env python3
"""Counts the instructions that a call costs on the data path, and fails when they grow.

The release program runs under valgrind's callgrind with a fixed number of calls from four connections,
whole answers first, then streams. Counted is what the gateway's own tasks execute: the connection of the
caller, from the socket to the row in the journal, which works the connection to the provider too, with
the allocations that they make. What happens beside a call and in batches whose size depends on the time
(the ledger's writer, the journal's syncs, the sleep of idle threads) is left out: those figures would
not come twice. Instructions do not depend on how busy the machine is; a little on its kind, because
libraries choose their code by what the processor can do.

    bench/instructions.py                  # builds, counts, compares with bench/instructions.json
    bench/instructions.py --features       # and shows what they are spent on
    bench/instructions.py --renew          # writes the figures of this build there
    bench/instructions.py --binary PATH    # a program that is there, with its symbols
"""

import argparse
import fnmatch
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from stage import request, started, stop  # noqa: E402

RECORDED = ROOT / "bench" / "instructions.json"
CONNECTIONS = 4
# The tasks of the data path, by the functions that poll them, in callgrind's wildcards: it counts only inside of these.
TASKS = {
    "caller": "tollgate_gateway::serve::connect::*closure*",
}
# Where memory is asked for: the program's allocator, and the C library's for the libraries that are written in C.
ALLOCATIONS = re.compile(r"^(mi_(malloc|zalloc|calloc|realloc)(_aligned)?|malloc|calloc|realloc)$")
# What a call is made of, by the functions that do it. The compiler may fold one into another; then it is not shown.
FEATURES = {
    "authentication": "tollgate_gateway::phase::identify::identify",
    "reading the request": "tollgate_providers::request::RequestFacts::read",
    "admission: all limits, the hold": "tollgate_app::metering::Metering::hold::*closure*",
    "opening the credential": "tollgate_app::app::App::open_credential",
    "the journal, before it leaves": "tollgate_app::metering::hold::Dispatch::poll_leave",
    "reading the answer's usage": "tollgate_providers::meter::Meter::finish",
    "reading a stream's pieces": "tollgate_providers::meter::Meter::push",
    "settling: cost, hold, the journal": "tollgate_app::metering::hold::Hold::settle",
    "headers of the answer": "tollgate_gateway::headers::for_caller tollgate_gateway::answer::Desk::dress",
}
PHASES = {
    "whole": {"calls": 1_000, "body": {"max_tokens": 100}},
    # An event every few milliseconds, so that each is read alone however slow the counting is.
    "stream": {"calls": 60, "body": {"max_tokens": 48, "stream": True}, "faults": {"chunk_interval_ms": 8}},
}


def build():
    """The release program with its symbols, which the shipped one is stripped of."""
    # Built piece by piece, as for work on it, it would be another program than the one that is recorded.
    whole = {**os.environ, "CARGO_INCREMENTAL": "0"}
    subprocess.run(["cargo", "build", "--quiet", "--profile", "measured", "--locked", "-p", "tollgate"], cwd=ROOT, check=True, env=whole)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "measured" / "tollgate"


def read(path):
    """From a file of callgrind's: instructions of each function with all that it calls, and how often each was called."""
    names, costs, calls, function, called = {}, Counter(), Counter(), None, None
    with open(path) as lines:
        for line in lines:
            if line[:1].isdigit() or line[:1] in "+-*":
                costs[function] += int(line.split()[1])
            elif line.startswith("calls="):
                calls[called] += int(line[6:].split()[0])
            elif line.startswith(("fn=", "cfn=")):
                number, _, name = line.rstrip("\n").partition("=")[2].partition(" ")
                if name:
                    names[number] = name
                if line.startswith("fn="):
                    function = number
                else:
                    called = number
    by_name = lambda figures: {names.get(number, ""): figure for number, figure in figures.items()}  # noqa: E731
    return by_name(costs), by_name(calls)


def send(port, key, calls, body):
    """The calls, spread over the connections, each waiting for its answer."""
    wrong = []
    text = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "word " * 180}], **body})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def one(count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(count):
            connection.request("POST", "/v1/chat/completions", text, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                wrong.append(answer.status)
        connection.close()

    threads = [threading.Thread(target=one, args=(calls // CONNECTIONS,)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"{len(wrong)} calls failed, the first with {wrong[0]}: nothing was measured")


def count(binary, folder):
    """Instructions a call of each phase, by task."""
    provider = gateway = None
    out = f"{folder}/callgrind.out"
    try:
        provider, told = started([binary, "simulate", "--json"], ready=True)
        url = told["url"]
        gateway, line = started(
            ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}",
             *(f"--toggle-collect={task}" for task in TASKS.values()), binary, "dev", "--listen", "127.0.0.1:0", "--data-dir", f"{folder}/data", "--provider-url", url, "--json"],
            ready=True, stderr=subprocess.DEVNULL)
        request(f"{line['admin_url']}/api/v1/integrations/{line['integrations']['openai']}", line["admin_key"], "PATCH",
                {"budget_limit_cents": 1_000_000_000, "token_limit_month": 1_000_000_000_000,
                 "rate_limit_rpm": 100_000_000})
        port = int(line["url"].rsplit(":", 1)[1])
        figures = {}
        for number, (name, phase) in enumerate(PHASES.items(), 1):
            request(f"{url}/__faults", "none", "POST", phase.get("faults", {}))
            send(port, line["caller_key"], CONNECTIONS * 8, phase["body"])
            control("-i", "on", gateway)
            send(port, line["caller_key"], phase["calls"], phase["body"])
            control("-i", "off", gateway)
            control("-d", name, gateway)
            figures[name] = a_call(*read(dump(out, number)), phase["calls"])
        return figures
    finally:
        for process in (gateway, provider):
            if process:
                stop(process)


def control(option, value, process):
    subprocess.run(["callgrind_control", option, value, str(process.pid)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def dump(out, number):
    path = pathlib.Path(f"{out}.{number}")
    patience = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size and path.read_text().rstrip().rsplit("\n", 1)[-1].startswith("totals:")):
        if time.monotonic() > patience:
            raise SystemExit(f"callgrind wrote no {path.name}")
        time.sleep(0.1)
    return path


def a_call(costs, called, calls):
    figures = {}
    for task, pattern in TASKS.items():
        # Only what callgrind was told to count is there, so the costliest that fits is the task itself.
        cost = max((cost for name, cost in costs.items() if fnmatch.fnmatchcase(name, pattern)), default=0)
        if not cost:
            raise SystemExit(f"no function of the {task}'s task was seen: it has another name now, bring TASKS up to date "
                             "(or the program was built without symbols)")
        figures[task] = round(cost / calls)
    figures["features"] = {
        feature: round(sum(cost for name, cost in costs.items() for pattern in patterns.split() if fnmatch.fnmatchcase(name, pattern)) / calls)
        for feature, patterns in FEATURES.items()}
    figures["allocations"] = round(sum(count for name, count in called.items() if ALLOCATIONS.match(name)) / calls, 1)
    return figures


def total(figures):
    return sum(figures[task] for task in TASKS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="a program built with symbols; without it, one is built")
    parser.add_argument("--renew", action="store_true", help="write the figures of this build as those to compare with")
    parser.add_argument("--above", type=float, default=5.0, metavar="PERCENT", help="fail when a figure grew by more")
    parser.add_argument("--features", action="store_true", help="show what a call's instructions are spent on")
    parser.add_argument("--runs", type=int, default=1, help="count so many times and show the spread")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing: install it (Debian: valgrind)")
    binary = os.path.abspath(options.binary or build())
    runs = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="tollgate-instructions-") as folder:
            runs.append(count(binary, folder))
            print(json.dumps(runs[-1]), file=sys.stderr)
    if options.features:
        show_features(runs)
    sys.exit(renew(runs) if options.renew else compare(runs, options.above))


def show_features(runs):
    print("| what | instructions a whole answer | share | a stream | share |\n| --- | --- | --- | --- | --- |")
    best = [lowest(runs, name) for name in PHASES]
    rest = [total(figures) - sum(figures["features"].values()) for figures in best]
    lines = [(feature, [figures["features"][feature] for figures in best]) for feature in FEATURES]
    for feature, costs in [*lines, ("HTTP on both sides, and the rest", rest)]:
        cells = [f"{cost:,} | {cost / total(figures):.0%}" if cost else "– | –" for cost, figures in zip(costs, best)]
        print(f"| {feature} | {' | '.join(cells)} |")
    print()


def lowest(runs, name):
    """The run with the fewest instructions: what comes on top of it is chance."""
    return min((run[name] for run in runs), key=total)


def renew(runs):
    kept = (*TASKS, "allocations")
    recorded = {"instructions_a_call": {name: {figure: lowest(runs, name)[figure] for figure in kept} for name in PHASES},
                "renew": "bench/instructions.py --renew"}
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    print(f"wrote {RECORDED.relative_to(ROOT)}")
    return 0


def compare(runs, above):
    recorded = json.loads(RECORDED.read_text())["instructions_a_call"]
    failed = False
    print("| calls | instructions a call | recorded | change | spread of the runs | allocations a call |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in PHASES:
        now, before = total(lowest(runs, name)), total(recorded[name])
        change = (now / before - 1) * 100
        spread = (max(total(run[name]) for run in runs) / now - 1) * 100
        print(f"| {name} | {now:,} | {before:,} | {change:+.2f} % | {spread:.2f} % | "
              f"{lowest(runs, name)['allocations']} |")
        if change > above:
            failed = True
        elif change < -above:
            print(f"\n{name} calls became over {above:g} % cheaper: record it with bench/instructions.py --renew, "
                  "so that they stay so", file=sys.stderr)
    if failed:
        print(f"\nA call executes over {above:g} % more instructions than recorded. If that is meant, say why in the change "
              "and renew the figures: bench/instructions.py --renew", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    main()
