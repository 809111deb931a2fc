#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The supervisor's channel (--control-fd), spoken by hand: what qvm says of itself, what it serves, what it survives.

The few fields that are looked at are decoded here; field numbers are those of proto/parley.proto.
"""

import os
import re
import signal
import socket
import struct
import time

import kvmtest
from kvmtest import equal, expect

HELLO, ERROR, DONE, READY, START_FAILED, ENDED = 2, 3, 4, 10, 11, 12
POWER_BUTTON, POWER_CUT, STATS_REQUEST, STATS = 13, 14, 15, 16
FIELD_BYTES = 2  # wire type


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def decode(data):
    """{field: [values]}: numbers, or bytes."""
    fields, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        key = number()
        if key & 7 == FIELD_BYTES:
            size = number()
            value = data[at:at + size]
            at += size
        else:
            value = number()
        fields.setdefault(key >> 3, []).append(value)
    return fields


class Channel:
    def __init__(self, b, conf, hello=True):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(kvmtest.WAIT_S)
        self.run = b.start(conf, "--control-fd", str(theirs.fileno()), pass_fds=(theirs.fileno(),))
        theirs.close()
        if hello:
            body = b"\x08\x01" + b"\x1a\x05hostd" + b"\x20" + varint(os.getpid())
            self.send(HELLO, body)

    def send(self, what, body=b"", ident=0):
        envelope = b"\x08" + varint(ident) if ident else b""
        envelope += varint(what << 3 | FIELD_BYTES) + varint(len(body)) + body
        try:
            self.sock.sendall(struct.pack("<I", len(envelope)) + envelope, socket.MSG_NOSIGNAL)
        except BrokenPipeError:
            pass        # it has ended already: what it said before is still to be read

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            expect(part, f"qvm hung up\n{self.run.said()}")
            data += part
        return data

    def receive(self, what):
        """The next message, which must be @what: its id and its fields."""
        while True:
            envelope = decode(self.exactly(struct.unpack("<I", self.exactly(4))[0]))
            ident = envelope.pop(1, [0])[0]
            (got, (body,)), = envelope.items()
            if got == HELLO and what != HELLO:
                continue
            equal(got, what, f"message ({decode(body)})\n{self.run.said()}")
            return ident, decode(body)


def t_life(b):
    c = Channel(b, b.machine(cmdline="sleep_ms=50000"))
    equal(c.receive(HELLO)[1][3], [b"qvm"], "program")
    ready = c.receive(READY)[1]
    equal((ready[1], ready[2]), ([64 << 20], [1]), "RAM and vCPUs")
    c.run.until("hello: map base=0xe0000000")
    time.sleep(0.2)
    c.send(STATS_REQUEST, ident=7)
    ident, stats = c.receive(STATS)
    equal(ident, 7, "id of the answer")
    counters = {f[1][0].decode(): f.get(2, [0])[0] for f in map(decode, stats[1])}
    expect(counters["exit.io"] > 0 and counters["exit.fault"] == 0, f"counters: {counters}")
    c.send(POWER_BUTTON, ident=8)
    equal(c.receive(DONE)[0], 8, "id of the answer")
    ended = c.receive(ENDED)[1]
    equal((ended.get(1, [0]), ended[2]), ([0], [b"guest powered off"]), "end")
    c.run.wait(0)


def t_control_power_cut(b):
    c = Channel(b, b.machine(cmdline="sleep_ms=50000"))
    c.receive(READY)
    c.send(POWER_CUT, ident=1)
    c.receive(DONE)
    equal(c.receive(ENDED)[1][1], [3], "exit code")
    c.run.wait(3)


def t_start_failed(b):
    c = Channel(b, "system a ram 64m nonsense load x")
    failed = c.receive(START_FAILED)[1]
    equal(failed[1], [b"config"], "stage")
    expect(b"vm0.qvmconf:1:" in failed[3][0], f"text: {failed[3][0]}")
    c.run.wait(65)
    c = Channel(b, b.machine(extra="vdev virtio-blk hostdev absent"))
    failed = c.receive(START_FAILED)[1]
    equal((failed[1], failed.get(2)), ([b"devices"], [2]), "stage and errno")
    c.run.wait(64)


def t_unknown_message(b):
    """A message that is not for qvm gets an error; the VM goes on."""
    c = Channel(b, b.machine(cmdline="sleep_ms=1000"))
    c.receive(READY)
    c.send(40, ident=5)  # ListRequest
    equal(c.receive(ERROR)[0], 5, "id of the answer")
    c.receive(ENDED)
    c.run.wait(0)


def t_supervisor_gone(b):
    """A supervisor that hangs up, or talks nonsense, takes no VM with it."""
    for nonsense in (b"", b"\xff\xff\xff\xff", struct.pack("<I", 5) + b"\xff" * 5):
        c = Channel(b, b.machine(cmdline="sleep_ms=1000"))
        c.receive(READY)
        c.sock.sendall(nonsense)
        c.sock.close()
        c.run.until("ev=control_gone", "err")
        c.run.wait(0)
        slept = re.search(r"slept_ms=(\d+)", c.run.out())
        expect(slept and int(slept[1]) >= 1000, c.run.said())


def t_no_answer(b):
    """A supervisor that never reads delays the end by no more than a moment."""
    c = Channel(b, b.machine(cmdline="sleep_ms=100"), hello=False)
    began = time.monotonic()
    c.run.wait(0)
    expect(time.monotonic() - began < 20, "the end took too long")
    c = Channel(b, b.machine(cmdline="sleep_ms=50000"), hello=False)
    c.run.until("hello: map")
    c.run.signal(signal.SIGQUIT)
    c.run.wait(3)


if __name__ == "__main__":
    kvmtest.main(globals())
