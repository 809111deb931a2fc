# SPDX-License-Identifier: Apache-2.0
"""A host with 32 VMs: how fast they start and stop, how fast an operator is answered, what hostd itself takes."""

import os
import re
import statistics
import subprocess
import time

import proto
from table import Row
from world import Broken, Process

SUITE = "A host with 32 VMs"
N_VMS = 32
ASKED = 50          # times that an operator asks, a round
HLT_FOREVER = bytes.fromhex("fa f4 ebfd")   # cli; 1: hlt; jmp 1b: a guest that waits for ever, and takes no time
KIB = 1024
STATS_MS = 2
OWN_KIB, VM_KIB = 4 * KIB, 32

GUEST = """\
system {name}
ram 4m
cpu
load "{image}"
vdev ioapic name apic
vdev ser8250 intr apic:4 hostdev -
"""


class Hostd(Process):
    def __init__(self, world, n_vms):
        self.folder = world.path("host")
        vms = os.path.join(self.folder, "etc", "vms")
        os.makedirs(vms, exist_ok=True)
        bins = os.path.join(self.folder, "bin")
        os.makedirs(bins, exist_ok=True)
        for name in ("qvm", "mediator", "hostd", "hostctl"):
            link = os.path.join(bins, name)
            if not os.path.lexists(link):
                os.symlink(world.program(name), link)
        image = os.path.join(self.folder, "wait.bin")
        with open(image, "wb") as f:
            f.write(HLT_FOREVER)
        self.names = [f"vm{i:02}" for i in range(n_vms)]
        for name in self.names:
            with open(os.path.join(vms, name + ".qvmconf"), "w", encoding="utf-8") as f:
                f.write(GUEST.format(name=name, image=image))
            with open(os.path.join(vms, name + ".vm"), "w", encoding="utf-8") as f:
                f.write("stop-timeout = 10ms\n")    # this guest hears no power button
        self.run_dir = os.path.join(self.folder, "run")
        super().__init__(world, "hostd", [
            os.path.join(bins, "hostd"), "--config-dir", os.path.join(self.folder, "etc"), "--state-dir",
            os.path.join(self.folder, "state"), "--run-dir", self.run_dir, "--bin-dir", bins],
            stdout=subprocess.DEVNULL)

    def wait_ready(self):
        self.wait_for(lambda: "ev=ready" in self.log_text(), "ev=ready")

    def ctl(self, *words):
        """Seconds that it took."""
        start = time.monotonic()
        r = subprocess.run([os.path.join(self.folder, "bin", "hostctl"), "--run-dir", self.run_dir, *words],
                           capture_output=True, text=True, timeout=120, check=False)
        if r.returncode:
            raise Broken(f"hostctl {words[0]} ended with {r.returncode}: {r.stderr.strip()[-300:]}")
        return time.monotonic() - start

    def rss_kib(self):
        """What is its own: not the pages of libraries, which all processes share."""
        with open(f"/proc/{self.proc.pid}/smaps_rollup", encoding="ascii") as f:
            return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB", f.read(), re.M))


def answers_ms(channel, body, reply):
    took = []
    for _ in range(ASKED):
        start = time.monotonic()
        channel.ask(body, reply)
        took.append((time.monotonic() - start) * 1000)
    return statistics.median(took)


def run(world, rounds):
    world.need_kvm()
    h = world.start(Hostd, N_VMS)
    got = {k: [] for k in ("start", "stop", "stats", "list", "ctl", "alone", "vm")}
    for _ in range(rounds):
        alone = h.rss_kib()
        got["alone"].append(alone / KIB)
        got["start"].append(N_VMS / h.ctl("start", *h.names))
        channel = proto.Channel(world.schema, os.path.join(h.run_dir, "hostd.sock"))
        got["stats"].append(answers_ms(channel, {"stats_request": {}}, "stats_reply"))
        got["list"].append(answers_ms(channel, {"list_request": {}}, "list_reply"))
        channel.close()
        got["ctl"].append(statistics.median(h.ctl("stats") for _ in range(5)) * 1000)
        got["vm"].append(max(0, h.rss_kib() - alone) / N_VMS)
        got["stop"].append(N_VMS / h.ctl("stop", *h.names))
    # A hostd that has just started owes nothing to an earlier round.
    total = [a * KIB + v * N_VMS for a, v in zip(got["alone"], got["vm"])]
    return [
        Row(SUITE, "started, one after another", "VMs/s", got["start"]),
        Row(SUITE, "stopped, their guests deaf: 10 ms, then the power cut", "VMs/s", got["stop"]),
        Row(SUITE, "statistics of all, from request to answer", "ms", got["stats"], target=("median", "<=", STATS_MS)),
        Row(SUITE, "the list of all, from request to answer", "ms", got["list"]),
        Row(SUITE, "hostctl stats, with the start and end of hostctl", "ms", got["ctl"]),
        Row(SUITE, "hostd's own memory, no VM running", "MiB", got["alone"]),
        Row(SUITE, "a VM more", "KiB", got["vm"]),
        Row(SUITE, "hostd's own memory with 32", "KiB", total, target=("worst", "<=", OWN_KIB + VM_KIB * N_VMS)),
    ]
