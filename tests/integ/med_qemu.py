#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""QEMU as the vhost-user front end of our mediator: a guest that verifies what it reads, beside another share's
traffic, and with the mediator killed and started again under it."""

import os
import shutil
import signal
import subprocess

import med
from med import check

POLICY = """
[device disk]
path = img
[share guest/disk]
device = disk
class = safety
length = 16M
[share other/disk]
device = disk
class = best-effort
offset = 16M
length = 16M
"""

QEMU = shutil.which("qemu-system-x86_64")
GUEST = os.path.join(os.environ["GUESTS"], "blkworker.elf")


def accelerator():
    """KVM, where it runs a guest at all; else TCG."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-M", "q35,accel=tcg", "-cpu", "max"]
    return ["-M", "q35,accel=kvm", "-cpu", "host,-arch-capabilities"]


def qemu(sock, keys, reconnect=False, accel=None):
    args = [QEMU, *(accel or accelerator()), "-m", "128M", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-object", "memory-backend-memfd,id=m,size=128M,share=on", "-machine", "memory-backend=m",
            "-chardev", f"socket,id=c,path={sock}" + (",reconnect=1" if reconnect else ""),
            "-device", "vhost-user-blk-pci,disable-legacy=on,chardev=c",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-serial", "stdio",
            "-kernel", GUEST, "-append", "exit=debug " + keys]
    return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def qemu_end(p):
    try:
        out = p.communicate(timeout=80)[0]
    except subprocess.TimeoutExpired:
        p.kill()
        out = p.communicate()[0]
        raise AssertionError("the guest does not end: " + out[-2000:])
    lines = [line.strip() for line in out.strip().splitlines()]
    check(lines and lines[-1] == "guest: done ok", "the guest's last word: " + out[-2000:])
    return out


def guest_verifies():
    with med.Folder() as d:
        med.image(d + "/img", 32, b"\xa5")
        with med.Mediator(d, POLICY) as m:
            other = med.vublk(m.socket("other/disk"), "--verify", "--depth", 16, "--secs", 3, "--read", 50)
            out = qemu_end(qemu(m.socket("guest/disk"), "secs=2 qd=16 flush_every=50"))
            check("verified=" in out and "err=0" in out, out[-2000:])
            got = med.vublk_end(other)
            check(got["errors"] == got["mismatches"] == 0, f"{got}")
            share = med.Control(m).stats()[0]["guest/disk"]
            check(share["read_ops"] > 100 and share["write_ops"] > 100 and share["flush_ops"] > 0, f"{share}")
            check(share["errors"] == share["faults"] == 0, f"{share}")


def mediator_is_killed():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            p = qemu(m.socket("guest/disk"), "secs=8 qd=8 live=1", reconnect=True)
            med.wait_for("the guest's traffic",
                         lambda: med.Control(m).stats()[0]["guest/disk"]["write_ops"] > 1000
                         or p.poll() is not None, 30)
            for _ in range(2):
                m.kill()
                before = m.log().count("ev=client_connected share=guest/disk")
                m.start()
                med.wait_for("the guest to come back",
                             lambda: m.log().count("ev=client_connected share=guest/disk") > before)
                med.wait_for("its traffic", lambda: med.Control(m).stats()[0]["guest/disk"]["write_ops"] > 200)
            out = qemu_end(p)
            check("err=0" in out, out[-2000:])
            check(med.Control(m).stats()[0]["guest/disk"]["read_ops"] > 0, "the last mediator served it")


if not QEMU:
    med.skip("qemu-system-x86_64 is not installed (tools/packages test)")
if not os.path.exists(GUEST):
    med.skip("there is no blkworker.elf: the test guests are built on x86-64 hosts only")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
med.run_tests(guest_verifies, mediator_is_killed)
