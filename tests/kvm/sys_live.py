#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Shares and devices come and go under guests that work: who stays notices nothing, who goes waits, and goes on
when his share is back."""

import re

import sysworld
from kvmtest import equal, expect
from sysworld import wait_for, worker_done

CLUSTER, IVI = ("cluster", "safety", "depth = 4"), ("ivi", "best-effort")
SECOND = """\
[device second]
path = {path}
[share extra/data]
device = second
class = normal
"""


def reload(host, extra="", shares=(CLUSTER, IVI)):
    """The policy of these shares; a change that is under way is waited for."""
    host.policy(*shares)
    host.write(extra, "etc", "mediator.d", "second.policy")
    wait_for("the reload", lambda: host.run_ctl("policy", "reload").returncode == 0)


def goes_on(console):
    console.wait(r"^blk: t=\d+ ops=[1-9]", console.mark())


def t_shares(host):
    """A share of the disk comes, goes under its guest, comes back; a device does; a safety guest works meanwhile."""
    host.disk()
    host.disk(16, "second.img")
    second = SECOND.format(path=host.path("second.img"))
    host.vm("cluster", "safety", "region=4 secs=0 qd=4 flush_every=50 live=1 seed=1")
    host.vm("ivi", "best-effort", "region=8 secs=0 qd=32 bs=16384 live=1 seed=2")
    host.vm("extra", "normal", "region=4 secs=0 qd=16 flush_every=200 live=1 seed=3")
    host.policy(CLUSTER)
    host.start()
    pid = host.mediator()["pid"]
    cluster = host.start_vm("cluster")
    goes_on(cluster)
    reload(host, second)
    ivi, extra = host.start_vm("ivi"), host.start_vm("extra")
    for console in (cluster, ivi, extra):
        goes_on(console)
    # Both go, with requests out: their guests wait.
    reload(host, shares=(CLUSTER,))
    wait_for("both to be gone", lambda: [s["share"] for s in host.json("stats")["shares"]] == ["cluster/data"])
    wait_for("the device, too", lambda: [d["device"] for d in host.json("stats")["devices"]] == ["disk"])
    marks = [console.mark() for console in (ivi, extra)]
    for _ in range(2):
        goes_on(cluster)
    for console, mark in zip((ivi, extra), marks):
        equal(re.findall(r"^blk: t=\d+ ops=[1-9].*", "\n".join(console.lines[mark + 1:]), re.M), [],
              f"what {console.name} did without a share")
    reload(host, second)
    for console in (cluster, ivi, extra):
        goes_on(console)
    for console in (cluster, ivi, extra):
        console.key("q")
        worker_done(console)
    equal(host.mediator()["pid"], pid, "the mediator's process")
    log = host.log()
    equal(re.findall(r"vm=cluster .*ev=backend_lost", log), [], "what the safety guest's qvm saw")
    for name in ("ivi", "extra"):
        expect(re.search(rf"vm={name} .*ev=backend_lost", log), f"{name} does not say that its back end was lost")
    equal(host.share("cluster/data")["errors"], 0, "errors")
    host.end_hostd()


sysworld.main(globals())
