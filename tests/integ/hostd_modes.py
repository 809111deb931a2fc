#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Normal, degraded, safe: what brings a host there and back, what is done, and what hostctl shows of it."""

import os
import signal

from hostd_world import FAILED, POLICY, check, main, same, wait_for

QUICK = "restart-delay = 10ms\nrestart-limit = 2/1min\n"
SAFETY = "[vm]\nclass = safety\n"
BEST_EFFORT = "[vm]\nclass = best-effort\n"


def mode(host, want, *causes):
    def there():
        got = host.json("list")
        return got["mode"] == want and got["causes"] == list(causes)
    wait_for(f"{want} {causes}", there)


def told(host):
    """Each change of mode."""
    return [line for line in host.ctl("events")[1].splitlines() if line.split()[2] == "mode"]


def test_normal(host):
    host.vm("a", vm=SAFETY)
    host.start()
    host.ctl("start", "a")
    mode(host, "normal")
    check("mode" not in host.ctl("list")[1], "nothing to be said")


def test_safe(host):
    """A safety VM that crashes for ever: best-effort VMs make way, and come back with it."""
    host.vm("s", vm=SAFETY + "restart = on-failure\n" + QUICK)
    host.vm("n")
    host.vm("b", vm=BEST_EFFORT)
    host.vm("off", vm=BEST_EFFORT)
    host.start()
    host.ctl("start", "s", "n", "b")
    host.vm("s", "after 0 signal 11\n")
    os.kill(host.status("s")["pid"], signal.SIGKILL)
    host.wait_state("s", "failed")
    mode(host, "safe", "safety-lost")
    b = host.wait_state("b", "off")
    same((b["reason"], b["want"]), ("stopped: the host is in safe mode", "up"))
    check("mode: safe (safety-lost)" in host.ctl("list")[1], host.ctl("list")[1])
    check("safe mode" in host.ctl("start", "off", want=FAILED)[2], "no other is started")
    same(host.status("n")["state"], "running", "a normal VM")
    # A hostd that comes after this one goes on with it.
    host.proc.kill()
    host.proc.wait()
    host.start()
    mode(host, "safe", "safety-lost")
    host.wait_state("b", "off")
    host.vm("s")
    host.ctl("start", "s")
    mode(host, "normal")
    host.wait_state("b", "running")
    same(host.status("off")["state"], "off", "one that was not wanted")
    check("safe -> normal: all is well again" in told(host)[-1], told(host))


def test_stopped_meanwhile(host):
    """What an operator says of a VM that was stopped for the mode counts."""
    host.vm("s", "after 100 signal 11\n", vm=SAFETY)
    host.vm("b", vm=BEST_EFFORT)
    host.start()
    host.ctl("start", "b")
    host.ctl("start", "s")
    host.wait_state("b", "off")
    mode(host, "safe", "safety-lost")
    host.ctl("stop", "b")
    same(host.status("b")["want"], "down")
    # The failure is acknowledged: nobody waits for that VM any more.
    host.ctl("stop", "s")
    mode(host, "normal")
    same(host.status("b")["state"], "off", "it stays off")


def test_degraded(host):
    host.policy(POLICY)
    host.vm("n", "after 100 signal 11\n")
    host.vm("s", "bad it is wrong\n", vm=SAFETY)
    host.vm("b", vm=BEST_EFFORT)
    host.vm("refused", vm="[vm]\nclass = ?\n")
    host.start()
    mode(host, "degraded", "vm-refused")
    check("mode: degraded (vm-refused)" in host.ctl("list")[1], host.ctl("list")[1])
    (host.dir / "etc/vms/refused.vm").unlink()
    mode(host, "normal")
    host.ctl("start", "b", "n")
    mode(host, "degraded", "vm-lost")
    host.ctl("stop", "n")
    mode(host, "normal")
    # A safety VM whose configuration is refused never ran: nobody makes way for it.
    host.ctl("start", "s", want=8)
    mode(host, "degraded", "vm-lost")
    same(host.status("b")["state"], "running", "a best-effort VM")


def test_mediator(host):
    host.policy(POLICY)
    host.start()
    wait_for("it", lambda: host.mediator()["state"] == "running")
    mode(host, "normal")
    host.policy("[device d0]\nslotz = 3\n")
    os.kill(host.mediator()["pid"], signal.SIGKILL)
    mode(host, "degraded", "mediator-lost")
    host.policy(POLICY)
    host.vm("a")
    host.ctl("start", "a")
    mode(host, "normal")
    check(told(host)[0].endswith("mediator-away") and any("mediator-lost" in t for t in told(host)), told(host))


def test_unrecorded(host):
    (host.dir / "state/events.ring").mkdir(parents=True)
    host.start()
    mode(host, "degraded", "unrecorded")


if __name__ == "__main__":
    main(globals())
