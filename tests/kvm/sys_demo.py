#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tools/demo, as a user runs it: twice, from a path with a space, and with --keep."""

import os
import re
import signal
import struct
import subprocess

import kvmtest
import sysworld
import wav
from kvmtest import equal, expect
from sysworld import alive, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO_S = 170


def demo(host, *words):
    """tools/demo from this checkout through a path with a space, its programs too: what it said."""
    here = host.path("a checkout")
    if not os.path.islink(here):
        os.symlink(TOP, here)
        os.symlink(host.build, host.path("a build"))
    r = subprocess.run([os.path.join(here, "tools", "demo"), "--build", host.path("a build"), "--seconds", "1", *words],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=DEMO_S, check=False)
    equal(r.returncode, 0, f"exit status of the demo, which said:\n{r.stdout}")
    return r.stdout


def whole(said):
    for part in ("(a) cluster alone", "(b) ivi floods", "(c) the same, priorities off", "Everything was right."):
        expect(part in said, f"{part!r} is missing in:\n{said}")
    equal(len(re.findall("all content verified", said)), 2, f"guests that verified all:\n{said}")


def sounded(said, folder):
    """Part two: what it says of the chime and the music, and what it leaves."""
    for part in (r"ducked, because of cluster/sound", r"chime, from sending to hearing +worst .*, bound 15\.00 ms",
                 r"music before, under, after it +.* dB down, policy 20 dB",
                 r"xruns of cluster and of ivi +\d+ and \d+"):
        expect(re.search(part, said), f"{part!r} is missing in:\n{said}")
    with open(os.path.join(folder, "sound", "heard.png"), "rb") as f:
        head = f.read(24)
    expect(head.startswith(b"\x89PNG\r\n\x1a\n"), "the picture is no PNG")
    equal(struct.unpack(">II", head[16:]), (1000, 420), "size of the picture")
    w = wav.Wav(os.path.join(folder, "sound", "heard.wav"))
    expect(w.rate == 48000 and w.n_channels == 1 and w.seconds() > 6, f"{w.seconds()} s were heard")


def t_twice(host):
    """In a folder whose name has a space, twice in a row in the same one."""
    for _ in range(2):
        said = demo(host, "--dir", host.path("the demo's state"))
        whole(said)
        sounded(said, host.path("the demo's state"))


def t_keep(host):
    """--keep leaves all running; what it says at the end takes it down again."""
    said = demo(host, "--keep", "--dir", host.path("kept"))
    sounded(said, host.path("kept"))
    pid = int(re.search(r"kill (\d+)", said.rsplit("at the end", 1)[1])[1])
    ctl = [host.path("bin", "hostctl"), "--run-dir", host.path("kept", "run")]
    try:
        equal(subprocess.run([*ctl, "list"], stdout=subprocess.DEVNULL, check=False).returncode, 0, "hostctl list")
        for name in ("cluster", "ivi"):
            equal(subprocess.run([*ctl, "stop", name], stdout=subprocess.DEVNULL, timeout=kvmtest.WAIT_S,
                                 check=False).returncode, 0, f"hostctl stop {name}")
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for("hostd to end", lambda: not alive(pid))


if __name__ == "__main__":
    sysworld.main(globals())
