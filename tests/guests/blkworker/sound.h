/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the block worker plays meanwhile: a script of sounds (sounder/wave.h) on a virtio-snd, from
 * the turns of its loop. A program of a Linux guest has none: linux/sound.c.
 */
#pragma once
#include <stdbool.h>

/* Opens the device if the command line has a script to play. */
void sound_open(void);
/* Key m: plays the script, from its beginning. */
void sound_key(int c);
/* Sends what there is to send; true when something came back. */
bool sound_turn(void);
/* Before and after a sleep; true when something has come back already. */
bool sound_arm(void);
void sound_disarm(void);
