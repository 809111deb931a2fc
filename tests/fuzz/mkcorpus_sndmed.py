#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes corpus/fz_sndmed: what sound drivers do to the mediator, as steps of fz_sndmed.c."""

import os
import struct
import sys

PREPARE, RELEASE, START, STOP = 1, 2, 3, 4


def params(stream, period=59, periods=4, rate=7):
    """16 * (period + 1) bytes, S16, stereo."""
    return bytes([1, stream, period, periods, 8, 0x10, 2, rate])


def request(stream, code):
    return bytes([3, code, stream])


def message(stream, output=True, length=960, page=8):
    return bytes([7, output | stream << 4]) + struct.pack("<H", length) + bytes([page, 17])


def periods(n):
    return bytes([15]) * n


def query(kind, room=4000):
    body = struct.pack("<IIII", 0, 0, 3, 32)
    return bytes([6, 4 | kind, 15]) + struct.pack("<H", room) + body


def again(n=0):
    return bytes([13, n])


def scribble(at, data):
    return bytes([11]) + struct.pack("<H", at) + bytes([len(data) - 1]) + data


def scribble_inflight(at, data):
    return bytes([12]) + struct.pack("<H", at) + bytes([len(data) - 1]) + data


PLAY = (params(0) + request(0, PREPARE) + b"".join(message(0, page=8 + i) for i in range(4)) + request(0, START) +
        periods(2) + message(0) + periods(4) + request(0, STOP) + request(0, RELEASE))
RECORD = (params(2) + request(2, PREPARE) + b"".join(message(2, False, page=8 + i) for i in range(3)) +
          request(2, START) + periods(4) + request(2, RELEASE))
SEEDS = {
    "queries": b"".join(query(kind) + query(kind, 3) for kind in range(4)),
    "play": bytes([10]) + PLAY + PLAY,
    "record": RECORD,
    "odd": params(1) + request(1, PREPARE) + params(1) + request(1, START) + message(1, length=7) +
           message(1, length=0) + request(1, PREPARE) + request(1, START) + periods(9) + request(1, STOP) +
           request(1, START) + request(1, RELEASE),
    "rates": b"".join(params(0, rate=r) + request(0, PREPARE) + message(0) + request(0, START) + periods(2) +
                      request(0, RELEASE) for r in (0, 5, 6, 9, 12, 13)),
    "no_params": message(0) + message(2, False) + message(3) + request(0, START) + request(3, PREPARE) + periods(1),
    "flood": request(0, RELEASE) * 40 + periods(2) + request(0, START) * 40 + periods(2),
    "comes_again": params(0) + request(0, PREPARE) + message(0) * 3 + request(0, START) + periods(1) + message(0) * 3 +
                   again() + periods(3) + again(2) + message(0) + periods(2) + request(0, RELEASE),
    "scribbled": PLAY + scribble(0x8000, b"\xff" * 16) + message(0) + periods(1) + scribble(2, b"\1\1\1\1") +
                 request(0, START) + scribble(0x9002, b"\x40\x40") + periods(2),
    "scribbled_state": params(0) + request(0, PREPARE) + request(0, START) + periods(1) +
                       b"".join(scribble_inflight(1 | at << 1, bytes([b])) for at, b in
                                ((36, 0), (40, 3), (41, 200), (42, 9), (44, 1), (56, 3), (57, 2))) +
                       again() + periods(2) + scribble_inflight(0, b"\xff" * 8) + scribble_inflight(64, b"\7" * 8) +
                       again(1) + periods(2),
}


def main():
    folder = os.path.join(os.path.dirname(sys.argv[0]), "corpus", "fz_sndmed")
    os.makedirs(folder, exist_ok=True)
    for name, steps in SEEDS.items():
        for how in (0, 1):
            with open(os.path.join(folder, f"{name}.{how}"), "wb") as f:
                f.write(bytes([how]) + steps)


if __name__ == "__main__":
    main()
