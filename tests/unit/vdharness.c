/* SPDX-License-Identifier: Apache-2.0 */
/* See vdharness.h. */
#include "tests/unit/vdharness.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/qlog.h"
#include "tests/unit/vdstream.h"

struct vd_watch {
	int fd;
	bool out;
	void (*fn)(struct vdev *v, void *arg);
	void *arg;
};
struct vd_timer {
	uint64_t at_ns;
	void (*fn)(struct vdev *v, void *arg);
	void *arg;
};

static struct vdh *vdh_of(struct vd_host *host)
{
	return Q_CONTAINER_OF(host, struct vdh, host);
}

/* ---- interrupts, notifications, windows ---- */

static void host_irq_set(struct vd_host *host, unsigned n, bool level)
{
	struct vdh *h = vdh_of(host);

	qassert(n < VDH_LINES);
	h->raises[n] += level && !h->level[n];
	h->level[n] = level;
}

static int host_irq_fd(struct vd_host *host, unsigned n)
{
	struct vdh *h = vdh_of(host);

	qassert(n < VDH_LINES);
	if (!h->no_irq_fd && h->irq_fd[n] < 0)
		h->irq_fd[n] = qfd_eventfd();
	return h->irq_fd[n];
}

static int host_msi_fd(struct vd_host *host, unsigned vector)
{
	struct vdh *h = vdh_of(host);

	qassert(vector < VDH_VECTORS);
	if (h->vec[vector].fd < 0)
		h->vec[vector].fd = qfd_eventfd();
	return h->vec[vector].fd;
}

static int host_msi_set(struct vd_host *host, unsigned vector, bool masked, uint64_t addr,
			uint32_t data)
{
	struct vdh *h = vdh_of(host);

	qassert(vector < VDH_VECTORS);
	h->vec[vector].sets++;
	if (!masked && h->no_routes)
		return -ENOSPC;
	h->vec[vector].live = !masked;
	h->vec[vector].addr = addr;
	h->vec[vector].data = data;
	return 0;
}

static int host_notify_add(struct vd_host *host, enum vd_space space, uint64_t addr, unsigned size,
			   const uint64_t *datamatch, int fd)
{
	struct vdh *h = vdh_of(host);

	if (h->no_notify)
		return -ENOSPC;
	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		if (h->notify[i].used)
			continue;
		h->notify[i] = (struct vdh_notify){ true, datamatch, space, addr,
						    datamatch ? *datamatch : 0, size, fd };
		return 0;
	}
	return -ENOSPC;
}

static void host_notify_del(struct vd_host *host, enum vd_space space, uint64_t addr, unsigned size,
			    const uint64_t *datamatch, int fd)
{
	struct vdh *h = vdh_of(host);

	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		struct vdh_notify *n = &h->notify[i];

		if (n->used && n->space == space && n->addr == addr && n->size == size &&
		    n->fd == fd && n->has_match == !!datamatch &&
		    (!datamatch || n->match == *datamatch)) {
			n->used = false;
			return;
		}
	}
	qassert(!"a notification that was never added");
}

static int host_bar_map(struct vd_host *host, unsigned win, enum vd_space space, uint64_t addr,
			uint64_t len_bytes, bool enabled)
{
	struct vdh *h = vdh_of(host);

	qassert(win < VDH_WINDOWS && enabled != h->win[win].mapped);
	if (enabled && h->taken_addr == addr)
		return -EEXIST;
	h->win[win] = (struct vdh_window){ enabled, space, addr, len_bytes, h->win[win].moves + 1 };
	return 0;
}

/* ---- events ---- */

static struct vd_watch *new_watch(struct vd_host *host, int fd, bool out,
				  void (*fn)(struct vdev *v, void *arg), void *arg)
{
	struct vdh *h = vdh_of(host);

	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		if (h->watches[i])
			continue;
		h->watches[i] = malloc(sizeof(*h->watches[i]));
		*h->watches[i] = (struct vd_watch){ fd, out, fn, arg };
		return h->watches[i];
	}
	return NULL;
}

static struct vd_watch *host_watch(struct vd_host *host, int fd,
				   void (*fn)(struct vdev *v, void *arg), void *arg)
{
	return new_watch(host, fd, false, fn, arg);
}

static struct vd_watch *host_watch_out(struct vd_host *host, int fd,
				       void (*fn)(struct vdev *v, void *arg), void *arg)
{
	return new_watch(host, fd, true, fn, arg);
}

static void host_unwatch(struct vd_host *host, struct vd_watch *w)
{
	struct vdh *h = vdh_of(host);

	for (unsigned i = 0; i < VDH_SLOTS; i++)
		if (h->watches[i] == w)
			h->watches[i] = NULL;
	free(w);
}

static uint64_t host_now(struct vd_host *host)
{
	struct vdh *h = vdh_of(host);

	return h->now_ns ? h->now_ns : qnow_ns();
}

static struct vd_timer *host_timer_new(struct vd_host *host,
				       void (*fn)(struct vdev *v, void *arg), void *arg)
{
	struct vdh *h = vdh_of(host);

	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		if (h->timers[i])
			continue;
		h->timers[i] = malloc(sizeof(*h->timers[i]));
		*h->timers[i] = (struct vd_timer){ 0, fn, arg };
		return h->timers[i];
	}
	return NULL;
}

static void host_timer_arm(struct vd_host *host, struct vd_timer *t, uint64_t at_ns)
{
	t->at_ns = at_ns;
}

static void host_timer_free(struct vd_host *host, struct vd_timer *t)
{
	struct vdh *h = vdh_of(host);

	for (unsigned i = 0; i < VDH_SLOTS; i++)
		if (h->timers[i] == t)
			h->timers[i] = NULL;
	free(t);
}

static int host_post(struct vd_host *host, void (*fn)(struct vdev *v, void *arg), void *arg)
{
	struct vdh *h = vdh_of(host);

	if (h->n_todo == VDH_SLOTS)
		return -ENOMEM;
	h->todo[h->n_todo++] = (struct vdh_todo){ .fn = fn, .arg = arg };
	return 0;
}

static int host_call(struct vd_host *host, void (*work)(void *work_arg), void *work_arg,
		     void (*done)(struct vdev *v, void *arg), void *arg)
{
	struct vdh *h = vdh_of(host);

	if (h->n_todo == VDH_SLOTS)
		return -ENOMEM;
	h->todo[h->n_todo++] = (struct vdh_todo){ work, work_arg, done, arg };
	return 0;
}

static bool run_todo(struct vdh *h)
{
	struct vdh_todo todo[VDH_SLOTS];
	unsigned n = h->n_todo;

	memcpy(todo, h->todo, sizeof(todo));
	h->n_todo = 0;
	for (unsigned i = 0; i < n; i++) {
		if (todo[i].work)
			todo[i].work(todo[i].work_arg);
		todo[i].fn(h->v, todo[i].arg);
	}
	return n > 0;
}

static bool run_timers(struct vdh *h)
{
	bool ran = false;

	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		struct vd_timer *t = h->timers[i];

		if (!t || !t->at_ns || t->at_ns > host_now(&h->host))
			continue;
		t->at_ns = 0;
		t->fn(h->v, t->arg);
		ran = true;
	}
	return ran;
}

static bool run_watches(struct vdh *h, int wait_ms)
{
	struct vd_watch *of[VDH_SLOTS];
	struct pollfd p[VDH_SLOTS];
	unsigned n = 0;
	bool ran = false;

	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		if (!h->watches[i])
			continue;
		of[n] = h->watches[i];
		p[n] = (struct pollfd){ .fd = of[n]->fd,
				       .events = of[n]->out ? POLLOUT : POLLIN };
		n++;
	}
	if (poll(p, n, wait_ms) <= 0)
		return false;
	for (unsigned i = 0; i < n; i++) {
		bool there = false;

		for (unsigned j = 0; j < VDH_SLOTS; j++)
			there |= h->watches[j] == of[i];
		if (p[i].revents && there) {
			of[i]->fn(h->v, of[i]->arg);
			ran = true;
		}
	}
	return ran;
}

/* ---- disk ---- */

static int host_blk_open(struct vd_host *host, const struct vd_arg *hostdev, struct cf_errors *errs,
			 struct vd_blk **ret, struct vd_blk_info *ret_info)
{
	struct vdh *h = vdh_of(host);

	if (h->disk_err) {
		cf_error_add(errs, CF_ERROR, hostdev->file, hostdev->line, hostdev->col,
			     "hostdev %s: %s", hostdev->text, strerror(-h->disk_err));
		return h->disk_err;
	}
	h->disk = calloc(1, h->disk_info.len_bytes);
	*ret = (struct vd_blk *)h->disk;
	*ret_info = h->disk_info;
	return h->disk ? 0 : -ENOMEM;
}

static int host_blk_submit(struct vd_host *host, struct vd_blk *b, struct vd_blk_io *io)
{
	struct vdh *h = vdh_of(host);

	if (h->submit_fails)
		return -EIO;
	qassert(h->n_io < Q_ARRAY_LEN(h->io));
	qassert(qspan_inside(io->off, io->len_bytes, h->disk_info.len_bytes));
	h->io[h->n_io++] = io;
	h->n_submits++;
	h->n_ops[io->op]++;
	return 0;
}

static void disk_move(struct vdh *h, const struct vd_blk_io *io)
{
	uint64_t off = io->off;

	for (unsigned i = 0; i < io->n_iov; i++) {
		if (io->op == VD_BLK_READ)
			memcpy(io->iov[i].iov_base, h->disk + off, io->iov[i].iov_len);
		else
			memcpy(h->disk + off, io->iov[i].iov_base, io->iov[i].iov_len);
		off += io->iov[i].iov_len;
	}
	qassert(off - io->off == io->len_bytes);
}

static bool run_disk(struct vdh *h)
{
	struct vd_blk_io *io[Q_ARRAY_LEN(h->io)];
	unsigned n = h->hold ? 0 : h->n_io;

	memcpy(io, h->io, sizeof(io));
	if (n)
		h->n_io = 0;
	for (unsigned i = 0; i < n; i++) {
		if (!h->io_err && (io[i]->op == VD_BLK_READ || io[i]->op == VD_BLK_WRITE))
			disk_move(h, io[i]);
		else if (!h->io_err && io[i]->op != VD_BLK_FLUSH)
			memset(h->disk + io[i]->off, 0, io[i]->len_bytes);
		io[i]->done(h->v, io[i], h->io_err);
	}
	return n > 0;
}

static void host_blk_kick(struct vd_host *host, struct vd_blk *b)
{
	vdh_of(host)->n_kicks++;
}

static void host_blk_close(struct vd_host *host, struct vd_blk *b)
{
	struct vdh *h = vdh_of(host);

	h->hold = false;
	run_disk(h);
	free(h->disk);
	h->disk = NULL;
}

static int host_backend_connect(struct vd_host *host, const struct vd_arg *hostdev)
{
	struct vdh *h = vdh_of(host);

	return h->backend ? h->backend(h) : -ENOENT;
}

static int host_net_open(struct vd_host *host, const struct vd_net_cfg *cfg, struct cf_errors *errs,
			 struct vd_net **ret)
{
	struct vdh *h = vdh_of(host);
	int r = h->net_open ? h->net_open(h, cfg, ret) : -ENODEV;

	if (r < 0)
		cf_error_add(errs, CF_ERROR, cfg->peer->file, cfg->peer->line, cfg->peer->col,
			     "peer %s cannot be had", cfg->peer->text);
	return r;
}

static int host_snd_open(struct vd_host *host, const struct vd_snd_cfg *cfg, struct cf_errors *errs,
			 struct vd_snd_pcm **ret)
{
	struct vdh *h = vdh_of(host);
	int r = h->snd_open ? h->snd_open(h, cfg, ret) : -ENODEV;

	if (r < 0)
		cf_error_add(errs, CF_ERROR, cfg->hostdev->file, cfg->hostdev->line,
			     cfg->hostdev->col, "hostdev %s cannot be had", cfg->hostdev->text);
	return r;
}

/* ---- what the vdev says ---- */

static void host_power(struct vd_host *host, enum vd_power what)
{
	vdh_of(host)->power = (int)what;
	vdh_of(host)->n_power++;
}

static uint64_t host_utc(struct vd_host *host)
{
	return vdh_of(host)->utc_ns + host_now(host);
}

static int host_irq_number(struct vd_host *host, unsigned n)
{
	return n < VDH_LINES ? vdh_of(host)->irq_number[n] : -1;
}

static void host_pit_wired(struct vd_host *host, bool on)
{
	vdh_of(host)->pit_cut = !on;
}

static int host_pci_header(struct vd_host *host, const struct vd_arg *arg, struct cf_errors *errs,
			   uint8_t *ret)
{
	struct vdh *h = vdh_of(host);

	if (!h->pci_header) {
		cf_error_add(errs, CF_ERROR, arg->file, arg->line, arg->col, "no such device");
		return -ENODEV;
	}
	memcpy(ret, h->pci_header, VD_PCI_HEADER_BYTES);
	return 0;
}

static void host_leave(struct vd_host *host, unsigned code)
{
	vdh_of(host)->left = code;
}

static void host_failed(struct vd_host *host, const char *why)
{
	vdh_of(host)->failed = why;
}

static void host_fault(struct vd_host *host, enum vd_fault f)
{
	vdh_of(host)->n_faults++;
}

static Q_PRINTF(3, 4) void host_log(struct vd_host *host, int sev, const char *fmt, ...)
{
	struct vdh *h = vdh_of(host);
	va_list ap;

	if (sev >= QLOG_DEBUG)
		return;
	va_start(ap, fmt);
	vsnprintf(h->logged, sizeof(h->logged), fmt, ap);
	va_end(ap);
}

static const struct vd_host_ops vdh_ops = {
	.irq_set = host_irq_set,
	.irq_fd = host_irq_fd,
	.msi_fd = host_msi_fd,
	.msi_set = host_msi_set,
	.notify_add = host_notify_add,
	.notify_del = host_notify_del,
	.bar_map = host_bar_map,
	.watch = host_watch,
	.unwatch = host_unwatch,
	.timer_new = host_timer_new,
	.timer_arm = host_timer_arm,
	.timer_free = host_timer_free,
	.post = host_post,
	.call = host_call,
	.blk_open = host_blk_open,
	.blk_submit = host_blk_submit,
	.blk_kick = host_blk_kick,
	.blk_close = host_blk_close,
	.backend_connect = host_backend_connect,
	.net_open = host_net_open,
	.snd_open = host_snd_open,
	.power = host_power,
	.fault = host_fault,
	.log = host_log,
	.leave = host_leave,
	.failed = host_failed,
	.now = host_now,
	.utc = host_utc,
	.irq_number = host_irq_number,
	.pit_wired = host_pit_wired,
	.pci_header = host_pci_header,
	.watch_out = host_watch_out,
	.stream = &vdh_stream_ops,
	.shm = &vdh_shm_ops,
};

/* ---- the test's side ---- */

void vdh_init(struct vdh *h)
{
	memset(h, 0, sizeof(*h));
	h->host.ops = &vdh_ops;
	h->mem = qmem_new();
	qassert(h->mem && !qmem_add(h->mem, gpa(VDH_RAM_GPA), VDH_RAM_BYTES, 0, "test"));
	h->host.mem = h->mem;
	h->power = -1;
	h->con_in_fd = h->con_out_fd = -1;
	for (unsigned i = 0; i < VDH_LINES; i++)
		h->irq_fd[i] = h->irq_number[i] = -1;
	for (unsigned i = 0; i < VDH_VECTORS; i++)
		h->vec[i].fd = -1;
	h->disk_info = (struct vd_blk_info){ .len_bytes = 1 << 20, .block_bytes = 512 };
}

void vdh_arg(struct vdh *h, const char *name, const char *text, uint64_t num)
{
	static const struct vd_option opts[] = {
		{ "mac" }, { "mtu" }, { "peer" }, { "peerfeats" }, { "queues" }, { "tapdev" },
		{ "hostdev" }, { "batch" }, { "delayed" }, { "legacy" }, { "dio" }, { "port" },
		{ "action" }, { "class" }, { "clone" }, { "device" }, { "frequency" }, { "reg" },
		{ "revision" }, { "subdevice" }, { "subvendor" }, { "vendor" },
		{ "create" }, { "allow" }, { "deny" }, { "window" },
		{ "capture" }, { "streams" }, { "formats" }, { "rates" }, { "channels" },
		{ "fragment" }, { "buffer" },
	};

	for (unsigned i = 0; i < Q_ARRAY_LEN(opts); i++)
		if (!strcmp(opts[i].name, name))
			h->args[h->cfg.n_args++] =
				(struct vd_arg){ &opts[i], text, num, "t", 1, 1 };
}

int vdh_create(struct vdh *h, const char *type, enum vd_space space, uint64_t base,
	       unsigned n_irqs)
{
	const struct vd_type *t = vdev_type_find(type);
	int r;

	qassert(t);
	h->cfg.type = t->name;
	h->cfg.name = "test0";
	h->cfg.space = space;
	h->cfg.base = base;
	h->cfg.len_bytes = t->len_bytes;
	h->cfg.n_irqs = n_irqs;
	h->cfg.args = h->args;
	h->cfg.file = "t";
	if (t->check)
		t->check(&h->cfg, &h->errs);
	if (!cf_errors_ok(&h->errs))
		return -EINVAL;
	if (space != VD_PCI && t->more_bytes) {
		h->cfg.more_bytes = t->more_bytes(&h->cfg);
		h->cfg.more_base = VDH_MORE_BASE;
	}
	if (space != VD_PCI)
		h->win[0] = (struct vdh_window){ true, space, base, t->len_bytes, 0 };
	r = t->create(&h->cfg, &h->host, &h->errs, &h->v);
	qassert(r == 0 || !cf_errors_ok(&h->errs));
	return r;
}

void vdh_fini(struct vdh *h)
{
	if (h->v && h->v->ops->quiesce)
		h->v->ops->quiesce(h->v);
	if (h->v)
		h->v->ops->free(h->v);
	for (unsigned i = 0; i < VDH_SLOTS; i++)	/* a vdev takes with it what it asked for */
		qassert(!h->watches[i] && !h->timers[i] && !h->notify[i].used);
	qassert(vdh_rams(h) == 0);
	for (unsigned i = 0; i < VDH_LINES; i++)
		qfd_close(&h->irq_fd[i]);
	for (unsigned i = 0; i < VDH_VECTORS; i++)
		qfd_close(&h->vec[i].fd);
	cf_errors_fini(&h->errs);
	h->mem = qmem_unref(h->mem);
}

bool vdh_step(struct vdh *h, int wait_ms)
{
	bool ran = run_todo(h);

	ran |= run_disk(h);
	ran |= run_timers(h);
	ran |= run_watches(h, ran ? 0 : wait_ms);
	return ran;
}

/* The earliest timer that is due at @until_ns; 0: none. */
static uint64_t next_timer(const struct vdh *h, uint64_t until_ns)
{
	uint64_t at_ns = 0;

	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		const struct vd_timer *t = h->timers[i];

		if (t && t->at_ns && t->at_ns <= until_ns && (!at_ns || t->at_ns < at_ns))
			at_ns = t->at_ns;
	}
	return at_ns;
}

void vdh_advance(struct vdh *h, uint64_t by_ns)
{
	const uint64_t until_ns = host_now(&h->host) + by_ns;

	for (uint64_t at_ns; (at_ns = next_timer(h, until_ns)) != 0;) {
		h->now_ns = Q_MAX(h->now_ns, at_ns);
		run_timers(h);
	}
	h->now_ns = until_ns;
	vdh_settle(h);
}

bool vdh_watches(struct vdh *h)
{
	return run_watches(h, 0);
}

void vdh_settle(struct vdh *h)
{
	while (vdh_step(h, 0))
		continue;
}

static struct vdh_window *window_at(struct vdh *h, enum vd_space space, uint64_t addr,
				    unsigned size, unsigned *ret_win)
{
	for (unsigned i = 0; i < VDH_WINDOWS; i++) {
		struct vdh_window *w = &h->win[i];

		*ret_win = i;
		if (w->mapped && w->space == space && addr >= w->addr &&
		    qspan_inside(addr - w->addr, size, w->len_bytes))
			return w;
	}
	return NULL;
}

uint64_t vdh_read(struct vdh *h, enum vd_space space, uint64_t addr, unsigned size)
{
	unsigned win;
	const struct vdh_window *w = window_at(h, space, addr, size, &win);

	return w ? h->v->ops->read(h->v, win, addr - w->addr, size) : ~0ull >> (64 - 8 * size);
}

void vdh_write(struct vdh *h, enum vd_space space, uint64_t addr, unsigned size, uint64_t val)
{
	unsigned win;
	const struct vdh_window *w = window_at(h, space, addr, size, &win);

	for (unsigned i = 0; i < VDH_SLOTS; i++) {
		const struct vdh_notify *n = &h->notify[i];

		if (n->used && n->space == space && n->addr == addr &&
		    (!n->size || n->size == size) && (!n->has_match || n->match == val)) {
			qfd_event_signal(n->fd);
			return;
		}
	}
	if (w)
		h->v->ops->write(h->v, win, addr - w->addr, size, val);
}

uint32_t vdh_cfg_read(struct vdh *h, unsigned off, unsigned size)
{
	return h->v->ops->cfg_read(h->v, off, size);
}

void vdh_cfg_write(struct vdh *h, unsigned off, unsigned size, uint32_t val)
{
	h->v->ops->cfg_write(h->v, off, size, val);
}

uint64_t vdh_edges(struct vdh *h, unsigned line)
{
	return h->irq_fd[line] < 0 ? 0 : qfd_event_clear(h->irq_fd[line]);
}

uint64_t vdh_msis(struct vdh *h, unsigned vector)
{
	return h->vec[vector].live ? qfd_event_clear(h->vec[vector].fd) : 0;
}

uint64_t vdh_fault_count(const struct vdh *h, enum vd_fault f)
{
	return h->v->faults[f];
}

unsigned vdh_notify_count(const struct vdh *h)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VDH_SLOTS; i++)
		n += h->notify[i].used;
	return n;
}
