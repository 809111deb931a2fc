#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# demo_linux - runs on the board: tools/demo --linux on the installed product, its KVM being native there
#
# Exit status 0: the probe said so, hostd and hostctl started two Linux guests on one disk, every phase was measured,
# both guests ended as told, and their file systems are clean and hold what they wrote (tools/demo.d says how).

set -u
build=/demo/build
for program in qvm mediator hostd hostctl; do
	mkdir -p $build/$program
	ln -s "$(command -v $program)" $build/$program/$program || exit 1
done
kvmprobe || exit 1
export PYTHONHOME=/usr
exec python3 -B -S /demo/tools/demo.d/demo.py --build $build --linux --linux-guest /guest --region 4 --seconds 3 \
	--patience 12
