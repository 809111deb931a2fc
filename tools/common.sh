# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# common.sh - what the scripts of tools/ share: where things are, and how they speak. To be sourced.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything that is made lies below this folder, which git ignores.
build_root=${PARLEY_BUILD_ROOT:-$top/build}
tool=$(basename "$0")

say()
{
	printf '%s: %s\n' "$tool" "$*"
}

# A tool whose exit status is somebody else's says with which one it fails itself: die_status.
die()
{
	printf '%s: %s\n' "$tool" "$*" >&2
	exit "${die_status:-1}"
}

# hold LOCKFILE: one maker at a time of what is cached; held until this script ends.
hold()
{
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	flock -n 9 || { say "waiting for another run to finish with $(dirname "$1")" >&2; flock 9; }
}
