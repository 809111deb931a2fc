# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel in the guests of the demo: what they boot, what their shares hold, and whether it was right.

A share is an ext4 file system with files whose sums the guest checks first (tools/board.d/guest-init says what else it
does), and one file, `load`, that the guest's block worker then reads, writes and verifies past the page cache.
"""

import hashlib
import os
import shutil
import struct
import subprocess

GUEST = """\
system {name}
ram 0,0xa0000
rom 0xc0000,0x40000
ram 1M,255M
cpu {sched}
load "{folder}/vmlinux"
initrd load "{initrd}"
cmdline "console=ttyS0 quiet loglevel=4 nokaslr panic=-1 rdinit=/init {words}"
vdev ioapic
    intr apic
    name ioapic
vdev ser8250
    intr ioapic:4
    hostdev -
vdev virtio-blk
    hostdev mediator:data
    name data
"""

SECTOR_BYTES = 512
MAGIC = 0x3159454C52415021      # of a sector that the worker wrote: tests/guests/blkworker/pattern.c
FILES = (0, 1, 511, 4097, 65536, 300000)
SEED = {"cluster": 1, "ivi": 2}


class Wrong(Exception):
    """What is on a disk is not what should be there."""


def cpio_member(name, mode, data):
    """One file of an archive as the kernel unpacks it."""
    name = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def write_initrd(base, program, to):
    """The guest's own archive with a program more: a later archive lies over an earlier one."""
    with open(program, "rb") as f:
        more = cpio_member("bin/blkload", 0o100755, f.read()) + cpio_member("TRAILER!!!", 0, b"")
    with open(to, "wb") as out:
        with open(base, "rb") as f:
            shutil.copyfileobj(f, out)
        out.write(bytes(-out.tell() % 4) + more)


def tool(*argv):
    env = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    path = shutil.which(argv[0], path=env["PATH"])
    if not path:
        raise Wrong(f"there is no {argv[0]}: run tools/packages guest")
    r = subprocess.run([path, *argv[1:]], capture_output=True, env=env, timeout=300, check=False)
    if r.returncode:
        said = (r.stdout + r.stderr).decode(errors="replace").strip().split("\n")[-1]
        raise Wrong(f"{argv[0]} ended with {r.returncode}: {said}")
    return r.stdout


class Share:
    """One guest's file system, and the place of its image in the disk."""

    def __init__(self, folder, name, share_bytes, load_bytes):
        self.name = name
        self.folder = os.path.join(folder, "shares", name)
        self.image = self.folder + ".ext4"
        self.share_bytes, self.load_bytes = share_bytes, load_bytes

    def make(self):
        data = os.path.join(self.folder, "data")
        os.makedirs(data)
        with open(os.path.join(self.folder, "manifest"), "w", encoding="ascii") as manifest:
            for n, size in enumerate(FILES):
                content = os.urandom(size)
                with open(os.path.join(data, f"file{n}"), "wb") as f:
                    f.write(content)
                manifest.write(f"{hashlib.sha256(content).hexdigest()}  data/file{n}\n")
        with open(os.path.join(self.folder, "load"), "wb") as f:
            # Not zeros: mkfs would leave them out, and the blocks would have to be found under load.
            f.write(os.urandom(self.load_bytes))
        tool("mkfs.ext4", "-q", "-F", "-E", "root_owner=0:0", "-d", self.folder, self.image,
             f"{self.share_bytes >> 10}k")

    def put(self, disk, offset):
        with open(disk, "r+b") as f, open(self.image, "rb") as image:
            f.seek(offset)
            shutil.copyfileobj(image, f)
            os.fsync(f.fileno())

    def take(self, disk, offset):
        with open(disk, "rb") as f:
            f.seek(offset)
            content = f.read(self.share_bytes)
        with open(self.image, "wb") as image:
            image.write(content)

    def cat(self, name):
        return tool("debugfs", "-R", f"cat {name}", self.image)

    def check(self):
        """From outside: the file system is clean, and holds what the guest said it wrote."""
        tool("e2fsck", "-f", "-n", self.image)
        files = b"".join(open(os.path.join(self.folder, "data", f"file{n}"), "rb").read()
                         for n in range(len(FILES)))
        if self.cat("from-guest") != files:
            raise Wrong(f"{self.name}: the file that the guest wrote is not what it read")
        load = self.cat("load")
        if len(load) != self.load_bytes:
            raise Wrong(f"{self.name}: load has {len(load)} bytes, not {self.load_bytes}")
        if hashlib.sha256(load).hexdigest() != self.cat("load.sum").decode().split(" ", maxsplit=1)[0]:
            raise Wrong(f"{self.name}: load is not on the disk as the guest read it back")
        self.check_sectors(load)
        return len(files) + len(load)

    def check_sectors(self, load):
        """Each was written by this guest's worker, for this place."""
        for at in range(0, len(load), SECTOR_BYTES):
            words = struct.unpack_from(f"<{SECTOR_BYTES // 8}Q", load, at)
            want = (MAGIC, at // SECTOR_BYTES, SEED[self.name])
            if (words[0], words[1], words[3]) != want or words[2] == 0:
                raise Wrong(f"{self.name}: sector {at // SECTOR_BYTES} of load was never written, "
                            "or is another's")
            if sum(words[:-1]) & 0xFFFFFFFFFFFFFFFF != words[-1]:
                raise Wrong(f"{self.name}: sector {at // SECTOR_BYTES} of load is torn")


class LinuxGuests:
    """Both guests with a kernel of Debian's, as tools/board makes it."""

    ended = "^guest: ok"
    plays = False       # Debian 12's kernel has no driver of virtio-snd

    def __init__(self, folder, build, state, region_mib):
        self.guest, self.build, self.state, self.region_mib = folder, build, state, region_mib
        self.initrd = os.path.join(state, "initrd")
        self.shares = {}

    def config(self, name, sched, words):
        args = ",".join(words)
        return GUEST.format(name=name, sched=sched, folder=self.guest, initrd=self.initrd,
                            words=f"guest.run=blkload guest.args={args}")

    def fill(self, disk, extents):
        """@extents: {name: (offset, length)} of the shares in @disk."""
        write_initrd(os.path.join(self.guest, "initrd"),
                     os.path.join(self.build, "tests", "guests", "blkload"), self.initrd)
        for name, (offset, length) in extents.items():
            share = Share(self.state, name, length, self.region_mib << 20)
            share.make()
            share.put(disk, offset)
            self.shares[name] = share

    def check(self, disk, extents):
        for name, (offset, _) in extents.items():
            self.shares[name].take(disk, offset)
            n = self.shares[name].check()
            print(f"  {name}: e2fsck: clean; {n} bytes that Linux wrote are on the disk")
