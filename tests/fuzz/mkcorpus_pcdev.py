#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fz_pcdev: a guest that does the right thing with each device, from which the mutations depart.
Run it after a change of the input format and commit what it wrote: mkcorpus_pcdev.py tests/fuzz/corpus/fz_pcdev
"""

import os
import struct
import sys

HPET, RTC, KEYBOARD, DUMMY, PROGRESS, WATCHDOG, SP805 = range(7)
MS = 1000000


def out(off, val, log2_size=0, win=0):
    return struct.pack("<BBBHQ", 0, win, log2_size, off, val)


def inn(off, log2_size=0, win=0):
    return struct.pack("<BBBH", 3, win, log2_size, off)


def cfg(off, log2_size, val):
    return struct.pack("<BBHQ", 4, log2_size, off, val)


def pause(ns):
    return struct.pack("<BQ", 5, ns)


def long_pause(eighths):
    return bytes([6, eighths])


def jump(ns):
    return struct.pack("<BQ", 7, ns)


def cmos(reg, val):
    return out(0, reg) + out(1, val)


def inputs():
    for name, conf in (("oneshot", 0x1404), ("periodic", 0x144c), ("periodic-32", 0x154c), ("level", 0x144e)):
        yield "hpet-" + name, bytes([HPET]) + inn(0, 3) + out(0x100, conf, 3) + out(0x10, 1, 3) + \
            out(0x108, 100000, 3) + out(0x108, 50000, 3) + pause(5 * MS) + inn(0x20, 3) + out(0x20, 7, 3) + \
            pause(5 * MS)
    yield "hpet-legacy", bytes([HPET]) + out(0x100, 4, 2) + out(0x120, 4, 2) + out(0x108, 1000, 3) + \
        out(0x128, 2000, 3) + out(0x10, 3, 2) + pause(MS) + inn(0xf0, 3) + out(0x10, 0, 2) + \
        out(0xf0, 0xfffffff0, 3) + long_pause(9)
    yield "rtc-set", bytes([RTC]) + cmos(11, 0x82) + cmos(10, 0x76) + b"".join(
        cmos(r, v) for r, v in ((0, 0x59), (2, 0x59), (4, 0x23), (7, 0x31), (8, 0x12), (9, 0x99), (0x32, 0x20))) + \
        cmos(10, 0x26) + cmos(11, 2) + long_pause(20) + out(0, 4) + inn(1)
    yield "rtc-events", bytes([RTC]) + cmos(1, 0xff) + cmos(3, 0xff) + cmos(5, 0xff) + cmos(11, 0x72) + \
        (pause(10 * MS) + out(0, 12) + inn(1)) * 4 + long_pause(16) + jump(1 << 50) + inn(1)
    yield "keyboard", bytes([KEYBOARD]) + b"".join(
        out(0, c, 0, 1) + inn(0) for c in (0xaa, 0xab, 0xa9, 0x20, 0xd0, 0xc0)) + out(0, 0x60, 0, 1) + out(0, 0x45) + \
        b"".join(out(0, c) + inn(0) * 3 for c in (0xf2, 0xed, 5, 0xf0, 3, 0xf3, 0x20, 0xff, 0xfe)) + inn(0, 0, 1)
    yield "dummy", bytes([DUMMY]) + b"".join(cfg(off, 2, 0xffffffff) for off in range(0, 64, 4)) + cfg(0x100, 2, 1)
    yield "progress", bytes([PROGRESS]) + out(0, 0x10) + out(0, 0x1234, 1) + out(0, 5, 2) + inn(0)
    yield "watchdog", bytes([WATCHDOG]) + out(2, 14) + long_pause(8) + out(2, 14) + out(0, 0) + out(2, 10) + \
        long_pause(100)
    # Locked and unlocked; the interrupt, cleared; a bite; the shortest period; its identity.
    for name, control in (("sp805", 3), ("sp805-only-irq", 1)):
        yield name, bytes([SP805]) + out(0xc00, 1, 2) + out(0, 5, 2) + out(0xc00, 0x1acce551, 2) + out(0, 250000, 2) + \
            out(8, control, 2) + pause(11 * MS) + inn(0x10, 2) + inn(0x14, 2) + out(0xc, 1, 2) + pause(15 * MS) + \
            pause(15 * MS) + inn(4, 2) + out(0, 0, 2) + long_pause(4) + out(8, 0, 2) + \
            b"".join(inn(at, 2) for at in range(0xfe0, 0x1000, 4))


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, data in inputs():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(data)


main()
