#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""qemu-storage-daemon as the back end of qvm: another's vhost-user-blk under our front end and our guest."""

import os
import shutil
import signal
import sys

import kvmtest
import sysworld
from kvmtest import equal, expect
from sysworld import MIB, fields, wait_for, worker_done

DISK = "vdev virtio-blk hostdev \"vhost-user:{socket}\" name data"


def daemon(host):
    """The daemon, when its socket is there. SKIPPED when it is not installed."""
    program = shutil.which("qemu-storage-daemon")
    if not program:
        print("skipped: qemu-storage-daemon is not installed")
        sys.exit(kvmtest.SKIPPED)
    path = host.path("qsd.sock")
    if os.path.exists(path):
        os.unlink(path)
    log = open(host.path("qsd.log"), "ab")
    p = host.spawn([program, "--blockdev", f"driver=file,node-name=disk,filename={host.path('disk.img')}",
                    "--export", f"type=vhost-user-blk,id=e,node-name=disk,writable=on,addr.type=unix,addr.path={path}"],
                   stdout=log, stderr=log)
    log.close()
    wait_for("the daemon's socket", lambda: os.path.exists(path) or p.poll() is not None)
    expect(p.poll() is None, "qemu-storage-daemon ended at once")
    return p


def guest(host, cmdline):
    host.disk(16)
    host.vm("a", "normal", "region=8 " + cmdline, disks=DISK.format(socket=host.path("qsd.sock")))


def t_data(host):
    """Random reads, writes and flushes, many at once, all content verified; beside it the disk is as it was."""
    guest(host, "start=4M secs=2 qd=16 segs=3 bs=16384 flush_every=20 seed=3")
    daemon(host)
    host.start(mediator=False)
    total = worker_done(host.start_vm("a"))
    print(f"{total['ops']} requests, verified={total['verified']}")
    expect(int(total["wr_ops"]) > 10 and int(total["fl_ops"]) > 1, str(total))
    wait_for("the VM to be off", lambda: host.status("a")["state"] == "off")
    sysworld.generations(host.read_disk(4 * MIB, 8 * MIB), 8192, 3, 16384)
    for at in (0, 12):
        equal(host.read_disk(at * MIB, 4 * MIB), b"\x5a" * (4 * MIB), f"the disk from {at} MiB on")
    host.end_hostd()


def t_restart(host):
    """The daemon is killed and started again, three times, under one request at a time: the guest sees a stall.

    The daemon has no in-flight tracking: what was out when it died begins again behind the last request that was
    answered. That is all of it as long as requests are answered in the order in which they came (see qvmconf(5)).
    """
    guest(host, "secs=0 qd=1 live=1 flush_every=50 seed=4")
    p = daemon(host)
    host.start(mediator=False)
    a = host.start_vm("a")
    pid = host.status("a")["pid"]
    for _ in range(3):
        a.wait(r"^blk: t=\d+ ops=[1-9]", a.mark())
        p.send_signal(signal.SIGKILL)
        p.wait()
        p = daemon(host)
    a.wait(r"^blk: t=\d+ ops=[1-9]", a.mark())
    equal(host.status("a")["pid"], pid, "the VM's process")
    a.key("q")
    total = worker_done(a)
    worst = max(float(fields(line)["max_us"]) for line in a.text().splitlines() if line.startswith("blk: t="))
    print(f"{total['ops']} requests, verified={total['verified']}, longest {worst / 1000:.1f} ms")
    host.end_hostd()


def t_absent(host):
    """A back end that is not there: a sentence with its name, and nothing runs."""
    guest(host, "secs=1")
    host.start(mediator=False)
    said = host.ctl("start", "a", code=sysworld.FAILED)
    expect("qsd.sock" in said and "is not there" in said and "is it running" in said, said)
    host.end_hostd()


if __name__ == "__main__":
    sysworld.main(globals())
