#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Linux's own driver of virtio-snd on the mediator: a stock kernel under QEMU's vhost-user-snd-pci, whose aplay plays
two tones of two formats, and whose arecord records a third. The processor is emulated: nothing is said of time."""

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
file-capture = in.wav
rate = 48000
[voice guest/sound]
device = speaker
class = normal
role = media
capture = 1
"""
RUN, GUEST = os.environ["NEWQEMU"], os.environ["SOUNDGUEST"]


def windows(w, hz, level):
    """How many windows of 20 ms have the tone at this level."""
    n = w.rate // 50
    return sum(abs(wav.tone(w.channels[0][i:i + n], w.rate, hz) - level) < 0.01 * level
               for i in range(0, w.n - n + 1, n))


def qemu(sock):
    return [RUN, "qemu-system-x86_64", "-M", "q35,accel=tcg", "-cpu", "max", "-m", "512M", "-nodefaults",
            "-no-user-config", "-display", "none", "-no-reboot",
            "-object", "memory-backend-memfd,id=m,size=512M,share=on", "-machine", "memory-backend=m",
            "-chardev", f"socket,id=c,path={sock}", "-device", "vhost-user-snd-pci,chardev=c",
            "-kernel", GUEST + "/kernel", "-initrd", GUEST + "/initrd",
            "-append", "console=ttyS0 quiet loglevel=3 panic=-1", "-serial", "stdio"]


def plays_and_records():
    with med.Folder() as d:
        wav.write_tone(d + "/in.wav", 500, 0.25, 90)
        with med.Mediator(d, POLICY) as m:
            p = subprocess.run(qemu(m.socket("guest/sound")), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", timeout=100, check=False)
        for text in ("playback 1 : capture 1", "guest: aplay s16 0", "guest: aplay f32 0", "guest: arecord 0"):
            check(text in p.stdout, f"the guest does not say {text}: {p.stdout[-3000:]}")
        got = re.search(r"guest: recorded (\d+) frames, peak (\d+)", p.stdout)
        check(got and int(got[1]) == 48000 and abs(int(got[2]) - 8192) < 90, p.stdout[-3000:])
        w = wav.Wav(d + "/heard.wav")
        # A guest that was not run for longer than its buffers hold is heard with a gap there.
        for hz, level, most in ((1000, 0.5, 100), (2000, 0.25, 50)):
            n = windows(w, hz, level)
            check(most * 3 // 4 <= n <= most, f"{hz} Hz at {level} is heard in {n} windows of 20 ms, of {most}")


if not os.path.exists(RUN):
    med.skip("there is no newer QEMU (tools/newqemu)")
if not os.path.exists(GUEST + "/initrd"):
    med.skip("there is no Linux guest with sound (tools/soundguest)")
med.run_tests(plays_and_records)
