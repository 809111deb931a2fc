#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What hostd does by itself: VMs that start with the host and in order, that are started again, and a hostd that goes
on where a killed one stopped."""

import json
import os
import signal

from hostd_world import CONFIG, alive, check, main, same, wait_for

QUICK = "restart-delay = 20ms\n"


def events(host):
    return [json.loads(line) for line in host.ctl("--json", "events")[1].splitlines()]


def kinds(host, subject):
    return [e["kind"] for e in events(host) if e["subject"] == subject]


def ready(host):
    """Who came up, in order."""
    return [e["subject"] for e in events(host) if e["text"] == "starting -> running: ready"]


def moves(host, subject):
    """The states that it came to, in order."""
    return [e["text"].split(" -> ")[1].split(":")[0] for e in events(host)
            if e["subject"] == subject and e["kind"] == "vm_state"]


def state(host, name):
    return host.status(name)["state"]


def test_autostart(host):
    host.vm("late", vm="[vm]\nclass = best-effort\nautostart = yes\n")
    host.vm("early", vm="[vm]\nclass = safety\nautostart = yes\n")
    host.vm("middle", vm="[vm]\nautostart = yes\n")
    host.vm("not")
    host.start()
    for name in ("late", "early", "middle"):
        host.wait_state(name, "running")
    same(state(host, "not"), "off")
    same(ready(host), ["early", "middle", "late"], "the more important before the less")


def test_autostart_of_the_broken(host):
    """One that fails, or is refused, holds up nobody for ever."""
    host.conf("[hostd]\nstart-timeout = 300ms\n")
    host.vm("a", "never-ready", vm="[vm]\nclass = safety\nautostart = yes\n")
    host.vm("b", vm="[vm]\nclass = safety\nautostart = maybe\n")
    host.vm("c", vm="[vm]\nautostart = yes\n")
    host.start()
    host.wait_state("c", "running")
    same((state(host, "a"), state(host, "b")), ("failed", "off"))
    check("vm_refused" in kinds(host, "b"), "the operator hears of it")


def test_after(host):
    host.vm("a", vm="[vm]\nautostart = yes\nafter = b\n")
    host.vm("b", vm="[vm]\nautostart = yes\nafter = c\n")
    host.vm("d", vm="[vm]\nautostart = yes\nafter = c, none\n")
    host.vm("c", vm="[vm]\nautostart = yes\n")
    host.start()
    host.wait_state("a", "running")
    same(ready(host), ["c", "b", "a"])
    check("vm_refused" in kinds(host, "d"), "that there is no VM 'none'")
    check("no such VM" in host.ctl("check", "d", want=CONFIG)[1], "the same in a check")
    check("no such VM" in host.ctl("start", "d", want=CONFIG)[2], "and when it is to be started")
    host.ctl("stop", "a", "b", "c")
    host.ctl("start", "a")
    same(state(host, "b"), "off", "an order is no dependency")


def test_after_refused(host):
    host.vm("self", vm="[vm]\nafter = self\n")
    host.vm("x", vm="[vm]\nafter = y\n")
    host.vm("y", vm="[vm]\nafter = z\n")
    host.vm("z", vm="[vm]\nafter = x\n")
    host.vm("up", vm="[vm]\nclass = safety\nafter = x\n")
    host.start()
    for name, why in (("self", "this VM itself"), ("x", "in turn"), ("y", "in turn"), ("z", "in turn"),
                      ("up", "lower class")):
        _, _, err = host.ctl("start", name, want=CONFIG)
        check(why in err and f"{name}.vm:" in err, err)
    host.vm("z", vm="[vm]\n")
    host.ctl("start", "x")


def test_reboot_outlives_hostd(host):
    """hostd is killed between the power button and the start: its successor ends the reboot, whatever became of it."""
    host.conf("[hostd]\nstop-timeout = 500ms\ncut-timeout = 500ms\n")
    for name in ("went", "stays"):
        host.vm(name, "on-button ignore\n")
    host.start()
    host.ctl("start", "went", "stays")
    pids = {name: host.status(name)["pid"] for name in ("went", "stays")}
    host.ctl("reboot", "--no-wait", "went", "stays", "--timeout", "600")
    same(host.status("went")["want"], "up")
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    os.kill(pids["went"], signal.SIGKILL)
    wait_for("its end", lambda: not alive(pids["went"]))
    host.start()
    for name, pid in pids.items():
        wait_for(f"{name} to run anew", lambda: state(host, name) == "running" and host.status(name)["pid"] != pid)
    # And only once.
    host.ctl("stop", "went", "stays")
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    host.start()
    same((state(host, "went"), state(host, "stays")), ("off", "off"))


def test_waits_shown(host):
    """Who waits says for whom; what it waits for may still be stopped, and then it goes on."""
    host.vm("slow", "never-ready", vm="[vm]\nclass = safety\n")
    host.vm("a")
    host.start()
    host.ctl("start", "--no-wait", "slow")
    host.ctl("start", "--no-wait", "a")
    same((state(host, "a"), host.status("a")["reason"], host.status("a")["pid"]), ("starting", "waits for slow", 0))
    host.ctl("stop", "slow")
    host.wait_state("a", "running")
    same(host.status("a")["reason"], "")


def test_restart(host):
    host.vm("f", vm="[vm]\nrestart = on-failure\n" + QUICK)
    host.vm("n")
    host.start()
    host.ctl("start", "f", "n")
    for name in ("f", "n"):
        os.kill(host.status(name)["pid"], signal.SIGKILL)
    wait_for("a second start", lambda: host.status("f")["starts"] == 2 and state(host, "f") == "running")
    same(moves(host, "f"), ["starting", "running", "failed", "waiting", "starting", "running"])
    host.wait_state("n", "failed")
    same(host.status("n")["starts"], 1)
    # Asked to go, it stays away.
    host.ctl("stop", "f")
    same((state(host, "f"), host.status("f")["want"]), ("off", "down"))
    host.ctl("start", "f")
    host.ctl("kill", "f")
    same(state(host, "f"), "off")


def test_restart_of_what_ended_well(host):
    host.vm("always", "after 50 ended 0 guest powered off", vm="[vm]\nrestart = always\n" + QUICK)
    host.vm("failure", "after 50 ended 0 guest powered off", vm="[vm]\nrestart = on-failure\n" + QUICK)
    host.vm("reset", "after 50 ended 0 guest reset", vm="[vm]\nrestart = on-failure\n" + QUICK)
    host.start()
    host.ctl("start", "always", "failure", "reset")
    for name in ("always", "reset"):
        wait_for(f"{name} again", lambda n=name: host.status(n)["starts"] >= 2)
    host.wait_state("failure", "off")
    same(host.status("failure")["starts"], 1)


def test_crash_loop(host):
    host.vm("a", "after 10 exit 7", vm="[vm]\nrestart = always\nrestart-delay = 10ms\nrestart-limit = 3/1h\n")
    host.start()
    host.ctl("start", "--no-wait", "a")
    wait_for("it to be given up", lambda: "vm_crash_loop" in kinds(host, "a"))
    s = host.status("a")
    same((s["state"], s["starts"], s["want"]), ("failed", 4, "up"))
    # An operator's start begins anew.
    host.ctl("start", "--no-wait", "a")
    wait_for("the same again", lambda: kinds(host, "a").count("vm_crash_loop") == 2)
    same(host.status("a")["starts"], 8)


def test_stop_while_it_waits(host):
    host.vm("a", "after 10 exit 7", vm="[vm]\nrestart = always\nrestart-delay = 1h\n")
    host.start()
    host.ctl("start", "--no-wait", "a")
    host.wait_state("a", "waiting")
    host.ctl("stop", "a")
    same((state(host, "a"), host.status("a")["want"]), ("off", "down"))
    host.ctl("start", "--no-wait", "a")
    host.wait_state("a", "waiting")
    host.vm("a", vm="[vm]\n")
    host.ctl("start", "a")
    same(state(host, "a"), "running", "a start does not wait for the delay")


def test_no_restart_of_the_refused(host):
    host.vm("a", "bad no such thing", vm="[vm]\nrestart = always\n" + QUICK)
    host.start()
    host.ctl("start", "a", want=CONFIG)
    same((state(host, "a"), host.status("a")["starts"]), ("failed", 1))


def test_changed_while_it_waits(host):
    host.vm("a", "after 10 exit 7", vm="[vm]\nrestart = always\nrestart-delay = 300ms\n")
    host.start()
    host.ctl("start", "--no-wait", "a")
    host.wait_state("a", "waiting")
    host.vm("a", vm="[vm]\nrestart = alway\n")
    host.wait_state("a", "off")
    check("not started again" in host.status("a")["reason"], host.status("a")["reason"])


def test_environment(host):
    host.vm("a", vm="[vm]\nenvironment = DISK=/dev/sda\nenvironment = B=c d\n")
    host.start()
    host.ctl("start", "a")
    with open(f"/proc/{host.status('a')['pid']}/environ", "rb") as f:
        env = f.read().split(b"\0")
    check(b"DISK=/dev/sda" in env and b"B=c d" in env, env)


def kill_hostd(host):
    host.proc.kill()
    host.proc.wait()


def test_killed_hostd(host):
    """What ran runs on, what was stopped stays so though it starts with the host, what died meanwhile comes back."""
    for name in ("on", "off", "died", "dead"):
        host.vm(name, vm="[vm]\nautostart = yes\n" + ("restart = always\n" + QUICK if name == "died" else ""))
    host.start()
    for name in ("on", "off", "died", "dead"):
        host.wait_state(name, "running")
    host.ctl("stop", "off")
    pids = {name: host.status(name)["pid"] for name in ("on", "died", "dead")}
    kill_hostd(host)
    for name in ("died", "dead"):
        os.kill(pids[name], signal.SIGKILL)
        wait_for("its end", lambda n=name: not alive(pids[n]))
    host.start()
    same((state(host, "on"), host.status("on")["pid"]), ("running", pids["on"]))
    same(state(host, "off"), "off")
    same((state(host, "dead"), host.status("dead")["reason"]), ("failed", "it ended while no hostd ran"))
    host.wait_state("died", "running")
    check(host.status("died")["pid"] != pids["died"], "another process")


def test_killed_while_one_waits(host):
    host.vm("a", "after 10 exit 7", vm="[vm]\nrestart = always\nrestart-delay = 1h\n")
    host.start()
    host.ctl("start", "--no-wait", "a")
    host.wait_state("a", "waiting")
    kill_hostd(host)
    host.vm("a", vm="[vm]\n")
    host.start()
    host.wait_state("a", "running")


def test_stopped_hostd(host):
    """One that ended as asked has stopped all: the next starts what starts with the host, and nothing else."""
    host.vm("auto", vm="[vm]\nautostart = yes\n")
    host.vm("hand")
    host.start()
    host.ctl("start", "hand")
    host.proc.terminate()
    same(host.proc.wait(), 0)
    host.start()
    host.wait_state("auto", "running")
    same(state(host, "hand"), "off")


if __name__ == "__main__":
    main(globals())
