#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole-system check: all VMs, policies and the board together, in one run and before a start; and plans."""

import json
import os

from hostd_world import CONFIG, NO_SUCH, OK, POLICY, check, main, same, wait_for

HUGE = 1 << 60


def vdev(name, model, backing, kind="virtio-blk", **more):
    return "vdev " + json.dumps({"name": name, "type": kind, "model": model, "backing": backing, **more})[1:-1] + "\n"


def lines_of(host, name, want=CONFIG):
    answer = host.json("check", want=want)
    item = [i for i in answer["items"] if i["name"] == name][0]
    return item["ok"], "\n".join(item["lines"])


def test_every_error_in_one_run(host):
    """One VM for each rule; what is wrong with one refuses no other."""
    host.policy(POLICY)
    disk = str(host.dir / "shared.img")
    open(disk, "wb").close()
    host.vm("a", vdev("d", "exclusive", disk))
    host.vm("b", "\n" + vdev("d", "exclusive", os.path.relpath(disk, host.dir / "etc/vms")))
    host.vm("cluster", vdev("root", "mediated", "root"), "[vm]\nclass = safety\n")
    host.vm("ivi", vdev("root", "mediated", "rot"))
    host.vm("taker", vdev("d", "exclusive", "../../disk.img"))
    host.vm("p", vdev("net", "peer", "q/net", "virtio-net"))
    host.vm("q", vdev("net", "peer", "r/net", "virtio-net"))
    host.vm("r", vdev("net", "peer", "q/net", "virtio-net"))
    host.vm("big", f"memory {HUGE}\n")
    host.vm("fast", 'cpu "sched": "sporadic", "period_ns": 1000, "budget_ns": 1000\n' * 60)
    host.vm("far", 'cpu "runmask": [255]\n')
    host.vm("twin1", "system twin\n")
    host.vm("twin2", "system twin\n")
    host.vm("up", "", "[vm]\nclass = safety\nafter = a\n")
    host.vm("user", vdev("d", "referred", "a/disk"), "[vm]\nclass = safety\n")
    host.vm("good", "memory 4096\n")
    host.start()
    want = {
        "a": "a.qvmconf:1:1: error: " + disk + " of 'd' is claimed twice: VM b has it as 'd'",
        "b": "b.qvmconf:2:1: error: ../../shared.img of 'd' is claimed twice: VM a has it as 'd', under the name "
             + disk,
        "ivi": "ivi.qvmconf:1:1: error: 'root' is a share without policy: no file of mediator.d has a [share ivi/rot]; "
               "did you mean 'ivi/root'?",
        "taker": "taker.qvmconf:1:1: error: ../../disk.img of 'd' is claimed twice: the mediator has it as 'd0'",
        "p": "p.qvmconf:1:1: error: peer q/net of 'net' does not name this one: its own peer is r/net",
        "big": "big.qvmconf:1:1: error: " + str(HUGE >> 20) + " MiB of memory are more than the board has",
        "fast": "fast.qvmconf:1:1: error: 60.00 CPUs are reserved for it, more than the board has",
        "far": "far.qvmconf:1:1: error: cpu 0 may run on CPUs only that the board does not have",
        "twin1": "twin1.qvmconf: error: system twin is that of VM twin2 as well",
        "twin2": "twin2.qvmconf: error: system twin is that of VM twin1 as well",
        "up": "up.vm:3: error: after = a: that VM is of a lower class",
        "user": "user.qvmconf:1:1: error: refer:a/disk of 'd': that VM is of a lower class",
    }
    answer = host.json("check", want=CONFIG)
    found = {i["name"]: (i["ok"], "\n".join(i["lines"])) for i in answer["items"]}
    for name, (ok, text) in found.items():
        same(ok, name not in want, f"{name}: {text}")
        check(want.get(name, "") in text, f"{name}: {text!r} says not {want.get(name)!r}")
    check(set(want) < set(found) and "good" in found, found)
    for name in ("cluster", "q", "r", "good"):
        host.ctl("start", name)
    _, _, err = host.ctl("start", "ivi", want=CONFIG)
    check(want["ivi"] in err, err)
    check("without policy" in host.status("ivi")["reason"], host.status("ivi"))


def test_who_keeps_it(host):
    """Of two that claim one disk the higher class has it, and who runs."""
    open(host.dir / "d", "wb").close()
    claim = vdev("d", "exclusive", "../../d")
    host.vm("low", claim, "[vm]\nclass = best-effort\nautostart = yes\n")
    host.vm("high", claim, "[vm]\nclass = safety\nautostart = yes\n")
    host.start()
    host.wait_state("high", "running")
    host.wait_state("low", "failed")
    check("VM high has it" in host.ctl("start", "low", want=CONFIG)[2], "why it is refused")
    host.ctl("stop", "high")
    # Not started, but of a higher class: what may start keeps its claim.
    host.ctl("start", "low", want=CONFIG)
    host.vm("high", "", "[vm]\nclass = safety\n")
    host.ctl("start", "low")
    host.vm("high", claim, "[vm]\nclass = safety\n")
    check("VM low has it" in host.ctl("start", "high", want=CONFIG)[2], "who runs keeps it")
    # Nobody is harmed by a second reader.
    host.ctl("stop", "low")
    host.vm("reader", vdev("d", "exclusive", "<../../d"))
    host.vm("low", vdev("d", "exclusive", "<../../d"), "[vm]\nclass = best-effort\n")
    host.vm("high", "", "[vm]\nclass = safety\n")
    host.ctl("start", "low", "reader")


def test_refused_before_anything_starts(host):
    """A restart with a configuration that was made wrong meanwhile; events say all at the beginning."""
    host.vm("a", vdev("r", "mediated", "none"), "[vm]\nautostart = yes\n")
    host.vm("idle", vdev("r", "mediated", "none"))
    host.vm("b", "", "[vm]\nautostart = yes\n")
    host.start()
    host.wait_state("b", "running")
    host.wait_state("a", "failed")
    same(host.status("a")["starts"], 1)
    wait_for("what is wrong with a VM that nobody starts", lambda: any(
        e["kind"] == "vm_refused" and e["subject"] == "idle"
        for e in map(json.loads, host.ctl("--json", "events")[1].splitlines())))
    host.vm("b", vdev("r", "mediated", "none"))
    check("without policy" in host.ctl("reboot", "b", want=CONFIG)[2], "a reboot is a start")
    host.vm("b", "")
    host.ctl("start", "b")


def test_own_errors_are_qvms(host):
    """What is wrong with one alone is what its qvm says; a plan that hangs keeps nobody of a higher class waiting."""
    host.vm("bad", "bad no such option")
    host.vm("hangs", "slow-check", "[vm]\nclass = best-effort\n")
    host.vm("a", "", "[vm]\nclass = safety\nautostart = yes\n")
    host.start()
    host.wait_state("a", "running")
    (host.dir / "etc/vms/hangs.qvmconf").unlink()
    ok, text = lines_of(host, "bad")
    same((ok, "bad.qvmconf:1:1: error: no such option" in text), (False, True), text)


def test_plan(host):
    host.vm("a", "system ay\nmemory 4096\n")
    host.vm("bad", "bad no such option")
    host.start()
    same(host.ctl("plan", "a")[1], "system  ay\n")
    plan = json.loads(host.ctl("--json", "plan", "a")[1])
    same((plan["schema"], plan["system"], plan["memory"][0]["bytes"]), (1, "ay", 4096))
    check("no such option" in host.ctl("plan", "bad", want=CONFIG)[2], "why there is none")
    host.ctl("plan", "none", want=NO_SUCH)
    same(host.status("a")["state"], "off")
    same(host.ctl("check", "a")[0], OK)


if __name__ == "__main__":
    main(globals())
