#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Words that tie the tree to one machine: folders of somebody's machine, hosts of package registries."""

import re

import source

# Bracketed letters keep this table from finding itself.
WORDS = (
    ("path", re.compile(r"(?<![\w.$}*])/(?:[w]ork|[h]ome|[r]oot|[U]sers)/[\w.]"),
     "a path of somebody's machine"),
    ("host", re.compile(r"(?:deb|snapshot|ftp|security|archive)[.](?:debian|ubuntu)[.](?:org|com)|"
                        r"pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|crates[.]io|proxy[.]golang[.]org|"
                        r"(?:docker|ghcr|quay)[.]io|gcr[.]io|maven[.]org|rubygems[.]org|packages[.]cloud[.]google"),
     "a host of a package registry: take packages from the machine's own apt sources"),
)

EXCEPTIONS = {}


def check(tree):
    for path in tree.paths:
        if tree.is_binary(path):
            continue
        for n, line in enumerate(tree.lines(path), 1):
            for key, word, text in WORDS:
                m = word.search(line)
                if m:
                    yield source.Problem(path, n, key, f"{text}: {m.group(0)}")


source.run(__name__)
