#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# linux_guest ARCH FORM OFFSET LENGTH - runs on the board: Linux guests under qvm, the first one's disk a share of the
# mediator's
#
#   pci       four vCPUs and everything by PCI, bulk data with the board by a tap; beside it a second guest, without a
#             disk, that ends by a reboot: bulk data and shared memory between the two
#   mmio      arm64: one vCPU, devices at the addresses and lines of Arm's models; an overlay on the device tree
#   fio       arm64: fio writes and verifies on a safety share while another guest floods a best-effort one
#   gicv2     arm64, on a board with a GICv2: messages through a frame, a user's device tree, the watchdog bites
#   bzimage   x86: one vCPU, booted from the bzImage, the watchdog bites
#
# The board's disk /dev/board/disk holds the guest's file system at OFFSET, LENGTH bytes long. /init of the guest
# (tools/board.d/guest-init, guest-checks) says what it does there. Exit status 0: qvm ended as it had to, the guest
# said that all was well and what it saw is what the configuration says, and the mediator stopped when told.

set -u
arch=$1 form=$2 offset=$3 length=$4
conf=/etc/parley/vms/linux.qvmconf
peer_conf=/etc/parley/vms/peer.qvmconf
policy=/etc/parley/mediator.d/board.policy
serial=/tmp/serial.log
peer_serial=/tmp/peer.log
mediator_log=/tmp/mediator.log
UPLINK=02:00:00:00:02:01	# MACs: of the interface to the board, and of the two guests between them
LAN=02:00:00:00:03:01
PEER_LAN=02:00:00:00:03:02
asker=

fail()
{
	echo "linux_guest: $*"
	[ ! -s $serial ] || sed 's/^/guest console: /' $serial
	[ ! -s $peer_serial ] || sed 's/^/second guest: /' $peer_serial
	echo "--- mediator:"
	tail -n 20 $mediator_log
	exit 1
}

# saw PATTERN WHAT: the first guest printed it.
saw()
{
	grep -q "$1" $serial || fail "$2"
}

# share NAME CLASS OFFSET LENGTH
share()
{
	printf '[share %s]\ndevice = disk\nclass = %s\noffset = %d\nlength = %d\n' "$@"
}

write_policy()
{
	printf '[device disk]\npath = /dev/board/disk\n'
	if [ "$form" = fio ]; then
		share linux/disk safety "$offset" $((length / 2))
		share flood/disk best-effort $((offset + length / 2)) $((length / 2))
	else
		share linux/disk safety "$offset" "$length"
	fi
}

# machine NAME CPUS MIB COMMAND-LINE: what every VM here has.
machine()
{
	echo "system $1"
	if [ "$arch" = x86 ]; then
		kernel=/guest/vmlinux
		[ "$form" = bzimage ] && kernel=/guest/bzImage
		cat <<-TEXT
		ram 0,0xa0000
		reserve loc 0xa0000,0x20000
		rom 0xc0000,0x40000
		ram 1m,$(($3 - 1))m
		load $kernel
		cmdline "console=ttyS0 quiet loglevel=4 nokaslr mitigations=off oops=panic panic=-1 rdinit=/init $4"
		vdev ioapic intr apic name myioapic
		vdev ser8250 hostdev >- intr myioapic:4
		TEXT
	else
		cat <<-TEXT
		ram 0x80000000,${3}M
		load /guest/Image
		cmdline "console=ttyAMA0 quiet loglevel=4 panic=-1 rdinit=/init $4"
		TEXT
		[ "$form" != gicv2 ] || echo "vdev gic version 2 msi 0x30000000,0x50,0x100"
		echo "vdev pl011 hostdev >- loc 0x1c090000 intr gic:37"
	fi
	echo "initrd load /guest/initrd"
	n=0
	while [ $n -lt "$2" ]; do
		echo cpu
		n=$((n + 1))
	done
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

# What the second console of the first guest is asked, once it says that it listens; what is typed ahead is lost on
# a driver that is not there yet.
ask()
{
	: >/tmp/hvc.out
	mkfifo /tmp/hvc.in
	exec 9<>/tmp/hvc.in
	{
		until grep -q '^ask me' /tmp/hvc.out; do
			sleep 0.2
		done
		echo "$1" >&9
	} &
	asker=$!
}

# run STATUS: the first VM, which must end with that.
run()
{
	timeout 600 qvm @$conf >$serial
	status=$?
	[ -z "$asker" ] || kill "$asker" 2>/dev/null
	[ $status -eq "$1" ] || fail "qvm ended with $status"
	saw '^guest: ok' "the guest did not say that all was well"
}

# ---- the whole by PCI ----

# The board's end of the second interface: the same exchange as between guests, by the same functions.
talk_with_guest()
{
	# shellcheck source=/dev/null
	. /guest-checks
	serve
	exchange 10.2.0.1
	wait_for 200 "10.2.0.1 did not hear us out" is_heard 10.2.0.1 10.2.0.2
}

finish()
{
	echo "board: $1"
	exit 1
}

# A tap of the board's, and its end of the network.
make_tap()
{
	modprobe tun
	{ tunctl -t parley0 && ip addr add 10.2.0.2/24 dev parley0 && ip link set parley0 up; } >/dev/null ||
		fail "the board makes no tap"
}

write_first()
{
	machine linux 4 256 "guest.check=devices,cpus,console,entropy,net,share guest.share=ask guest.net=$(
		)$UPLINK/10.2.0.1/10.2.0.2,$LAN/10.3.0.1/10.3.0.2 guest.end=poweroff"
	cat <<-TEXT
	vdev virtio-blk hostdev mediator:disk
	vdev virtio-console hostdev >/tmp/hvc.out hostdev </tmp/hvc.in
	vdev virtio-entropy
	vdev virtio-net name uplink peer tap:parley0 mac $UPLINK
	vdev shmem allow meet
	vdev virtio-net name lan peer peer/lan mac $LAN
	TEXT
}

write_second()
{
	machine peer 1 192 "guest.disk=none guest.check=net,share guest.share=answer guest.net=$(
		)$PEER_LAN/10.3.0.2/10.3.0.1 guest.end=reboot"
	cat <<-TEXT
	vdev shmem create meet,8192 allow meet
	vdev virtio-net name lan peer linux/lan mac $PEER_LAN
	TEXT
}

# The second guest has the same data, has rung and was rung, and ended by its reboot.
check_second()
{
	wait "$1"
	status=$?
	[ $status -eq 0 ] || fail "the second qvm ended with $status"
	for line in 'net 10.3.0.1 4194' 'share rung and answered, [1-9]' 'ok'; do
		grep -q "^guest: $line" $peer_serial || fail "the second guest did not say: $line"
	done
	sed 's/^/second guest: /' $peer_serial
	saw '^guest: net 10.3.0.2 4194' "the first guest has no data of the second"
	saw '^guest: share rung and answered, [1-9]' "the first guest was not rung"
	saw '^guest: pci 0000:00:05.0 1c05:0001 .* class 0580' "shared memory is not 1c05:0001 of class 0580"
}

form_pci()
{
	make_tap
	ask "what is the answer?"
	write_first >$conf
	write_second >$peer_conf
	timeout 600 qvm @$peer_conf >$peer_serial &
	peer=$!
	talk_with_guest &
	talk=$!
	run 0
	wait $talk || fail "the board's bulk data went wrong"
	check_second $peer
	grep -q '^answer to: what is the answer?' /tmp/hvc.out || fail "the second console said: $(cat /tmp/hvc.out)"
	saw '4 processors went and came back' "not each of four vCPUs"
	saw '^guest: /dev/vda has 4 queues' "the disk has no queue a vCPU"
	saw '^guest: net 10.2.0.2 4194' "the guest has no data of the board"
	saw '^guest: entropy [1-9]' "the guest has no random bytes"
	saw '^guest: pci 0000:00:00.0 1c05:0002' "no host bridge 1c05:0002"
	saw '^guest: pci 0000:00:01.0 1af4:1042 sub 1c05 class 01' "the disk is not 1af4:1042 of 1c05"
	saw '^guest: pci 0000:00:02.0 1af4:1043 sub 1c05' "the console is not 1af4:1043"
	saw '^guest: pci 0000:00:03.0 1af4:1044 sub 1c05' "the random source is not 1af4:1044"
	saw '^guest: pci 0000:00:04.0 1af4:1041 sub 1c05 class 02' "the network is not 1af4:1041"
	saw '^guest: irq .*MSI.*virtio0-req' "the disk does not signal by messages"
}

# ---- MMIO, as in configurations for Arm's models ----

form_mmio()
{
	{
		machine linux 1 256 "guest.check=tree,console,entropy,net,devices guest.net=$(
			)$UPLINK/10.2.0.1/10.2.0.2 guest.end=reboot"
		cat <<-TEXT
		fdt load /guest-overlay.dtb
		vdev virtio-net loc 0x1c0c0000 intr gic:40 name uplink peer tap:parley0 mac $UPLINK
		vdev virtio-blk loc 0x1c0d0000 intr gic:41 hostdev mediator:disk
		vdev virtio-console loc 0x20000000 intr gic:42 hostdev >/tmp/hvc.out hostdev </tmp/hvc.in
		vdev virtio-entropy loc 0x20010000 intr gic:43
		TEXT
	} >$conf
	make_tap
	ask "how are you?"
	talk_with_guest &
	talk=$!
	run 0
	wait $talk || fail "the board's bulk data went wrong"
	saw '^guest: .* 1 processors' "the guest has not one processor"
	saw '^guest: tree QVM-v8A from an overlay' "the overlay is not in the tree"
	saw '^guest: vdev 1c090000.uart uart-pl011' "no uart at its place"
	saw '^guest: vdev 1c0d0000.virtio_mmio virtio-mmio' "no disk at its place"
	saw '^guest: mem 1c090000-1c090fff : .*1c090000' "the uart is elsewhere in the map"
	saw '^guest: mem 1c0d0000-1c0d0[0-9a-f]* : .*1c0d0000' "the disk is elsewhere in the map"
	saw '^guest: irq GICv3  37 Level  *uart-pl011' "the uart is not gic:37"
	saw '^guest: irq GICv3  40 Edge  *virtio' "the network is not gic:40"
	saw '^guest: irq GICv3  41 Edge  *virtio' "the disk is not gic:41"
	saw '^guest: net 10.2.0.2 4194' "the guest has no data of the board"
	grep -q '^answer to: how are you?' /tmp/hvc.out || fail "the second console said: $(cat /tmp/hvc.out)"
	# This board's GIC cannot do what another one can: that is said, with what it can do.
	sed 's/^vdev pl011/vdev gic version 2 &/' $conf >/tmp/wrong.qvmconf
	qvm @/tmp/wrong.qvmconf 2>/tmp/wrong.log
	status=$?
	[ $status -eq 64 ] || fail "with a GIC that this host has not, qvm ended with $status"
	grep -q 'GICv3.*write version 3' /tmp/wrong.log || fail "a wrong version was told as: $(cat /tmp/wrong.log)"
}

form_gicv2()
{
	{
		machine linux 2 256 "guest.check=devices,cpus,tree guest.last=bite"
		cat <<-TEXT
		fdt load /guest-tree.dtb
		vdev virtio-blk hostdev mediator:disk
		vdev wdt-sp805
		TEXT
	} >$conf
	run 4
	saw '^guest: .* 2 processors' "the guest has not started its second vCPU"
	saw '^guest: tree Somebody.s board from a tree' "the user's tree is not the guest's"
	saw '^guest: irq MSI .*virtio0-req' "the disk does not signal through the frame"
}

# ---- fio ----

# A guest that writes and reads as much as it can, from when fio is about to begin until it is told to end.
start_flood()
{
	mkfifo /tmp/flood.in
	cat >$peer_conf <<-TEXT
	system flood
	ram 0x80000000,64M
	cpu
	load /guests/blkworker.img
	cmdline "secs=0 paused=1 rw=30 qd=32 bs=65536 region=8 stall_ms=100000"
	vdev pl011 hostdev - loc 0x1c090000 intr gic:37
	vdev virtio-blk hostdev mediator:disk
	TEXT
	timeout 600 qvm @$peer_conf >$peer_serial </tmp/flood.in &
	flood=$!
	exec 8>/tmp/flood.in
	{
		until grep -q '^guest: fio begins' $serial; do
			sleep 0.2
		done
		echo g >&8
	} &
	starter=$!
}

form_fio()
{
	: >$serial
	start_flood
	{
		machine linux 2 256 "guest.disk=none guest.check=fio"
		cat <<-TEXT
		vdev virtio-blk hostdev mediator:disk
		vdev virtio-blk hostdev </dev/board/fio
		TEXT
	} >$conf
	run 0
	saw '^guest: fio *write: .*(8192KiB/' "fio has not written all"
	saw '^guest: fio *read: .*(8192KiB/' "fio has not read all back"
	wait $starter
	kill -0 $flood || fail "the flood ended before"
	echo q >&8
	wait $flood || fail "the flooding qvm ended with $?"
	grep -q '^guest: done ok' $peer_serial || fail "the guest that floods did not say that all was well"
	grep -q '^blk: total .* ops=[1-9][0-9]* err=0 .* verified=[1-9]' $peer_serial || fail "there was no flood"
	grep '^blk: total' $peer_serial
}

form_bzimage()
{
	{
		machine linux 1 256 "guest.check=devices guest.last=bite"
		cat <<-TEXT
		vdev virtio-blk hostdev mediator:disk
		vdev wdt-ib700
		TEXT
	} >$conf
	run 4
	saw '^guest: .* 1 processors' "the guest has not one processor"
	saw '^guest: pci 0000:00:01.0 1af4:1042 sub 1c05' "the disk is not 1af4:1042 of 1c05"
}

main()
{
	mkdir -p /etc/parley/vms /etc/parley/mediator.d
	write_policy >$policy
	mediator $policy >$mediator_log 2>&1 &
	mediator=$!
	wait_for_mediator

	"form_$form"
	sed 's/^/guest console: /' $serial

	kill -TERM "$mediator"
	wait "$mediator"
	status=$?
	[ $status -eq 0 ] || fail "the mediator ended with $status"
}

main
