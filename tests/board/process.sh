#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# process ARCH - runs on the board: a VM with two vCPUs is watched from outside, asked for its status, dumped into
# /mnt/share, and ended
#
# Exit status 0: `env` and the status knew where the first vCPU was, the guest went on after the dump, qvm ended as it
# was asked to. What is in the dump is looked at by who started the board.

set -u
arch=$1

fail()
{
	echo "process: $*"
	cat out err
	exit 1
}

# eventually WHAT COMMAND...: the command succeeds within 100 s.
eventually()
{
	what=$1 n=0
	shift
	until "$@"; do
		n=$((n + 1))
		[ $n -lt 500 ] || fail "not in 100 s: $what"
		sleep 0.2
	done
}

machine()
{
	echo 'system boxed cpu cpu dump /mnt/share cmdline "sleep_ms=1000000"'
	if [ "$arch" = x86 ]; then
		echo 'ram 64m load /guests/hello.elf vdev ioapic name pic vdev ser8250 hostdev - intr pic:4'
	else
		echo 'ram 0x80000000,64M load /guests/hello.img vdev pl011 loc 0x1c090000 intr gic:37 hostdev -'
	fi
}

knows_where()
{
	grep -q 'last_known_ip": "0x[1-9a-f]' /run/parley/qvm/boxed/env
}

cd "$(mktemp -d)" || exit 1
machine >vm.qvmconf
if [ "$arch" = arm64 ]; then
	qvm @vm.qvmconf set fdt-dump-file tree.dtb dryrun >out 2>err || fail "dryrun: exit status $?"
	grep -q "FDT saved to 'tree.dtb'" err || fail "dryrun does not say where the device tree is"
	[ "$(head -c 4 tree.dtb | od -An -tx1 | tr -d ' ')" = d00dfeed ] || fail "what dryrun saved is no device tree"
	qvm @vm.qvmconf set fdt-dump-file /nosuch/tree.dtb dryrun >out 2>err && fail "a file in no folder"
	grep -q '/nosuch/tree.dtb: No such file' err || fail "it is not said why the tree could not be saved"
fi
mkfifo keys
qvm @vm.qvmconf <keys >out 2>err &
qvm=$!
exec 3>keys
eventually 'the guest says hello' grep -q 'hello: map' out
eventually 'env knows where the guest is' knows_where
grep -q "\"arch\": \"$arch\"" /run/parley/qvm/boxed/env || fail "env is of another architecture"
kill -USR1 $qvm
eventually 'the status tells the clock' grep -q 'ev=clock .*host_time=[1-9a-f].*guest_time=[1-9a-f]' err
grep -q 'ev=vcpu_status cpu=0 ip=0x[1-9a-f]' err || fail "the status does not know where the guest is"
kill -USR2 $qvm
eventually 'the dump is written' grep -q 'ev=dump_' err
grep -q 'ev=dump_written' err || fail "there is no dump"
echo x >&3
eventually 'the guest goes on' grep -q 'hello: key=120' out
kill -QUIT $qvm
wait $qvm
status=$?
[ $status -eq 3 ] || fail "qvm ended with $status"
[ ! -e /run/parley/qvm/boxed ] || fail "the VM's directory is left behind"
echo "process: dumped"
