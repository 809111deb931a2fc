/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of a console: see console.h. Two rings; the output ring is drained by whoever holds
 * the lock (the vCPU that wrote, the I/O thread when there is room again), the input ring is filled
 * when it is empty. Invariant: with bytes in the output ring somebody will come for them (a write
 * that waits for room, the timer of `batch`) or is waited for (`delayed`).
 */
#include "vdevs/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>


#define BATCH_MAX_US 1000000u

/* ---- configuration ---- */

void vd_console_check_hostdev(const struct vd_config *cfg, const struct vd_arg *a,
			      const char *text, struct cf_errors *errs)
{
	static const char socket[] = "socket:";
	bool one_way = text[0] == '<' || text[0] == '>';
	const char *path = text + one_way;

	if (!*path || !strcmp(path, socket))
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: hostdev '%s': expected -, a path or socket:PATH, with < or > "
			     "before it for one direction", cfg->type, text);
}

void vd_console_check(const struct vd_config *cfg, struct cf_errors *errs)
{
	const struct vd_arg *a = vd_arg_find(cfg, "batch");
	uint64_t ns;

	if (a && a->num > BATCH_MAX_US)
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: batch is in microseconds, at most %u", cfg->type, BATCH_MAX_US);
	a = vd_arg_find(cfg, "delayed");
	if (a && !vd_delay_parse(a->text, &ns))
		cf_error_add(errs, CF_ERROR, a->file, a->line, a->col,
			     "%s: delayed '%s': expected forever, or seconds, at most %u",
			     cfg->type, a->text, VD_DELAY_MAX_S);
	for (size_t i = 0; i < cfg->n_args; i++)
		if (!strcmp(cfg->args[i].opt->name, "hostdev"))
			vd_console_check_hostdev(cfg, &cfg->args[i], cfg->args[i].text, errs);
}

/* ---- out ---- */

/* Writes what the host takes. */
static void out_drain(struct vd_console *c)
{
	while (c->out_len && !c->port.out_watch) {
		unsigned first = Q_MIN(c->out_len, VD_CONSOLE_OUT_BYTES - c->out_head);
		const struct iovec iov[2] = { { c->out + c->out_head, first },
					      { c->out, c->out_len - first } };
		unsigned n = (unsigned)vd_port_write(&c->port, iov, iov[1].iov_len ? 2 : 1);

		if (!n)
			return;
		/* Out of the write, who is there may have changed and the ring been emptied. */
		n = Q_MIN(n, c->out_len);
		c->out_head = (c->out_head + n) % VD_CONSOLE_OUT_BYTES;
		c->out_len -= n;
	}
}

static void out_timer(struct vdev *v, void *arg)
{
	struct vd_console *c = arg;

	c->armed = false;
	out_drain(c);
}

static void out_soon(struct vd_console *c)
{
	struct vd_host *h = c->port.v->host;

	if (!c->batch_ns) {
		out_drain(c);
	} else if (!c->armed) {
		c->armed = true;
		h->ops->timer_arm(h, c->timer, h->ops->now(h) + c->batch_ns);
	}
}

static size_t out_copy(struct vd_console *c, const char *buf, size_t len)
{
	unsigned tail = (c->out_head + c->out_len) % VD_CONSOLE_OUT_BYTES;
	size_t room = VD_CONSOLE_OUT_BYTES - c->out_len, n = Q_MIN(len, room);
	size_t first = Q_MIN(n, VD_CONSOLE_OUT_BYTES - tail);

	memcpy(c->out + tail, buf, first);
	memcpy(c->out, buf + first, n - first);
	c->out_len += (unsigned)n;
	return n;
}

void vd_console_write(struct vd_console *c, const void *buf, size_t len)
{
	if (!vd_port_has_out(&c->port) && !vd_port_awaits(&c->port))
		return;
	size_t n = out_copy(c, buf, len);
	if (n < len)
		out_drain(c);
	n += out_copy(c, (const char *)buf + n, len - n);
	c->dropped += len - n;
	out_soon(c);
}

void vd_console_flush(struct vd_console *c)
{
	out_drain(c);
}

/* ---- in ---- */

static bool in_pull(struct vd_console *c)
{
	unsigned before = c->in_len;

	while (c->in_len < VD_CONSOLE_IN_BYTES) {
		unsigned tail = (c->in_head + c->in_len) % VD_CONSOLE_IN_BYTES;
		const struct iovec iov = {
			c->in + tail, Q_MIN(VD_CONSOLE_IN_BYTES - c->in_len,
					    VD_CONSOLE_IN_BYTES - tail)
		};
		size_t n = vd_port_read(&c->port, &iov, 1);

		if (!n)
			break;
		c->in_len += (unsigned)n;
	}
	return c->in_len > before;
}

bool vd_console_get(struct vd_console *c, uint8_t *ret)
{
	if (!c->in_len)
		return false;
	*ret = c->in[c->in_head];
	c->in_head = (c->in_head + 1) % VD_CONSOLE_IN_BYTES;
	c->in_len--;
	/* Not before it is empty: one read a buffer, not one a byte. */
	if (!c->in_len)
		vd_port_want(&c->port);
	return true;
}

/* ---- events ---- */

/* Who left takes the rest of the output with him, unless he is waited for. */
static void who_changed(struct vd_console *c)
{
	if (vd_port_has_out(&c->port)) {
		out_soon(c);
	} else if (!vd_port_awaits(&c->port)) {
		c->dropped += c->out_len;
		c->out_len = 0;
	}
	if (c->changed)
		c->changed(c);
	else if (c->in_len < VD_CONSOLE_IN_BYTES)
		vd_port_want(&c->port);
}

static void port_event(struct vd_port *p, enum vd_port_event e)
{
	struct vd_console *c = p->arg;

	switch (e) {
	case VD_PORT_IN:
		if (c->ready)
			c->ready(c);
		else if (in_pull(c))
			c->input(p->v);
		break;
	case VD_PORT_OUT:
		out_drain(c);
		break;
	case VD_PORT_CHANGED:
		who_changed(c);
		break;
	}
}

/* ---- life ---- */

static int init(struct vd_console *c, struct vdev *v, struct cf_errors *errs)
{
	const struct vd_arg *batch = vd_arg_find(v->cfg, "batch");

	c->batch_ns = batch ? batch->num * Q_NSEC_PER_USEC : 0;
	c->out = malloc(VD_CONSOLE_OUT_BYTES);
	c->timer = v->host->ops->timer_new(v->host, out_timer, c);
	if (c->out && c->timer)
		return vd_port_open(&c->port, v, NULL, port_event, c, errs);
	cf_error_add(errs, CF_ERROR, v->cfg->file, v->cfg->line, v->cfg->col, "%s: out of memory",
		     v->cfg->name);
	return -ENOMEM;
}

int vd_console_init(struct vd_console *c, struct vdev *v, void (*input)(struct vdev *v),
		    struct cf_errors *errs)
{
	*c = (struct vd_console){ .port = VD_PORT_NULL, .input = input };
	c->port.v = v;
	int r = init(c, v, errs);
	if (r == 0)
		vd_port_want(&c->port);
	return r;
}

int vd_console_init_out(struct vd_console *c, struct vdev *v,
			void (*ready)(struct vd_console *c), void (*changed)(struct vd_console *c),
			struct cf_errors *errs)
{
	*c = (struct vd_console){ .port = VD_PORT_NULL, .ready = ready, .changed = changed };
	c->port.v = v;
	return init(c, v, errs);
}

void vd_console_fini(struct vd_console *c)
{
	struct vdev *v = c->port.v;

	if (!v)
		return;
	if (c->timer)
		v->host->ops->timer_free(v->host, c->timer);
	c->timer = NULL;
	vd_port_close(&c->port);
	c->port.v = NULL;
	free(c->out);
	c->out = NULL;
	c->out_len = 0;
}
