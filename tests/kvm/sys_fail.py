#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that fail under guests that work, by hostctl inject: shares that wait see a stall and no error, those that do
not are told; a socket that accepts and dies; the operator sees what was done and what became of it."""

import re

import sysworld
from kvmtest import Failed, equal, expect
from sysworld import worker_done


def start(host, *shares):
    host.disk()
    # A target that no outage misses: what the ladder does about lower classes is not looked at here.
    host.policy(*shares, extra="target = 3600s")
    host.write("[hostd]\ninject = yes\n", "etc", "hostd.conf")
    host.vm("cluster", "safety", "region=4 secs=0 qd=4 flush_every=50 live=1 seed=1")
    host.vm("ivi", "best-effort", "region=8 secs=0 qd=32 bs=16384 live=1 seed=2")
    host.start()
    consoles = [host.start_vm("cluster"), host.start_vm("ivi")]
    for console in consoles:
        console.wait("^blk: t=")
    return consoles


def goes_on(console):
    """It has further requests done."""
    console.wait(r"^blk: t=\d+ ops=[1-9]", console.mark())


def worst_ms(console):
    return max((float(t) for t in re.findall(r"^blk: t=.* max_us=([\d.]+)", console.text(), re.M)), default=0) / 1000


def t_away(host):
    """The disk is away for 500 ms, then fails, is full, stalls, loses completions: two guests see stalls, no error."""
    wait = "wait-on-error = yes"
    consoles = start(host, ("cluster", "safety", "depth = 4", wait), ("ivi", "best-effort", wait))
    for kind, ms in (("gone", 500), ("error", 100), ("full", 100), ("stall", 50), ("lost", 100), ("late", 100)):
        host.ctl("inject", kind, "disk", f"for={ms}ms")
        host.event("disk", f"{kind}, ")
        sysworld.wait_for(f"the end of {kind}", lambda: not host.json("inject", "list")["injections"])
        for console in consoles:
            goes_on(console)
        if kind == "gone":
            told = [e["kind"] for e in host.events() if e["subject"] == "disk"]
            expect("device_gone" in told and "device_back" in told, f"events of the disk: {told}")
            expect(max(worst_ms(c) for c in consoles) >= 400, "the guests were held up while it was away")
    for name, console in zip(("cluster", "ivi"), consoles):
        console.key("q")
        total = worker_done(console)
        print(f"{name}: {total['ops']} requests, longest {worst_ms(console):.1f} ms, err=0, "
              f"verified={total['verified']}")
        equal(host.share(f"{name}/data")["errors"], 0, "errors given to the guest")
        expect("backend_lost" not in host.log(), "a back end was lost")
    host.end_hostd()


def t_told(host):
    """A share that does not wait has its guest told; its neighbour, which waits, sees nothing but time."""
    cluster, ivi = start(host, ("cluster", "safety", "depth = 4", "wait-on-error = yes"), ("ivi", "best-effort"))
    host.ctl("inject", "error", "disk", "for=60s")
    try:
        ivi.wait("guest: FAILED")
    except Failed as e:
        expect("guest: FAILED" in str(e), f"ivi: {e}")
    expect(host.share("ivi/data")["errors"] > 0, "errors are counted")
    host.ctl("inject", "clear")
    goes_on(cluster)
    cluster.key("q")
    worker_done(cluster)
    equal(host.share("cluster/data")["errors"], 0, "errors given to the safety guest")
    host.end_hostd()


def t_socket(host):
    """A socket that accepts and dies: the guest waits, its qvm tries again and again and says so in few lines."""
    cluster, ivi = start(host, ("cluster", "safety", "depth = 4"), ("ivi", "best-effort"))
    host.ctl("inject", "refuse", "cluster/data", "for=60s")
    sysworld.wait_for("qvm to have tried", lambda: host.json("inject", "list")["injections"][0]["hits"] >= 5)
    goes_on(ivi)
    host.ctl("inject", "clear")
    goes_on(cluster)
    for console in (cluster, ivi):
        console.key("q")
        worker_done(console)
    lost = len(re.findall(r"vm=cluster .*ev=backend_lost", host.log()))
    expect(1 <= lost <= 3, f"cluster says in {lost} lines that its back end was lost")
    host.end_hostd()


if __name__ == "__main__":
    sysworld.main(globals())
