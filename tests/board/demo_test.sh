#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo_test.sh ROOT BUILD - tools/demo --linux on the x86 board, as meson runs it
#
# Where this machine's KVM emulates a guest's kernel, the demo cannot show Linux; nested on the board, KVM is native.
# The board has no Python and no tools for file systems: both come from Debian's packages, unpacked into the build
# folder, their libraries with them. Exit status 77: skipped.

set -euo pipefail

root=$1 build=$2
here=$root/tests/board
PATH=$PATH:/usr/sbin:/sbin
debs=${PARLEY_BUILD_ROOT:-$root/build}/board/x86/demo-debs
LEFT_OUT='__pycache__ config-3* ctypes curses distutils email ensurepip idlelib lib2to3 pydoc_data sqlite3 tkinter
	turtledemo unittest xmlrpc'

for program in qemu-system-x86_64 cpio depmod modprobe; do
	command -v "$program" >/dev/null || { echo "there is no $program: run tools/packages board"; exit 77; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/demo_test.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Compiled here: an emulated processor would take longer for that than for all else.
make_python()
{
	local library name
	library=$(echo "$debs"/usr/lib/python3.[0-9]*)
	python=${library##*/}
	mkdir -p "$work/usr/lib"
	cp -r "$library" "$work/usr/lib/"
	for name in $LEFT_OUT; do
		rm -rf "$work/usr/lib/$python/"$name
	done
	# A link to a file of /etc has nowhere to lead.
	find "$work/usr" -xtype l -delete
	cp "$debs/usr/bin/$python" "$work/python3"
	PYTHONHOME=$work/usr "$work/python3" -S -m compileall -q --invalidation-mode unchecked-hash \
		"$work/usr/lib/$python" >"$work/compile" 2>&1 ||
		echo "demo_test: this machine cannot compile for the board's Python; going on"
}

# What the programs from packages need and is no part of every program: PATH by PATH.
libraries()
{
	local lib=lib/x86_64-linux-gnu name folder
	readelf -dW "$work/python3" "$debs"/sbin/{mkfs.ext4,e2fsck,debugfs} |
		sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u |
		while read -r name; do
			case $name in
			libc.so*|libm.so*|ld-linux*) continue ;;
			esac
			for folder in "$debs/$lib" "$debs/usr/$lib"; do
				[ ! -e "$folder/$name" ] || printf '%s\n' "$folder/$name"
			done
		done
}

"$root/tools/debs" amd64 "$debs" python3-minimal libpython3-stdlib e2fsprogs
"$root/tools/board" x86 --build "$build" --make
make_python

puts=(
	"$root/tools/demo.d:/demo/tools/demo.d" "$build/tests/guests/blkload:/demo/build/tests/guests/blkload"
	"$build/tools/kvmprobe:/demo/build/tools/kvmprobe" "$build/tools/kvmprobe:/bin/kvmprobe"
	"$work/python3:/usr/bin/python3" "$work/usr/lib/$python:/usr/lib/$python" "$here/demo_linux.sh:/bin/demo_linux"
)
for tool in mkfs.ext4 e2fsck debugfs; do
	puts+=("$debs/sbin/$tool:/sbin/$tool")
done
while read -r library; do
	puts+=("$library:/lib/x86_64-linux-gnu/${library##*/}")
done < <(libraries)

args=(x86 --build "$build" --log "$work/console" --timeout 1000 --qemu -m --qemu 2048)
for put in "${puts[@]}"; do
	args+=(--put "$put")
done
r=0
"$root/tools/board" "${args[@]}" -- demo_linux || r=$?
if [ $r -ne 0 ]; then
	[ ! -s "$work/console" ] || sed 's/^/console: /' "$work/console" | tail -n 30
	echo "demo_test: on the board: exit status $r"
	exit 1
fi
