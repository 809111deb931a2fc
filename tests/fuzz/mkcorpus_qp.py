#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fz_qp_chan: what each of our processes says, and one break of each rule.

mkcorpus_qp.py DIR
"""

import pathlib
import struct
import sys


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def num(field, n):
    return varint(field << 3) + varint(n)


def sub(field, body):
    return varint(field << 3 | 2) + varint(len(body)) + body


def frame(body):
    return struct.pack("<I", len(body)) + body


def cut(stream, step=128, fds=()):
    """As the target eats it: a byte of length - 1 (and a descriptor) before each write."""
    out = b""
    for i, at in enumerate(range(0, len(stream), step)):
        part = stream[at:at + step]
        out += bytes([len(part) - 1 | (0x80 if i in fds else 0)]) + part
    return out


HELLO = frame(sub(2, num(1, 1) + num(2, 0) + sub(3, b"hostctl") + num(4, 42)))
SHARE = sub(1, b"cluster/data") + sub(2, b"disk") + num(3, 1) + num(4, 1) + num(6, 7) + sub(15, num(1, 9) + num(5, 99))
VM = sub(1, b"cluster") + num(2, 2) + num(3, 1) + num(4, 99) + sub(6, b"why") + sub(8, b"/x") + sub(10, b"up")
MESSAGES = {
    "error": sub(3, num(1, 4) + sub(2, b"no") + num(3, 13)),
    "done": sub(4, b""),
    "ready": sub(10, num(1, 1 << 30) + num(2, 4)),
    "start_failed": sub(11, sub(1, b"kvm") + num(2, 2) + sub(3, b"no /dev/kvm")),
    "ended": sub(12, num(1, 0) + sub(2, b"guest powered off")),
    "power_button": sub(13, b""),
    "vm_stats": sub(16, sub(1, sub(1, b"exit.io") + num(2, 5)) * 3 + num(2, 77)),
    "listen_request": sub(20, sub(1, b"cluster/data") + sub(1, b"ivi/data")),
    "listen_reply": sub(21, num(1, 2)),
    "mediator_stats": sub(23, sub(1, SHARE) * 2 + sub(2, sub(1, b"disk") + num(2, 32) + num(8, 1)) + num(3, 5)),
    "set_priorities": sub(24, sub(1, b"disk") + num(2, 1)),
    "list_request": sub(40, b""),
    "list_reply": sub(41, sub(1, VM) * 2 + sub(2, sub(1, b"mediator") + sub(2, b"running"))),
    "vm_request": sub(42, num(1, 2) + sub(2, b"cluster") + num(3, 5000)),
    "console_request": sub(44, sub(1, b"cluster") + num(2, 1)),
    "check_reply": sub(48, num(1, 1) + sub(2, sub(1, b"ivi") + sub(3, b"a:1:2: error: x"))),
    "events_reply": sub(52, sub(1, num(1, 1) + sub(2, b"vm_state") + sub(3, b"ivi") + sub(4, b"off"))),
    "later": sub(900, b"of a version to come"),
}
BROKEN = {
    "no_hello": frame(num(1, 7) + MESSAGES["list_request"]),
    "hello_twice": HELLO + HELLO,
    "hello_9": frame(sub(2, num(1, 9))),
    "empty": HELLO + frame(b""),
    "id_only": HELLO + frame(num(1, 7)),
    "too_long": HELLO + struct.pack("<I", (1 << 20) + 1),
    "cut_off": HELLO + frame(MESSAGES["list_reply"])[:-3],
    "bad_enum": HELLO + frame(sub(42, num(1, 99))),
    "control_character": HELLO + frame(sub(42, sub(2, b"a\x1b"))),
    "not_utf8": HELLO + frame(sub(42, sub(2, b"a\xff"))),
    "long_string": HELLO + frame(sub(42, sub(2, b"a" * 4097))),
    "many": HELLO + frame(sub(20, sub(1, b"") * 4097)),
    "wire_type": HELLO + frame(varint(42 << 3 | 1) + b"12345678"),
    "deep": HELLO + frame(sub(47, sub(1, sub(1, sub(15, sub(1, sub(1, b"")))))),),
    "length_lies": HELLO + frame(varint(42 << 3 | 2) + varint(1 << 30)),
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in MESSAGES.items():
        (folder / name).write_bytes(cut(HELLO + frame(num(1, 7) + body)))
    for name, stream in BROKEN.items():
        (folder / f"broken_{name}").write_bytes(cut(stream))
    everything = HELLO + b"".join(frame(num(1, i) + body) for i, body in enumerate(MESSAGES.values()))
    (folder / "all").write_bytes(cut(everything))
    (folder / "all_bytewise").write_bytes(cut(everything[:200], step=1))
    (folder / "all_fds").write_bytes(cut(everything, step=16, fds=range(0, 99, 2)))
    (folder / "fds_flood").write_bytes(cut(HELLO + frame(MESSAGES["list_reply"]), step=1, fds=range(22, 99)))


if __name__ == "__main__":
    main()
