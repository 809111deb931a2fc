/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables (ACPI 6.4): RSDP, XSDT, FADT, FACS-less, MADT, MCFG, HPET, DSDT, an SSDT for each of
 * a PC's devices that stands at its usual place, and the tables of `acpi load`. Built in a buffer
 * and copied to 0xe0000, where the RSDP is found by searching as well. What is constant is AML from
 * .asl files.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "com1.hex"
#include "com2.hex"
#include "dsdt.hex"
#include "hpet.hex"
#include "kbd.hex"
#include "rtc.hex"
#include "qvm/arch/x86/x86.h"
#include "qvm/memmap.h"
#include "qvm/vmdev.h"
#include "vdevs/acpipm.h"

#define OEM_ID	   "PARLEY"
#define OEM_TABLE  "QVMX86  "
#define CREATOR	   "PRLY"
#define TABLES_MAX 32u
#define TABLES_USER_MAX 20u	/* so that there is room for ours */
#define TABLES_ROOM  0x4000u	/* that ours take at most, all together */
#define USER_ROOM    (X86_ACPI_BYTES - TABLES_ROOM)
#define CMOS_CENTURY 0x32u
#define HPET_MIN_FS  50000000000ull	/* 50 us: no shorter period is served */

struct header {
	char sig[4];
	uint32_t len_bytes;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
	char sig[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t len_bytes;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

struct gas { /* generic address */
	uint8_t space, bits, offset, access;
	uint64_t addr;
} __attribute__((packed));

struct fadt {
	struct header h;
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base,
		cst;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0,
		x_gpe1;
	struct gas sleep_cnt, sleep_sts;
	uint64_t hypervisor;
} __attribute__((packed));
static_assert(sizeof(struct fadt) == 276, "FADT of revision 6");

enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_SLP_BUTTON = 1 << 5,
	FADT_RESET_REG = 1 << 10
};
enum { BOOT_LEGACY = 1 << 0, BOOT_8042 = 1 << 1, BOOT_NO_VGA = 1 << 2, BOOT_NO_RTC = 1 << 5 };
#define GAS_IO 1u

struct tables {
	uint8_t buf[X86_ACPI_BYTES];
	size_t n_bytes;
	uint64_t gpas[TABLES_MAX]; /* of what the XSDT lists */
	unsigned n;
};

static_assert(sizeof(dsdt_aml_code) + sizeof(com1_aml_code) + sizeof(com2_aml_code) +
		      sizeof(kbd_aml_code) + sizeof(rtc_aml_code) +
		      sizeof(hpet_aml_code) + 16 * MM_CPUS_MAX + 0x800 <
		      TABLES_ROOM,
	      "ours fit");

static uint8_t sum(const void *p, size_t len)
{
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = (uint8_t)(s + ((const uint8_t *)p)[i]);
	return s;
}

static void header_init(struct header *h, const char *sig, uint8_t revision, size_t len)
{
	memcpy(h->sig, sig, 4);
	h->len_bytes = htole32((uint32_t)len);
	h->revision = revision;
	memcpy(h->oem, OEM_ID, 6);
	memcpy(h->oem_table, OEM_TABLE, 8);
	h->oem_revision = htole32(1);
	memcpy(h->creator, CREATOR, 4);
	h->creator_revision = htole32(1);
}

/*
 * Appends a table, checksummed; its guest address. The buffer is large enough for all there can be:
 * x86_acpi_build().
 */
static uint64_t put(struct tables *t, const void *table, size_t len, bool listed)
{
	size_t at = Q_ALIGN_UP(t->n_bytes, (size_t)16);
	struct header *h = (struct header *)(t->buf + at);

	qassert(len <= sizeof(t->buf) - at);
	memcpy(h, table, len);
	h->checksum = 0;
	h->checksum = (uint8_t)-sum(h, len);
	t->n_bytes = at + len;
	if (listed)
		t->gpas[t->n++] = X86_ACPI + at;
	return X86_ACPI + at;
}

static struct gas io_reg(uint64_t port, uint8_t bytes)
{
	return (struct gas){ .space = GAS_IO,
			     .bits = (uint8_t)(8 * bytes),
			     .access = bytes == 1 ? 1 : 2,
			     .addr = htole64(port) };
}

/* The vdev of that type, or NULL. */
static struct vm_dev *dev_of_type(const struct vm *vm, const char *type)
{
	for (size_t i = 0; i < vm->n_devs; i++)
		if (!strcmp(vm->devs[i].cfg->type->name, type))
			return &vm->devs[i];
	return NULL;
}

static void put_fadt(struct tables *t, const struct vm *vm, uint64_t dsdt)
{
	const bool has_rtc = dev_of_type(vm, "mc146818"), has_kbd = dev_of_type(vm, "pckeyboard");
	struct fadt f = {
		.dsdt = htole32((uint32_t)dsdt),
		.x_dsdt = htole64(dsdt),
		.sci = htole16(MM_X86_IRQ_SCI),
		.pm1a_evt = htole32(VD_ACPIPM_PM1A_EVT),
		.pm1_evt_len = 4,
		.pm1a_cnt = htole32(VD_ACPIPM_PM1A_CNT),
		.pm1_cnt_len = 2,
		.x_pm1a_evt = io_reg(VD_ACPIPM_PM1A_EVT, 4),
		.x_pm1a_cnt = io_reg(VD_ACPIPM_PM1A_CNT, 2),
		.reset = io_reg(VD_ACPIPM_RESET, 1),
		.reset_value = VD_ACPIPM_RESET_VALUE,
		.c2_latency = htole16(101),
		.c3_latency = htole16(1001), /* above the limit: not there */
		.century = has_rtc ? CMOS_CENTURY : 0,
		.boot_arch = htole16(BOOT_LEGACY | BOOT_NO_VGA | (has_rtc ? 0 : BOOT_NO_RTC) |
				     (has_kbd ? BOOT_8042 : 0)),
		.flags = htole32(FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RESET_REG),
		.minor = 4,
	};

	header_init(&f.h, "FACP", 6, sizeof(f));
	memcpy(&f.hypervisor, "Parley\0", 8);
	put(t, &f, sizeof(f), true);
}

/* ---- MADT ---- */

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_NMI = 4 };
struct madt_head {
	struct header h;
	uint32_t lapic, flags;
} __attribute__((packed));
struct madt_lapic {
	uint8_t type, len_bytes, uid, id;
	uint32_t flags;
} __attribute__((packed));
struct madt_ioapic {
	uint8_t type, len_bytes, id, reserved;
	uint32_t addr, gsi_base;
} __attribute__((packed));
struct madt_override {
	uint8_t type, len_bytes, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));
struct madt_nmi {
	uint8_t type, len_bytes, uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));
struct madt {
	struct madt_head head;
	struct madt_ioapic ioapic;
	struct madt_override sci;
	struct madt_nmi nmi;
	struct madt_lapic lapics[MM_CPUS_MAX];
} __attribute__((packed));

static void put_madt(struct tables *t, unsigned n_cpus)
{
	const uint16_t level_high = 0xd;
	struct madt m = {
		.head = { .lapic = htole32(MM_X86_LAPIC_BASE),
			  .flags = htole32(1) /* there are PICs */ },
		.ioapic = { MADT_IOAPIC, sizeof(m.ioapic), 0, 0, htole32(MM_X86_IOAPIC_BASE), 0 },
		.sci = { MADT_OVERRIDE, sizeof(m.sci), 0, MM_X86_IRQ_SCI, htole32(MM_X86_IRQ_SCI),
			 htole16(level_high) },
		.nmi = { MADT_NMI, sizeof(m.nmi), 0xff, 0, 1 },
	};
	size_t len = offsetof(struct madt, lapics) + n_cpus * sizeof(m.lapics[0]);

	for (unsigned i = 0; i < n_cpus; i++)
		m.lapics[i] = (struct madt_lapic){ MADT_LAPIC, sizeof(m.lapics[0]), (uint8_t)i,
						   (uint8_t)i, htole32(1) };
	header_init(&m.head.h, "APIC", 5, len);
	put(t, &m, len, true);
}

static void put_mcfg(struct tables *t)
{
	struct {
		struct header h;
		uint64_t reserved, base;
		uint16_t segment;
		uint8_t first_bus, last_bus;
		uint32_t reserved2;
	} __attribute__((packed))
	m = { .base = htole64(MM_X86_ECAM_BASE), .last_bus = MM_X86_ECAM_LEN / (1u << 20) - 1 };

	header_init(&m.h, "MCFG", 1, sizeof(m));
	put(t, &m, sizeof(m), true);
}

/* The HPET's own register says what it is. */
static void put_hpet(struct tables *t, struct vm *vm)
{
	struct {
		struct header h;
		uint32_t id;
		struct gas base;
		uint8_t number;
		uint16_t min_tick;
		uint8_t protection;
	} __attribute__((packed)) m = { .number = 0 };
	struct vm_dev *d = dev_of_type(vm, "hpet");

	if (!d)
		return;
	/* The guest does not run: nobody else calls into the vdev. */
	uint64_t id = d->v->ops->read(d->v, 0, 0, 8), period_fs = Q_MAX(id >> 32, 1);
	m.id = htole32((uint32_t)id);
	m.min_tick = htole16((uint16_t)Q_MIN(HPET_MIN_FS / period_fs, UINT16_MAX));
	m.base.bits = 64;
	m.base.addr = htole64(d->cfg->cfg.base);
	header_init(&m.h, "HPET", 1, sizeof(m));
	put(t, &m, sizeof(m), true);
}

#define HPET_ASL_BASE 0x5afe0000u	/* in hpet.asl, where the place is put */

/* The same as a device, which claims its registers, where it can be one of 32 bits. */
static void put_hpet_device(struct tables *t, const struct vm *vm)
{
	const struct vm_dev *d = dev_of_type(vm, "hpet");
	const uint32_t from = htole32(HPET_ASL_BASE);
	uint8_t aml[sizeof(hpet_aml_code)];

	if (!d || d->cfg->cfg.base > UINT32_MAX)
		return;
	memcpy(aml, hpet_aml_code, sizeof(aml));
	uint8_t *at = memmem(aml, sizeof(aml), &from, sizeof(from));
	qassert(at);
	memcpy(at, &(uint32_t){ htole32((uint32_t)d->cfg->cfg.base) }, sizeof(uint32_t));
	put(t, aml, sizeof(aml), true);
}

/* What stands where every PC has it is told by a table of its own. */
static void put_pc_devices(struct tables *t, const struct vm *vm)
{
	static const struct {
		const char *type;
		uint64_t base;
		unsigned line;
		const void *aml;
		size_t n_bytes;
	} rows[] = {
		{ "ser8250", 0x3f8, 4, com1_aml_code, sizeof(com1_aml_code) },
		{ "ser8250", 0x2f8, 3, com2_aml_code, sizeof(com2_aml_code) },
		{ "pckeyboard", 0x60, 1, kbd_aml_code, sizeof(kbd_aml_code) },
		{ "mc146818", 0x70, 8, rtc_aml_code, sizeof(rtc_aml_code) },
	};

	for (size_t p = 0; p < Q_ARRAY_LEN(rows); p++) {
		for (size_t i = 0; i < vm->n_devs; i++) {
			const struct cfg_vdev *c = vm->devs[i].cfg;
			if (!strcmp(c->type->name, rows[p].type) && c->cfg.space == VD_IO &&
			    c->cfg.base == rows[p].base && c->n_irqs &&
			    c->irqs[0].line == rows[p].line)
				put(t, rows[p].aml, rows[p].n_bytes, true);
		}
	}
}

/* ---- acpi load ---- */

/* Ours, and those that point to others: a second one would be a second truth. */
static bool is_ours(const char *sig)
{
	static const char ours[][5] = { "FACP", "APIC", "MCFG", "HPET", "XSDT", "RSDT", "FACS",
					"RSD " };

	for (size_t i = 0; i < Q_ARRAY_LEN(ours); i++)
		if (!memcmp(sig, ours[i], 4))
			return true;
	return false;
}

/* NULL when @h is a table that can be given to a guest; else why not. */
static const char *user_wrong(const struct header *h, size_t n_bytes)
{
	if (n_bytes < sizeof(*h) || le32toh(h->len_bytes) != n_bytes)
		return "is no ACPI table: its header does not have the file's length (a source is "
		       "compiled with iasl)";
	if (is_ours(h->sig))
		return "is a table that qvm makes itself";
	if (sum(h, n_bytes))
		return "is damaged: the sum of its bytes is not 0";
	return NULL;
}

static void free_ptr(void **p)
{
	free(*p);
}

static int put_user_table(struct tables *t, struct vm *vm, const struct cfg_load *l,
			  uint64_t *dsdt)
{
	char text[sizeof(vm->fail.text)] = "out of memory";
	void *table QCLEAN(free_ptr) = NULL;
	size_t n_bytes = 0;
	int r = load_slurp(l, sizeof(t->buf), &table, &n_bytes, text, sizeof(text));

	if (r < 0)
		return vm_fail(vm, "load", r, "%s", text);
	const char *wrong = user_wrong(table, n_bytes);
	if (wrong)
		return vm_fail(vm, "load", EINVAL, "%s: %s", l->path, wrong);
	bool is_dsdt = !memcmp(table, "DSDT", 4);
	/* What is still to come is small: see TABLES_ROOM. */
	if (t->n == TABLES_USER_MAX ||
	    !qspan_inside(Q_ALIGN_UP(t->n_bytes, (size_t)16), n_bytes, USER_ROOM))
		return vm_fail(vm, "load", E2BIG,
			       "%s: no room: ACPI tables of the operator's have 0x%x bytes, all "
			       "together, and are %u at most", l->path, USER_ROOM,
			       TABLES_USER_MAX);
	uint64_t at = put(t, table, n_bytes, !is_dsdt);
	if (is_dsdt)
		*dsdt = at;
	return 0;
}

/* All of `acpi load`; *@dsdt gets the place of a DSDT among them. */
static int put_user_tables(struct tables *t, struct vm *vm, uint64_t *dsdt)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < vm->cfg->n_loads; i++)
		if (vm->cfg->loads[i].type == CFG_LOAD_ACPI)
			r = put_user_table(t, vm, &vm->cfg->loads[i], dsdt);
	return r;
}

static uint64_t put_xsdt(struct tables *t)
{
	struct {
		struct header h;
		uint64_t gpas[TABLES_MAX];
	} __attribute__((packed)) x;
	size_t len = offsetof(__typeof__(x), gpas) + t->n * sizeof(x.gpas[0]);

	header_init(&x.h, "XSDT", 1, len);
	for (unsigned i = 0; i < t->n; i++)
		x.gpas[i] = htole64(t->gpas[i]);
	return put(t, &x, len, false);
}

static void put_rsdp(struct tables *t, uint64_t xsdt)
{
	struct rsdp r = { .sig = "RSD PTR ",
			  .revision = 2,
			  .len_bytes = htole32(sizeof(r)),
			  .xsdt = htole64(xsdt) };

	memcpy(r.oem, OEM_ID, 6);
	r.checksum = (uint8_t)-sum(&r, offsetof(struct rsdp, len_bytes));
	r.checksum_all = (uint8_t)-sum(&r, sizeof(r));
	memcpy(t->buf, &r, sizeof(r));
}

int x86_acpi_build(struct vm *vm)
{
	static struct tables t; /* 64 KiB: not on the stack; main thread, once a process */

	memset(&t, 0, offsetof(struct tables, buf) + 16);
	t.n = 0;
	t.n_bytes = sizeof(struct rsdp);
	uint64_t dsdt = 0;
	int r = put_user_tables(&t, vm, &dsdt);
	if (r < 0)
		return r;
	if (!dsdt)
		dsdt = put(&t, dsdt_aml_code, sizeof(dsdt_aml_code), false);
	put_fadt(&t, vm, dsdt);
	put_madt(&t, (unsigned)vm->cfg->n_cpus);
	put_mcfg(&t);
	put_hpet(&t, vm);
	put_hpet_device(&t, vm);
	put_pc_devices(&t, vm);
	put_rsdp(&t, put_xsdt(&t));
	r = qmem_fill(vm->mem, gpa(X86_ACPI), t.buf, t.n_bytes);
	return r < 0 ? vm_fail(vm, "load", r,
			       "ACPI tables need RAM or rom at 0x%x..0x%x: see ram",
			       X86_ACPI, X86_ACPI + X86_ACPI_BYTES - 1) :
		       0;
}
