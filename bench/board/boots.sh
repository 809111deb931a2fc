#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# boots ARCH ROUNDS - runs on a board: Linux in a VM under qvm and under QEMU in turn, from exec to the first line of
# its init, and to the end of the VMM
#
# The guest is the board's own (/guest), without a disk: the same kernel, initial root and command line for both, 256
# MiB and a serial port. For each event one line on standard output, with the board's clock:
#
#   mark VMM begin|userspace|end SECONDS
#   memory VMM KIB        resident beyond guest RAM, when init says that it is there
#
# Exit status 0: all guests said that all was well.

set -u
arch=$1 rounds=$2
RAM_MIB=256
said=/tmp/said

mark()
{
	read -r up _ </proc/uptime
	echo "mark $1 $2 $up"
}

# Everything but the mapping that is guest RAM: a memfd of qvm's, QEMU's only one of that size.
memory()
{
	awk -v ram_kib=$((RAM_MIB << 10)) '
		/^[0-9a-f]+-/ { is_ram = /memfd:guest-ram/ }
		/^Size:/ && $2 >= ram_kib { is_ram = 1 }
		/^Rss:/ && !is_ram { kib += $2 }
		END { print kib }' "/proc/$1/smaps"
}

words()
{
	echo "quiet loglevel=4 panic=-1 rdinit=/init guest.disk=none guest.end=poweroff $1"
}

under_qvm()
{
	exec qvm @/tmp/boots.qvmconf
}

under_qemu()
{
	case $arch in
	x86)	exec qemu-system-x86_64 -M microvm,accel=kvm -cpu host -m $RAM_MIB -nodefaults -no-user-config \
			-display none -no-reboot -kernel /guest/vmlinux -initrd /guest/initrd \
			-append "$(words "console=ttyS0 nokaslr mitigations=off")" -serial stdio ;;
	arm64)	exec qemu-system-aarch64 -M virt,accel=kvm,gic-version=3 -cpu host -m $RAM_MIB -nodefaults \
			-no-user-config -display none -no-reboot -kernel /guest/Image -initrd /guest/initrd \
			-append "$(words console=ttyAMA0)" -serial stdio ;;
	esac
}

write_config()
{
	echo "system boots"
	case $arch in
	x86)	cat <<-TEXT
		ram 0,0xa0000
		reserve loc 0xa0000,0x20000
		rom 0xc0000,0x40000
		ram 1m,$((RAM_MIB - 1))m
		load /guest/vmlinux
		cmdline "$(words "console=ttyS0 nokaslr mitigations=off")"
		vdev ioapic intr apic name myioapic
		vdev ser8250 hostdev >- intr myioapic:4
		TEXT
		;;
	arm64)	cat <<-TEXT
		ram 0x80000000,${RAM_MIB}M
		load /guest/Image
		cmdline "$(words console=ttyAMA0)"
		vdev pl011 hostdev >- loc 0x1c090000 intr gic:37
		TEXT
		;;
	esac
	echo "initrd load /guest/initrd"
	echo "cpu"
}

# one VMM PROGRAM: the reader of its console marks what it reads.
one()
{
	vmm=$1 program=$2
	mkfifo /tmp/console
	mark "$vmm" begin
	$program </dev/null >/tmp/console 2>/tmp/err &
	pid=$!
	: >$said
	while read -r line; do
		echo "$line" >>$said
		case $line in
		"guest: Linux "*)
			mark "$vmm" userspace
			kib=$(memory $pid) ;;
		esac
	done </tmp/console
	wait $pid
	mark "$vmm" end
	rm /tmp/console
	grep -q '^guest: ok' $said || { cat $said /tmp/err; exit 1; }
	echo "memory $vmm $kib"
}

write_config >/tmp/boots.qvmconf
n=0
while [ $n -lt "$rounds" ]; do
	one qvm under_qvm
	one qemu under_qemu
	n=$((n + 1))
done
