#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The form of a file: licence, length, width, tabs, ends of lines, #pragma once; nothing generated, nothing unfinished.
"""

import os
import re

import source

CODE_ENDINGS = (".c", ".h", ".S", ".proto", ".asl")
SCRIPT_ENDINGS = (".py", ".sh", ".build", ".cross", ".ld", ".y", ".l")
LICENSED_NAMES = ("meson.build", "meson_options.txt", "meson.options")

CODE_COLUMNS = 100
OTHER_COLUMNS = 120
FILE_LINES = 1000
HEADER_LINES = 200
BINARY_BYTES = 64 * 1024

SPDX = "SPDX-License-Identifier: Apache-2.0"
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

# The licence's own text, and what is kept as bytes.
FREE_FORM = re.compile(r"^(LICENSE|tests/fuzz/corpus/.*|tests/golden/.*\.(plan|err|json)|"
                       r".*\.(md|patch|txt|svg|1|5|7|8))$")

EXCEPTIONS = {}


def is_script(tree, path):
    return path.endswith(SCRIPT_ENDINGS) or tree.data(path).startswith(b"#!")


def width(line):
    return len(line.expandtabs(8))


def check_licence(path, lines):
    first = [line for line in lines[:3] if not line.startswith("#!")][:1]
    if not first or SPDX not in first[0]:
        yield source.Problem(path, 1, "spdx", f"the first line must say {SPDX}")


def check_lines(path, lines, columns):
    for n, line in enumerate(lines, 1):
        if width(line) > columns:
            yield source.Problem(path, n, "columns", f"{width(line)} columns, {columns} at most")
        if line != line.rstrip():
            yield source.Problem(path, n, "space", "white space at the end of the line")
        if UNFINISHED.search(line) and path != os.path.join("tests", "lint", "form.py"):
            yield source.Problem(path, n, "unfinished", "finish it, or open an issue: " + line.strip())


def check_code(path, lines):
    limit = HEADER_LINES if path.endswith(".h") else FILE_LINES
    if len(lines) - 1 > limit:
        yield source.Problem(path, limit, "length", f"{len(lines) - 1} lines, {limit} at most: it does two things")
    for n, line in enumerate(lines, 1):
        if line.startswith(" " * 8):
            yield source.Problem(path, n, "tabs", "indented by spaces: tabs of 8")
    if path.endswith(".h"):
        directives = [line.split() for line in lines if line.startswith("#")]
        if not directives or directives[0] != ["#pragma", "once"]:
            yield source.Problem(path, 1, "once", "a header's first directive is #pragma once")


def check_end(path, data):
    if data and not data.endswith(b"\n"):
        yield source.Problem(path, data.count(b"\n") + 1, "end", "no newline at the end of the file")
    if data.endswith(b"\n\n"):
        yield source.Problem(path, data.count(b"\n"), "end", "empty lines at the end of the file")
    if b"\r\n" in data:
        yield source.Problem(path, 1, "crlf", "line ends of another system")


def check(tree):
    for path in tree.paths:
        if tree.is_binary(path):
            if len(tree.data(path)) > BINARY_BYTES or not path.startswith(os.path.join("tests", "fuzz", "corpus", "")):
                yield source.Problem(path, 0, "binary", "a binary file: what is generated is not committed")
            continue
        if FREE_FORM.match(path):
            continue
        lines = tree.lines(path)
        yield from check_end(path, tree.data(path))
        yield from check_lines(path, lines, CODE_COLUMNS if path.endswith(CODE_ENDINGS) else OTHER_COLUMNS)
        if path.endswith(CODE_ENDINGS) or is_script(tree, path) or os.path.basename(path) in LICENSED_NAMES:
            yield from check_licence(path, lines)
        if path.endswith(source.C_ENDINGS):
            yield from check_code(path, lines)


source.run(__name__)
