#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpora of fz_net and fz_netpeer: guests and peers that do the right thing, from which the mutations
depart. Run it after a change of the input formats and commit what it wrote: mkcorpus_net.py tests/fuzz/corpus
"""

import os
import struct
import sys

ALL = 0xffffffffffffffff
RX0, TX0, RX1, TX1, CTRL = range(5)
MERGE, GUEST = 1 << 15, 0x782


def start(mmio, features=ALL):
    return bytes([mmio]) + struct.pack("<Q", features)


def chain(queue, head, *parts):
    """@parts: (length, offset of its memory, device writes)."""
    out = bytes([0, queue, len(parts) - 1, head])
    for length, at, writes in parts:
        out += bytes([1, length]) if length < 256 else bytes([0]) + struct.pack("<H", length // 2)
        out += struct.pack("<H", at) + bytes([2 if writes else 0])
    return out


def scribble(at, data):
    return bytes([3, len(data), 1]) + struct.pack("<H", at) + data


def frame(length, kind=0, hdr=bytes(12), fill=0x5a, pair=0):
    size = struct.pack("<H", length) if kind & 1 else bytes([length])
    return bytes([4, kind]) + size + hdr + bytes([fill]) + (bytes([0]) if kind & 2 else b"") + bytes([pair])


def link(up):
    return bytes([6, up])


def room(frames):
    return bytes([7, frames])


def wait(quarters):
    return bytes([9, quarters])


def again(features=ALL):
    return bytes([8, 1]) + struct.pack("<Q", features)


def command(head, cls, cmd, data=b""):
    return scribble(0x800, bytes([cls, cmd]) + data) + \
        chain(CTRL, head, (2 + len(data), 0x800, False), (1, 0x900, True))


def net_inputs():
    for mmio in (0, 1):
        yield "send-%d" % mmio, start(mmio) + b"".join(chain(TX0, i, (72, 0x1000, False)) for i in range(4))
        yield "receive-%d" % mmio, start(mmio) + chain(RX0, 0, (2000, 0x2000, True)) + frame(100) * 2 + \
            chain(RX0, 1, (2000, 0x3000, True))
    yield "merge", start(0) + b"".join(chain(RX0, i, (200, 0x1000 + 256 * i, True)) for i in range(8)) + frame(1000, 1)
    yield "pieces", start(0) + chain(TX0, 0, (7, 0, False), (30, 0x100, False), (300, 0x200, False))
    yield "room", start(0) + room(1) + b"".join(chain(TX0, i, (72, 0, False)) for i in range(4)) + \
        wait(20) + room(2) + wait(60) + wait(60) + room(7)
    yield "link", start(0) + link(0) + chain(TX0, 0, (72, 0, False)) + link(1) + chain(TX0, 1, (72, 0, False))
    yield "again", start(0) + room(0) + chain(TX0, 0, (72, 0, False)) + chain(RX0, 0, (100, 0, True)) + \
        frame(5000, 1) + again() + frame(60)
    csum = struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 16, 0)
    yield "sum", start(0, ALL & ~GUEST) + chain(RX0, 0, (2000, 0, True)) + frame(100, hdr=csum)
    for kind, name in ((2, "4"), (6, "6")):
        tso = struct.pack("<BBHHHHH", 1, 1, 0, 1000, 0, 0, 0)
        yield "cut" + name, start(0, ALL & ~GUEST) + \
            b"".join(chain(RX0, i, (2000, 0x1000 * i, True)) for i in range(8)) + frame(5000, kind | 1, hdr=tso)
        yield "tso" + name, start(0) + b"".join(chain(RX0, i, (2000, 0x1000 * i, True)) for i in range(8)) + \
            frame(5000, kind | 1, hdr=tso)
    tables = struct.pack("<I6sI6s", 1, b"abcdef", 1, b"ghijkl")
    yield "commands", start(0) + command(0, 0, 0, b"\0") + command(2, 1, 0, tables) + \
        command(4, 1, 1, b"\2\0\0\0\0\1") + command(6, 4, 0, b"\2\0") + command(8, 5, 0, struct.pack("<Q", 0x82)) + \
        chain(RX1, 0, (2000, 0, True)) + frame(60, pair=1) + chain(TX1, 0, (72, 0, False)) + command(10, 4, 0, b"\1\0")


def message(kind, names=(b"a/x", b"b/y")):
    body = b"parleynp" + struct.pack("<IIII", 1, kind, 0, 2) + b"".join(n.ljust(136, b"\0") for n in names) + \
        struct.pack("<QII6sxx16x", 0x3bc3, 1500, 256 << 10, b"\2\0\0\0\0\1")
    return bytes([1]) + struct.pack("<H", len(body)) + body


def enemy(what, *rest, len8=60):
    return bytes([1, len8, what]) + b"".join(rest)


def near(off):
    return bytes([1]) + struct.pack("<H", off)


def ours(op, length=100):
    return struct.pack("<HB", length, op)


def peer_inputs():
    for kind in range(1, 6):
        yield "message-%d" % kind, message(kind)
    calm = enemy(3, bytes(4))
    yield "put", bytes([0]) + (calm + ours(0)) * 6
    yield "get", bytes([0]) + (enemy(2) + ours(1) + enemy(0, near(64)) + ours(3)) * 4
    yield "full", bytes([0]) + (calm + ours(0, 60000)) * 6 + enemy(1, near(0)) + ours(0, 60000)
    yield "purge", bytes([0]) + enemy(0, near(64)) + ours(2) + bytes([0])


def main():
    for name, inputs in (("fz_net", net_inputs), ("fz_netpeer", peer_inputs)):
        folder = os.path.join(sys.argv[1], name)
        os.makedirs(folder, exist_ok=True)
        for key, data in inputs():
            with open(os.path.join(folder, key), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
