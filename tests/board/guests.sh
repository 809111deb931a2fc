#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# guests ARCH OFFSET LENGTH - runs on the board: the small guests of /guests under qvm, on files of their own and on
# shares of one mediator, by PCI and by MMIO; entropy by both; and on arm64 each register of a serial port
#
# LENGTH bytes from OFFSET on of the board's disk /dev/board/disk are four shares: two of a worker, two of an attacker.
# While the hostile guest attacks its four disks, the worker uses each of its four in turn and checks every byte. Exit
# status 0: every guest said that all was well, the worker was woken by interrupts, qvm ended with 0 each time, and the
# mediator stopped when told. The attacks are a part of all there are: each of them is tried where KVM is quick.

set -u
arch=$1 offset=$2 part=$(($3 / 4))
policy=/etc/parley/mediator.d/board.policy
mediator_log=/tmp/mediator.log

fail()
{
	echo "guests: $*"
	for log in /tmp/*.log; do
		echo "--- $log:"
		tail -n 20 "$log"
	done
	exit 1
}

# share NAME NUMBER WORDS: one line of words for the share's own keys.
share()
{
	printf '[share %s]\ndevice = disk\noffset = %d\nlength = %d\n%s\n' "$1" $((offset + $2 * part)) $part "$3"
}

write_policy()
{
	{
		printf '[device disk]\npath = /dev/board/disk\ntarget = 1s\n'
		share worker/pci 0 'class = safety'
		share worker/mmio 1 'class = safety'
		share hostile/pci 2 'fault-budget = 1000000'
		share hostile/mmio 3 'fault-budget = 1000000'
	} >$policy
}

# machine NAME GUEST COMMAND-LINE: what every VM here has.
machine()
{
	if [ "$arch" = x86 ]; then
		cat <<-TEXT
		system $1
		ram 64m
		cpu
		load /guests/$2.elf
		cmdline "$3 mmio=0xf1000000,20 mmio=0xf1001000,21"
		vdev ioapic intr apic name pic
		vdev ser8250 hostdev >- intr pic:4
		TEXT
	else
		cat <<-TEXT
		system $1
		ram 0x80000000,64M
		cpu
		load /guests/$2.img
		cmdline "$3"
		vdev pl011 hostdev >- loc 0x1c090000 intr gic:37
		TEXT
	fi
}

# disk HOSTDEV BUS: a virtio-blk; BUS is pci, mmio, or mmio2 for the second one.
disk()
{
	place=
	case $arch-$2 in
	x86-mmio)	place='loc 0xf1000000 intr pic:20' ;;
	x86-mmio2)	place='loc 0xf1001000 intr pic:21' ;;
	arm64-mmio)	place='loc 0x1c0d0000 intr gic:41' ;;
	arm64-mmio2)	place='loc 0x1c0e0000 intr gic:42' ;;
	esac
	echo "vdev virtio-blk $place hostdev $1"
}

# Waits until the shares' sockets are there, at most 10 s.
wait_for_mediator()
{
	tries=0
	until [ "$(find /run/parley/mediator -type s -name '*mmio*' 2>/dev/null | wc -l)" -ge 2 ]; do
		kill -0 "$mediator" 2>/dev/null || fail "the mediator ended at its start"
		tries=$((tries + 1))
		[ $tries -lt 100 ] || fail "the mediator made no sockets"
		sleep 0.1
	done
}

# run NAME: the VM of /tmp/NAME.qvmconf; its console in /tmp/NAME.log.
run()
{
	timeout 200 qvm "@/tmp/$1.qvmconf" >"/tmp/$1.log" 2>"/tmp/$1.err.log"
}

# work NAME HOSTDEV BUS
work()
{
	{
		machine worker blkworker "ops=300 qd=4 segs=2 region=1 flush_every=40 seed=$seed"
		disk "$2" "$3"
	} >"/tmp/$1.qvmconf"
	seed=$((seed + 1))
	run "$1"
	status=$?
	[ $status -eq 0 ] || fail "$1: qvm ended with $status"
	grep -q '^guest: done ok' "/tmp/$1.log" || fail "$1: the guest did not say that all was well"
	grep -q '^blk: total .* verified=[1-9][0-9]* .* irqs=[1-9]' "/tmp/$1.log" ||
		fail "$1: nothing verified, or no interrupt"
	sed -n "s/^blk: total .*\(ops=[0-9]* err=[0-9]*\) .* \(verified=.*\)/guests: $1: \1 \2/p" "/tmp/$1.log" |
		head -n 1
}

attack()
{
	{
		machine hostile hostile "every=9 queues=1 rounds=5 wait_ms=100 recover_ms=30000"
		disk /tmp/hostile-pci.img pci
		disk /tmp/hostile-mmio.img mmio
		disk mediator:pci pci
		disk mediator:mmio mmio2
	} >/tmp/hostile.qvmconf
	run hostile
}

# The second serial port: a byte comes in when the guest has gone through its registers.
serial()
{
	mkfifo /tmp/uart.in
	{
		machine uart uart "uart=0x1c0a0000 intid=38"
		echo "vdev pl011 loc 0x1c0a0000 intr gic:38 hostdev >/tmp/uart.out hostdev </tmp/uart.in"
	} >/tmp/uart.qvmconf
	run uart &
	pid=$!
	until grep -q '^uart: interrupts' /tmp/uart.log 2>/dev/null || ! kill -0 $pid 2>/dev/null; do
		sleep 0.1
	done
	timeout 10 sh -c 'echo "from the host" >/tmp/uart.in'
	wait $pid || fail "uart: qvm ended with $?"
	grep -q '^uart: line="from the host"' /tmp/uart.log || fail "uart: the guest did not get its line"
	grep -q '^guest: done ok' /tmp/uart.log || fail "uart: the guest did not say that all was well"
	grep -q 'from the guest' /tmp/uart.out || fail "uart: what the guest sent did not arrive"
	sed -n 's/^uart: rows/guests: uart: rows/p' /tmp/uart.log
}

# virtio-entropy, by PCI and by MMIO.
entropy()
{
	case $arch in
	x86)	place='loc 0xf1000000 intr pic:20' ;;
	arm64)	place='loc 0x1c0d0000 intr gic:41' ;;
	esac
	{
		machine entropy console "entropy=1"
		printf 'vdev virtio-entropy\nvdev virtio-entropy %s\n' "$place"
	} >/tmp/entropy.qvmconf
	run entropy || fail "entropy: qvm ended with $?"
	grep -q '^guest: done ok' /tmp/entropy.log || fail "entropy: the guest did not say that all was well"
	[ "$(grep -c '^entropy: dev=' /tmp/entropy.log)" -eq 2 ] || fail "entropy: the guest did not see two devices"
}

# Arm's watchdog: kept quiet it lets the guest end, left alone it ends the VM with status 4.
watchdog()
{
	for bite in 0 1; do
		{
			machine sp805 sp805 "bite=$bite"
			echo "vdev wdt-sp805 intr gic:40"
		} >/tmp/sp805.qvmconf
		run sp805
		status=$?
		[ $status -eq $((4 * bite)) ] || fail "sp805: qvm ended with $status"
		grep -q '^sp805: interrupts=' /tmp/sp805.log || fail "sp805: the guest has not come to its interrupts"
	done
	grep -q 'ev=watchdog_bite' /tmp/sp805.err.log || fail "sp805: no word of the bite"
}

# x86: the guest's counter is the host's, or as many ticks behind it as the configuration says; by default it begins at
# 0.
counter()
{
	machine counter unsup "do=tsc" >/tmp/counter.qvmconf
	echo "$1" >>/tmp/counter.qvmconf
	run counter || fail "counter: qvm ended with $?"
	ticks=$(sed -n 's/^unsup: tsc //p' /tmp/counter.log)
	[ -n "$ticks" ] || fail "counter: the guest tells no ticks"
}

counter_offset()
{
	counter "set counter-offset 0"
	host=$ticks
	counter ""
	[ "$ticks" -lt "$host" ] || fail "counter: a new guest's is at $ticks, the host's at $host"
	counter "set counter-offset $host"
	[ "$ticks" -lt "$host" ] || fail "counter: $ticks, where the host's is $host behind"
	counter "set counter-offset 1"
	[ "$ticks" -gt "$host" ] || fail "counter: $ticks, one behind what was $host before"
}

main()
{
	mkdir -p /etc/parley/mediator.d
	for name in pci mmio; do
		truncate -s 4M /tmp/worker-$name.img /tmp/hostile-$name.img
	done
	write_policy
	mediator $policy >$mediator_log 2>&1 &
	mediator=$!
	wait_for_mediator

	machine hello hello "sleep_ms=10" >/tmp/hello.qvmconf
	run hello || fail "hello: qvm ended with $?"
	grep -q '^guest: done ok' /tmp/hello.log || fail "hello did not say that all was well"

	entropy
	[ "$arch" = x86 ] || serial	# tests/kvm has that of x86
	[ "$arch" = arm64 ] || counter_offset	# what a host of arm64 refuses: unsup
	[ "$arch" = x86 ] || watchdog

	attack &
	attacker=$!
	seed=1
	work file-pci /tmp/worker-pci.img pci
	work file-mmio /tmp/worker-mmio.img mmio
	work share-pci mediator:pci pci
	work share-mmio mediator:mmio mmio
	wait $attacker
	status=$?
	[ $status -eq 0 ] || fail "hostile: qvm ended with $status"
	grep -q '^guest: done ok' /tmp/hostile.log || fail "hostile: a disk was lost"
	[ "$(grep -c '^hostile: device ' /tmp/hostile.log)" -eq 4 ] || fail "hostile: it did not see four disks"
	[ "$(sed -n 's/^hostile: .* needs_reset \(dev=[^ ]*\) .*/\1/p' /tmp/hostile.log | sort -u | wc -l)" -eq 4 ] ||
		fail "hostile: not every disk asked for a reset"
	grep '^hostile: total' /tmp/hostile.log

	kill -TERM $mediator
	wait $mediator
	status=$?
	[ $status -eq 0 ] || fail "the mediator ended with $status"
}

main
