#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How hostd ends: VMs first, each as its guest wants, the least important first; then the mediator; nothing is left."""

import os
import re

import sysworld
from kvmtest import equal, expect
from sysworld import alive, wait_for, worker_done


def working(host):
    host.disk(48)
    host.policy(("cluster", "safety"), ("ivi", "best-effort"), ("log", "normal"))
    host.vm("cluster", "safety", "region=4 secs=0 seed=1")
    host.vm("ivi", "best-effort", "region=4 secs=0 qd=16 seed=2")
    host.vm("log", "normal", "region=4 secs=0 seed=3")
    host.start()
    consoles = [host.start_vm(name) for name in ("cluster", "ivi", "log")]
    for console in consoles:
        console.wait("^blk: init done")
    return consoles


def t_term(host):
    """SIGTERM: power buttons, best-effort before normal before safety; every guest checks all its content."""
    consoles = working(host)
    pids = host.note_pids()
    equal(len(pids), 4, "processes")
    host.end_hostd()
    equal([p for p in pids if alive(p)], [], "processes left")
    for console in consoles:
        worker_done(console)
    log = host.log()
    at = [log.find(f'vm={name} why="running -> stopping: asked to stop"') for name in ("ivi", "log", "cluster")]
    expect(-1 < at[0] < at[1] < at[2], f"order of the ends: {at}\n{log}")
    expect(at[2] < log.find('subject=mediator why="running -> stopping'), "the mediator ends after the last VM\n" + log)
    equal(len(re.findall(r"stopping -> off: stopped", log)), 4, "ends as asked:\n" + log)
    equal(os.listdir(host.path("run", "mediator")), [], "sockets left")
    for i in range(3):
        sysworld.generations(host.read_disk((16 * i) << 20, 4 << 20), 0, i + 1, 4096)


def t_stubborn(host):
    """A guest that does not power off has its time; then its power is cut."""
    host.disk(16)
    host.policy(("cluster", "safety"))
    host.vm("cluster", "safety", "region=4 secs=0 init=0 final=0 verify=0 exit=none")
    host.start()
    host.start_vm("cluster").wait("^blk: ready")
    host.ctl("stop", "--timeout", "0.5", "cluster")
    s = host.status("cluster")
    equal((s["state"], s["reason"], s["exit_code"]), ("off", "power cut", 3), "after the stop")
    expect("the guest did not stop in time" in host.log(), host.log())
    host.end_hostd()


def t_twice(host):
    """A second hostd in the same folder is refused with the process of the first, and harms nothing."""
    working(host)
    pids = set(host.note_pids())
    argv = [host.path("bin", "hostd"), "--config-dir", host.path("etc"), "--state-dir", host.path("state"),
            "--run-dir", host.path("run"), "--bin-dir", host.path("bin")]
    with open(host.path("second.log"), "wb") as log:
        second = host.spawn(argv, stdout=log, stderr=log)
    wait_for("the second hostd to end", lambda: second.poll() is not None)
    with open(host.path("second.log"), encoding="utf-8") as f:
        said = f.read()
    expect(second.returncode not in (0, None) and str(host.hostd.pid) in said, f"{second.returncode}: {said}")
    equal(set(host.note_pids()), pids, "processes")
    host.end_hostd()


if __name__ == "__main__":
    sysworld.main(globals())
