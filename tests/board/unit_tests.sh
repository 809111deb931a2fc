#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# unit_tests - runs on the board: every program of /unit, with the patience that an emulated processor needs

set -u
export CK_TIMEOUT_MULTIPLIER=20
passed=0 failed=0
for program in /unit/t_*; do
	start=$(cut -d. -f1 /proc/uptime)
	if timeout 300 "$program" >/tmp/log 2>&1; then
		passed=$((passed + 1))
	else
		echo "${program##*/} ended with $?:"
		tail -n 20 /tmp/log
		failed=$((failed + 1))
	fi
	took=$(($(cut -d. -f1 /proc/uptime) - start))
	[ $took -lt 10 ] || echo "${program##*/} took $took s"
done
echo "unit_tests: $passed programs passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
