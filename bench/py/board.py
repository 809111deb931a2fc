# SPDX-License-Identifier: Apache-2.0
"""Linux from exec to userspace on both emulated boards, under qvm and under a QEMU that runs on the board with KVM.

Twice on each: on a board of two processors for the time by the board's clock, and on one of a single processor with
bench/insns.c, which counts what the board executes for it: the guest, the VMM and the board's kernel together.
"""

import mmap
import os
import re
import shutil
import struct
import subprocess

from table import Row
from world import TOP, Broken, Missing

SUITE = "Linux to userspace on an emulated board (256 MiB, a serial port)"
BOARD = os.path.join(TOP, "tools", "board")
PATIENCE_S = 900
ARCHES = {
    "x86": ("qemu-system-x86_64", "amd64", "x86_64-linux-gnu", "qemu-system-x86",
            ("bios-microvm.bin", "pvh.bin", "linuxboot_dma.bin"), "QEMU microvm"),
    "arm64": ("qemu-system-aarch64", "arm64", "aarch64-linux-gnu", "qemu-system-arm", (), "QEMU virt"),
}


def libraries(program, folders):
    """{name: path} of all that the loader will look for."""
    found, queue = {}, [program]
    while queue:
        said = subprocess.run(["readelf", "-d", queue.pop()], capture_output=True, text=True, check=True).stdout
        for name in re.findall(r"\(NEEDED\).*\[(.*)\]", said):
            path = next((p for p in (os.path.join(d, name) for d in folders) if os.path.exists(p)), None)
            if not path:
                raise Missing(f"{name} of {os.path.basename(program)} is nowhere")
            if name not in found:
                found[name] = path
                queue.append(path)
    return found


def unpacked_qemu(world, arch):
    """A folder to lay over the board's root: the package of the board's own architecture, and what it needs."""
    program, deb_arch, triplet, package, roms, _ = ARCHES[arch]
    debs = os.path.join(os.environ.get("PARLEY_BUILD_ROOT", os.path.join(TOP, "build")), "board", "qemu-" + arch)
    r = subprocess.run([os.path.join(TOP, "tools", "debs"), deb_arch, debs, package, "qemu-system-data", "seabios"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if r.returncode:
        raise Missing(f"no {package} for {deb_arch}: {r.stderr.strip()[-200:]}")
    root = world.path("qemu-" + arch)
    folders = [os.path.join(debs, *at, triplet) for at in (("usr", "lib"), ("lib",))]
    shutil.copytree(os.path.join(debs, "usr", "share", "seabios"), os.path.join(root, "share"), dirs_exist_ok=True,
                    ignore=lambda _, names: set(names) - set(roms))
    for name in roms:
        at = os.path.join(debs, "usr", "share", "qemu", name)
        if os.path.exists(at):
            shutil.copy(at, os.path.join(root, "share"))
    os.makedirs(os.path.join(root, "lib"))
    shutil.copy(os.path.join(debs, "usr", "bin", program), root)
    for name, path in libraries(os.path.join(root, program), folders).items():
        shutil.copy(path, os.path.join(root, "lib", name))
    return [f"{root}/{program}:/usr/bin/{program}", f"{root}/lib:/lib/{triplet}", f"{root}/share:/usr/share/qemu"]


class Count:
    """The number of instructions that a board has executed so far; None without the plugin."""

    def __init__(self, world, arch):
        self.path = world.path(f"insns-{arch}")
        with open(self.path, "wb") as f:
            f.write(bytes(8))
        with open(self.path, "rb") as f:
            self.page = mmap.mmap(f.fileno(), 8, access=mmap.ACCESS_READ)
        self.words = ["-smp", "1", "-plugin", f"{world.built('bench', 'libinsns.so')},out={self.path}"]

    def now(self):
        return struct.unpack("=Q", self.page[:8])[0]


def boots(world, arch, puts, rounds, count=None):
    """[{(vmm, event): value}] a round: seconds of the board, or instructions when they are counted."""
    argv = [BOARD, arch, "--timeout", str(PATIENCE_S), "--log", world.path(f"board-{arch}.log"),
            *(["--build", world.build] if arch == "x86" else [])]
    for put in (*puts, os.path.join(TOP, "bench", "board", "boots.sh") + ":/bin/boots"):
        argv += ["--put", put]
    for word in count.words if count else ():
        argv += ["--qemu", word]
    got, said = [], []
    with subprocess.Popen([*argv, "--", "boots", arch, str(rounds)], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT) as p:
        for line in p.stdout:
            said.append(line)
            m = re.match(r"(mark|memory) (\S+) (?:(\S+) )?([\d.]+)$", line.strip())
            if not m:
                continue
            vmm, event = m.group(2), m.group(3) or "memory"
            if (vmm, event) == ("qvm", "begin"):
                got.append({})
            got[-1][vmm, event] = count.now() if count and event != "memory" else float(m.group(4))
    if p.returncode or len(got) != rounds:
        raise Broken(f"the {arch} board ended with {p.returncode}: {''.join(said)[-400:]}")
    return got


def spans(got, vmm, to, scale):
    return [(r[vmm, to] - r[vmm, "begin"]) * scale for r in got]


def rows_of(arch, timed, counted):
    peer = ARCHES[arch][-1]
    pair = lambda got, to, scale: (spans(got, "qvm", to, scale), spans(got, "qemu", to, scale), peer)
    return [
        Row(SUITE, f"{arch}: exec to init, by the board's clock", "s", *pair(timed, "userspace", 1),
            ("ratio", "<=", 1)),
        Row(SUITE, f"{arch}: exec to the VMM's end, by the board's clock", "s", *pair(timed, "end", 1),
            ("ratio", "<=", 1)),
        Row(SUITE, f"{arch}: exec to init, instructions of the board", "G", *pair(counted, "userspace", 1e-9),
            ("ratio", "<=", 1)),
        Row(SUITE, f"{arch}: exec to the VMM's end, instructions", "G", *pair(counted, "end", 1e-9),
            ("ratio", "<=", 1)),
        Row(SUITE, f"{arch}: memory beyond guest RAM at init, Rss", "MiB", [r["qvm", "memory"] / 1024 for r in timed],
            [r["qemu", "memory"] / 1024 for r in timed], peer, ("worst", "<=", 4),
            "QEMU keeps the kernel and the initial root mapped"),
    ]


def run(world, rounds):
    for program in ("cpio", "depmod", "modprobe", "readelf"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise Missing(f"{program} is not installed: tools/packages board")
    rows = []
    for arch, what in ARCHES.items():
        world.peer(what[0])
        puts = unpacked_qemu(world, arch)
        timed = boots(world, arch, puts, rounds)
        counted = boots(world, arch, puts, min(rounds, 2), Count(world, arch))
        rows += rows_of(arch, timed, counted)
    return rows
