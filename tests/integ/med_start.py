#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The mediator as a command: start, stop, --check, exit codes and what it says; control socket; descriptors."""

import os
import shutil
import signal
import subprocess

import med
from med import check

POLICY = """
[device disk]
path = img
[share a/data]
device = disk
class = safety
length = 16M
[share b/data]
device = disk
class = best-effort
offset = 16M
"""


def run(*args, env=None):
    p = subprocess.run([os.environ["MEDIATOR"], *args], capture_output=True, text=True, timeout=60, env=env)
    return p.returncode, p.stdout, p.stderr


def says(result, code, *words):
    check(result[0] == code, f"exit code {result[0]}, not {code}: {result[1]}{result[2]}")
    for word in words:
        check(word in result[1] + result[2], f"it does not say '{word}': {result[1]}{result[2]}")


def usage():
    says(run(), 2, "no policy file was given")
    says(run("--nonsense", "x"), 2, "--help")
    says(run("--control-fd", "x", "y"), 2, "expected a number")
    says(run("--control-fd", "99", "y"), 2, "99")
    says(run("--help"), 0, "usage: mediator", "parley-policy(5)")
    says(run("--version"), 0, "mediator (Parley)")


def refused_policies():
    with med.Folder() as d:
        m = med.Mediator(d, "[device x]\nslots = 0\n[share bad]\ncolour = blue\n", start=False)
        for args in (["--check", m.policy], ["--run-dir", m.run, m.policy]):
            result = run(*args)
            says(result, 65, "test.policy:2: error: slots = 0: expected", "unknown key 'colour'",
                 "test.policy:3: error", "test.policy:1: error: device")
        check(not os.path.exists(m.run), "nothing was started")
        says(run("--check", d + "/nowhere.policy"), 65, "nowhere.policy: error: cannot be read")


def refused_devices():
    with med.Folder() as d:
        m = med.Mediator(d, POLICY, start=False)
        says(run("--check", m.policy), 64, "test.policy:2", "device 'disk'", "No such file")
        med.image(d + "/img", 8)
        says(run("--check", m.policy), 65, "beyond the end of device 'disk'", "test.policy:4")
        os.unlink(d + "/img")
        os.mkdir(d + "/img")
        says(run("--check", m.policy), 64, "device 'disk'")


def the_example_is_right():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(here + "/../../conf/mediator.d/example.policy", encoding="utf-8") as f:
        text = f.read()
    # What is behind '#' are the defaults: with them it must say the same.
    full = "\n".join(line[1:] if line[:1] == "#" and " = " in line and line[1:2] != " " else line
                     for line in text.split("\n"))
    check(full != text and "poll = 30us" in full, full)
    said = []
    with med.Folder() as d:
        with open(d + "/img", "wb") as f:
            f.truncate(24 << 30)
        for words in (text, full):
            m = med.Mediator(d, words.replace("/var/lib/parley/disk.img", "img"), start=False)
            result = run("--check", m.policy)
            says(result, 0, "device disk: 25769803776 bytes, 3 shares", "safety bound")
            said.append(result[1])
    check(said[0] == said[1], f"{said}")


def check_beside_a_running_one():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            says(run("--check", m.policy), 0, "device disk: 33554432 bytes, 2 shares", "safety bound")
            second = run("--run-dir", d + "/run2", m.policy)
            says(second, 64, "in use by another process")


def stops_by_signal():
    for sig in (signal.SIGTERM, signal.SIGINT):
        with med.Folder() as d:
            med.image(d + "/img", 32)
            m = med.Mediator(d, POLICY)
            busy = med.vublk(m.socket("b/data"), "--depth", 8, "--secs", 30)
            med.wait_for("traffic", lambda: "client_connected" in m.log())
            m.proc.send_signal(sig)
            check(m.proc.wait(med.WAIT_S) == 0, "it stops while a client is busy")
            check(f"ev=stop signal={int(sig)} pid={os.getpid()} uid={os.getuid()}" in m.log(), m.log())
            med.vublk_end(busy, 3)


def stats_and_priorities():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            c = med.Control(m)
            got = med.vublk_end(med.vublk(m.socket("a/data"), "--ops", 1000, "--read", 50))
            with med.Client(m.socket("b/data")) as client:
                client.setup()
                check(client.request(med.T_FLUSH)[0] == 0, "flush")
                shares, devices = c.stats()
                check(shares["b/data"]["connected"] == 1, "b is connected")
            a, b = shares["a/data"], shares["b/data"]
            check(a["read_ops"] + a["write_ops"] == 1000 == got["ops"], f"operations: {a}")
            check(a["read_bytes"] == a["read_ops"] * 4096 and a["write_bytes"] == a["write_ops"] * 4096, f"bytes: {a}")
            check(a["errors"] == a["faults"] == a["queued"] == a["in_flight"] == a["connected"] == 0, f"{a}")
            check(a["latency"]["n"] == 1000 and 0 < a["latency"]["p50_ns"] <= a["latency"]["max_ns"], f"{a}")
            check(a["class"] == 1 and a["bound_ns"] > 0 and b["bound_ns"] == 0 and b["flush_ops"] == 1, f"{a} {b}")
            check(devices[0]["slots"] == 32 and devices[0]["priorities"] == 1 and devices[0]["service_max_ns"] > 0,
                  f"{devices}")
            check(set(c.stats("a/data")[0]) == {"a/data"} and c.stats("no/such") is None, "one share, no share")
            check(c.priorities(False) and not c.priorities(True, "nosuch"), "priorities by name")
            med.wait_for("priorities off", lambda: c.stats()[1][0]["priorities"] == 0)
            check(c.priorities(True, "disk"), "on")
            med.wait_for("priorities on", lambda: c.stats()[1][0]["priorities"] == 1)
            c.stats(reset=True)
            med.wait_for("reset", lambda: c.stats()[0]["a/data"]["latency"]["n"] == 0)
            c.close()
            liar = med.Control(m)
            liar.sock.sendall(b"\xff\xff\xff\xff garbage")
            try:
                check(liar.sock.recv(4096) == b"", "a tool that sends garbage is hung up on")
            except ConnectionResetError:
                pass
            check(med.Control(m).stats(), "the next one is answered")


def descriptors():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            def some(n):
                for i in range(n):
                    with med.Client(m.socket("b/data" if i % 2 else "a/data")) as c:
                        c.setup()
                        if i % 4 < 2:
                            check(c.request(med.T_IN, read=512)[0] == 0, "a read")
            def idle():
                return not any(s["connected"] for s in med.Control(m).stats()[0].values())
            some(4)
            med.wait_for("all gone", idle)
            before = m.fds()
            some(200)
            med.wait_for("all gone", idle)
            med.wait_for(f"{before} descriptors again", lambda: m.fds() <= before)


def a_thread_that_cannot_start():
    """What a device's thread cannot have ends the start with a sentence, before anybody is told Ready."""
    if not shutil.which("strace"):
        print("a_thread_that_cannot_start: skipped: there is no strace")
        return
    with med.Folder() as d:
        m = med.Mediator(d, POLICY, start=False)
        med.image(d + "/img", 32)
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_setup"]
        p = subprocess.run([*strace, "-e", "inject=io_setup:error=EAGAIN", os.environ["MEDIATOR"], "--run-dir", m.run,
                            m.policy], capture_output=True, text=True, timeout=60, check=False,
                           # A traced process cannot look for its leaks.
                           env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        says((p.returncode, p.stdout, p.stderr), 64, "a device's thread does not start",
             "Resource temporarily unavailable")
        check("ev=ready" not in p.stderr, p.stderr)


def scheduling(m):
    """Policy of the device's thread and, in its log, whether that is second best."""
    for tid in os.listdir(f"/proc/{m.proc.pid}/task"):
        with open(f"/proc/{m.proc.pid}/task/{tid}/comm", encoding="utf-8") as f:
            if f.read().strip() == "med-disk":
                return os.sched_getscheduler(int(tid)) & ~os.SCHED_RESET_ON_FORK, "ev=no_deadline" in m.log()
    raise AssertionError("no thread of the device")


SCHED_DEADLINE = 6  # sched(7); Python has no name for it


def a_promise_has_a_processor():
    """A budget of a processor for who promises something; second best for who may not use all; nothing for others."""
    if os.geteuid() != 0:
        print("a_promise_has_a_processor: skipped: not root")
        return
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY.replace("= safety", "= normal")) as m:
            check(scheduling(m) == (os.SCHED_OTHER, False), f"nothing promised: {scheduling(m)}")
        with med.Mediator(d, POLICY) as m:
            # Another test's mediator may have what can be promised of this machine.
            check(scheduling(m) in ((SCHED_DEADLINE, False), (os.SCHED_RR, True)), f"promised: {scheduling(m)}")
        cpus = os.sched_getaffinity(0)
        if len(cpus) < 2:
            return
        os.sched_setaffinity(0, {min(cpus)})
        try:
            with med.Mediator(d, POLICY) as m:
                check(scheduling(m) == (os.SCHED_RR, True), f"bound to one processor: {scheduling(m)}")
        finally:
            os.sched_setaffinity(0, cpus)


med.run_tests(usage, refused_policies, refused_devices, the_example_is_right,
              check_beside_a_running_one, stops_by_signal,
              stats_and_priorities, descriptors, a_thread_that_cannot_start,
              a_promise_has_a_processor)
