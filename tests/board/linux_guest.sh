#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# linux_guest ARCH FORM OFFSET LENGTH - runs on the board: a Linux guest under qvm, its disk a share of the mediator's
#
# FORM is pci, mmio or bzimage. The board's disk /dev/board/disk holds the guest's file system at OFFSET, LENGTH bytes
# long (/init of the guest, tools/board.d/guest-init, says what it does there). Exit status 0: qvm ended with 0, the
# guest said that all was well, and the mediator stopped when told.

set -u
arch=$1 form=$2 offset=$3 length=$4
conf=/etc/parley/vms/linux.qvmconf
policy=/etc/parley/mediator.d/board.policy
serial=/tmp/serial.log
mediator_log=/tmp/mediator.log

fail()
{
	echo "linux_guest: $*"
	echo "--- mediator:"
	tail -n 20 $mediator_log
	exit 1
}

write_policy()
{
	cat >$policy <<-TEXT
	[device disk]
	path = /dev/board/disk

	[share linux/disk]
	device = disk
	class = safety
	offset = $offset
	length = $length
	TEXT
}

write_x86()
{
	kernel=/guest/vmlinux
	[ "$form" = bzimage ] && kernel=/guest/bzImage
	cat >$conf <<-TEXT
	system linux
	ram 0,0xa0000
	reserve loc 0xa0000,0x20000
	rom 0xc0000,0x40000
	ram 1m,255m
	cpu
	cpu
	load $kernel
	initrd load /guest/initrd
	cmdline "console=ttyS0 quiet loglevel=4 nokaslr mitigations=off panic=-1 rdinit=/init guest.end=poweroff"
	vdev ioapic intr apic name myioapic
	vdev ser8250 hostdev >- intr myioapic:4
	vdev virtio-blk hostdev mediator:disk
	TEXT
}

write_arm64()
{
	place=
	[ "$form" = mmio ] && place='loc 0x1c0d0000 intr gic:41 '
	cat >$conf <<-TEXT
	system linux
	ram 0x80000000,256M
	cpu
	cpu
	load /guest/Image
	initrd load /guest/initrd
	cmdline "console=ttyAMA0 quiet loglevel=4 panic=-1 rdinit=/init guest.end=poweroff"
	vdev pl011 hostdev >- loc 0x1c090000 intr gic:37
	vdev virtio-blk ${place}hostdev mediator:disk
	TEXT
}

# Waits until the share's socket is there, at most 10 s.
wait_for_mediator()
{
	tries=0
	until [ -n "$(find /run/parley/mediator -type s -name '*disk*' 2>/dev/null)" ]; do
		kill -0 "$mediator" 2>/dev/null || fail "the mediator ended at its start"
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "the mediator made no socket"
		sleep 0.1
	done
}

main()
{
	mkdir -p /etc/parley/vms /etc/parley/mediator.d
	write_policy
	"write_$arch"
	mediator $policy >$mediator_log 2>&1 &
	mediator=$!
	wait_for_mediator

	timeout 400 qvm @$conf >$serial
	status=$?
	sed 's/^/guest console: /' $serial
	[ $status -eq 0 ] || fail "qvm ended with $status"
	grep -q '^guest: ok' $serial || fail "the guest did not say that all was well"
	grep -q '^guest: .* 2 processors' $serial || fail "the guest has not started its second vCPU"

	kill -TERM "$mediator"
	wait "$mediator"
	status=$?
	[ $status -eq 0 ] || fail "the mediator ended with $status"
}

main
