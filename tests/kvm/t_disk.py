#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""virtio-blk on files: content, borders, modes, locks, and that steady work leaves the guest for nobody."""

import os
import re
import signal
import time

import kvmtest
from kvmtest import equal, expect

MIB = 1 << 20


def worker(b, words, disk="disk.img", extra=""):
    return b.machine("blkworker", words, f"vdev virtio-blk hostdev {disk} {extra}")


def make_disk(b, name="disk.img", mib=16):
    """A disk with a margin of known bytes on either side of what the worker may touch."""
    b.write(name, bytes([0x5a]) * (mib * MIB))


def t_content(b):
    """Random reads and writes in the middle; the guest checks every byte, and we check the margins."""
    make_disk(b)
    r = b.start(worker(b, "secs=2 start=4M region=8M qd=16 segs=4 flush_every=50"))
    r.wait(0)
    total = re.search(r"blk: total .* ops=(\d+) err=0 .* verified=(\d+)", r.out())
    expect(total and int(total[1]) > 100 and int(total[2]) > 1000, r.said())
    expect("guest: done ok" in r.out(), r.said())
    with open(b.path("disk.img"), "rb") as f:
        data = f.read()
    equal(len(data), 16 * MIB, "size of the file")
    expect(data[:4 * MIB] == b"\x5a" * (4 * MIB), "the guest wrote before its region")
    expect(data[12 * MIB:] == b"\x5a" * (4 * MIB), "the guest wrote behind its region")
    expect(b"\x5a" * 512 not in (data[i:i + 512] for i in range(4 * MIB, 12 * MIB, 512)), "a sector was not written")


def t_mmio(b):
    """virtio by MMIO on x86: the guest is told where it is on its command line; content verified, no exits for it."""
    make_disk(b)
    r = b.start(b.machine("blkworker", "secs=2 region=8M qd=8 mmio=0xf0000000,5",
                          "vdev virtio-blk hostdev disk.img loc mem:0xf0000000 intr pic:5"))
    r.wait(0)
    total = re.search(r"blk: total .* ops=(\d+) err=0 .* verified=(\d+)", r.out())
    expect(total and int(total[1]) > 100 and int(total[2]) > 1000, r.said())
    expect("guest: done ok" in r.out(), r.said())


def t_large_requests(b):
    """As many requests as the host's ring holds, each of many parts."""
    make_disk(b)
    r = b.start(worker(b, "secs=1 region=8M qd=128 bs=64K segs=6"))
    r.wait(0)
    expect("guest: done ok" in r.out(), r.said())


def t_read_only(b):
    make_disk(b)
    r = b.start(worker(b, "secs=1 init=0 final=0 verify=0 rw=100 region=8M", disk="<disk.img"))
    r.wait(0)
    expect("ro=1" in r.out() and "guest: done ok" in r.out(), r.said())
    with open(b.path("disk.img"), "rb") as f:
        expect(f.read() == b"\x5a" * (16 * MIB), "a read-only disk changed")


def t_two_disks(b):
    make_disk(b, "a.img")
    make_disk(b, "b.img")
    r = b.start(b.machine("blkworker", "secs=1 dev=1 region=4M",
                          "vdev virtio-blk hostdev a.img vdev virtio-blk hostdev b.img"))
    r.wait(0)
    with open(b.path("a.img"), "rb") as f:
        expect(f.read() == b"\x5a" * (16 * MIB), "the other disk changed")


def t_two_writers(b):
    """A disk has one writer; several readers are fine."""
    make_disk(b)
    first = b.start(worker(b, "secs=0"))
    first.until("blk: ready")
    second = b.start(worker(b, "secs=0").replace("system vm", "system other"))
    second.wait(64)
    expect("disk.img" in second.err() and "one writer" in second.err(), second.said())
    first.signal(signal.SIGTERM)
    first.wait(0)
    readers = [b.start(worker(b, "secs=0 init=0 final=0 verify=0 rw=100", disk="<disk.img")
                       .replace("system vm", f"system r{i}")) for i in range(2)]
    for r in readers:
        r.until("blk: init|blk: ready")
        r.signal(signal.SIGQUIT)
        r.wait(3)


def t_shrunk_file(b):
    """A file that becomes shorter under the guest gives it I/O errors, not an end."""
    make_disk(b)
    r = b.start(worker(b, "secs=0 init=0 final=0 verify=0 rw=100 errs=ok region=16M live=1"))
    r.until("blk: t=")
    os.truncate(b.path("disk.img"), MIB)
    r.until(r"blk: t=\d+ ops=\d+ err=[1-9]")
    r.signal(signal.SIGTERM)
    r.wait(0)


def exits(r, n_before):
    """The counters of the next status."""
    r.signal(signal.SIGUSR1)
    deadline = time.monotonic() + kvmtest.WAIT_S
    while True:
        blocks = r.err().split("ev=status")
        if len(blocks) > n_before + 1 and "type=virtio-blk" in blocks[-1]:
            return {k: int(v) for k, v in re.findall(r"name=exit\.(\w+) value=(\d+)", blocks[-1])}
        expect(time.monotonic() < deadline, f"no status\n{r.said()}")
        time.sleep(0.01)


def t_no_exits(b):
    """Steady block I/O: requests in by ioeventfd, completions by irqfd, and no exit to userspace at all."""
    make_disk(b)
    r = b.start(worker(b, "secs=5 region=8M qd=4 tick_ms=0"))
    r.until("blk: init done")
    time.sleep(0.5)
    first = exits(r, 0)
    time.sleep(2)
    second = exits(r, 1)
    r.wait(0)
    total = re.search(r"blk: total t=(\d+) ops=(\d+)", r.out())
    expect(total and int(total[2]) > 500, r.said())
    changed = {k: second[k] - first[k] for k in first if second[k] != first[k]}
    equal(changed, {}, f"exits in 2 s of {total[2]} requests in {total[1]} ms")
    print(f"0 exits in 2 s; {total[2]} requests in {total[1]} ms")


def t_hostile(b):
    """Bad descriptors, indices, chains, loops, sizes, addresses: the device gives up, qvm does not."""
    make_disk(b)
    r = b.start(b.machine("hostile", "", "vdev virtio-blk hostdev disk.img"))
    r.wait(0, 300)
    expect("guest: done ok" in r.out(), r.said())
    equal(os.path.getsize(b.path("disk.img")), 16 * MIB, "size of the file")


if __name__ == "__main__":
    kvmtest.main(globals())
