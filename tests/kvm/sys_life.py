#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The main job: a safety guest and a best-effort guest on one disk through the mediator, run by hostctl; and what
hostctl says of them, as text, as JSON and as exit codes."""

import fcntl
import glob
import os
import pty
import re
import struct
import subprocess
import termios
import time

import sysworld
from kvmtest import equal, expect
from sysworld import ALREADY, MIB, NOT_RUNNING, NO_SUCH, alive, fields, wait_for, worker_done

WORK = "region=4 secs=0 qd=4 flush_every=100 live=1"


def two_guests(host):
    host.disk()
    host.policy(("cluster", "safety", "depth = 4"), ("ivi", "best-effort"))
    host.vm("cluster", "safety", WORK + " seed=1")
    host.vm("ivi", "best-effort", WORK + " seed=2 qd=32 bs=65536 region=16")
    return host.start()


def check_list(host):
    answer = host.json("list")
    vms = {v["name"]: v for v in answer["vms"]}
    equal(sorted(vms), ["cluster", "ivi"], "VMs")
    for name, klass in (("cluster", "safety"), ("ivi", "best-effort")):
        v = vms[name]
        equal((v["state"], v["want"], v["class"], v["starts"], v["exit_code"], v["reason"]),
              ("running", "up", klass, 1, None, ""), name)
        expect(alive(v["pid"]) and v["uptime_ms"] > 0, f"{name}: {v}")
        equal(v["config"], host.path("etc", "vms", name + ".qvmconf"), "config")
    for name, locked in (("cluster", True), ("ivi", False)):
        with open(f"/proc/{vms[name]['pid']}/status", encoding="utf-8") as f:
            kib = int(re.search(r"^VmLck:\s+(\d+)", f.read(), re.M)[1])
        # The address sanitizer makes nothing of mlock(2).
        equal(kib > 1024, locked and "ASAN_OPTIONS" not in os.environ, f"{name}: {kib} KiB of memory are locked")
    med, = answer["processes"]
    equal((med["name"], med["state"], med["starts"]), ("mediator", "running", 1), "mediator")
    text = host.ctl("list")
    expect(re.search(rf"cluster +safety +running +{vms['cluster']['pid']} ", text), text)
    expect(re.search(rf"\(mediator\) +- +running +{med['pid']} ", text), text)


def check_stats(host):
    before = host.share("cluster/data")
    wait_for("the guests to work on", lambda: host.share("cluster/data")["write_ops"] > before["write_ops"])
    answer = host.json("stats")
    equal(answer["mediator_error"], "", "mediator_error")
    shares = {s["share"]: s for s in answer["shares"]}
    equal(sorted(shares), ["cluster/data", "ivi/data"], "shares")
    for name, klass in (("cluster/data", "safety"), ("ivi/data", "best-effort")):
        s = shares[name]
        got = (s["class"], s["connected"], s["quarantined"], s["errors"], s["faults"])
        equal(got, (klass, True, False, 0, 0), name)
        expect(s["read_ops"] and s["write_ops"] and s["flush_ops"] and s["latency"]["n"], f"{name}: {s}")
        lat = s["latency"]
        expect(0 < lat["p50_ns"] <= lat["p99_ns"] <= lat["max_ns"], f"{name}: {lat}")
    expect(shares["cluster/data"]["bound_ns"] > 0, "the safety share has a bound")
    vms = {v["name"]: v["counters"] for v in answer["vms"]}
    equal(sorted(vms), ["cluster", "ivi"], "VMs in stats")
    expect(vms["cluster"]["exit.io"] > 0, "counters")
    expect("cluster/data" in host.ctl("stats") and "BOUND" in host.ctl("stats"), "stats as text")


def t_life(host):
    """Start, list, status, stats, console, stop: of two guests that read and write all the time."""
    two_guests(host)
    equal(host.status("ivi")["state"], "off", "before it was started")
    expect(re.fullmatch(r"cluster: running \(process \d+\)\n", host.ctl("start", "cluster")), "the answer to start")
    cluster, ivi = host.console("cluster"), host.start_vm("ivi")
    expect("runs already" in host.ctl("start", "cluster", code=ALREADY), "a second start")
    for console in (cluster, ivi):
        console.wait("^blk: init done")
        console.wait("^blk: t=")
    check_list(host)
    check_stats(host)
    pids = host.note_pids()
    since = cluster.mark()
    cluster.key("s")
    expect(int(fields(cluster.wait("^blk: stats", since))["ops"]) > 0, "the console takes keys")
    expect("blk: init done" in host.ctl("console", "--log", "ivi"), "the console's past")
    host.ctl("priorities", "off")
    equal(host.json("stats")["devices"][0]["priorities"], False, "priorities")
    host.ctl("priorities", "on")
    for console in (ivi, cluster):
        expect(re.fullmatch(rf"{console.name}: off: stopped\n", host.ctl("stop", console.name)), "the answer to stop")
        worker_done(console)
        s = host.status(console.name)
        got = (s["state"], s["want"], s["exit_code"], s["reason"], s["pid"])
        equal(got, ("off", "down", 0, "stopped", 0), console.name)
        host.ctl("stop", console.name, code=ALREADY)
    host.ctl("console", "ivi", code=NOT_RUNNING)
    host.ctl("stats", "ivi", code=NOT_RUNNING)
    host.ctl("start", "ivy", code=NO_SUCH)
    host.end_hostd()
    equal([p for p in pids if alive(p)], [], "processes left")
    # What the guests wrote lies in their shares and nowhere else.
    sysworld.generations(host.read_disk(0, 4 * MIB), 0, 1, 4096)
    equal(host.read_disk(4 * MIB, 12 * MIB), b"\x5a" * (12 * MIB), "beside cluster's region")
    sysworld.generations(host.read_disk(16 * MIB, 16 * MIB), 0, 2, 65536)


def t_again(host):
    """A guest that ends by itself is off, with its reason; it starts again on what it left, and may be killed."""
    host.disk(16)
    host.policy(("cluster", "safety"))
    host.vm("cluster", "safety", "region=4 secs=1")
    host.start()
    worker_done(host.start_vm("cluster"))
    wait_for("the VM to be off", lambda: host.status("cluster")["state"] == "off")
    s = host.status("cluster")
    equal((s["reason"], s["exit_code"]), ("guest powered off", 0), "end")
    host.vm("cluster", "safety", "region=4 secs=0 init=0 final=0 verify=0")
    host.start_vm("cluster").wait("^blk: ready", host.consoles[0].mark() - 1)
    host.ctl("kill", "cluster")
    s = host.status("cluster")
    equal((s["state"], s["reason"], s["exit_code"], s["starts"]), ("off", "power cut", 3, 2), "after kill")
    host.end_hostd()


def t_pause(host):
    """A guest that is paused stands still, is dumped as it is, and goes on where it was; a reboot is another run."""
    host.disk(16)
    host.policy(("cluster", "safety"))
    host.vm("cluster", "safety", "region=4 secs=0 live=1")
    with open(host.path("etc", "vms", "cluster.qvmconf"), "a", encoding="utf-8") as f:
        f.write(f"\ndump {host.path()}\n")
    host.start()
    cluster = host.start_vm("cluster")
    cluster.wait("^blk: t=")
    host.ctl("pause", "cluster")
    expect("paused" in host.ctl("list"), host.ctl("list"))
    def ops():
        return host.share("cluster/data")["write_ops"]
    wait_for("what was under way to end", lambda: ops() == (time.sleep(0.1), ops())[1])
    host.ctl("dump", "cluster")
    wait_for("the dump", lambda: glob.glob(host.path("cluster-*.gcore")))
    still, since = ops(), cluster.mark()
    time.sleep(0.3)
    equal((ops(), cluster.mark()), (still, since), "of a guest that stands still")
    host.ctl("resume", "cluster")
    wait_for("it to work on", lambda: ops() > still)
    cluster.wait("^blk: t=", since)
    pid = host.status("cluster")["pid"]
    host.ctl("reboot", "cluster")
    worker_done(cluster)
    s = host.status("cluster")
    expect(s["state"] == "running" and s["starts"] == 2 and s["pid"] != pid, f"{s}")
    host.end_hostd()


def t_console_size(host):
    """The size of the operator's terminal is the guest's, when its console is opened and when it changes."""
    conf = sysworld.GUEST.format(name="con", kernel=host.guest_file("console"), cmdline="multiport=1",
                                 disks="vdev virtio-console hostdev - port other")
    host.write(conf.replace("intr apic:4 hostdev -", f"intr apic:4 hostdev >{host.path('serial')}"),
               "etc", "vms", "con.qvmconf")
    host.start(mediator=False)
    host.ctl("start", "con")
    ours, theirs = pty.openpty()

    def resize(columns, rows):
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def seen(text):
        def look():
            with open(host.path("serial"), encoding="utf-8", errors="replace") as f:
                return text in f.read()
        wait_for(text, look)

    seen("con: ready")
    resize(80, 24)
    console = host.spawn(host.argv("console", "con"), stdin=theirs, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True,
                         preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0))
    seen("con: resize cols=80 rows=24")
    resize(132, 43)
    seen("con: resize cols=132 rows=43")
    console.kill()
    console.wait()
    os.close(ours)
    os.close(theirs)
    host.ctl("kill", "con")
    host.end_hostd()


if __name__ == "__main__":
    sysworld.main(globals())
