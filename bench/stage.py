"""What the measurements share: programs that are started and stopped, what the kernel says of them, and requests."""

import json
import os
import pathlib
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
    for children in figures(f"/proc/{pid}/task", "children"):
        for child in children.split():
            found += family(int(child))
    return found


def figures(folder, *names):
    """What such files of each thread say; a thread may end while it is looked at."""
    for task in os.listdir(folder):
        try:
            told = [pathlib.Path(folder, task, name).read_text() for name in names]
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield told[0] if len(told) == 1 else told


def cpu_ns(pid):
    """Nanoseconds on a core of a process and its children, by the scheduler's counters."""
    return sum(int(told.split()[0]) for member in family(pid) for told in figures(f"/proc/{member}/task", "schedstat"))


def threads_ns(pid):
    """The same by the names of threads, those of one kind together."""
    totals = {}
    for member in family(pid):
        for name, told in figures(f"/proc/{member}/task", "comm", "schedstat"):
            kind = re.sub(r"[-\d]+$", "", name.strip())
            totals[kind] = totals.get(kind, 0) + int(told.split()[0])
    return totals


def rss_mib(pid):
    """Resident memory of one process."""
    with open(f"/proc/{pid}/status") as lines:
        return int(re.search(r"VmRSS:\s+(\d+)", lines.read()).group(1)) / 1024


def memory_parts(pid):
    """Resident memory of one process in MiB: all of it, what is its own, and what it maps of files (the program's text)."""
    with open(f"/proc/{pid}/status") as lines:
        parts = dict(re.findall(r"^(\w+):\s+(\d+) kB$", lines.read(), re.M))
    return {name: int(parts[field]) / 1024 for name, field in (("rss", "VmRSS"), ("anonymous", "RssAnon"), ("file", "RssFile"))}


def request(url, key, method="GET", body=None, headers=None, patience=30, raw=False):
    """One request with a key; its answer as JSON, or as it came."""
    made = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode(),
                                  headers={"authorization": f"Bearer {key}", "content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(made, timeout=patience) as answer:
        text = answer.read()
    if raw:
        return text.decode()
    return json.loads(text) if text else None
