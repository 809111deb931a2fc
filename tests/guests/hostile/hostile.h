/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the attacks of the hostile guest share. An attack is a row: a name, a function, an argument.
 * Before each, the target is brought up as far as the attack's kind says; after it, hostile.c
 * looks what the device did, resets it and demands that it works again.
 */
#pragma once
#include "tests/guests/drv/blk.h"

#define HOSTILE_QUEUES	4		/* queues of one device that are attacked */
#define ARENA_BYTES	(256u * 1024)	/* memory the device may write to */

struct target {
	struct vio_dev *dev;
	unsigned n_queues;
	unsigned qi;			/* the queue under attack */
	struct vq vq[HOSTILE_QUEUES];
	struct vq *q;			/* &vq[qi] */
	uint64_t capacity;		/* sectors, virtio-blk */
	uint64_t sent;			/* entries published by the attack */
	/* Pieces of a well-formed request, inside the arena. */
	struct blk_header *header;
	uint8_t *data;			/* 64 KiB */
	volatile uint8_t *status;
	volatile struct vq_desc *table;	/* 1024 entries, for indirect descriptors */
	uint8_t *arena;
};

struct attack {
	const char *name;
	void (*run)(struct target *t, uint64_t arg);
	uint64_t arg;
	bool blk_only;
	uint64_t without;		/* features not to accept */
};

/* Attacks through a queue of a running device. */
extern const struct attack chain_attacks[];
extern const unsigned n_chain_attacks;
/* Attacks on a device that has been reset and is otherwise left to them. */
extern const struct attack device_attacks[];
extern const unsigned n_device_attacks;
/* Attacks on registers and configuration space. */
extern const struct attack config_attacks[];
extern const unsigned n_config_attacks;

/* One round of random descriptors on the queue under attack; @rng is the state of the sequence. */
void fuzz_round(struct target *t, uint64_t *rng);
uint64_t fuzz_next(uint64_t *rng);

/* --- for the attacks --- */

/* Addresses that are no memory of ours, by the argument of an attack. */
enum bad_addr { AT_BEYOND_RAM, AT_WRAP, AT_STRADDLE, AT_HOLE, AT_BIT_63, AT_BELOW_4G, BAD_ADDRS };
uint64_t bad_address(enum bad_addr which);

void put_desc(struct target *t, unsigned i, uint64_t addr, uint32_t len, unsigned flags,
	      unsigned next);
/* Descriptors 0, 1, 2: header, 512 bytes of data to be read from sector 0, status. */
void put_request(struct target *t);
/* Makes @head the next available entry, without a kick. */
void publish(struct target *t, uint16_t head);
/* publish() and notify, whether the device wants it or not. */
void fire(struct target *t, uint16_t head);
/* To FEATURES_OK, then all queues, then DRIVER_OK; NULL or what went wrong. */
const char *target_up(struct target *t, uint64_t without);
