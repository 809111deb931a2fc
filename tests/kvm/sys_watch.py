#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Watchdogs of the whole product: a guest that spins until its own bites; a qvm and a mediator that stand still under
guests that work; and guests that work are never taken for hung."""

import os
import signal
import time

import sysworld
from kvmtest import equal, expect
from sysworld import alive, wait_for, worker_done

LIMIT_S = 4
WORKER = "region=4 secs=0 qd=4 live=1 seed={seed}"


def kinds(host, subject):
    return [e["kind"] for e in host.events() if e["subject"] == subject]


def t_bite(host):
    """The guest starts its watchdog and spins: exit 4, started again by NAME.vm's word, given up when too often."""
    host.vm("dog", "normal", "test=wdt wdt=bite", guest="pcdev", disks="vdev wdt-ib700")
    host.write("watchdog = restart\nrestart-delay = 10ms\nrestart-limit = 1/1h\n", "etc", "vms", "dog.vm")
    host.start(mediator=False)
    host.run_ctl("start", "--no-wait", "dog")
    s = wait_for("it to be given up", lambda: [s for s in [host.status("dog")] if s["starts"] == 2
                                               and s["state"] == "failed"])[0]
    expect("watchdog" in s["reason"] and s["exit_code"] == 4, s)
    expect("vm_crash_loop" in kinds(host, "dog"), kinds(host, "dog"))


def t_hung(host):
    """Two guests work for longer than the limit, and nothing happens. Then the mediator stands still: the next one
    serves them, with nothing lost. Then a qvm: it is killed, with the reason, and its neighbour does not notice."""
    host.disk()
    host.policy(("cluster", "safety", "depth = 4"), ("ivi", "best-effort"))
    host.vm("cluster", "safety", WORKER.format(seed=1))
    host.vm("ivi", "best-effort", WORKER.format(seed=2))
    host.write(f"[hostd]\nqvm-hang-timeout = {LIMIT_S}s\nmediator-hang-timeout = {LIMIT_S}s\n", "etc", "hostd.conf")
    host.start()
    consoles = [host.start_vm(name) for name in ("cluster", "ivi")]
    for console in consoles:
        console.wait("^blk: t=")
    time.sleep(LIMIT_S + 1)
    equal([e for e in host.events() if e["kind"].endswith("_hung")], [], "who works, hangs not")
    host.note_pids()
    mediator = host.mediator()["pid"]
    os.kill(mediator, signal.SIGSTOP)
    host.event("mediator", "it hangs: it has not answered")
    wait_for("the next mediator", lambda: host.mediator()["state"] == "running" and host.mediator()["pid"] != mediator)
    for console in consoles:
        console.wait(r"^blk: t=\d+ ops=[1-9]", console.mark())
    host.note_pids()
    qvm = host.status("ivi")["pid"]
    os.kill(qvm, signal.SIGSTOP)
    s = wait_for("its end", lambda: [s for s in [host.status("ivi")] if s["state"] == "failed"])[0]
    expect(s["reason"].startswith("it hangs: it has not answered") and s["reason"].endswith("killed"), s["reason"])
    expect(not alive(qvm) and not alive(mediator), "both are gone")
    consoles[0].key("q")
    worker_done(consoles[0])


if __name__ == "__main__":
    sysworld.main(globals())
