"""What the measurements share: programs that are started and stopped, what the kernel says of them, and requests."""

import json
import os
import re
import signal
import subprocess
import urllib.request


def started(command, cpu=None, ready=None, **options):
    """Starts a program, pinned to a core if one is named; with `ready`, waits for its first line on stdout."""
    pinned = ["taskset", "-c", cpu] if cpu else []
    process = subprocess.Popen([*pinned, *map(str, command)], text=True,
                               stdout=subprocess.PIPE if ready else subprocess.DEVNULL, **options)
    if not ready:
        return process, None
    line = process.stdout.readline()
    if not line:
        stop(process)
        raise SystemExit(f"{command[0]} ended before it was ready")
    return process, json.loads(line)


def stop(process):
    """Asks a program to end, and ends it if it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def family(pid):
    """A process and all its children."""
    found = [pid]
    for thread_children in [f"/proc/{pid}/task/{task}/children" for task in os.listdir(f"/proc/{pid}/task")]:
        with open(thread_children) as lines:
            for child in lines.read().split():
                found += family(int(child))
    return found


def cpu_ns(pid):
    """Nanoseconds on a core of a process and its children, by the scheduler's counters."""
    total = 0
    for member in family(pid):
        for task in os.listdir(f"/proc/{member}/task"):
            with open(f"/proc/{member}/task/{task}/schedstat") as figures:
                total += int(figures.read().split()[0])
    return total


def rss_mib(pid):
    """Resident memory of one process."""
    with open(f"/proc/{pid}/status") as lines:
        return int(re.search(r"VmRSS:\s+(\d+)", lines.read()).group(1)) / 1024


def request(url, key, method="GET", body=None):
    """One request with a key; its answer as JSON."""
    made = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode(),
                                  headers={"authorization": f"Bearer {key}", "content-type": "application/json"})
    with urllib.request.urlopen(made, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None
