#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes corpus/fz_snd: what sound drivers do, as steps of fz_snd.c."""

import os
import struct
import sys

PARAMS, PREPARE, RELEASE, START, STOP = 0, 2, 3, 4, 5


def request(stream, code):
    return bytes([1, stream, code])


def params(stream, period=29, periods=4, features=0x1c):
    """16 * (period + 1) bytes, S16 at 48 kHz, stereo."""
    return bytes([1, stream, PARAMS, period, periods, 0, features, 2])


def message(stream, output=True, length=480, page=1, kick=True):
    return bytes([6, output | kick << 1 | stream << 4]) + struct.pack("<H", length) + bytes([page])


def advance(ms):
    return bytes([11]) + struct.pack("<H", int(ms * 500))


def events(n):
    return b"".join(bytes([10, i]) for i in range(n))


QUERIES = b"".join(bytes([5, kind, 0, n]) + struct.pack("<H", size) + bytes([15]) + struct.pack("<H", 4000)
                   for kind, n, size in ((0, 3, 24), (1, 3, 32), (2, 4, 24), (3, 1, 16), (1, 200, 32)))
PLAY = (params(0) + request(0, PREPARE) + b"".join(message(0, page=i) for i in range(4)) + request(0, START) +
        advance(5) + advance(2.5) + message(0, page=4) + advance(30) + request(0, STOP) + request(0, RELEASE))
RECORD = (params(2) + request(2, PREPARE) + b"".join(message(2, False, page=i) for i in range(4)) +
          request(2, START) + advance(12) + request(2, RELEASE))
ODD = (params(1) + request(1, PREPARE) + params(1) + request(1, PREPARE) + request(1, PREPARE) + message(1) +
       params(1) + request(1, START) + request(1, PREPARE) + request(1, START) + request(1, START) +
       message(1, length=7) + message(1, length=0) + advance(20) + request(1, STOP) + request(1, START) + advance(40) +
       request(1, RELEASE))
SEEDS = {
    "queries": QUERIES,
    "play": events(4) + PLAY + PLAY,
    "record": RECORD,
    "odd": events(2) + ODD,
    "polling": params(0) + request(0, PREPARE) + message(0, kick=False) + message(0, kick=False) + request(0, START) +
               advance(100) + message(0, kick=False) + request(0, RELEASE),
    "no_params": message(0) + message(2, False) + request(0, START) + request(3, PREPARE) + request(0, RELEASE),
    "reset": params(0) + request(0, PREPARE) + message(0) + request(0, START) + advance(1) + bytes([13, 3]) + PLAY,
    "broken": PLAY + bytes([0, 2, 3, 5]) + b"\1\0\2" * 4 + bytes([14]) + b"\0\0" + b"\xff" * 16 + bytes([13, 0]) +
              RECORD,
}


def main():
    folder = os.path.join(os.path.dirname(sys.argv[0]), "corpus", "fz_snd")
    os.makedirs(folder, exist_ok=True)
    for how in (0, 1, 2, 7, 8, 15):
        for name, steps in SEEDS.items():
            with open(os.path.join(folder, f"{name}-{how}"), "wb") as f:
                f.write(bytes([how]) + steps)


main()
