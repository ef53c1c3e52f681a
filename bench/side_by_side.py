#!/usr/bin/env python3
"""Measures Tollgate beside nginx, the least that a proxy on its libraries costs (the floor), and calling the provider directly.

Everything is on 127.0.0.1. The target under test is pinned to one core; the simulated provider, the
load generator and PostgreSQL share another. Rounds go A B C A B C, so that the machine's noise falls on
all alike; medians and the spread are printed. CPU is the time on a core of the target's process and its
children, by the scheduler's nanosecond counters: trust it more than calls a second.

Tollgate runs as it ships: key check, all three limits set, holds, journal with grouped sync, ledger; on the
embedded store, and on a throwaway PostgreSQL that syncs what it commits, whose own CPU is told apart.

    bench/side_by_side.py [--phases sat,fixed,streams,single,memory,bodies,crowd,ledger,writes,telemetry,instructions]
                          [--targets direct,nginx,floor,tollgate,postgres] [--rounds 5] [--seconds 4] [--json FILE]
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import phases  # noqa: E402
from stage import cpu_ns, family, request, rss_mib, started, stop  # noqa: E402
from write_path import Cluster  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
GATEWAY_CPU, TOOLS_CPU = "1", "0"
PORTS = {"direct": 9410, "nginx": 9411, "floor": 9412, "tollgate": 9414, "postgres": 9416, "crowd": 9418}

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


class Target:
    """One way to the provider: an address, a key, and the process whose work is counted."""

    def __init__(self, name, process=None, key="sk-simulated", told=None, server=None):
        self.name, self.process, self.key, self.told, self.server = name, process, key, told, server
        self.url = f"http://127.0.0.1:{PORTS[name]}" if told is None else told["url"]

    def cpu(self):
        """Nanoseconds of the target, and of its database's server."""
        return (cpu_ns(self.process.pid) if self.process else 0, cpu_ns(self.server) if self.server else 0)

    def memory(self):
        return sum(rss_mib(member) for member in family(self.process.pid)) if self.process else 0.0

    def files(self):
        """Open files and sockets."""
        return sum(len(os.listdir(f"/proc/{member}/fd")) for member in family(self.process.pid))


class Field:
    """The provider and everything before it that is measured."""

    def __init__(self, options):
        self.options, self.running, self.cluster = options, [], None
        self.folder = tempfile.mkdtemp(prefix="tollgate-bench-")
        self.tools = TOOLS_CPU
        self.targets = {}

    def set_up(self):
        program = self.options.tollgate
        provider = self.start([program, "simulate", "--listen", f"127.0.0.1:{PORTS['direct']}", "--json"], TOOLS_CPU, ready=True)
        self.provider = provider[1]["url"]
        for name in self.options.targets.split(","):
            self.targets[name] = getattr(self, name)()

    def start(self, *arguments, **options):
        process, line = started(*arguments, **options)
        self.running.append(process)
        return process, line

    def direct(self):
        return Target("direct")

    def nginx(self):
        with open(f"{self.folder}/nginx.conf", "w") as config:
            config.write(NGINX.format(dir=self.folder, files=resource.getrlimit(resource.RLIMIT_NOFILE)[0], provider=PORTS["direct"], port=PORTS["nginx"]))
        return Target("nginx", self.start(["nginx", "-c", f"{self.folder}/nginx.conf"], GATEWAY_CPU)[0])

    def floor(self):
        command = [self.options.floor, f"127.0.0.1:{PORTS['floor']}", f"127.0.0.1:{PORTS['direct']}"]
        return Target("floor", self.start(command, GATEWAY_CPU, ready=True)[0])

    def tollgate(self, name="tollgate", data=None, **options):
        process, line = self.start(
            [self.options.tollgate, "dev", "--listen", f"127.0.0.1:{PORTS[name]}", "--data-dir", data or f"{self.folder}/{name}",
             "--provider-url", self.provider, "--json"], GATEWAY_CPU, ready=True, stderr=subprocess.DEVNULL, **options)
        limits = {"budget_limit_cents": 1_000_000_000, "token_limit_month": 1_000_000_000_000, "rate_limit_rpm": 100_000_000}
        request(f"{line['admin_url']}/api/v1/integrations/{line['integrations']['openai']}", line["admin_key"], "PATCH", limits)
        return Target(name, process, line["caller_key"], line)

    def postgres(self):
        self.cluster = Cluster()
        environment = {**os.environ, "TOLLGATE__STORE__URL": self.cluster.fresh()}
        target = self.tollgate("postgres", env=environment)
        target.server = self.cluster.server
        return target

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phases", default="sat,fixed,streams,single,memory,bodies,telemetry",
                        help="any of: " + ", ".join(phases.PHASES))
    parser.add_argument("--targets", default="direct,nginx,floor,tollgate,postgres")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--tollgate", default=ROOT / "target/release/tollgate")
    parser.add_argument("--floor", default=ROOT / "target/release/examples/floor")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows in the ledger, for the phase `ledger`")
    parser.add_argument("--crowds", default="1,1000,100000", help="integrations and keys, for the phase `crowd`")
    parser.add_argument("--json", help="write every figure of every round here")
    options = parser.parse_args()
    wanted = options.phases.split(",")
    unknown = set(wanted) - set(phases.PHASES)
    if unknown or set(options.targets.split(",")) - TARGETS:
        sys.exit(f"no such phase or target: {options.phases}; {options.targets}")
    for tool in ("nginx", "wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: install it (Debian: nginx-light, wrk, util-linux)")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    result = {"machine": machine(), "load_before": os.getloadavg(), "rounds": options.rounds, "seconds": options.seconds}
    field = Field(options)
    try:
        field.set_up()
        for name in wanted:
            print(f"\n## {name}\n", flush=True)
            started_at = time.monotonic()
            result[name] = phases.PHASES[name](field, options)
            print(f"\n{name}: {time.monotonic() - started_at:.0f} s", file=sys.stderr, flush=True)
        result["books"] = {name: phases.verified(target) for name, target in field.targets.items() if target.told}
    finally:
        field.strike()
    result["load_after"] = os.getloadavg()
    print(f"\nMedians (least–most) of {options.rounds} interleaved rounds of {options.seconds} s. "
          f"Load before and after: {result['load_before'][0]:.1f}, {result['load_after'][0]:.1f}. Books: {json.dumps(result['books'])}")
    if options.json:
        with open(options.json, "w") as out:
            json.dump(result, out, indent=1)


if __name__ == "__main__":
    main()
