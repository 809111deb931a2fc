#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the corpus of fz_fdt with dtc: trees and overlays that are right, from which the mutations depart. Run it
after a change of the input format and commit what it wrote: mkcorpus_fdt.py tests/fuzz/corpus/fz_fdt
"""

import os
import subprocess
import sys

BOARD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "board")
FULL, GICV2, BARE = range(3)

TREE = """
/dts-v1/;
/memreserve/ 0x90000000 0x1000;
/ {
	#address-cells = <2>; #size-cells = <2>; interrupt-parent = <&pic>;
	chosen { bootargs = "mine"; stdout-path = &line; rng-seed = <1 2 3 4>; };
	aliases { serial0 = &line; };
	memory@80000000 { device_type = "memory"; reg = <0 0x80000000 0 0x1000>; };
	reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
		pool@90000000 { reg = <0 0x90000000 0 0x1000>; }; };
	pic: pic { qvm,vdev = "gic"; extra = [01 02 03]; };
	soc { line: serial { qvm,vdev = "pl011-0"; status = "okay"; }; };
	disk: disk { qvm,vdev = "disk"; label = "root"; };
	dog: dog { qvm,vdev = "dog"; timeout-sec = <30>; };
	uses { disks = <&disk &dog &pic>; interrupt-parent = <&pic>; interrupts = <0 9 4>; };
};
"""
OVERLAY = """
/dts-v1/;
/plugin/;
&{/} { mine { word = "x"; parent = <&pic>; }; };
&{/chosen} { bootargs = "of an overlay"; };
/ { fragment@9 { target-path = "/"; __overlay__ {
	pic: any { qvm,vdev = "gic"; }; disk: other { qvm,vdev = "disk"; deeper { value = <1>; }; };
	uses { interrupt-parent = <&pic>; disks = <&disk>; };
}; }; };
"""
SYMBOLS = """
/dts-v1/;
/plugin/;
&gic { extra; };
&disk { label = "by a symbol"; };
"""


def compiled(source):
    return subprocess.run(["dtc", "-q", "-@", "-I", "dts", "-O", "dtb"], input=source, capture_output=True, check=True,
                          text=False).stdout


def source_of(name):
    with open(os.path.join(BOARD, name), "rb") as f:
        return f.read()


def inputs():
    yield "tree", FULL, TREE.encode()
    yield "overlay", FULL, OVERLAY.encode()
    yield "symbols", FULL, SYMBOLS.encode()
    yield "board-overlay", FULL, source_of("overlay.dts")
    yield "board-tree", GICV2, source_of("tree.dts")
    yield "bare", BARE, b"/dts-v1/; / { };"
    yield "bare-overlay", BARE, b"/dts-v1/; /plugin/; &{/} { a { b = <1>; }; };"


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, machine, source in inputs():
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(bytes([machine]) + compiled(source))


main()
