#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The ways in which a guest may see a virtio device: packed rings, virtio 0.9.5, INTA; over PCI and MMIO; and what
virtio-blk can do, with the host's file looked at from both sides."""

import mmap
import os
import re
import signal

import kvmtest
from kvmtest import expect

MIB = 1 << 20
MMIO = "loc mem:0xf0000000 intr pic:5"
MMIO_WORDS = "mmio=0xf0000000,5"


def make_disk(b, name="disk.img", mib=16):
    b.write(name, bytes([0x5a]) * (mib * MIB))


def content(b, words, extra="", says=()):
    """Verified reads and writes, and both margins of the region untouched."""
    make_disk(b)
    words += " ops=600 qd=16 segs=4 flush_every=50 start=4M region=2M"
    r = b.start(b.machine("blkworker", words, f"vdev virtio-blk hostdev disk.img {extra}"))
    r.wait(0)
    total = re.search(r"blk: total .* err=0 .* verified=(\d+) .* irqs=(\d+)", r.out())
    expect(total and int(total[1]) > 1000, r.said())
    expect("guest: done ok" in r.out(), r.said())
    for text in says:
        expect(text in r.out(), f"the guest did not say {text}\n{r.said()}")
    expect("guest_fault" not in r.err(), r.said())
    with open(b.path("disk.img"), "rb") as f:
        data = f.read()
    expect(data[:4 * MIB] + data[6 * MIB:] == b"\x5a" * (14 * MIB), "the guest wrote outside its region")
    return int(total[2])


def t_packed_pci(b):
    for words in ("", "indirect=0", "event_idx=0", "queue_size=128"):
        content(b, "packed=1 " + words, says=["packed=1"])


def t_packed_mmio(b):
    content(b, "packed=1 " + MMIO_WORDS, MMIO, ["packed=1", "dev=mmio-"])
    content(b, "packed=1 indirect=0 event_idx=0 " + MMIO_WORDS, MMIO, ["packed=1", "dev=mmio-"])


def t_legacy_pci(b):
    irqs = content(b, "", "legacy", ["legacy=1", "packed=0", "dev=pci-"])
    expect(irqs > 0, "no interrupt came")
    content(b, "packed=1 indirect=0 event_idx=0", "legacy", ["legacy=1", "packed=0"])


def t_legacy_mmio(b):
    content(b, MMIO_WORDS, "legacy " + MMIO, ["legacy=1", "dev=mmio-"])


def t_inta(b):
    """Without MSI-X, both interfaces; two devices, whose lines differ."""
    for extra, says in (("", "legacy=0"), ("legacy", "legacy=1")):
        irqs = content(b, "intx=1", extra, [says])
        expect(irqs > 0, "no interrupt came")


def t_legacy_hostile(b):
    """A guest that breaks every rule it can of a device of virtio 0.9.5."""
    for words, extra in (("", ""), (MMIO_WORDS, MMIO)):
        make_disk(b)
        r = b.start(b.machine("hostile", "wait_ms=5 every=3 " + words,
                              f"vdev virtio-blk hostdev disk.img legacy {extra}"))
        r.wait(0, 300)
        expect("guest: done ok" in r.out() and "lost=0" in r.out(), r.said())
        expect(os.path.getsize(b.path("disk.img")) == 16 * MIB, "the file has another size")


def check(b, words, disk="disk.img", extra="", **how):
    return b.start(b.machine("blkcheck", words, f"vdev virtio-blk hostdev {disk} {extra}"), **how)


def said(r, *texts):
    expect("guest: done ok" in r.out(), r.said())
    for text in texts:
        expect(re.search(text, r.out()), f"the guest did not say {text}\n{r.said()}")


def t_operations(b):
    """Every request, good and bad, over each interface; what the file holds afterwards."""
    for words, extra in (("", ""), ("packed=1", ""), (MMIO_WORDS, MMIO), ("", "legacy"),
                         (MMIO_WORDS, "legacy " + MMIO)):
        make_disk(b)
        r = check(b, words, extra=extra + " name first")
        r.wait(0)
        said(r, "blkcheck: id first", "blkcheck: write_zeroes ok", "blkcheck: discard ok", "blkcheck: flush ok",
             "blkcheck: bounds ok", "blkcheck: unknown ok", "blkcheck: write_cache ok", "capacity=32768",
             r"physical_exp=\d")
        with open(b.path("disk.img"), "rb") as f:
            data = f.read()
        expect(len(data) == 16 * MIB, "the file has another size")
        # Sectors 64 to 127 were written, 72 to 79 zeroed, 96 to 111 discarded; sector 128 is untouched.
        want = bytearray(b"\x5a" * (16 * MIB))
        want[64 * 512:128 * 512] = b"\xa5" * (64 * 512)
        want[72 * 512:80 * 512] = bytes(8 * 512)
        want[96 * 512:112 * 512] = bytes(16 * 512)
        expect(data == bytes(want), "the file does not hold what the guest did")


def t_read_only_operations(b):
    make_disk(b)
    r = check(b, "", disk="<disk.img")
    r.wait(0)
    said(r, "ro=1", "blkcheck: write refused ok", "blkcheck: bounds ok")
    with open(b.path("disk.img"), "rb") as f:
        expect(f.read() == b"\x5a" * (16 * MIB), "a read-only disk changed")


def is_direct(r, path):
    """Whether the process has the file open with O_DIRECT now."""
    folder = f"/proc/{r.process.pid}"
    for fd in os.listdir(folder + "/fd"):
        if os.readlink(f"{folder}/fd/{fd}") == path:
            with open(f"{folder}/fdinfo/{fd}", encoding="ascii") as f:
                return bool(int(re.search(r"flags:\s*(\d+)", f.read())[1], 8) & os.O_DIRECT)
    raise kvmtest.Failed(f"{path} is not open")


def host_bears(path):
    """What the host's file system does with direct requests: None when it has none at all, else whether it takes
    one at an odd address."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return None
    try:
        return os.preadv(fd, [memoryview(mmap.mmap(-1, 8192))[1:4097]], 0) == 4096
    except OSError:
        return False
    finally:
        os.close(fd)


def t_dio(b):
    """Past the cache where the host can; a guest whose memory does not bear it gets the cache, for good, and its
    answers."""
    make_disk(b)
    bears = host_bears(b.path("disk.img"))
    for words, dio, direct in (("", "enable", bears is not None), ("data_offset=1", "enable", bool(bears)),
                               ("data_offset=1", "disable", False)):
        r = b.start(b.machine("blkworker", f"secs=0 qd=8 region=2M {words}",
                              f"vdev virtio-blk hostdev disk.img dio {dio}"))
        r.until("blk: init done")
        expect(is_direct(r, b.path("disk.img")) == direct, f"O_DIRECT should be {direct} ({words} {dio})")
        r.signal(signal.SIGTERM)
        r.wait(0)
        said(r, "err=0")
        offs = len(re.findall("ev=dio_off", r.err()))
        expect(offs == (dio == "enable" and not direct), f"{offs} lines about it\n{r.said()}")
    print(f"the host takes direct requests at odd addresses: {bears}")


def t_late_disk(b):
    """The VM starts without the file; the guest sees the disk when it comes."""
    r = check(b, "wait=1", disk="late.img", extra="delayed forever")
    r.until("blkcheck: capacity=0")
    r.until("ev=disk_awaited", where="err")
    make_disk(b, "late.tmp")
    os.rename(b.path("late.tmp"), b.path("late.img"))
    r.wait(0)
    said(r, "blkcheck: came capacity=32768", "blkcheck: flush ok")
    expect("ev=disk_there" in r.err(), r.said())


def t_never_a_disk(b):
    r = check(b, "wait=1", disk="late.img", extra="delayed 1")
    r.until("blkcheck: capacity=0")
    r.until("ev=disk_missing .*No such file", where="err")
    r.signal(15)
    r.wait(0)


if __name__ == "__main__":
    kvmtest.main(globals())
