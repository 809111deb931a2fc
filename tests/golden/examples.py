#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""examples.py GOLDEN EXAMPLES PLANS - the example guests give the plans that stand in PLANS.

Copies each EXAMPLES/NAME.qvmconf, with the files that it loads named as the stand-ins of golden.c, beside
PLANS/NAME.plan and lets golden compare them. A name that ends with -arm64 is read for arm64. With GOLDEN_UPDATE=1 in
the environment the plans are written.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

GUESTS = re.compile(r"/var/lib/parley/guests/[\w-]+/")


def main():
    golden, examples, plans = sys.argv[1:]
    names = [os.path.basename(p)[:-len(".qvmconf")] for p in glob.glob(os.path.join(examples, "*.qvmconf"))]
    spare = {p[:-len(".plan")] for p in os.listdir(plans)} - set(names)
    if spare and "GOLDEN_UPDATE" not in os.environ:
        sys.exit(f"{plans} has plans without an example: {' '.join(sorted(spare))}")
    with tempfile.TemporaryDirectory() as tmp:
        for name in names:
            with open(os.path.join(examples, name + ".qvmconf"), encoding="utf-8") as f:
                text = GUESTS.sub("", f.read())
            arch = "arm64" if name.endswith("-arm64") else "x86"
            with open(os.path.join(tmp, name + ".qvmconf"), "w", encoding="utf-8") as f:
                f.write(f"# arch: {arch}\n{text}")
            plan = os.path.join(plans, name + ".plan")
            if os.path.exists(plan):
                shutil.copy(plan, tmp)
        status = subprocess.run([golden, tmp], check=False).returncode
        if "GOLDEN_UPDATE" in os.environ:
            for path in glob.glob(os.path.join(tmp, "*.plan")):
                shutil.copy(path, plans)
    return status


sys.exit(main())
