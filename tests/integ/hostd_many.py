#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""32 VMs: all start, all are told apart, the list is quick, descriptors come back, all stop in the order of classes."""

import os
import subprocess
import time

from hostd_world import FACTOR, OK, alive, check, main, same, wait_for

N = 32
CLASSES = ("safety", "normal", "best-effort")


def fds(host):
    return len(os.listdir(f"/proc/{host.proc.pid}/fd"))


def test_many(host):
    for i in range(N):
        host.vm(f"vm{i:02}", f"print I am {i}", f"[vm]\nclass = {CLASSES[i % 3]}\n")
    host.start()
    time.sleep(0.1)         # the connection of start() may be closing yet
    before = fds(host)
    host.ctl("start", *(f"vm{i:02}" for i in range(N)))
    vms = host.json("list")["vms"]
    same([(v["name"], v["state"], v["class"]) for v in vms],
         [(f"vm{i:02}", "running", CLASSES[i % 3]) for i in range(N)])
    same(len({v["pid"] for v in vms}), N)
    same(host.ctl("console", "--log", "vm17")[1], "I am 17\n")
    best = min(timed(host, "list") for _ in range(10))
    check(best < 0.5 * FACTOR, f"list took {best * 1000:.1f} ms")
    same(len(host.json("stats")["vms"]), N)
    argv = [os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "stop"]
    stops = [subprocess.Popen([*argv, f"vm{i:02}"], stdout=subprocess.DEVNULL) for i in range(0, N, 2)]
    same([p.wait(60) for p in stops], [OK] * len(stops), "as many hostctl at once")
    same(sum(v["state"] == "running" for v in host.json("list")["vms"]), N // 2)
    host.ctl("stop", *(f"vm{i:02}" for i in range(1, N, 2)))
    wait_for("no descriptor to be left", lambda: fds(host) <= before)


def timed(host, *args):
    start = time.monotonic()
    host.ctl(*args)
    return time.monotonic() - start


def test_end_with_many(host):
    host.conf("[hostd]\nstop-timeout = 200ms\ncut-timeout = 200ms\n")
    for i in range(N):
        host.vm(f"vm{i:02}", "on-button ignore" if i % 2 else "", f"[vm]\nclass = {CLASSES[i % 3]}\n")
    host.start()
    host.ctl("start", *(f"vm{i:02}" for i in range(N)))
    pids = host.pids()
    same(len(pids), N)
    host.end()
    check(not any(alive(p) for p in pids), "none is left")


def test_started_and_stopped_often(host):
    host.vm("a", "print x")
    host.start()
    host.ctl("start", "a")
    host.ctl("stop", "a")
    time.sleep(0.1)
    before = fds(host)
    for _ in range(30):
        host.ctl("start", "a")
        host.ctl("kill", "a")
    wait_for("no descriptor to be left", lambda: fds(host) <= before)
    same(host.status("a")["starts"], 31)


main(globals())
