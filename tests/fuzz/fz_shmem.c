/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory from both its hostile sides: two guests that write what they like to the registers
 * of vdev shmem, one by PCI and one by MMIO, and strangers of the host who connect to their sockets
 * and say what they like. In the end everybody leaves, and nothing of a region may be left.
 *
 * Input: steps of an operation and its operands.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/qshm_priv.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vdharness.h"

#define STEPS_MAX 200u
#define WINDOW (1ull << 20)
#define MMIO_AT 0x1c050000ull
#define BAR0_AT 0xe0000000u
#define BAR2_AT 0xe8000000u
#define STRANGERS 12u

static const char *const names[] = {
	"x", "y", "", "a/b", ".z", "0123456789abcdef0123456789abcdef", "deny", "x y",
};

struct world {
	char dir[64];
	struct qshm *hub;
	struct vdh guest[2];	/* MMIO, PCI */
	struct qshm_conn *client;
	int strangers[STRANGERS];
};

static void world_open(struct world *w)
{
	snprintf(w->dir, sizeof(w->dir), "/tmp/parley-fz.XXXXXX");
	qassert(mkdtemp(w->dir) && !qshm_new(w->dir, "fz-shm", &w->hub));
	for (unsigned i = 0; i < 2; i++) {
		struct vdh *h = &w->guest[i];
		vdh_init(h);
		h->shm = w->hub;
		vdh_arg(h, "window", "1m", WINDOW);
		vdh_arg(h, "deny", "den?", 0);
		vdh_arg(h, "create", "y,8k", 0);
		qassert(!vdh_create(h, "shmem", i ? VD_PCI : VD_MEM, MMIO_AT, 1));
	}
	vdh_cfg_write(&w->guest[1], 0x10, 4, BAR0_AT);
	vdh_cfg_write(&w->guest[1], 0x18, 4, BAR2_AT);
	vdh_cfg_write(&w->guest[1], 0x04, 2, 2);
	w->client = NULL;
	for (unsigned i = 0; i < STRANGERS; i++)
		w->strangers[i] = -1;
}

static void world_close(struct world *w)
{
	char path[80];

	for (unsigned i = 0; i < STRANGERS; i++)
		qfd_close(&w->strangers[i]);
	for (unsigned i = 0; i < 2; i++)
		vdh_fini(&w->guest[i]);
	qshm_leave(w->client);
	qshm_free(w->hub);
	snprintf(path, sizeof(path), "%s/shm", w->dir);
	qassert(rmdir(path) == 0);
	qassert(rmdir(w->dir) == 0);
}

/* A window's register, or a page of the second window. */
static void access_window(struct vdh *h, struct fuzz_in *in, bool write)
{
	uint8_t which = fuzz_u8(in);
	const struct vdh_window *w = &h->win[which % 3];
	unsigned size = 1u << (fuzz_u8(in) % 4);
	uint64_t off = which % 3 ? (uint64_t)(which / 3 % 8) * 4096 + fuzz_u8(in) % 0x20 :
				   fuzz_u8(in) % 0x48;

	if (!w->mapped || !qspan_inside(off, size, w->len_bytes))
		return;
	if (write)
		vdh_write(h, w->space, w->addr + off, size, fuzz_u64(in));
	else
		vdh_read(h, w->space, w->addr + off, size);
}

static void create(struct vdh *h, struct fuzz_in *in)
{
	const struct vdh_window *w = &h->win[0];
	const char *name = names[fuzz_u8(in) % Q_ARRAY_LEN(names)];

	for (unsigned i = 0; w->mapped && i < 32 && (i == 0 || name[i - 1]); i++)
		vdh_write(h, VD_MEM, w->addr + 0x1c + i, 1, (uint8_t)name[i]);
	if (w->mapped)
		vdh_write(h, VD_MEM, w->addr + (fuzz_u8(in) & 1 ? 0x18 : 0x3c), 4, fuzz_u8(in));
}

/* Somebody of the host connects to slot @slot of region x. */
static void stranger_come(struct world *w, unsigned i, unsigned slot)
{
	struct shm_place p;

	qfd_close(&w->strangers[i]);
	if (shm_place_open(&p, w->hub->base_fd, "x") == 0)
		w->strangers[i] = shm_place_connect(&p, slot);
	shm_place_fini(&p);
	if (w->strangers[i] < 0)
		w->strangers[i] = -1;
}

static void stranger_say(struct world *w, unsigned i, struct fuzz_in *in)
{
	struct shm_msg m = { .magic = 0x4d485351, .kind = fuzz_u8(in) % 5,
			     .slot = fuzz_u8(in) % 20 };
	uint8_t how = fuzz_u8(in), bytes[16] = { 0 };
	int fd = how & 1 ? w->hub->base_fd : -1;
	size_t len = how & 2 ? how % sizeof(bytes) : sizeof(m);

	if (w->strangers[i] < 0)
		return;
	memcpy(bytes, &m, sizeof(m));
	if (how & 4)
		fuzz_bytes(in, bytes, sizeof(bytes));
	if (len)
		qfd_send(w->strangers[i], bytes, len, &fd, fd >= 0);
	else
		send(w->strangers[i], bytes, 0, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_step(struct world *w, struct fuzz_in *in)
{
	if (!w->client)
		qshm_join(w->hub, "x", fuzz_u8(in) % 4, &w->client);
	else if (fuzz_u8(in) & 1)
		w->client = qshm_leave(w->client);
	else
		qshm_ring(w->client, fuzz_u16(in));
}

static void step(struct world *w, struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in);
	struct vdh *h = &w->guest[what & 1];
	unsigned i = fuzz_u8(in) % STRANGERS;

	switch (what >> 1 & 7) {
	case 0:
		access_window(h, in, true);
		break;
	case 1:
		access_window(h, in, false);
		break;
	case 2:
		create(h, in);
		break;
	case 3:
		if (h->v->ops->cfg_write)
			vdh_cfg_write(h, fuzz_u8(in) & 0x3c, 4, (uint32_t)fuzz_u64(in));
		break;
	case 4:
		stranger_come(w, i, fuzz_u8(in) % 20);
		break;
	case 5:
		stranger_say(w, i, in);
		break;
	case 6:
		client_step(w, in);
		break;
	default:
		vdh_step(h, 0);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	struct world w;
	char status[256];

	world_open(&w);
	for (unsigned i = 0; i < STEPS_MAX && in.left > 0; i++)
		step(&w, &in);
	for (unsigned i = 0; i < 2; i++)
		w.guest[i].v->ops->status(w.guest[i].v, status, sizeof(status));
	world_close(&w);
	return 0;
}
