#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpora of fz_qring and fz_qblk: sound inputs of every kind, from which the mutations depart. Run it after
a change of an input format and commit what it wrote: mkcorpus.py tests/fuzz/corpus
"""

import os
import struct
import sys

NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL_AT, USED_AT = 0x100, 0x140
POP, FETCH, PUBLISH, ARM, DISARM, SCRIBBLE = 0, 2, 3, 4, 5, 6
EVENT_IDX, PACKED = 2, 4
P_AVAIL, P_USED = 1 << 7, 1 << 15


def desc(addr, length, flags=0, link=0):
    return struct.pack("<QIHH", addr, length, flags, link)


def image(table, heads, idx, num, flags=0, event=0, more=()):
    ram = bytearray(0x2000)
    ram[0 : len(table) * 16] = b"".join(table)
    avail = struct.pack("<HH", flags, idx & 0xFFFF) + b"".join(struct.pack("<H", h) for h in heads)
    ram[AVAIL_AT : AVAIL_AT + len(avail)] = avail
    struct.pack_into("<H", ram, AVAIL_AT + 4 + 2 * num, event)
    for at, data in more:
        if at + len(data) > len(ram):
            ram.extend(bytes(at + len(data) - len(ram)))
        ram[at : at + len(data)] = data
    return bytes(ram).rstrip(b"\0")


def pdesc(addr, length, flags, ident, lap=1):
    return struct.pack("<QIHH", addr, length, ident, flags | (P_AVAIL if lap else P_USED))


def pimage(table, event=0, more=()):
    ram = bytearray(0x2000)
    ram[0 : len(table) * 16] = b"".join(table)
    struct.pack_into("<I", ram, AVAIL_AT, event)
    for at, data in more:
        ram[at : at + len(data)] = data
    return bytes(ram).rstrip(b"\0")


def ring(log2_num, features, steps, img, max_iov=40, base=0):
    """Steps are tuples of an operation and its 16-bit operands."""
    ops = b"".join(bytes([s[0]]) + b"".join(struct.pack("<H", w) for w in s[1:]) for s in steps)
    head = struct.pack("<BBHB", log2_num | features << 4, max_iov, base, len(steps))
    return head + ops.ljust(5 * len(steps), b"\0") + img


def ring_inputs():
    three = [desc(0x1000, 16, NEXT, 1), desc(0x1100, 512, NEXT | WRITE, 2), desc(0x1300, 1, WRITE)]
    drain = [(POP,), (POP,), (PUBLISH,), (ARM,)]
    yield "chain", ring(2, 0, drain, image(three, [0], 1, 4))
    yield "event-idx", ring(2, EVENT_IDX, [(DISARM,)] + drain, image(three, [0], 1, 4, event=1))
    yield "no-interrupt", ring(2, 0, drain, image(three, [0], 1, 4, flags=1))
    yield "wrap", ring(2, EVENT_IDX, drain * 3, image(three, [0] * 4, 2, 4), base=0xFFFE)
    yield "full-ring", ring(3, 0, [(POP,)] * 9 + drain,
                            image([desc(0x1000 + i, 1) for i in range(8)], range(8), 8, 8))
    yield "long-chain", ring(3, 0, drain, image(
        [desc(0x1000, 9, NEXT, i + 1) for i in range(7)] + [desc(0x1000, 9, WRITE)], [0], 1, 8))
    yield "two-regions", ring(0, 0, drain, image([desc(0x1FF0, 64, WRITE)], [0], 1, 1))
    yield "three-regions", ring(1, 0, drain, image(
        [desc(0x1FF0, 0x1010, NEXT, 1), desc(0x5FFF, 0x1001)], [0, 0], 1, 2))
    yield "rom", ring(1, 0, drain, image([desc(0x5000, 64, NEXT, 1), desc(0x6000, 8, WRITE)], [0], 1, 2))
    yield "rom-written", ring(1, 0, drain, image([desc(0x5FF0, 64, WRITE)], [0], 1, 2))
    yield "indirect", ring(1, 1, drain, image(
        [desc(0x200, 48, INDIRECT)], [0], 1, 2, more=[(0x200, b"".join(three))]))
    yield "indirect-behind", ring(1, 3, drain, image(
        [desc(0x1000, 4, NEXT, 1), desc(0x203, 48, INDIRECT)], [0], 1, 2, more=[(0x203, b"".join(three))]))
    yield "indirect-two-regions", ring(1, 1, drain, image(
        [desc(0x1FE8, 48, INDIRECT)], [0], 1, 2, more=[(0x1FE8, b"".join(three))]))
    yield "loop", ring(2, 0, drain, image([desc(0x1000, 1, NEXT, 1), desc(0x1000, 1, NEXT, 0)], [0], 1, 4))
    yield "fetch", ring(2, 0, [(FETCH, 0), (FETCH, 3), (FETCH, 4), (PUBLISH,)], image(three, [0], 0, 4))
    yield "changes", ring(2, 0, [(POP,), (SCRIBBLE, 8, 0), (SCRIBBLE, AVAIL_AT + 2, 2), (POP,), (PUBLISH,),
                                 (SCRIBBLE, AVAIL_AT + 2, 9), (POP,), (ARM,)], image(three, [0, 0], 1, 4))


def packed_inputs():
    drain = [(POP,), (POP,), (PUBLISH,), (ARM,)]
    three = [pdesc(0x1000, 16, NEXT, 1), pdesc(0x1100, 512, NEXT | WRITE, 1), pdesc(0x1300, 1, WRITE, 1)]
    yield "packed-chain", ring(2, PACKED, drain, pimage(three))
    yield "packed-event", ring(2, PACKED | EVENT_IDX, [(DISARM,)] + drain, pimage(three, event=0x28002))
    yield "packed-five", ring(3, PACKED | 8, [(POP,)] * 8 + drain,
                              pimage([pdesc(0x1000 + i, 1, 0, i) for i in range(7)]))
    yield "packed-lap", ring(1, PACKED, [(POP,), (POP,), (PUBLISH,), (SCRIBBLE, 14, P_USED), (POP,), (PUBLISH,),
                                         (SCRIBBLE, 30, P_USED), (POP,), (PUBLISH,), (SCRIBBLE, 14, P_AVAIL), (POP,)],
                             pimage([pdesc(0x1000, 1, 0, 0), pdesc(0x1000, 8, WRITE, 1)]))
    yield "packed-overrun", ring(1, PACKED, [(POP,), (SCRIBBLE, 14, P_USED), (POP,), (POP,)],
                                 pimage([pdesc(0x1000, 1, 0, 0), pdesc(0x1000, 8, WRITE, 1)]))
    yield "packed-no-end", ring(2, PACKED, drain, pimage([pdesc(0x1000, 1, NEXT, 0)] * 4))
    table = b"".join([desc(0x1000, 16), desc(0x1100, 512, 0, WRITE), desc(0x1300, 1, 0, WRITE)])
    yield "packed-indirect", ring(2, PACKED | 1, drain, pimage([pdesc(0x200, 48, INDIRECT, 5)], more=[(0x200, table)]))
    yield "packed-rom", ring(0, PACKED, drain, pimage([pdesc(0x5FF0, 64, WRITE, 0)]))


SIZES = [1, 2, 4, 7, 8, 15, 16, 17, 20, 32, 496, 511, 512, 513, 1024, 4096]
ALL = 2 | 4


def blk(kind, sector, out, inn, data=b"", flags=ALL):
    """out and inn are sizes of parts, which the codes of SIZES name."""
    codes = bytes(SIZES.index(n) for n in list(out) + list(inn))
    header = struct.pack("<IIQ", kind, 0, sector)
    return bytes([flags, len(out), len(inn)]) + codes + header + data


def blk_inputs():
    def segment(sector, count, seg_flags=0):
        return struct.pack("<QII", sector, count, seg_flags)

    yield "read", blk(0, 8, [16], [4096, 1])
    yield "read-merged", blk(0, 8, [16], [513])
    yield "read-odd", blk(0, 4095, [7, 8, 1], [511, 1, 1])
    yield "read-far", blk(0, 4096, [16], [512, 1])
    yield "write", blk(1, 8, [16, 512], [1], b"x" * 512)
    yield "write-merged", blk(1, 8, [17, 511], [1], b"x" * 512)
    yield "write-read-only", blk(1, 8, [16, 512], [1], b"x" * 512, ALL | 1)
    yield "flush", blk(4, 0, [16], [1])
    yield "id", blk(8, 0, [16], [20, 1])
    yield "id-pieces", blk(8, 0, [8, 8], [7, 8, 4, 1, 1])
    yield "discard", blk(11, 0, [16, 16], [1], segment(10, 20))
    yield "discard-merged", blk(11, 0, [32], [1], segment(4095, 1))
    yield "zeroes", blk(13, 0, [16, 8, 8], [1], segment(0, 4096, 1))
    yield "unknown", blk(99, 0, [16], [1])
    yield "no-status", blk(0, 0, [16], [])
    yield "short-header", blk(0, 0, [15], [1])


def main():
    for target, inputs in (("fz_qring", ring_inputs()), ("fz_qring", packed_inputs()), ("fz_qblk", blk_inputs())):
        folder = os.path.join(sys.argv[1], target)
        os.makedirs(folder, exist_ok=True)
        for name, data in inputs:
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
