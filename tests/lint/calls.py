#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Functions of the C library that cannot be used safely, or that a better one has replaced; in every C file."""

import source

INSTEAD = {
    "strcpy": "snprintf", "strcat": "snprintf", "stpcpy": "snprintf", "strncat": "snprintf",
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "getline", "scanf": "strtoull with its checks",
    "atoi": "strtol with its checks", "atol": "strtol with its checks", "atoll": "strtoll with its checks",
    "atof": "strtod with its checks", "strtok": "strtok_r",
    "system": "fork and exec", "popen": "fork and exec", "alloca": "a bounded array or malloc",
    "tmpnam": "mkstemp", "tempnam": "mkstemp", "mktemp": "mkstemp", "readdir_r": "readdir",
    "vfork": "fork or posix_spawn", "siglongjmp": "a return", "longjmp": "a return",
}

EXCEPTIONS = {}


def check(tree):
    for path in tree.c_files():
        for line, name in source.find_calls(tree.text(path), INSTEAD):
            yield source.Problem(path, line, name, f"{name}() is not used in Parley: {INSTEAD[name]}")


source.run(__name__)
