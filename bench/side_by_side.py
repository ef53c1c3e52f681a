#!/usr/bin/env python3
"""Measures Tollgate beside nginx, the least that a proxy on its libraries costs (the floor), and calling the provider directly.

Everything is on 127.0.0.1. The target under test is pinned to one core; the simulated provider, the
load generator and PostgreSQL share another. Rounds go A B C A B C, so that the machine's noise falls on
all alike; medians and the spread are printed. CPU is the time on a core of the target's process and its
children, by the scheduler's nanosecond counters: trust it more than calls a second.

Tollgate runs as it ships: key check, all three limits set, holds, journal with grouped sync, ledger; on the
embedded store, and on a throwaway PostgreSQL that syncs what it commits, whose own CPU is told apart.

    bench/side_by_side.py [--phases sat,resident,fixed,streams,single,memory,bodies,telemetry,crowd,features,writes,ledger,instructions,soak]
                          [--targets direct,nginx,floor,tollgate,postgres] [--rounds 5] [--seconds 4] [--runs 3] [--quick] [--json FILE]

At the end it prints each target with what was measured. A phase that fails does not keep the others from running: it is
named at the end, and the exit code is 1. `bench/targets.py FILE` shows a run that was kept.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import phases  # noqa: E402
import targets  # noqa: E402
from stage import cpu_ns, family, memory_parts, request, rss_mib, started, stop, threads_ns  # noqa: E402
from write_path import Cluster  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
GATEWAY_CPU, TOOLS_CPU = "1", "0"
TARGETS = {"direct", "nginx", "floor", "tollgate", "postgres"}

NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log stderr warn;
worker_rlimit_nofile {files};
events {{ worker_connections 20000; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  client_max_body_size 0; proxy_request_buffering off;
  keepalive_requests 100000000; keepalive_timeout 300s;
  upstream provider {{ server 127.0.0.1:{provider}; keepalive 1024; keepalive_requests 100000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 300s;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://provider; }} }}
}}
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Target:
    """One way to the provider: an address, a key, and the process whose work is counted."""

    def __init__(self, name, url, process=None, key="sk-simulated", told=None):
        self.name, self.url, self.process, self.key, self.told, self.server = name, url, process, key, told, None

    def cpu(self):
        """Nanoseconds of the target, and of its database's server."""
        return (cpu_ns(self.process.pid) if self.process else 0, cpu_ns(self.server) if self.server else 0)

    def threads(self):
        """The same by kinds of threads."""
        return threads_ns(self.process.pid) if self.process else {}

    def at_rest(self):
        """Waits until the ledger has every call, so that what a call costs is all counted."""
        time.sleep(0.5)
        if not self.told:
            return
        for _ in range(600):
            text = request(f"{self.told['admin_url']}/metrics", self.told["operator_key"], raw=True)
            if re.search(r"^tollgate_ledger_lag_rows 0$", text, re.M):
                return
            time.sleep(0.2)
        raise SystemExit(f"the ledger of {self.name} did not catch up in two minutes")

    def parts(self):
        """Resident memory in MiB: all, and what is the process's own."""
        found = [memory_parts(member) for member in family(self.process.pid)]
        return {name: sum(parts[name] for parts in found) for name in ("rss", "anonymous", "file")}

    def memory(self):
        return sum(rss_mib(member) for member in family(self.process.pid)) if self.process else 0.0

    def files(self):
        """Open files and sockets."""
        return sum(len(os.listdir(f"/proc/{member}/fd")) for member in family(self.process.pid))


class Field:
    """The provider and everything before it that is measured."""

    def __init__(self, options):
        self.options, self.running, self.cluster, self.store = options, [], None, None
        self.folder = tempfile.mkdtemp(prefix="tollgate-bench-")
        self.tools = TOOLS_CPU
        self.targets = {}

    def set_up(self):
        program = self.options.tollgate
        provider = self.start([program, "simulate", "--json"], TOOLS_CPU, ready=True)
        self.provider = provider[1]["url"]
        for name in self.options.targets.split(","):
            self.targets[name] = getattr(self, name)()

    def start(self, *arguments, **options):
        process, line = started(*arguments, **options)
        self.running.append(process)
        return process, line

    def direct(self):
        return Target("direct", self.provider)

    def nginx(self):
        port = free_port()
        with open(f"{self.folder}/nginx.conf", "w") as config:
            config.write(NGINX.format(dir=self.folder, files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                                      provider=self.provider.rsplit(":", 1)[1], port=port))
        process = self.start(["nginx", "-c", f"{self.folder}/nginx.conf"], GATEWAY_CPU)[0]
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return Target("nginx", f"http://127.0.0.1:{port}", process)
            except OSError:
                time.sleep(0.1)
        raise SystemExit("nginx does not listen: is its configuration good? Its errors are above")

    def floor(self):
        process, line = self.start([self.options.floor, "127.0.0.1:0", self.provider.removeprefix("http://")], GATEWAY_CPU, ready=True)
        return Target("floor", line["url"], process)

    def tollgate(self, name="tollgate", data=None, settings=None, limits=None):
        # What it says goes to a file, so that a run that failed can be explained.
        log = open(f"{self.folder}/{name}.log", "a")
        process, line = self.start(
            [self.options.tollgate, "dev", "--listen", "127.0.0.1:0", "--data-dir", data or f"{self.folder}/{name}",
             "--provider-url", self.provider, "--json"], GATEWAY_CPU, ready=True, stderr=log, env={**os.environ, **(settings or {})})
        log.close()
        limits = limits or {"budget_limit_cents": 1_000_000_000, "token_limit_month": 1_000_000_000_000, "rate_limit_rpm": 100_000_000}
        request(f"{line['admin_url']}/api/v1/integrations/{line['integrations']['openai']}", line["admin_key"], "PATCH", limits)
        return Target(name, line["url"], process, line["caller_key"], line)

    def postgres(self):
        if not self.cluster:
            self.cluster = Cluster()
        self.store = self.store or self.cluster.fresh()
        target = self.tollgate("postgres", settings={"TOLLGATE__STORE__URL": self.store})
        target.server = self.cluster.server
        return target

    def end(self, target):
        """Ends a target; what it kept stays."""
        stop(target.process)
        self.running.remove(target.process)

    def anew(self, name):
        """The same target in a new process, over the same store."""
        self.end(self.targets[name])
        self.targets[name] = getattr(self, name)()
        return self.targets[name]

    def logs(self):
        """The last that the targets said."""
        said = [path.read_text().splitlines()[-5:] for path in sorted(pathlib.Path(self.folder).glob("*.log"))]
        return [line for lines in said for line in lines]

    def provider_takes(self, **faults):
        request(f"{self.provider}/__faults", "none", "POST", {"latency_ms": 0, "chunk_interval_ms": 0, **faults})

    def strike(self):
        for process in reversed(self.running):
            if process.poll() is None:
                stop(process)
        if self.cluster:
            self.cluster.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def machine():
    with open("/proc/cpuinfo") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"processor": model, "cores": os.cpu_count(), "kernel": os.uname().release}


def options_of(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = [name for name in phases.PHASES if name != "soak"]
    parser.add_argument("--phases", default=",".join(usual), help="any of: " + ", ".join(phases.PHASES) + " (default: all but soak)")
    parser.add_argument("--targets", default="direct,nginx,floor,tollgate,postgres")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--runs", type=int, default=1, help="do it all so many times: a target holds when it holds in every run")
    parser.add_argument("--quick", action="store_true", help="everything small, to see that it works: its figures say little")
    parser.add_argument("--tollgate", default=ROOT / "target/release/tollgate")
    parser.add_argument("--floor", default=ROOT / "target/release/examples/floor")
    parser.add_argument("--engines", default="sqlite,postgres", help="of the phases `writes` and `ledger`")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows in the ledger, for the phase `ledger`")
    parser.add_argument("--calls", type=int, default=1_000_000, help="calls of the phase `resident`")
    parser.add_argument("--crowds", default="1,1000,100000", help="integrations and keys, for the phase `crowd`")
    parser.add_argument("--open-streams", default="500,5000", help="for the phase `memory`")
    parser.add_argument("--minutes", type=float, default=60, help="of the phase `soak`")
    parser.add_argument("--json", help="write every figure of every round here")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.rows, options.calls = 2, 1, 100_000, 50_000
        options.crowds, options.open_streams, options.minutes = "1,1000,10000", "100,500", 1
    options.wanted = options.phases.split(",")
    unknown = (set(options.wanted) - set(phases.PHASES)) | (set(options.targets.split(",")) - TARGETS)
    if unknown:
        sys.exit(f"no such phase or target: {', '.join(sorted(unknown))}")
    return options


def measure(options, keep):
    """One run of all phases. A phase that fails is told with the others' figures."""
    result = {"load_before": os.getloadavg(), "failed": {}, "text": {}}
    field = Field(options)
    left = sum(phases.MINUTES[name] for name in options.wanted)
    try:
        field.set_up()
        for number, name in enumerate(options.wanted, 1):
            about = "" if options.quick else f", about {left:.0f} minutes left"
            print(f"\nphase {number} of {len(options.wanted)}: {name}{about}", file=sys.stderr, flush=True)
            left -= phases.MINUTES[name]
            print(f"\n## {name}\n\n{' '.join(phases.PHASES[name].__doc__.split())}\n", flush=True)
            phases.said.clear()
            began = time.monotonic()
            try:
                result[name] = phases.PHASES[name](field, options)
            except (Exception, SystemExit) as error:  # noqa: BLE001
                result["failed"][name] = f"{type(error).__name__}: {error}"
                print(f"{name} FAILED: {result['failed'][name]}", file=sys.stderr, flush=True)
                for line in field.logs():
                    print(f"  {line}", file=sys.stderr, flush=True)
            result["text"][name] = "\n".join(phases.said)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            keep(result)
        result["books"] = {name: phases.verified(target) for name, target in field.targets.items() if target.told}
    finally:
        field.strike()
    result["load_after"] = os.getloadavg()
    return result


def main():
    options = options_of()
    for tool in ("nginx", "wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: install it (Debian: nginx-light, wrk, util-linux)")
    for program in (options.tollgate, options.floor):
        if not pathlib.Path(program).exists():
            sys.exit(f"there is no {program}: bin/bench builds it")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    runs = []
    kept = {"machine": machine(), "rounds": options.rounds, "seconds": options.seconds, "quick": options.quick, "runs": runs}

    def keep(unfinished=None):
        if options.json:
            whole = {**kept, "runs": runs + ([unfinished] if unfinished else [])}
            pathlib.Path(options.json).write_text(json.dumps(whole, indent=1) + "\n")

    for number in range(options.runs):
        if options.runs > 1:
            print(f"\n# run {number + 1} of {options.runs}", flush=True)
        runs.append(measure(options, keep))
        keep()
    print("\n" + targets.shown(kept))
    sys.exit(1 if any(run["failed"] or not all(book["exact"] for book in run["books"].values()) for run in runs) else 0)


if __name__ == "__main__":
    main()
