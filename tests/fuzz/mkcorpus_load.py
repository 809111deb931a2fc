#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fz_load: sound guests of every format, from which the mutations depart. Run it after a change of
what is loaded and commit what it wrote: mkcorpus_load.py tests/fuzz/corpus/fz_load
"""

import os
import struct
import sys

X86, ARM64 = 62, 183
LOAD, NOTE = 1, 4


def elf(machine, base, with_note):
    note = struct.pack("<III4sQ", 4, 8, 18, b"Xen\0", base)
    code = b"\xeb\xfe" * 32
    rows = [(LOAD, 0x100, base, len(code), 0x3000)]
    if with_note:
        rows.append((NOTE, 0x180, base + 0x80, len(note), len(note)))
    head = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base, 64, 0, 0, 64, 56, len(rows), 0, 0, 0)
    for kind, off, paddr, filesz, memsz in rows:
        head += struct.pack("<IIQQQQQQ", kind, 5, off, paddr, paddr, filesz, memsz, 4)
    return head.ljust(0x100, b"\0") + code.ljust(0x80, b"\0") + note


def bzimage():
    image = bytearray(0x1000)
    image[0x1F1] = 4
    struct.pack_into("<H", image, 0x1FE, 0xAA55)
    image[0x200:0x202] = b"\xeb\x66"
    struct.pack_into("<IH", image, 0x202, 0x53726448, 0x20F)
    image[0x211] = 1
    struct.pack_into("<IIIBBH", image, 0x228, 0, 0x7FFFFFFF, 0x200000, 1, 21, 3)
    struct.pack_into("<Q", image, 0x258, 0x1000000)
    struct.pack_into("<I", image, 0x260, 0x100000)
    return bytes(image)


def arm64_image():
    head = struct.pack("<IIQQQQQQII", 0x91005A4D, 0x14000000, 0, 0x200000, 0xA, 0, 0, 0, 0x644D5241, 64)
    return head.ljust(512, b"\0")


def multiboot(flags=0x10003):
    head = struct.pack("<III", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF)
    return bytes(64) + head + struct.pack("<IIIII", 0x100040, 0x100000, 0, 0x110000, 0x100060) + b"\xeb\xfe" * 32


def elf32():
    head = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x100060, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    head += struct.pack("<IIIIIIII", 1, 0x100, 0x100000, 0x100000, 0xa0, 0x3000, 5, 4)
    return head.ljust(0x100, b"\0") + multiboot(3)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, content in (
        ("elf-pvh", elf(X86, 0x100000, True)), ("elf-x86", elf(X86, 0x1000000, False)),
        ("elf-arm64", elf(ARM64, 0x80100000, False)), ("bzimage", bzimage()), ("image", arm64_image()),
        ("gzip", b"\x1f\x8b\x08" + bytes(61)), ("raw", b"\xeb\xfe"),
        ("multiboot", multiboot()), ("elf32", elf32()),
    ):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(content)


main()
