#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A hostile guest beside a safety guest that reads and writes: bad descriptors, indices, chains, loops, sizes,
addresses, registers, to every queue. Its own device suffers, it is counted and told, and the safety guest sees
nothing."""

import os
import re
import signal

import sysworld
from kvmtest import equal, expect
from sysworld import FAILED, MIB, fields, wait_for, worker_done

# Lines of hostd's log, its children's among them, that a whole run may cost: each fault is told once a kind and device,
# then as a sum once a minute. A run makes thousands of faults.
LOG_LINES_MAX = 100
ATTACK_S = 240
OWN = "vdev virtio-blk hostdev ../../own.img name own"
OWN_MMIO = "vdev virtio-blk hostdev ../../mmio.img name mmio loc mem:0xf8000000 intr apic:5"


def beside_cluster(host, disks, budget=1000000, cmdline="", guest="hostile"):
    """cluster works on its share; the console of ivi, whose guest has begun to attack."""
    host.disk()
    host.policy(("cluster", "safety"), ("ivi", "best-effort", f"fault-budget = {budget}"))
    host.vm("cluster", "safety", "region=4 secs=0 live=1 seed=1 think_us=500")
    host.vm("ivi", "best-effort", "wait_ms=1 rounds=10 " + cmdline, guest=guest, disks=disks)
    host.start()
    cluster = host.start_vm("cluster")
    cluster.wait("^blk: t=")
    return cluster, host.start_vm("ivi")


def attacked(console):
    """The guest's own verdict: each device came back after each attack. How many attacks."""
    total = fields(console.wait("^hostile: total", 0, ATTACK_S))
    console.wait("^guest: done ok", 0, ATTACK_S)
    equal(total["lost"], "0", "devices lost")
    return int(total["attacks"])


def unharmed(host, cluster, lines_max=LOG_LINES_MAX):
    """The safety guest has its process, its back end and its content; nobody wrote beside the shares."""
    s = host.share("cluster/data")
    equal((s["errors"], s["faults"], s["connected"]), (0, 0, True), "the share of cluster")
    equal(host.status("cluster")["starts"], 1, "starts of cluster")
    equal(host.mediator()["starts"], 1, "starts of the mediator")
    cluster.key("q")
    total = worker_done(cluster)
    print(f"cluster: {total['ops']} requests, err=0, verified={total['verified']}")
    sysworld.generations(host.read_disk(0, 4 * MIB), 0, 1, 4096)
    equal(host.read_disk(4 * MIB, 12 * MIB), b"\x5a" * (12 * MIB), "the disk beside cluster's region")
    lines = host.log().splitlines()
    expect(len(lines) < lines_max, f"{len(lines)} lines of log:\n" + "\n".join(lines))
    host.end_hostd()


def faults_told(host, device):
    """Lines of the log by kind: {why: how often}."""
    whys = re.findall(rf"vm=ivi .*ev=guest_fault dev={device} why=(\w+)", host.log())
    return {why: whys.count(why) for why in set(whys)}


def t_mediated(host):
    """Against a share of the mediator."""
    cluster, ivi = beside_cluster(host, sysworld.MEDIATED)
    n = attacked(ivi)
    s = host.share("ivi/data")
    expect(s["faults"] > 50 and not s["quarantined"], f"{n} attacks: {s}")
    print(f"{n} attacks, {s['faults']} faults counted by the mediator, {len(host.log().splitlines())} lines of log")
    told = re.findall(r"ev=queue_broken share=ivi/data n=(\d+)", host.log())
    expect(told and told[0] == "1" and len(told) <= 5, f"the mediator told {told}")
    expect(any(e["subject"] == "ivi/data" and e["kind"] == "queue_broken" for e in host.events()), "no event of it")
    expect("bad_request" in faults_told(host, "data"), host.log())
    equal(host.read_disk(16 * MIB, 16 * MIB), b"\x5a" * (16 * MIB), "the disk that only bad requests were sent to")
    unharmed(host, cluster)


def t_own(host):
    """Against a file of its own, by PCI and by MMIO."""
    for name in ("own.img", "mmio.img"):
        host.disk(16, name)
    cluster, ivi = beside_cluster(host, OWN + "\n" + OWN_MMIO, cmdline="mmio=0xf8000000,5")
    n = attacked(ivi)
    expect(re.search("^hostile: device dev=pci-", ivi.text(), re.M), ivi.text()[:500])
    expect(re.search("^hostile: device dev=mmio-", ivi.text(), re.M), ivi.text()[:500])
    for device in ("own", "mmio"):
        told = faults_told(host, device)
        expect({"bad_index", "bad_chain", "bad_addr"} <= told.keys(), f"{device}: {told}")
        expect(max(told.values()) <= 5, f"{device}: {told}")
        equal(host.read_disk(0, 16 * MIB, device + ".img"), b"\x5a" * (16 * MIB), device + ".img")
    print(f"{n} attacks, {len(host.log().splitlines())} lines of log")
    unharmed(host, cluster)


PC = """
vdev timer8254 intr apic:0
vdev mc146818
vdev pckeyboard
vdev hpet loc 0xf8008000 intr apic:0,apic:8,apic:10
vdev pci-dummy vendor 0x8086 device 0x9d4e class 0x060100
vdev progress
vdev wdt-ib700
vdev ser8250 loc 0x2f8 hostdev >/dev/null intr apic:3
"""


EVERY_VIRTIO = """
vdev virtio-blk hostdev ../../legacy.img name legacy legacy
vdev virtio-net peer nobody/a name a
vdev virtio-net peer nobody/b name b legacy
vdev virtio-net peer nobody/c name c loc mem:0xf8001000 intr apic:6
vdev virtio-console hostdev >/dev/null
vdev virtio-console hostdev >/dev/null loc mem:0xf8002000 intr apic:7
vdev virtio-entropy
vdev virtio-entropy loc mem:0xf8003000 intr apic:11
vdev virtio-snd hostdev null
vdev virtio-snd hostdev null loc mem:0xf8004000 intr apic:12
vdev shmem create storm,4096 allow storm
"""
WINDOWS = " ".join(f"window={0xf8000000 + 0x1000 * n:#x}" for n in range(5))
STORM_LINES_MAX = 300


def t_registers(host):
    """Every register of every device at random: STORM_MS, 5 s unless the environment says otherwise."""
    ms = int(os.environ.get("STORM_MS", "5000"))
    for name in ("own.img", "mmio.img", "legacy.img"):
        host.disk(16, name)
    devices = "\n".join((PC, OWN, OWN_MMIO, sysworld.MEDIATED, EVERY_VIRTIO))
    cluster, ivi = beside_cluster(host, devices, guest="pcdev", cmdline=f"test=storm storm_ms={ms} {WINDOWS}")
    n = int(fields(ivi.wait("^pc: storm accesses", 0, ATTACK_S + ms / 1000))["accesses"])
    ivi.wait("^guest: done ok")
    expect(n > 1000, f"{n} accesses in {ms} ms")
    print(f"{n} accesses, {len(host.log().splitlines())} lines of log")
    unharmed(host, cluster, STORM_LINES_MAX)


def t_quarantine(host):
    """A share whose guest has used up its fault budget is closed to it, also to its next start, until the mediator
    starts anew."""
    cluster, ivi = beside_cluster(host, sysworld.MEDIATED, budget=5, cmdline="lost=ok recover_ms=200")
    wait_for("the quarantine", lambda: host.share("ivi/data")["quarantined"])
    s = host.share("ivi/data")
    equal((s["faults"], s["connected"]), (5, False), "the share")
    expect("quarantined" in host.ctl("stats"), host.ctl("stats"))
    kinds = [e["kind"] for e in host.events() if e["subject"] == "ivi/data"]
    equal(kinds.count("client_quarantined"), 1, "events of it")
    # Nobody ends the guest for it: it goes when it has seen what it came for.
    wait_for("its own end", lambda: host.status("ivi")["state"] == "off")
    equal(host.status("ivi")["reason"], "guest powered off", "why")
    said = host.ctl("start", "ivi", code=FAILED)
    expect("hangs up on this guest" in said, said)
    # Cleared: the mediator ends, hostd starts another, and the safety guest sees no more than a stall.
    pid = host.mediator()["pid"]
    os.kill(pid, signal.SIGTERM)
    wait_for("another mediator", lambda: host.mediator()["pid"] not in (0, pid))
    wait_for("it to run", lambda: host.mediator()["state"] == "running")
    equal(host.share("ivi/data")["quarantined"], False, "quarantined after that")
    host.vm("ivi", "best-effort", "region=4 secs=0 ops=500 seed=2")
    worker_done(host.start_vm("ivi"))
    cluster.wait("^blk: t=", cluster.mark())
    cluster.key("q")
    worker_done(cluster)
    host.end_hostd()


if __name__ == "__main__":
    sysworld.main(globals())
