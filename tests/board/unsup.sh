#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# unsup - runs on an arm64 board: what nobody serves, as each policy of `unsupported` has it, seen from inside the guest
# and in the log. The x86 side of it is tests/kvm/t_unsup.py.

set -u
out=/tmp/unsup.out log=/tmp/unsup.err

fail()
{
	echo "unsup: $*"
	echo "--- the guest:"
	cat $out
	echo "--- qvm:"
	cat $log
	exit 1
}

# run CODE DO POLICY: the guest does DO, and qvm ends with CODE.
run()
{
	cat >/tmp/unsup.qvmconf <<-TEXT
	system unsup
	ram 0x80000000,64M
	cpu
	load /guests/unsup.img
	cmdline "do=$2"
	vdev pl011 loc 0x1c090000 intr gic:37 hostdev >-
	vdev pl011 loc 0x2fff0000 intr gic:38 name near
	$3
	TEXT
	qvm @/tmp/unsup.qvmconf >$out 2>$log
	code=$?
	[ $code -eq "$1" ] || fail "$2, '$3': exit status $code, expected $1"
}

# said LINE: the guest says it, exactly.
said()
{
	tr -d '\r' <$out | grep -qx "unsup: $1" || fail "the guest does not say '$1'"
}

told()
{
	grep -q "$1" $log || fail "the log has no '$1'"
}

run 0 references ''
said 'read8 value=0xff aborts=0'
said 'read64 value=0xffffffffffffffff aborts=0'
said 'write32 value=0x0 aborts=0'
[ "$(grep -c ev=unowned_access $log)" -eq 3 ] || fail "not told once a place"
told 'op=write addr=0x30000010 size=4 value=0xabcd1234 cpu=0 n=1 policy=ignore near="0xf011 above near 0x2fff0000'

run 0 references 'unsupported reference fail'
said 'read8 value=0x1111 aborts=1'
said 'read64 value=0x2222 aborts=1'
said 'write32 value=0x0 aborts=1'

run 5 references 'unsupported reference abort'
told 'op=read addr=0x30000000 size=1 cpu=0 n=1 policy=abort'
told 'ev=vcpu_state cpu=0 x0='

run 0 instruction ''
said 'ldp value=0x1111 aborts=1'
told 'ev=unsupported_instruction .*policy=fail'

run 0 instruction 'unsupported instruction ignore'
said 'ldp value=0x1111 aborts=0'

run 5 instruction 'unsupported instruction abort'
told 'ev=vcpu_state cpu=0 x0='

# By default the counter starts at 0 and is far behind the host's, which has run for a while. A kernel before 6.4 cannot
# do otherwise, and qvm says so.
run 0 ticks ''
fresh=$(sed -n 's/\r//; s/^unsup: ticks //p' $out)
qvm @/tmp/unsup.qvmconf set counter-offset 0 >$out 2>$log
code=$?
if [ $code -eq 64 ]; then
	told 'stage=kvm why="set counter-offset: this host'
else
	same=$(sed -n 's/\r//; s/^unsup: ticks //p' $out)
	[ $code -eq 0 ] && [ "$fresh" -lt "$same" ] ||
		fail "the guest's counter is $fresh by default, $same as the host's"
fi

echo 'unsup: each policy does what it says'
