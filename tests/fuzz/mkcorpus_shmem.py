#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fz_shmem: guests, clients and strangers that do the right thing, from which the mutations
depart. Run it after a change of the input format and commit what it wrote: mkcorpus_shmem.py tests/fuzz/corpus/fz_shmem
"""

import os
import struct
import sys

MMIO, PCI = 0, 1
X, Y, EMPTY, SLASH, DOT, LONG, DENIED, SPACE = range(8)
HELLO, BELL = 2, 3


def step(what, guest=MMIO, which=0):
    return bytes([what << 1 | guest, which])


def write(guest, window, page, off, val, log2_size=2):
    return step(0, guest) + bytes([page * 3 + window, log2_size, off]) + struct.pack("<Q", val)


def read(guest, window, page, off, log2_size=2):
    return step(1, guest) + bytes([page * 3 + window, log2_size, off])


def create(guest, name, pages):
    return step(2, guest) + bytes([name, 1, pages])


def find(guest, name):
    return step(2, guest) + bytes([name, 0, 1])


def cfg(off, val):
    return step(3, PCI) + bytes([off]) + struct.pack("<Q", val)


def come(i, slot):
    return step(4, 0, i) + bytes([slot])


def say(i, kind, slot, how=0):
    return step(5, 0, i) + bytes([kind, slot, how])


def client(byte):
    return step(6) + bytes([byte])


def turn(guest):
    return step(7, guest)


def window(guest):
    return 2 if guest == PCI else 1


def inputs():
    for guest, name in ((MMIO, "mmio"), (PCI, "pci")):
        w = window(guest)
        yield name, create(guest, X, 2) + read(guest, 0, 0, 0x14) + read(guest, 0, 0, 8, 3) + read(guest, w, 0, 0) + \
            client(1) + turn(guest) * 3 + read(guest, w, 0, 0) + write(guest, w, 0, 8, 0xffffffff) + turn(guest) + \
            write(guest, w, 0, 0xc, 1) + read(guest, w, 0, 0) + client(1)
        yield name + "-results", b"".join(create(guest, n, 1) + read(guest, 0, 0, 0x14) for n in range(8)) + \
            create(guest, X, 0) + create(guest, Y, 255) + find(guest, LONG) + find(guest, Y)
        yield name + "-many", b"".join(create(guest, X, 1) for _ in range(18)) + write(guest, w, 2, 0xc, 1, 0) + \
            create(guest, Y, 3)
    yield "two", create(MMIO, X, 1) + create(PCI, X, 1) + turn(MMIO) * 2 + write(MMIO, 1, 0, 8, 2) + turn(PCI) * 2 + \
        read(PCI, 2, 0, 0) + write(PCI, 2, 0, 8, 1) + turn(MMIO) + read(MMIO, 1, 0, 0, 1) + read(MMIO, 1, 0, 2, 1) + \
        write(PCI, 2, 0, 0xc, 0) + turn(MMIO)
    yield "bars", create(PCI, X, 1) + cfg(4, 0) + cfg(0x18, 0x100000) + cfg(0x1c, 0) + cfg(4, 2) + create(PCI, Y, 1) + \
        cfg(0x18, 0xffffffff) + cfg(0x1c, 0xffffffff) + cfg(0x18, 0) + create(PCI, Y, 1) + cfg(0x18, 0xe9000000) + \
        cfg(0x1c, 0) + read(PCI, 2, 0, 0) + cfg(4, 0x402) + write(PCI, 2, 0, 8, 1) + cfg(4, 2) + read(PCI, 2, 0, 0)
    yield "stranger", create(MMIO, X, 1) + come(0, 0) + say(0, HELLO, 5) + turn(MMIO) + say(0, BELL, 5) + \
        turn(MMIO) * 2 + read(MMIO, 1, 0, 0) + come(1, 0) + say(1, HELLO, 5) + say(1, BELL, 5) + \
        say(0, BELL, 6) + turn(MMIO) * 2
    yield "strangers", create(PCI, X, 1) + b"".join(come(i, 0) for i in range(12)) + say(3, HELLO, 3, 1) + \
        say(4, HELLO, 4, 2) + say(5, HELLO, 16) + say(11, HELLO, 7, 7) + create(MMIO, X, 1) + client(1) + turn(PCI) * 3


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, data in inputs():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


main()
