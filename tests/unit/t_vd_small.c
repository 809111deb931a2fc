/* SPDX-License-Identifier: Apache-2.0 */
/* vdevs/progress.c, vdevs/wdt_ib700.c, vdevs/pci_dummy.c: devices of a few registers. */
#include <errno.h>
#include <linux/pci_regs.h>

#include "tests/unit/fixture.h"
#include "tests/unit/vdharness.h"

static void status_is(struct vdh *h, const char *want)
{
	char text[256] = "";

	h->v->ops->status(h->v, text, sizeof(text));
	ck_assert_msg(strstr(text, want) != NULL, "%s, expected %s", text, want);
}

/* ---- progress ---- */

START_TEST(progress)
{
	struct vdh h;

	vdh_init(&h);
	vdh_advance(&h, 1);
	ck_assert_int_eq(vdh_create(&h, "progress", VD_IO, 0x80, 0), 0);
	status_is(&h, "codes=0");
	vdh_write(&h, VD_IO, 0x80, 1, 0);
	status_is(&h, "code=0 codes=1 changes=1 last_ms=0");
	vdh_advance(&h, 5 * Q_NSEC_PER_MSEC);
	vdh_write(&h, VD_IO, 0x80, 1, 0x1aa);
	vdh_write(&h, VD_IO, 0x80, 1, 0xaa);
	status_is(&h, "code=0xaa codes=3 changes=2 last_ms=5");
	vdh_write(&h, VD_IO, 0x80, 2, 0x1234);
	status_is(&h, "code=0x1234 codes=4");
	vdh_write(&h, VD_IO, 0x80, 4, 0xdeadbeef);
	status_is(&h, "code=0xdeadbeef codes=5");
	vdh_write(&h, VD_IO, 0x81, 1, 1);	/* a page register of a PC's DMA: no code */
	status_is(&h, "code=0xdeadbeef codes=5");
	ck_assert_uint_eq(vdh_read(&h, VD_IO, 0x80, 1) & 0xff, 0xff);
	vdh_fini(&h);
}
END_TEST

/* ---- wdt-ib700 ---- */

#define STOP 0x441u
#define START 0x443u

static void wdt_open(struct vdh *h, const char *action)
{
	vdh_init(h);
	if (action)
		vdh_arg(h, "action", action, 0);
	ck_assert_int_eq(vdh_create(h, "wdt-ib700", VD_IO, STOP, 0), 0);
	vdh_advance(h, 1);
}

START_TEST(wdt_times)
{
	struct vdh h;
	unsigned code = (unsigned)_i;
	uint64_t want_ns = (30 - 2 * (code & 15)) * Q_NSEC_PER_SEC;

	wdt_open(&h, NULL);
	vdh_write(&h, VD_IO, START, 1, code);
	if (want_ns) {
		vdh_advance(&h, want_ns - Q_NSEC_PER_MSEC);
		ck_assert_int_eq(h.power, -1);
	}
	vdh_advance(&h, 2 * Q_NSEC_PER_MSEC);
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG);
	vdh_advance(&h, 100 * Q_NSEC_PER_SEC);
	ck_assert_uint_eq(h.n_power, 1);	/* once */
	vdh_fini(&h);
}
END_TEST

START_TEST(wdt_kept_quiet)
{
	struct vdh h;

	wdt_open(&h, "terminate");
	status_is(&h, "running=0 starts=0");
	vdh_advance(&h, 100 * Q_NSEC_PER_SEC);	/* not started: never */
	for (unsigned i = 0; i < 20; i++) {
		vdh_write(&h, VD_IO, START, 1, 10);
		vdh_advance(&h, 9 * Q_NSEC_PER_SEC);
	}
	status_is(&h, "running=1 starts=20 left_ms=1000");
	vdh_write(&h, VD_IO, STOP, 1, 0);
	vdh_advance(&h, 100 * Q_NSEC_PER_SEC);
	vdh_write(&h, VD_IO, 0x442, 1, 15);	/* between the two is nothing */
	vdh_advance(&h, 100 * Q_NSEC_PER_SEC);
	ck_assert_int_eq(h.power, -1);
	ck_assert_uint_eq(vdh_read(&h, VD_IO, START, 1) & 0xff, 0xff);
	/* A word from 0x442 on is nothing and a start; one from 0x441 on stops it. */
	vdh_write(&h, VD_IO, 0x442, 2, 0x0e00);
	status_is(&h, "running=1");
	vdh_write(&h, VD_IO, STOP, 2, 0);
	status_is(&h, "running=0");
	vdh_fini(&h);
}
END_TEST

START_TEST(wdt_dump)
{
	struct vdh h;

	wdt_open(&h, "dump,terminate");
	vdh_write(&h, VD_IO, START, 1, 15);
	vdh_advance(&h, Q_NSEC_PER_MSEC);
	ck_assert_int_eq(h.power, VD_POWER_WATCHDOG_DUMP);
	vdh_fini(&h);
	vdh_init(&h);
	vdh_arg(&h, "action", "dump", 0);
	ck_assert_int_eq(vdh_create(&h, "wdt-ib700", VD_IO, STOP, 0), -EINVAL);
	vdh_fini(&h);
}
END_TEST

/* ---- pci-dummy ---- */

static const uint8_t bridge_isa[VD_PCI_HEADER_BYTES] = {
	0x86, 0x80, 0x4e, 0x9d, 0x07, 0x00, 0x10, 0x02, 0x21, 0x00, 0x01, 0x06, 0x40, 0x20, 0x80,
	[PCI_BASE_ADDRESS_0] = 0x04, 0x00, 0x00, 0xf0,
	[PCI_SUBSYSTEM_VENDOR_ID] = 0xaa, 0x17, 0x25, 0x22,
	[PCI_CAPABILITY_LIST] = 0x40, [PCI_INTERRUPT_LINE] = 11, 1,
};
static const uint8_t bridge_pci[VD_PCI_HEADER_BYTES] = {
	0x86, 0x80, 0x01, 0x19, [PCI_HEADER_TYPE] = 0x01,
};

START_TEST(dummy_clone)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, "clone", "pci:0:31.0", 0);
	h.pci_header = bridge_isa;
	ck_assert_int_eq(vdh_create(&h, "pci-dummy", VD_PCI, 0, 0), 0);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_VENDOR_ID, 4), 0x9d4e8086);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_CLASS_REVISION, 4), 0x06010021);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x222517aa);
	/* Not its parts: no BAR, no capability, no interrupt, one function, all of it inert. */
	for (unsigned off = 0; off < 256; off += 4)
		vdh_cfg_write(&h, off, 4, UINT32_MAX);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_VENDOR_ID, 4), 0x9d4e8086);
	for (unsigned bar = 0; bar < 6; bar++)
		ck_assert_uint_eq(vdh_cfg_read(&h, PCI_BASE_ADDRESS_0 + 4 * bar, 4), 0);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_CAPABILITY_LIST, 1), 0);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_INTERRUPT_PIN, 1), 0);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_COMMAND, 2) & 3, 0);
	ck_assert_uint_eq(vdh_cfg_read(&h, 0x100, 4), 0);
	for (unsigned i = 0; i < VDH_WINDOWS; i++)
		ck_assert(!h.win[i].mapped);
	status_is(&h, "id=8086:9d4e class=060100");
	vdh_fini(&h);
}
END_TEST

START_TEST(dummy_numbers)
{
	struct vdh h;

	vdh_init(&h);
	vdh_arg(&h, "vendor", "0x1234", 0x1234);
	vdh_arg(&h, "device", "0x5678", 0x5678);
	vdh_arg(&h, "class", "0x0c0330", 0x0c0330);
	vdh_arg(&h, "revision", "7", 7);
	vdh_arg(&h, "subvendor", "1", 1);
	vdh_arg(&h, "subdevice", "2", 2);
	ck_assert_int_eq(vdh_create(&h, "pci-dummy", VD_PCI, 0, 0), 0);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_VENDOR_ID, 4), 0x56781234);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_CLASS_REVISION, 4), 0x0c033007);
	ck_assert_uint_eq(vdh_cfg_read(&h, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x00020001);
	vdh_fini(&h);
}
END_TEST

START_TEST(dummy_refused)
{
	struct vdh h;

	vdh_init(&h);	/* the host has no such device */
	vdh_arg(&h, "clone", "pci:0:30.0", 0);
	ck_assert_int_eq(vdh_create(&h, "pci-dummy", VD_PCI, 0, 0), -ENODEV);
	vdh_fini(&h);
	vdh_init(&h);	/* a bridge to another bus */
	vdh_arg(&h, "clone", "pci:0:1.0", 0);
	h.pci_header = bridge_pci;
	ck_assert_int_eq(vdh_create(&h, "pci-dummy", VD_PCI, 0, 0), -EINVAL);
	vdh_fini(&h);
	vdh_init(&h);	/* no device */
	vdh_arg(&h, "vendor", "1", 1);
	ck_assert_int_eq(vdh_create(&h, "pci-dummy", VD_PCI, 0, 0), -EINVAL);
	vdh_fini(&h);
	vdh_init(&h);	/* not in memory */
	vdh_arg(&h, "clone", "pci:0:1.0", 0);
	ck_assert_int_eq(vdh_create(&h, "pci-dummy", VD_MEM, 0xf0000000, 0), -EINVAL);
	vdh_fini(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("vd_small");
	TCase *tc = fixture_case(s, "progress");

	tcase_add_test(tc, progress);
	tc = fixture_case(s, "wdt-ib700");
	tcase_add_loop_test(tc, wdt_times, 0, 20);	/* bits above the code are nothing */
	tcase_add_test(tc, wdt_kept_quiet);
	tcase_add_test(tc, wdt_dump);
	tc = fixture_case(s, "pci-dummy");
	tcase_add_test(tc, dummy_clone);
	tcase_add_test(tc, dummy_numbers);
	tcase_add_test(tc, dummy_refused);
	return fixture_main(s);
}
