# SPDX-License-Identifier: Apache-2.0
"""Which machine it was: what a reader needs to judge the numbers, and nothing that names the machine."""

import os
import platform
import re
import subprocess

from world import Broken, Missing


def first_line(argv):
    try:
        r = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return (r.stdout or r.stderr).split("\n")[0].strip()


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        m = re.search(r"^model name\s*:\s*(.*)$", f.read(), re.M)
    return m.group(1) if m else platform.machine()


def kvm(world):
    if not os.path.exists("/dev/kvm"):
        return "none"
    modules = [m for m in ("kvm_intel", "kvm_amd", "kvm_pvm") if os.path.isdir(f"/sys/module/{m}")]
    kind = "guest ring 0 not probed"
    try:
        probe = world.json_of([world.built("tools", "kvmprobe"), "--json"], timeout=20)
        kind = (f"guest ring 0 {'native' if probe['native'] else 'emulated'}, "
                f"{probe['ns_per_instruction']:.{1 if probe['native'] else 0}f} ns an instruction")
    except (Missing, Broken):
        pass
    return f"{' '.join(modules) or 'built in'}; {kind}"


def describe(world):
    with open("/proc/meminfo", encoding="utf-8") as f:
        mem_kib = int(re.search(r"MemTotal:\s*(\d+)", f.read()).group(1))
    return {
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_gib": round(mem_kib / 1048576, 1),
        "kernel": re.sub(r"-.*", "", platform.release()),
        "kvm": kvm(world),
        "load_before": round(os.getloadavg()[0], 2),
        "qemu": re.sub(r".*version ([0-9]+\.[0-9]+\.[0-9]+).*", r"\1",
                       first_line(["qemu-system-x86_64", "--version"])),
        "fio": first_line(["fio", "--version"]),
        "root": os.geteuid() == 0,
    }
