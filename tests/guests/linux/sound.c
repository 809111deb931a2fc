/* SPDX-License-Identifier: Apache-2.0 */
/* The sound of a program of a Linux guest: none. The kernel has the device, and other players. */
#include "tests/guests/blkworker/sound.h"

void sound_open(void)
{
}

void sound_key(int c)
{
	(void)c;
}

bool sound_turn(void)
{
	return false;
}

bool sound_arm(void)
{
	return false;
}

void sound_disarm(void)
{
}
