#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fz_vdev: a guest that does the right thing with each vdev, from which the mutations depart. Run
it after a change of the input format and commit what it wrote: mkcorpus_vdev.py tests/fuzz/corpus/fz_vdev
"""

import os
import struct
import sys

SER8250, PL011, ACPIPM, BLK_PCI, BLK_MMIO = range(5)
LEGACY_PCI, LEGACY_MMIO = 9, 10
PACKED = 0x40
NEXT, WRITE = 1, 2


def start(kind, typed=b""):
    return bytes([kind, len(typed)]) + typed


def access(write, win, log2_size, off, val=0):
    return struct.pack("<BBBH", 0 if write else 3, win, log2_size, off) + (struct.pack("<Q", val) if write else b"")


def out(off, val, log2_size=0, win=0):
    return access(True, win, log2_size, off, val)


def inn(off, log2_size=0, win=0):
    return access(False, win, log2_size, off)


def cfg_out(off, log2_size, val):
    return struct.pack("<BBHQ", 4, log2_size, off, val)


def cfg_in(off, log2_size):
    return struct.pack("<BBH", 5, log2_size, off)


def scribble(off, data):
    return b"".join(struct.pack("<BBH", 6, len(part), off + i) + part
                    for i in range(0, len(data), 32) for part in [data[i:i + 32]])


def up(features=0, log2_num=4):
    return bytes([7, features, log2_num])


def disk(hold, error=0):
    return bytes([8, hold, error])


BUTTON, TURN = bytes([10]), bytes([11])


def request(kind, sector, data_len, data_in):
    ram = 0x100000
    table = struct.pack("<QIHH", ram + 0x3000, 16, NEXT, 1)
    table += struct.pack("<QIHH", ram + 0x3200, data_len, NEXT | (WRITE if data_in else 0), 2)
    table += struct.pack("<QIHH", ram + 0x3100, 1, WRITE, 0)
    return scribble(0, table) + scribble(0x3000, struct.pack("<IIQ", kind, 0, sector)) + \
        scribble(0x1000, struct.pack("<HHH", 0, 1, 0))


def packed_request(kind, sector, data_len, data_in):
    ram, avail = 0x100000, 1 << 7
    table = struct.pack("<QIHH", ram + 0x3000, 16, 5, avail | NEXT)
    table += struct.pack("<QIHH", ram + 0x3200, data_len, 5, avail | NEXT | (WRITE if data_in else 0))
    table += struct.pack("<QIHH", ram + 0x3100, 1, 5, avail | WRITE)
    return scribble(0, table) + scribble(0x3000, struct.pack("<IIQ", kind, 0, sector))


def inputs():
    yield "uart", start(SER8250, b"typed") + out(2, 0xC1) + out(1, 0x0F) + TURN + inn(2) + inn(5) + inn(0) * 6 + \
        out(0, 0x41) + out(4, 0x10) + out(0, 0x42) * 20 + inn(5) + inn(6) + out(3, 0x80) + out(0, 1) + inn(0)
    yield "pl011", start(PL011, b"typed" * 8) + out(0x2C, 0x70, 2) + out(0x38, 0x7FF, 2) + TURN + inn(0x40, 2) + \
        inn(0, 2) * 20 + out(0, 0x41, 2) + out(0x44, 0x7FF, 2) + out(0x30, 0x381, 2) + out(0, 1, 2) * 20 + inn(0xFE0, 2)
    yield "acpi", start(ACPIPM) + out(2, 0x100, 1) + BUTTON + inn(0, 2) + out(0, 0x100, 1) + out(4, 0x3401, 1) + \
        out(0, 6, 0, 1) + out(0, 0xFE, 0, 2)
    for kind, name in ((BLK_PCI, "pci"), (BLK_MMIO, "mmio")):
        for op, data_in in ((0, True), (1, False), (8, True), (4, True), (11, False), (13, False)):
            yield "blk-%s-%d" % (name, op), start(kind) + request(op, 8, 512, data_in) + up() + TURN * 4
        yield "blk-%s-features" % name, start(kind) + request(0, 8, 512, True) + up(3, 8) + TURN * 4
        yield "blk-%s-reset" % name, start(kind) + request(0, 8, 512, True) + disk(1) + up() + TURN * 2 + \
            (out(0x14, 0) if kind == BLK_PCI else out(0x70, 0, 2)) + TURN + up() + disk(0) + TURN * 4
        yield "blk-%s-error" % name, start(kind) + request(1, 8, 512, False) + disk(0, 1) + up() + TURN * 4
    for kind, name in ((BLK_PCI, "pci"), (BLK_MMIO, "mmio")):
        yield "blk-%s-packed" % name, start(kind) + packed_request(0, 8, 512, True) + up(PACKED, 3) + TURN * 4
        yield "blk-%s-packed-small" % name, start(kind) + packed_request(1, 8, 512, False) + up(PACKED, 2) + TURN * 4
    for kind, name in ((LEGACY_PCI, "pci"), (LEGACY_MMIO, "mmio")):
        yield "legacy-%s" % name, start(kind) + request(0, 8, 512, True) + up(0, 8) + TURN * 4
        yield "legacy-%s-features" % name, start(kind) + request(1, 8, 512, False) + up(3, 8) + TURN * 4
    yield "legacy-pci-registers", start(LEGACY_PCI) + cfg_out(0x10, 2, 0xC000) + cfg_out(4, 1, 7) + inn(0, 2) + \
        out(4, 0x30000000, 2) + out(14, 0, 1) + out(8, 0x100, 2) + out(18, 7) + out(16, 0, 1) + TURN + \
        inn(19) + inn(20, 2)
    yield "legacy-mmio-registers", start(LEGACY_MMIO) + out(0x28, 4096, 2) + out(0x38, 64, 2) + out(0x3C, 4096, 2) + \
        out(0x40, 0x100, 2) + out(0x50, 0, 2) + TURN + out(0x70, 7, 2) + inn(0x40, 2) + out(0x70, 0, 2)
    yield "pci-bars", start(BLK_PCI) + cfg_out(0x10, 2, 0xFFFFFFFF) + cfg_in(0x10, 2) + \
        cfg_out(0x10, 2, 0xE0000000) + cfg_out(4, 1, 2) + inn(0x12, 1) + cfg_out(0x10, 2, 0xD0000000) + \
        inn(0x4000, 3) + inn(0x5000, 3) + cfg_out(4, 1, 0)


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, data in inputs():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
