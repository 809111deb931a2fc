#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py FILE OUTPUT: a file as a C array, mt_page."""

import sys


def main():
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    with open(sys.argv[2], "w", encoding="ascii") as f:
        f.write('#include "metrics/page.h"\n\nconst unsigned char mt_page[] = {\n')
        for i in range(0, len(data), 16):
            f.write("\t" + "".join(f"{b}, " for b in data[i:i + 16]).rstrip() + "\n")
        f.write("};\nconst size_t mt_page_bytes = sizeof(mt_page);\n")


if __name__ == "__main__":
    main()
