/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi-pm: the fixed hardware of ACPI that a guest needs to switch off, to restart, and to see its
 * power button: PM1a event and control registers (ACPI 6.4, 4.8.3), a reset register, and the
 * keyboard controller's reset line for guests that know no other way.
 *
 * Three windows: 0 PM1a (the vdev's own), 1 the reset register, 2 the keyboard controller's command
 * port. Windows 1 and 2 are mapped like BARs; where something else stands (a real pckeyboard), it
 * stays. Invariant: the SCI is (sts & en) != 0 after each callback.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vdevs/acpipm.h"
#include "vdevs/types.h"

enum { WIN_PM1A, WIN_RESET, WIN_KBD };
enum { PM1_PWRBTN = 1 << 8, PM1_EN_BITS = 0x0721, PM1_STS_BITS = 0x8731 };
enum { CNT_SCI_EN = 1 << 0, CNT_SLP_EN = 1 << 13, CNT_KEPT = 0x1c02 };
enum { RESET_CPU = 1 << 2, KBD_RESET = 0xfe };

struct acpipm {
	struct vdev v;
	uint16_t sts, en, cnt;
	uint8_t reset;
	bool line;
};

static void sci_update(struct acpipm *p)
{
	bool line = p->sts & p->en;

	if (line == p->line || !p->v.cfg->n_irqs)
		return;
	p->line = line;
	p->v.host->ops->irq_set(p->v.host, 0, line);
}

static uint8_t pm1a_byte(const struct acpipm *p, unsigned off)
{
	uint16_t reg = off < 2 ? p->sts : off < 4 ? p->en : p->cnt | CNT_SCI_EN;

	return off < 6 ? (uint8_t)(reg >> (8 * (off & 1))) : 0;
}

static void pm1a_set_byte(struct acpipm *p, unsigned off, uint8_t byte)
{
	uint16_t val = (uint16_t)(byte << (8 * (off & 1)));
	uint16_t mask = (uint16_t)(0xff << (8 * (off & 1)));

	if (off < 2) {
		p->sts &= ~val;
	} else if (off < 4) {
		p->en = ((p->en & ~mask) | val) & PM1_EN_BITS;
	} else if (off < 6) {
		p->cnt = ((p->cnt & ~mask) | val) & CNT_KEPT;
		/* SLP_EN and SLP_TYP are in the same byte, so that this sees both. */
		if ((val & CNT_SLP_EN) && ((p->cnt >> 10) & 7) == VD_ACPIPM_S5)
			p->v.host->ops->power(p->v.host, VD_POWER_OFF);
	}
}

static uint64_t acpipm_read(struct vdev *v, unsigned win, uint64_t off, unsigned size)
{
	struct acpipm *p = Q_CONTAINER_OF(v, struct acpipm, v);
	uint64_t val = 0;

	if (win == WIN_RESET)
		return p->reset;
	if (win == WIN_KBD)
		return 0;	/* neither buffer is full */
	for (unsigned i = 0; i < size; i++)
		val |= (uint64_t)pm1a_byte(p, (unsigned)off + i) << (8 * i);
	return val;
}

static void acpipm_write(struct vdev *v, unsigned win, uint64_t off, unsigned size, uint64_t val)
{
	struct acpipm *p = Q_CONTAINER_OF(v, struct acpipm, v);

	if (win == WIN_KBD) {
		if ((uint8_t)val == KBD_RESET)
			v->host->ops->power(v->host, VD_POWER_RESET);
		return;
	}
	if (win == WIN_RESET) {
		p->reset = (uint8_t)val & ~RESET_CPU;
		if (val & RESET_CPU)
			v->host->ops->power(v->host, VD_POWER_RESET);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		pm1a_set_byte(p, (unsigned)off + i, (uint8_t)(val >> (8 * i)));
	sci_update(p);
}

static bool acpipm_button(struct vdev *v)
{
	struct acpipm *p = Q_CONTAINER_OF(v, struct acpipm, v);

	/* Not latched for a guest that does not listen: it would go off when it begins to. */
	if (!(p->en & PM1_PWRBTN) || !v->cfg->n_irqs)
		return false;
	p->sts |= PM1_PWRBTN;
	sci_update(p);
	return true;
}

static void acpipm_status(struct vdev *v, char *buf, size_t buf_bytes)
{
	struct acpipm *p = Q_CONTAINER_OF(v, struct acpipm, v);

	snprintf(buf, buf_bytes, "sts=%#x en=%#x cnt=%#x", p->sts, p->en, p->cnt);
}

static void acpipm_free(struct vdev *v)
{
	free(Q_CONTAINER_OF(v, struct acpipm, v));
}

static const struct vdev_ops acpipm_ops = {
	.read = acpipm_read,
	.write = acpipm_write,
	.button = acpipm_button,
	.status = acpipm_status,
	.free = acpipm_free,
};

static int acpipm_create(const struct vd_config *cfg, struct vd_host *host, struct cf_errors *errs,
			 struct vdev **ret)
{
	static const struct { unsigned win, port; } extra[] = { { WIN_RESET, VD_ACPIPM_RESET },
								{ WIN_KBD, VD_ACPIPM_KBD } };
	struct acpipm *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->v = (struct vdev){ .ops = &acpipm_ops, .type = &vd_acpipm_type, .cfg = cfg,
			      .host = host };
	for (unsigned i = 0; i < Q_ARRAY_LEN(extra); i++) {
		int r = host->ops->bar_map(host, extra[i].win, VD_IO, extra[i].port, 1, true);

		if (r < 0 && r != -EEXIST) {
			cf_error_add(errs, CF_ERROR, cfg->file, cfg->line, cfg->col,
				     "%s: port %#x cannot be mapped", cfg->name, extra[i].port);
			free(p);
			return r;
		}
	}
	*ret = &p->v;
	return 0;
}

static const struct vd_option acpipm_options[] = {
	{ NULL },
};

const struct vd_type vd_acpipm_type = {
	.name = "acpi-pm",
	.flags = VD_NEEDS_LOC | VD_IMPLICIT,
	.default_space = VD_IO,
	.default_base = VD_ACPIPM_PM1A_EVT,
	.len_bytes = 6,
	.max_irqs = 0, /* its line is the machine's: the tables and the checker have the number */
	.archs = "x86",
	.options = acpipm_options,
	.create = acpipm_create,
};
