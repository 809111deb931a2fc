#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Processes killed under guests that work: the mediator, a qvm, hostd. Nobody else notices, nothing
acknowledged is lost."""

import os
import random
import re
import signal
import time

import sysworld
from kvmtest import Failed, equal, expect
from sysworld import MIB, alive, fields, wait_for, worker_done


def worst_ms(console):
    """The longest time that a request of a guest took, as it says itself once a second."""
    return max((float(t) for t in re.findall(r"^blk: t=.* max_us=([\d.]+)", console.text(), re.M)), default=0) / 1000


def kill_mediator(host, consoles):
    """Kills it; until both guests have had further requests done. (ms until hostd knew, ms until it ran again.)"""
    pid = host.mediator()["pid"]
    host.note_pids()
    killed_ms = time.time() * 1000
    os.kill(pid, signal.SIGKILL)
    told = host.event("mediator", "killed by signal 9", killed_ms - 1)
    back = host.event("mediator", "-> running: ready", killed_ms - 1)
    expect(host.mediator()["pid"] not in (0, pid), "another process")
    for console in consoles:
        since = console.mark()
        console.wait(r"^blk: t=\d+ ops=[1-9]", since)
    return told["time_ms"] - killed_ms, back["time_ms"] - killed_ms


def t_mediator(host):
    """kill -9 of the mediator, five times under two guests: each sees a stall, none an error, all content is right."""
    host.disk()
    host.policy(("cluster", "safety", "depth = 4"), ("ivi", "best-effort"))
    host.vm("cluster", "safety", "region=4 secs=0 qd=4 flush_every=50 live=1 seed=1")
    host.vm("ivi", "best-effort", "region=8 secs=0 qd=32 bs=16384 live=1 seed=2")
    host.start()
    consoles = [host.start_vm("cluster"), host.start_vm("ivi")]
    pids = [host.status(name)["pid"] for name in ("cluster", "ivi")]
    for console in consoles:
        console.wait("^blk: t=")
    print("kill  hostd knew after  mediator back after")
    for i in range(5):
        told_ms, back_ms = kill_mediator(host, consoles)
        print(f"{i + 1:4}  {told_ms:13.1f} ms  {back_ms:16.1f} ms")
    equal([host.status(name)["pid"] for name in ("cluster", "ivi")], pids, "the VMs' processes")
    equal(host.mediator()["starts"], 6, "starts of the mediator")
    for console in consoles:
        console.key("q")
        total = worker_done(console)
        print(f"{console.name}: {total['ops']} requests, longest {worst_ms(console):.1f} ms, err=0, "
              f"verified={total['verified']}")
    log = host.log()
    deaths = re.findall(r"mediator_state.*running -> waiting: killed by signal 9 \(Killed\)", log)
    equal(len(deaths), 5, "deaths in the log")
    for name in ("cluster", "ivi"):
        n_lost = len(re.findall(rf"vm={name} .*ev=backend_lost", log))
        expect(1 <= n_lost <= 5, f"{name} says in {n_lost} lines that its back end was lost")
    host.end_hostd()


def t_often(host):
    """kill -9 of the mediator at random moments under three guests: none sees an error, all content is right.
    SYS_KILLS=200: the long form."""
    kills, rng = int(os.environ.get("SYS_KILLS", "8")), random.Random(1)
    names = ("cluster", "ivi", "extra")
    host.disk(48)
    host.policy(("cluster", "safety", "depth = 4"), ("ivi", "best-effort"), ("extra", "normal"))
    host.vm("cluster", "safety", "region=4 secs=0 qd=4 flush_every=50 live=1 seed=1")
    host.vm("ivi", "best-effort", "region=8 secs=0 qd=32 bs=16384 live=1 seed=2")
    host.vm("extra", "normal", "region=4 secs=0 qd=16 flush_every=200 live=1 seed=3")
    host.start()
    consoles = [host.start_vm(name) for name in names]
    for console in consoles:
        console.wait("^blk: t=")
    for _ in range(kills):
        pid = wait_for("the mediator", lambda: [p for p in [host.mediator()] if p["state"] == "running"])[0]["pid"]
        host.note_pids()
        time.sleep(rng.uniform(0.1, 0.3))
        os.kill(pid, signal.SIGKILL)
        wait_for("another", lambda: host.mediator()["pid"] not in (0, pid))
    for console in consoles:
        console.wait(r"^blk: t=\d+ ops=[1-9]", console.mark())
        console.key("q")
        total = worker_done(console)
        print(f"{console.name}: {total['ops']} requests, longest {worst_ms(console):.1f} ms, err=0, "
              f"verified={total['verified']}")
    equal(host.mediator()["starts"], kills + 1, "starts of the mediator")
    for name in names:
        equal(host.share(f"{name}/data")["errors"], 0, f"errors of {name}")
    host.end_hostd()


def check_acknowledged(host, ops, n_blocks, seed):
    """A guest that writes one block after the other, round and round, after init: what must at least be on the disk."""
    got = sysworld.generations(host.read_disk(16 * MIB, 4096 * n_blocks), 0, seed, 4096)
    for block, generation in enumerate(got):
        want = 1 + ops // n_blocks + (block < ops % n_blocks)
        expect(generation >= want, f"block {block} has generation {generation}; {want} was acknowledged")


def t_qvm(host):
    """kill -9 of one qvm: told with its reason; what was acknowledged is there; the other goes on; it starts again."""
    n_blocks, seed = 1024, 7
    host.disk()
    host.policy(("cluster", "safety"), ("ivi", "best-effort"))
    host.vm("cluster", "safety", "region=4 secs=0 live=1 seed=1")
    host.vm("ivi", "best-effort", f"region=4 secs=0 mode=seq rw=0 qd=1 seed={seed}")
    host.start()
    cluster, ivi = host.start_vm("cluster"), host.start_vm("ivi")
    ivi.wait("^blk: init done")
    cluster.wait("^blk: t=")
    cluster_pid, pid = host.status("cluster")["pid"], host.status("ivi")["pid"]
    wait_for("a few writes", lambda: host.share("ivi/data")["write_ops"] > n_blocks + 200)
    ivi.key("s")
    ops = int(fields(ivi.wait("^blk: stats"))["ops"])
    killed_ms = time.time() * 1000
    os.kill(pid, signal.SIGKILL)
    told = host.event("ivi", r"running -> failed: killed by signal 9 \(Killed\)", killed_ms - 1)
    print(f"hostd knew after {told['time_ms'] - killed_ms:.1f} ms; {ops} writes were acknowledged")
    s = host.status("ivi")
    equal((s["state"], s["reason"], s["exit_code"]), ("failed", "killed by signal 9 (Killed)", None), "ivi")
    wait_for("its share to be free", lambda: not host.share("ivi/data")["connected"])
    check_acknowledged(host, ops, n_blocks, seed)
    cluster.wait("^blk: t=", cluster.mark())
    host.vm("ivi", "best-effort", "region=4 ops=1000 secs=0 seed=8")
    again = host.start_vm("ivi")
    wait_for("it to be done", lambda: host.status("ivi")["state"] == "off")
    worker_done(again)
    equal(host.status("cluster")["pid"], cluster_pid, "the process of the other VM")
    cluster.key("q")
    worker_done(cluster)
    expect("backend_lost" not in host.log(), "the other VM lost its back end")
    host.end_hostd()


def t_hostd(host):
    """kill -9 of hostd: VMs and mediator live on; the next hostd has all of them again, as if nothing had been."""
    host.disk()
    host.policy(("cluster", "safety"), ("ivi", "best-effort"))
    for i, name in enumerate(("cluster", "ivi")):
        host.vm(name, ("safety", "best-effort")[i], f"region=4 secs=0 seed={i + 1}")
    host.start()
    for name in ("cluster", "ivi"):
        host.start_vm(name).wait("^blk: init done")
    pids = set(host.note_pids())
    equal(len(pids), 3, "processes")
    host.end_hostd(signal.SIGKILL, -signal.SIGKILL)
    host.start()
    equal(set(host.note_pids()), pids, "processes under the next hostd")
    expect(all(alive(p) for p in pids), "all live")
    wait_for("both to answer", lambda: not any(host.status(name)["reason"] for name in ("cluster", "ivi")))
    expect(min(v["uptime_ms"] for v in host.json("list")["vms"]) > 0, "uptimes")
    vms = {v["name"]: v["counters"] for v in host.json("stats")["vms"]}
    expect(sorted(vms) == ["cluster", "ivi"] and vms["cluster"]["exit.io"] > 0, f"statistics: {vms}")
    consoles = [host.console(name) for name in ("cluster", "ivi")]
    consoles[0].key("s")
    expect(int(fields(consoles[0].wait("^blk: stats"))["ops"]) > 0, "the console takes keys")
    before = host.read_disk(0, 4 * MIB)
    wait_for("the guest to write on", lambda: host.read_disk(0, 4 * MIB) != before)
    for name in ("cluster", "ivi"):
        host.ctl("stop", name)
        s = host.status(name)
        equal((s["state"], s["exit_code"], s["reason"]), ("off", 0, "stopped"), name)
    for console in consoles:
        worker_done(console)
    sysworld.generations(host.read_disk(0, 4 * MIB), 0, 1, 4096)
    sysworld.generations(host.read_disk(16 * MIB, 4 * MIB), 0, 2, 4096)
    host.end_hostd()
    wait_for("all processes to end", lambda: not any(alive(p) for p in pids))


if __name__ == "__main__":
    sysworld.main(globals())
