#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# sound - runs on the board: the mediator plays on the board's HDA card and records from a loopback card, both through
# the kernel's drivers; two stock Linux guests play and record with their own snd_virtio
#
# ivi plays music without end (2000 Hz at a quarter of full scale), cluster a chime of 2 s over it (1000 Hz at half),
# three times: with the card there; while its driver is taken from the card, when nobody hears anything and nobody may
# hang; and when the driver has it again. Then cluster records what aplay gives to the loopback card. What the card
# heard is a file of the machine that the board runs on, and is looked at there (heard.py).
#
# In /sound: the guests' kernel, their initrd and the tone that is fed to the loopback card (tools/soundguest).

set -u
policy=/etc/parley/mediator.d/sound.policy
mediator_log=/tmp/mediator.log
driver=/sys/bus/pci/drivers/snd_hda_intel
PATIENCE_S=120

# What each thread of the mediator's has used of a processor, in ticks of 10 ms, and where it is.
threads()
{
	for thread in /proc/$mediator/task/*; do
		echo "thread: $(cut -d ' ' -f 2,3,14,15 $thread/stat) $(cat $thread/wchan)"
	done
}

fail()
{
	echo "sound: $*"
	for log in ivi cluster; do
		[ ! -e /tmp/$log.log ] || sed "s/^/$log: /" /tmp/$log.log /tmp/$log.err.log
	done
	sed 's/^/mediator: /' $mediator_log
	# Whether the card moves, and what the mediator's threads do.
	for pass in 1 2; do
		sed "s/^/card: /" /proc/asound/card0/pcm0p/sub0/status
		threads
		sleep 1
	done
	dmesg | tail -n 20
	exit 1
}

# wait_for SECONDS WHAT COMMAND...
wait_for()
{
	tries=$(($1 * 10)) what=$2
	shift 2
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "$what"
		sleep 0.1
	done
}

# said NAME PATTERN N: so many lines of what a guest, or the mediator, said.
said()
{
	[ "$(grep -c "$2" "/tmp/$1.log")" -ge "$3" ]
}

# ask NAME COMMAND PATTERN N: a guest does it; it has said the line for the N-th time then.
ask()
{
	echo "$2" >"/tmp/$1.in"
	wait_for $PATIENCE_S "$1 did not do: $2" said "$1" "$3" "$4"
}

write_policy()
{
	cat <<-TEXT
	[sound speaker]
	alsa = hw:0
	alsa-capture = hw:1,1
	rate = 48000
	channels = 2
	period = 40ms
	periods = 8
	[voice cluster/sound]
	device = speaker
	class = safety
	role = chime
	capture = 1
	[voice ivi/sound]
	device = speaker
	class = best-effort
	role = media
	when-higher = duck
	duck = 12
	attack = 5ms
	hold = 200ms
	release = 100ms
	TEXT
}

guest()
{
	mkfifo "/tmp/$1.in"
	cat >"/etc/parley/vms/$1.qvmconf" <<-TEXT
	system $1
	ram 0x80000000,224M
	cpu
	load /sound/kernel
	initrd load /sound/initrd
	cmdline "console=ttyAMA0 quiet loglevel=4 panic=-1 guest.ask"
	vdev pl011 hostdev - loc 0x1c090000 intr gic:37
	vdev virtio-snd hostdev mediator:sound
	TEXT
	# Open for both: who writes finds a reader, and the console never ends.
	timeout 600 qvm "@/etc/parley/vms/$1.qvmconf" <>"/tmp/$1.in" >"/tmp/$1.log" 2>"/tmp/$1.err.log" &
}

sockets()
{
	kill -0 "$mediator" 2>/dev/null || fail "the mediator ended at its start"
	[ "$(find /run/parley/mediator -type s -name '*.sound.sock' 2>/dev/null | wc -l)" -eq 2 ]
}

# 1000 Hz at half of full scale, without end, to the other side of what the mediator records from.
feed_loopback()
{
	while cat /sound/tone.s16; do
		:
	done 2>/dev/null | aplay -q -D plughw:1,0 -t raw -f S16_LE -r 48000 -c 2 2>/tmp/aplay.log &
	wait_for $PATIENCE_S "aplay does not play: $(cat /tmp/aplay.log)" \
		grep -qw RUNNING /proc/asound/card1/pcm0p/sub0/status
}

# unbind and bind wait until whoever has the card open has closed it.
take_card()
{
	echo "$card" >$driver/unbind &
	unbind=$!
	wait_for $PATIENCE_S "the mediator did not see the card go" said mediator 'ev=sound_lost' 1
	wait $unbind || fail "the driver does not give the card up"
}

give_card()
{
	echo "$card" >$driver/bind || fail "the driver does not take the card back"
	wait_for $PATIENCE_S "the mediator did not take the card back" said mediator 'ev=sound_back' 1
}

main()
{
	modprobe -a snd-hda-intel snd-hda-codec-generic
	modprobe snd-aloop index=1
	# The driver looks for its codecs on its own time.
	wait_for $PATIENCE_S "there is no sound card" test -e /dev/snd/pcmC0D0p
	cat /proc/asound/cards
	card=$(basename "$(readlink /sys/class/sound/card0/device)")
	[ -n "$card" ] && [ -e "$driver/$card" ] || fail "the first card is not the HDA's"

	mkdir -p /etc/parley/vms /etc/parley/mediator.d
	write_policy >$policy
	mediator $policy >$mediator_log 2>&1 &
	mediator=$!
	wait_for $PATIENCE_S "the mediator made no sockets" sockets

	guest ivi
	ivi=$!
	guest cluster
	cluster=$!
	for name in ivi cluster; do
		wait_for $PATIENCE_S "$name did not come up" said $name '^guest: ready' 1
	done

	# A guest's kernel gives a card up that does not move for as long as its buffer is: ours are late.
	for name in ivi cluster; do
		echo "options=--buffer-time=2000000" >/tmp/$name.in
	done
	echo loop >/tmp/ivi.in
	ask ivi "played 2" '^guest: played' 1
	ask cluster "play s16" '^guest: aplay s16 0' 1
	ask ivi "played 2" '^guest: played' 2
	take_card
	ask cluster "play s16" '^guest: aplay s16 0' 2
	ask ivi "played 2" '^guest: played' 3
	give_card
	ask ivi "played 2" '^guest: played' 4
	ask cluster "play s16" '^guest: aplay s16 0' 3
	ask ivi "played 2" '^guest: played' 5

	feed_loopback
	ask cluster record '^guest: recorded' 1
	said cluster '^guest: arecord 0' 1 || fail "arecord failed"
	# As loud as it was fed.
	said cluster '^guest: recorded 48000 frames, peak 163[89][0-9]' 1 ||
		fail "arecord has not recorded what was fed"

	echo off >/tmp/ivi.in
	echo off >/tmp/cluster.in
	wait $ivi || fail "ivi's qvm ended with $?"
	wait $cluster || fail "cluster's qvm ended with $?"
	threads
	kill -TERM $mediator
	wait $mediator || fail "the mediator ended with $?"
	sed 's/^/mediator: /' $mediator_log
}

main
