#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The last step of the ladder with real guests: a best-effort VM is frozen for the safety guest's sake, and goes on
when it is over, when the mediator dies, and when hostd does. Nothing is measured against a clock."""

import os
import re
import signal

import sysworld
from kvmtest import expect
from sysworld import wait_for

# A disk that takes 2 ms for everything, whatever its policy says of it: the target is missed for sure.
SLOW = """ladder = freeze
simulate = yes
sim-parallel = 1
sim-read = 2ms
sim-write = 2ms
sim-flush = 2ms
sim-distribution = fixed
service-limit = 1us
flush-limit = 1us"""


def two_guests(host):
    host.disk()
    host.policy(("cluster", "safety", "target = 10us"), ("ivi", "best-effort", "freeze = yes"), extra=SLOW)
    host.vm("cluster", "safety", "region=4 secs=0 qd=1 live=1 seed=1")
    host.vm("ivi", "best-effort", "region=4 secs=0 qd=4 live=1 seed=2")
    host.start()
    return host.start_vm("ivi")


def said(host, what):
    """How often qvm of ivi said so."""
    return len(re.findall(rf"vm=ivi .*ev={what}", host.log()))


def frozen(host, n):
    """Until it is, for the n-th time."""
    wait_for(f"freeze number {n}", lambda: said(host, "frozen") >= n)
    expect(any(e["kind"] == "vm_frozen" and e["subject"] == "ivi" for e in host.events()), "an event of hostd")


def thawed(host, n, why):
    wait_for(f"thaw number {n}", lambda: said(host, "thawed") >= n)
    wait_for(f"why: {why}", lambda: [e for e in host.events() if e["kind"] == "vm_thawed" and why in e["text"]])


def t_freeze(host):
    """Frozen, and on again by itself; frozen, and on again because the mediator is killed, and so with hostd."""
    ivi = two_guests(host)
    host.start_vm("cluster")
    frozen(host, 1)
    steps = [e["text"].split(":")[0] for e in host.events() if e["kind"] == "ladder"]
    # On a machine that stalled there was a calm between, and a step back.
    expect("freeze" in steps and "throttle" in steps and steps[steps.index("freeze") - 1] == "pause",
           f"the steps before it: {steps}")
    expect("freeze" in host.ctl("stats") or said(host, "thawed"), "the step in the statistics")
    host.ctl("kill", "cluster")
    thawed(host, 1, "no more")
    since = ivi.mark()
    ivi.wait(r"^blk: t=\d+ ops=[1-9]", since, 2 * sysworld.WAIT_S)

    host.start_vm("cluster")
    frozen(host, 2)
    os.kill(host.mediator()["pid"], signal.SIGKILL)
    thawed(host, 2, "the mediator is gone")

    # The new one meets the same disk. hostd dies meanwhile: the VM needs nobody to go on.
    frozen(host, 3)
    host.note_pids()
    host.hostd.kill()
    host.hostd.wait()
    host.start(mediator=False)
    wait_for("the guest to go on without hostd", lambda: said(host, "thawed") >= 3)


sysworld.main(globals())
