#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpora of fz_qvhu_be and fz_qvhu_fe: sound connections of every kind, from which the mutations depart.
Run it after a change of an input format and commit what it wrote: mkcorpus_qvhu.py tests/fuzz/corpus
"""

import os
import struct
import sys

MEM, MEM2, SHORT, UNSEALED, EVENT, OTHER = range(6)
SAY, RAW, SCRIBBLE, OWNER, READ = 0, 4, 5, 6, 7
CUT = 8
GPA, UADDR, LENGTH = 0x100000, 0x7F0000000000, 0x10000
BIT30 = 1 << 30
FEATURES = BIT30 | 1 << 28 | 1 << 29 | 1 << 32
PROTOCOL = 1 | 1 << 3 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 16
FE_PROTOCOL = 1 | 1 << 3 | 1 << 9 | 1 << 12


def say(req, payload=b"", fds=(), flags=1, cut=None):
    head = struct.pack("<BBBB", SAY | (CUT if cut is not None else 0), req, flags, len(fds))
    tail = b"" if cut is None else bytes([cut])
    return head + bytes(fds) + struct.pack("<H", len(payload)) + payload + tail


def u64(*values):
    return struct.pack("<%dQ" % len(values), *values)


def state(index, num):
    return struct.pack("<II", index, num)


def addr(index, base=UADDR):
    return struct.pack("<IIQQQQ", index, 0, base, base + 0x2000, base + 0x1000, 0)


def scribble(which, off, data):
    return struct.pack("<BBHB", SCRIBBLE, which, off, len(data)) + data


def owner(what):
    return bytes([OWNER, what])


def table(*regions):
    return struct.pack("<II", len(regions), 0) + b"".join(u64(*r) for r in regions)


NEGOTIATE = (say(1) + say(15) + say(16, u64(PROTOCOL)) + say(17) + say(36) + say(3, flags=9)
             + say(2, u64(FEATURES), flags=9))
MEMORY = say(5, table((GPA, LENGTH, UADDR, 0)), [MEM], flags=9)
# One chain: a descriptor that the device writes, made available twice.
CHAIN = (scribble(MEM, 0, struct.pack("<QIHH", GPA + 0x8000, 512, 2, 0))
         + scribble(MEM, 0x1000, struct.pack("<HHHH", 0, 2, 0, 0)))


def queue(index, flags=1, kick=(EVENT,)):
    return (say(8, state(index, 16), flags=flags) + say(10, state(index, 0), flags=flags)
            + say(9, addr(index), flags=flags) + say(13, u64(index), [EVENT], flags=flags)
            + say(12, u64(index | (0 if kick else 256)), kick, flags=flags)
            + say(18, state(index, 1), flags=flags))


def be_inputs():
    run = NEGOTIATE + MEMORY + CHAIN + queue(0, 9) + bytes([READ])
    inflight = struct.pack("<QQHHI", 0x10000, 0, 2, 16, 0)
    yield "empty", b""
    yield "run", run + owner(0) + say(11, state(0, 0)) + bytes([READ])
    yield "polled", NEGOTIATE + MEMORY + CHAIN + queue(0, kick=()) + owner(0)
    yield "two-queues", run + queue(1) + owner(1) + say(14, u64(0), [EVENT]) + owner(0)
    yield "slow-stop", run + owner(4) + say(11, state(0, 0)) + owner(0) + queue(0)
    yield "slow-table", run + queue(1) + owner(4) + MEMORY + owner(1) + owner(0) + owner(0)
    yield "hang-stop", run + owner(4) + say(5, table((GPA, LENGTH, UADDR, 0)), [MEM2])
    yield "disable", run + say(18, state(0, 0)) + say(18, state(0, 1)) + owner(0)
    yield "slots", (run + say(37, u64(0, GPA * 2, 4096, UADDR * 2, 0), [SHORT])
                    + say(38, u64(0, GPA, LENGTH, UADDR, 0)) + say(37, u64(0, GPA, LENGTH, UADDR, 0), [MEM]))
    yield "regions", NEGOTIATE + say(5, table(*[(i << 16, 4096, i << 20, 0) for i in range(8)]), [MEM] * 8) + queue(0)
    yield "overlap", NEGOTIATE + say(5, table((0, 8192, 0, 0), (4096, 8192, 0, 0)), [MEM, MEM2])
    yield "unsealed", NEGOTIATE + say(5, table((0, 4096, 0, 0)), [UNSEALED])
    yield "config", NEGOTIATE + say(24, struct.pack("<III", 0, 60, 0) + bytes(60)) + say(
        25, struct.pack("<III", 32, 1, 0) + b"\1", flags=9)
    yield "inflight-get", NEGOTIATE + say(31, inflight) + bytes([READ])
    yield "inflight", (NEGOTIATE + scribble(MEM2, 8, struct.pack("<HHHH", 1, 16, 3, 65535))
                       + scribble(MEM2, 16 + 16 * 3, struct.pack("<B5xHQ", 1, 2, 7))
                       + say(32, inflight, [MEM2], flags=9) + MEMORY + CHAIN + queue(0) + owner(0) + owner(0))
    yield "status", NEGOTIATE + say(39, u64(15)) + say(40) + MEMORY + queue(0) + say(39, u64(0)) + say(34) + say(4)
    yield "no-protocol", say(2, u64(1 << 32)) + MEMORY + CHAIN + queue(0)[:-14] + owner(0)
    yield "torn", say(2, u64(1 << 32), cut=13) + bytes([RAW, 7]) + bytes(7) + say(1)
    yield "torn-fds", say(12, u64(0), [EVENT], cut=5) + say(1)
    yield "call-change", run + say(13, u64(256)) + say(13, u64(0), [EVENT]) + say(12, u64(0), [EVENT])
    yield "wrong-files", NEGOTIATE + say(12, u64(0), [OTHER]) + say(5, table((0, 4096, 0, 0)), [EVENT])


def answer(req, payload=b"", fds=0, flags=5):
    data = struct.pack("<III", req, flags, len(payload)) + payload
    return struct.pack("<BH", fds, len(data)) + data


def fe_inputs():
    hello = answer(1, u64(FEATURES)) + answer(15, u64(PROTOCOL)) + answer(3, u64(0))
    start = b"".join(answer(r, u64(0)) for r in (8, 10, 9, 13, 12, 18))
    config = answer(24, struct.pack("<III", 0, 60, 0) + bytes(60))
    inflight = answer(31, struct.pack("<QQHHI", 4096, 0, 1, 64, 0), 1)

    def case(calls, answers):
        return bytes([len(calls)]) + bytes(calls) + answers

    yield "old", case([4, 5, 6, 0], answer(1, u64(0xFF)))
    yield "queue-num", case([0], hello + answer(17, u64(4)))
    yield "config", case([1, 3], hello + config + answer(25, u64(0)))
    yield "config-refused", case([1, 3, 0], hello + answer(24) + answer(25, u64(1)) + answer(17, u64(1)))
    yield "run", case([4, 5, 6, 8], hello + answer(2, u64(0)) + answer(5, u64(0)) + start + answer(11, state(0, 9)))
    yield "refused-in-between", case([6, 0], hello + start.replace(u64(0), u64(1), 1) + answer(17, u64(2)))
    yield "polled", case([7], hello + start)
    yield "inflight", case([9], hello + inflight + answer(32, u64(0)))
    yield "no-ack", case([4, 5, 6, 8], answer(1, u64(FEATURES)) + answer(15, u64(1)) + answer(11, state(0, 0)))
    yield "fds", case([0], hello + answer(17, u64(4), 3))
    yield "big", case([2], hello + answer(24, struct.pack("<III", 0, 256, 0) + bytes(256)))
    yield "request", case([0], hello + answer(17, u64(4), flags=1))


def write(folder, inputs):
    os.makedirs(folder, exist_ok=True)
    for name, data in inputs:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: mkcorpus_qvhu.py tests/fuzz/corpus")
    write(os.path.join(sys.argv[1], "fz_qvhu_be"), be_inputs())
    write(os.path.join(sys.argv[1], "fz_qvhu_fe"), fe_inputs())


main()
