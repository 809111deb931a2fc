#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fz_recorder: files with sound records, torn ones, records at a wrong place and numbers at the
end of their range: mkcorpus_recorder.py tests/fuzz/corpus
"""

import os
import struct
import sys
import zlib

BOOT = b"01234567-89ab-cdef-0123-456789abcdef"


def record(seq, boot=BOOT, kind=b"vm_state", subject=b"cluster", text=b"off -> starting: asked to start"):
    body = struct.pack("<QQQ36s32s72s340s", seq, 1795000000000, 5000, boot, kind, subject, text)
    return struct.pack("<II", 0x31764550, zlib.crc32(body)) + body


def ring(slots, seqs, **more):
    image = bytearray(512 * slots)
    for seq in seqs:
        image[seq % slots * 512 : (seq % slots + 1) * 512] = record(seq, **more)
    return bytes(image)


def main(root):
    folder = os.path.join(root, "fz_recorder")
    os.makedirs(folder, exist_ok=True)
    torn = bytearray(ring(4, range(1, 5)))
    torn[600:700] = bytes(100)
    files = {
        "blank": b"\2" + bytes(2048),
        "first": b"\1" + ring(4, [1]),
        "full": b"\5" + ring(4, range(7, 11)),
        "torn": b"\1" + bytes(torn),
        "gap": b"\0" + ring(8, [3, 9]),
        "last": b"\3" + ring(4, [(1 << 62) - 1]),
        "beyond": b"\1" + ring(4, [1 << 62, (1 << 64) - 1]),
        "elsewhere": b"\1" + record(1) + record(3) + bytes(512),
        "boots": b"\1" + ring(4, [1], boot=b"a" * 36)[:1024] + ring(4, [2, 3], boot=b"")[1024:],
        "no_end": b"\1" + ring(2, [1], boot=b"\xff" * 36, kind=b"\n" * 32, subject=b"\xc3" * 72, text=b"t" * 340),
        "odd_size": b"\1" + ring(2, [1, 2]) + b"rest",
        "short": b"\1" + record(1)[:100],
    }
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main(sys.argv[1])
