#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""QEMU's vhost-user-snd-pci, which QEMU has since 9.0, as a front end of our mediator: a guest plays a tone, which is
in the WAV file that the mediator made, and records another one.

Not here: a mediator that is killed. Of QEMU 10 this device cannot begin on a socket that is connected again."""

import os
import re
import subprocess
import sys

import med
from med import check

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "kvm"))
import wav  # noqa: E402

POLICY = """
[sound speaker]
file = heard.wav
rate = 48000
[voice guest/sound]
device = speaker
class = normal
role = media
"""
RUN = os.environ["NEWQEMU"]
GUEST = os.path.join(os.environ["GUESTS"], "sounder.elf")
LEVEL = 16384


def accelerator():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-M", "q35,accel=tcg", "-cpu", "max"]
    return ["-M", "q35,accel=kvm", "-cpu", "host,-arch-capabilities"]


def qemu(sock, keys, folder):
    args = [RUN, "qemu-system-x86_64", *accelerator(), "-m", "128M", "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-object", "memory-backend-memfd,id=m,size=128M,share=on", "-machine", "memory-backend=m",
            "-chardev", f"socket,id=c,path={sock}", "-device", "vhost-user-snd-pci,chardev=c",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-serial", f"file:{folder}/serial",
            "-kernel", GUEST, "-append", "exit=debug " + keys]
    with open(folder + "/qemu.log", "wb") as log:
        return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def said(folder):
    try:
        with open(folder + "/serial", encoding="utf-8", errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def qemu_end(p, folder):
    """The guest's own verdict; what it said."""
    med.wait_for("the guest's end", lambda: p.poll() is not None, 80)
    with open(folder + "/qemu.log", encoding="utf-8", errors="replace") as f:
        check("guest: done ok" in said(folder), f"the guest says: {said(folder)[-2000:]}\nQEMU: {f.read()[-2000:]}")
    return said(folder)


def loud(folder, hz):
    """Windows of 20 ms in which the tone has its level, and the highest."""
    w = wav.Wav(folder + "/heard.wav")
    n = w.rate // 50
    levels = [wav.tone(w.channels[0][i:i + n], w.rate, hz) for i in range(0, w.n - n + 1, n)]
    return sum(v > 0.9 * LEVEL / 32768 for v in levels), max(levels, default=0)


def guest_plays():
    with med.Folder() as d:
        with med.Mediator(d, POLICY) as m:
            p = qemu(m.socket("guest/sound"), f"play=tone:1000:{LEVEL}:1000 periods=16", d)
            out = qemu_end(p, d)
            check("errors=0" in out and "frames=48000" in out, out)
        windows, level = loud(d, 1000)
        check(windows >= 45, f"the tone sounds in {windows} windows of 20 ms")
        check(abs(level - LEVEL / 32768) < 0.01, f"its level is {level}")


def guest_records():
    with med.Folder() as d:
        wav.write_tone(d + "/in.wav", 500, 0.25, 30)
        with med.Mediator(d, POLICY.replace("rate =", "file-capture = in.wav\nrate =") + "capture = 1\n") as m:
            out = qemu_end(qemu(m.socket("guest/sound"), "record_ms=1000 periods=16", d), d)
        heard = re.findall(r"snd: heard channel=\d peak=(\d+) rms=(\d+)", out)
        check(len(heard) == 2 and "errors=0" in out, out)
        for peak, rms in heard:
            check(abs(int(peak) - 8192) < 90 and abs(int(rms) - 5793) < 120, out)


if not os.path.exists(RUN):
    med.skip("there is no newer QEMU (tools/newqemu)")
if not os.path.exists(GUEST):
    med.skip("there is no sounder.elf: the test guests are built on x86-64 hosts only")
med.run_tests(guest_plays, guest_records)
