#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Direction of dependencies, read off the #include lines: lib <- proto, vdevs <- qvm, mediator, hostd, hostctl.

The programs never include each other; mediator does not use vdevs; vdevs know neither qvm, nor KVM, nor a path.
Includes are written from the root.
"""

import os
import re

import source

# What each folder may include, besides itself.
MAY_INCLUDE = {
    "lib": (),
    "proto": ("lib",),
    "vdevs": ("lib",),
    "qvm": ("lib", "proto", "vdevs"),
    "mediator": ("lib", "proto"),
    "hostd": ("lib", "proto"),
    "hostctl": ("lib", "proto"),
    "metrics": ("lib", "proto"),
    "shm": ("lib",),
}

# System headers and calls that belong to some folders only.
KVM_HEADERS = ("linux/kvm.h", "asm/kvm.h", "linux/vfio.h")
KVM_FOLDERS = ("qvm",)
PATH_CALLS = ("open", "openat", "open64", "creat", "fopen", "freopen", "opendir", "socket", "connect", "ioctl")
PATH_HEADERS = ("fcntl.h",)
# Made in the build folder by a tool that chooses the name (iasl): no folder of the tree.
GENERATED_ENDINGS = (".hex",)

EXCEPTIONS = {}

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def includes(text):
    # Comments only: the strings are what is looked for.
    code = re.sub(r"/\*.*?\*/|//[^\n]*", source.blank, text, flags=re.S)
    for m in _INCLUDE.finditer(code):
        yield source.line_at(code, m.start()), m.group(1), m.group(2)


def check_own(path, line, folder, name):
    target = name.split("/")[0]
    if "/" not in name and name.endswith(GENERATED_ENDINGS):
        return
    if "/" not in name or target not in MAY_INCLUDE:
        yield source.Problem(path, line, name, f'"{name}" is not written from the root of the tree')
    elif target != folder and target not in MAY_INCLUDE[folder]:
        yield source.Problem(path, line, name, f"{folder} may not include {target}: \"{name}\"")


def check_system(path, line, folder, name):
    if name in KVM_HEADERS and folder not in KVM_FOLDERS:
        yield source.Problem(path, line, name, f"{folder} may not know <{name}>: that is qvm's")
    if folder == "vdevs" and name in PATH_HEADERS:
        yield source.Problem(path, line, name, f"a vdev opens nothing: it has no use for <{name}>")
    if name.split("/")[0] in MAY_INCLUDE:
        yield source.Problem(path, line, name, f"<{name}> is ours: write it in quotes")


def check(tree):
    for path in tree.c_files(*MAY_INCLUDE):
        folder = path.split(os.sep)[0]
        text = tree.text(path)
        for line, kind, name in includes(text):
            yield from (check_own if kind == '"' else check_system)(path, line, folder, name)
        if folder == "vdevs":
            for line, name in source.find_calls(text, PATH_CALLS):
                yield source.Problem(path, line, name, f"a vdev opens nothing: {name}() is its host's business")


source.run(__name__)
