/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device trees of arm64 guests, on any host: the machine's own, a user's tree with the machine's
 * nodes in it, overlays, nodes that stand for vdevs, and files that are none of these.
 */
#include <errno.h>
#include <libfdt.h>

#include "qvm/cfg_int.h"
#include "qvm/fdtuser.h"
#include "tests/unit/fixture.h"
#include "tests/unit/fdttest.h"

#define GIC  "/interrupt-controller@2f000000"
#define UART "/vdevs/uart@1c090000"
#define ITS  GIC "/msi-controller@2f020000"

static struct ft t;

static void setup(void)
{
	ft_init(&t, "system s ram 0x80000000,64m rom 0x10000000,4k cpu cpu load /bin/sh "
		    "cmdline \"quiet\" "
		    "vdev pl011 loc 0x1c090000 intr gic:37 name con "
		    "vdev virtio-blk loc 0x1c0d0000 intr gic:41 name root-disk hostdev /dev/null "
		    "vdev virtio-blk name on-pci hostdev /dev/zero "
		    "vdev wdt-sp805 intr gic:50 frequency 1000000");
}

static void teardown(void)
{
	ft_fini(&t);
}

/* ---- the machine's own ---- */

START_TEST(own_tree)
{
	ft_make(&t, NULL, 0);
	ck_assert_str_eq(ft_str(&t, "/", "model"), "QVM-v8A");
	ck_assert_str_eq(ft_str(&t, "/chosen", "bootargs"), "quiet");
	ck_assert_str_eq(ft_str(&t, "/chosen", "stdout-path"), UART);
	ck_assert_int_eq(ft_cells(&t, "/memory@80000000", "reg"), 4);
	ck_assert_uint_eq(ft_cell(&t, "/memory@80000000", "reg", 3), 64 << 20);
	ck_assert(!ft_has(&t, "/memory@10000000"));
	ck_assert(ft_has(&t, "/cpus/cpu@1"));
	ck_assert(!ft_has(&t, "/cpus/cpu@2"));
	ck_assert_str_eq(ft_str(&t, "/psci", "method"), "hvc");
	ck_assert_str_eq(ft_str(&t, GIC, "compatible"), "arm,gic-v3");
	ck_assert_uint_eq(ft_cell(&t, "/", "interrupt-parent", 0), ft_phandle(&t, GIC));
	ck_assert_uint_eq(ft_cell(&t, "/pcie@40000000", "msi-map", 1), ft_phandle(&t, ITS));
	ck_assert_uint_eq(ft_cell(&t, "/pcie@40000000", "interrupt-map", 4), ft_phandle(&t, GIC));
	/* The seeds' examples: gic:37 is SPI 5, gic:41 is SPI 9. */
	ck_assert_uint_eq(ft_cell(&t, UART, "interrupts", 1), 5);
	ck_assert_uint_eq(ft_cell(&t, UART, "interrupts", 2), 4);
	ck_assert_uint_eq(ft_cell(&t, "/vdevs/virtio_mmio@1c0d0000", "interrupts", 1), 9);
	ck_assert_uint_eq(ft_cell(&t, "/vdevs/virtio_mmio@1c0d0000", "interrupts", 2), 1);
	ck_assert_uint_eq(ft_cell(&t, UART, "clocks", 0), ft_phandle(&t, "/clock-24000000"));
	ck_assert_uint_eq(ft_cell(&t, "/vdevs/watchdog@1c0f0000", "clocks", 1),
			  ft_phandle(&t, "/clock-1000000"));
	ck_assert_uint_eq(ft_cell(&t, "/clock-1000000", "clock-frequency", 0), 1000000);
	ck_assert(!ft_has(&t, "/__symbols__"));
}
END_TEST

START_TEST(gic_v2_with_frame)
{
	t.g.gic_version = 2;
	t.g.has_its = false;
	t.g.frame = (struct cfg_msi_frame){ 0x30000000, 80, 256 };
	ft_make(&t, NULL, 0);
	ck_assert_str_eq(ft_str(&t, GIC, "compatible"), "arm,cortex-a15-gic");
	ck_assert(!ft_has(&t, ITS));
	ck_assert_uint_eq(ft_cell(&t, GIC "/v2m@30000000", "arm,msi-base-spi", 0), 80);
	ck_assert_uint_eq(ft_cell(&t, GIC "/v2m@30000000", "arm,msi-num-spis", 0), 256);
	ck_assert_uint_eq(ft_cell(&t, "/pcie@40000000", "msi-parent", 0),
			  ft_phandle(&t, GIC "/v2m@30000000"));
	/* Two CPUs, in the mask of private interrupts. */
	ck_assert_uint_eq(ft_cell(&t, "/timer", "interrupts", 2), 0x308);
}
END_TEST

START_TEST(initrd)
{
	t.g.initrd_gpa = 0x83000000;
	t.g.initrd_bytes = 5000;
	ft_make(&t, NULL, 0);
	ck_assert_uint_eq(ft_cell(&t, "/chosen", "linux,initrd-start", 1), 0x83000000);
	ck_assert_uint_eq(ft_cell(&t, "/chosen", "linux,initrd-end", 1), 0x83000000 + 5000);
}
END_TEST

static const struct {
	unsigned idx;
	uint64_t mpidr;
} mpidr_rows[] = { { 0, 0 }, { 15, 15 }, { 16, 0x100 }, { 63, 0x30f }, { 4096, 0x10000 } };

START_TEST(mpidr_row)
{
	ck_assert_uint_eq(fdtgen_mpidr(mpidr_rows[_i].idx), mpidr_rows[_i].mpidr);
}
END_TEST

static const struct {
	const char *name, *path;
	int r;
} path_rows[] = {
	{ "gic", GIC, 0 },
	{ "con", UART, 0 },
	{ "root-disk", "/vdevs/virtio_mmio@1c0d0000", 0 },
	{ "wdt-sp805-0", "/vdevs/watchdog@1c0f0000", 0 },
	{ "on-pci", NULL, -ENODEV },
	{ "pl011-0", NULL, -ENOENT },
	{ "", NULL, -ENOENT },
};

START_TEST(path_row)
{
	char path[FDTGEN_PATH_MAX] = "";

	ck_assert_int_eq(fdtgen_path(t.cfg, path_rows[_i].name, path), path_rows[_i].r);
	if (path_rows[_i].path)
		ck_assert_str_eq(path, path_rows[_i].path);
}
END_TEST

/* ---- a user's tree ---- */

/* A board's tree as somebody has it: memory and CPUs of another machine, a device of its own. */
static void user_board(struct ftw *w)
{
	ftw_begin(w, 3);
	ftw_str(w, "compatible", "acme,board");
	ftw_str(w, "model", "Acme");
	ftw_u32(w, "#address-cells", 2);
	ftw_u32(w, "#size-cells", 2);
	ftw_u32(w, "interrupt-parent", 77);
	ftw_node(w, "chosen");
	ftw_str(w, "bootargs", "theirs");
	ftw_str(w, "stdout-path", "/soc/uart@9000");
	ftw_end(w);
	ftw_node(w, "memory");
	ftw_str(w, "device_type", "memory");
	ftw_end(w);
	ftw_node(w, "memory@0");
	ftw_end(w);
	ftw_node(w, "cpus");
	ftw_node(w, "cpu-map");
	ftw_end(w);
	ftw_node(w, "cpu@0");
	ftw_str(w, "capacity", "kept");
	ftw_u32(w, "reg", 0);
	ftw_end(w);
	ftw_node(w, "cpu@100");
	ftw_end(w);
	ftw_end(w);
	/* Not our timer, whatever libfdt thinks. */
	ftw_node(w, "timer@2a430000");
	ftw_str(w, "compatible", "arm,sp804");
	ftw_end(w);
}

static void user_soc(struct ftw *w)
{
	ftw_node(w, "soc");
	ftw_node(w, "device@9000");
	ftw_u32(w, "interrupt-parent", 77);
	ftw_u32(w, "partner", 78);
	ftw_end(w);
	ftw_end(w);
}

static void user_gic(struct ftw *w)
{
	ftw_node(w, "some-gic");
	ftw_str(w, "qvm,vdev", "gic");
	ftw_u32(w, "phandle", 77);
	ftw_str(w, "compatible", "nobody,asked");
	ftw_str(w, "label", "theirs");
	ftw_end(w);
}

START_TEST(user_tree)
{
	struct ftw w;

	user_board(&w);
	user_soc(&w);
	user_gic(&w);
	ftw_node(&w, "my-uart");
	ftw_str(&w, "qvm,vdev", "con");
	ftw_u32(&w, "phandle", 78);
	ftw_u32(&w, "current-speed", 115200);
	ftw_str(&w, "compatible", "acme,uart");
	ftw_u32(&w, "reg", 1);
	ftw_node(&w, "child");
	ftw_str(&w, "word", "w");
	ftw_end(&w);
	ftw_end(&w);
	ft_make(&t, w.buf, ftw_finish(&w));

	ck_assert_str_eq(ft_str(&t, "/", "model"), "Acme");
	ck_assert_str_eq(ft_str(&t, "/", "compatible"), "acme,board");
	/* cmdline was given, so that it counts; where the console is was not. */
	ck_assert_str_eq(ft_str(&t, "/chosen", "bootargs"), "quiet");
	ck_assert_str_eq(ft_str(&t, "/chosen", "stdout-path"), "/soc/uart@9000");
	ck_assert(!ft_has(&t, "/memory"));
	ck_assert(!ft_has(&t, "/memory@0"));
	ck_assert(ft_has(&t, "/memory@80000000"));
	ck_assert(!ft_has(&t, "/cpus/cpu@100"));
	ck_assert(!ft_has(&t, "/cpus/cpu-map"));
	ck_assert_str_eq(ft_str(&t, "/cpus/cpu@0", "capacity"), "kept");
	ck_assert_str_eq(ft_str(&t, "/cpus/cpu@0", "enable-method"), "psci");
	ck_assert_int_eq(ft_cells(&t, "/cpus/cpu@0", "reg"), 2);
	ck_assert_str_eq(ft_str(&t, "/timer@2a430000", "compatible"), "arm,sp804");
	ck_assert_str_eq(ft_str(&t, "/timer", "compatible"), "arm,armv8-timer");
	/* The nodes that stood for ours are gone, what referred to them refers to ours. */
	ck_assert(!ft_has(&t, "/some-gic"));
	ck_assert(!ft_has(&t, "/my-uart"));
	ck_assert_uint_eq(ft_phandle(&t, GIC), 77);
	ck_assert_uint_eq(ft_phandle(&t, UART), 78);
	ck_assert_uint_eq(ft_cell(&t, "/timer", "interrupt-parent", 0), 77);
	ck_assert_uint_eq(ft_cell(&t, "/pcie@40000000", "interrupt-map", 4), 77);
	ck_assert_uint_ge(ft_phandle(&t, ITS), 79);
	ck_assert_uint_eq(ft_cell(&t, "/pcie@40000000", "msi-map", 1), ft_phandle(&t, ITS));
	/* What stood in them moved, but for what the machine decides. */
	ck_assert_str_eq(ft_str(&t, GIC, "compatible"), "arm,gic-v3");
	ck_assert_str_eq(ft_str(&t, GIC, "label"), "theirs");
	ck_assert_uint_eq(ft_cell(&t, UART, "current-speed", 0), 115200);
	ck_assert_str_eq(ft_str(&t, UART, "compatible"), "acme,uart");
	ck_assert_int_eq(ft_cells(&t, UART, "reg"), 4);
	ck_assert_str_eq(ft_str(&t, UART "/child", "word"), "w");
}
END_TEST

/* A tree that has our nodes at our places is understood as well: their phandles stay. */
START_TEST(user_tree_same_places)
{
	struct ftw w;

	t.cfg->cmdline = NULL;
	user_board(&w);
	ftw_node(&w, "interrupt-controller@2f000000");
	ftw_str(&w, "compatible", "arm,gic-400");
	ftw_u32(&w, "phandle", 77);
	ftw_end(&w);
	ft_make(&t, w.buf, ftw_finish(&w));
	ck_assert_str_eq(ft_str(&t, "/chosen", "bootargs"), "theirs");
	ck_assert_uint_eq(ft_phandle(&t, GIC), 77);
	ck_assert_str_eq(ft_str(&t, GIC, "compatible"), "arm,gic-v3");
	ck_assert_uint_eq(ft_cell(&t, "/vdevs", "interrupt-parent", 0), 77);
	ck_assert_uint_ge(ft_phandle(&t, UART), 78);
}
END_TEST

/* ---- overlays ---- */

static void fragment(struct ftw *w, unsigned n, const char *path)
{
	char name[32];

	snprintf(name, sizeof(name), "fragment@%u", n);
	ftw_node(w, name);
	if (path)
		ftw_str(w, "target-path", path);
	else
		ftw_u32(w, "target", UINT32_MAX);
	ftw_node(w, "__overlay__");
}

static void fragment_end(struct ftw *w)
{
	ftw_end(w);
	ftw_end(w);
}

static void user_overlay(struct ftw *w)
{
	ftw_begin(w, 0);
	fragment(w, 0, "/");
	ftw_node(w, "gic");
	ftw_str(w, "qvm,vdev", "gic");
	ftw_u32(w, "phandle", 1);
	ftw_end(w);
	ftw_node(w, "device@9000");
	ftw_u32(w, "phandle", 2);
	ftw_u32(w, "interrupt-parent", 1);
	ftw_u32(w, "self", 2);
	ftw_u32(w, "disk", UINT32_MAX);
	ftw_u32(w, "one", 1);		/* a number, and no reference */
	ftw_end(w);
	fragment_end(w);
	fragment(w, 1, NULL);
	ftw_u32(w, "current-speed", 9600);
	fragment_end(w);
	ftw_node(w, "__fixups__");
	ftw_str(w, "root_disk", "/fragment@0/__overlay__/device@9000:disk:0");
	ftw_str(w, "con", "/fragment@1:target:0");
	ftw_end(w);
	ftw_node(w, "__local_fixups__");
	ftw_node(w, "fragment@0");
	ftw_node(w, "__overlay__");
	ftw_node(w, "device@9000");
	ftw_u32(w, "interrupt-parent", 0);
	ftw_u32(w, "self", 0);
	ftw_end(w);
	ftw_end(w);
	ftw_end(w);
	ftw_end(w);
	ftw_node(w, "__symbols__");
	ftw_str(w, "liar", "no path at all");
	ftw_end(w);
}

START_TEST(overlay)
{
	struct ftw w;

	user_overlay(&w);
	ft_make(&t, w.buf, ftw_finish(&w));

	ck_assert_str_eq(ft_str(&t, "/", "model"), "QVM-v8A");
	ck_assert(!ft_has(&t, "/gic"));
	ck_assert(!ft_has(&t, "/__symbols__"));
	ck_assert_uint_eq(ft_cell(&t, "/device@9000", "interrupt-parent", 0),
			  ft_phandle(&t, GIC));
	ck_assert_uint_eq(ft_cell(&t, "/device@9000", "self", 0), ft_phandle(&t, "/device@9000"));
	ck_assert_uint_ne(ft_phandle(&t, "/device@9000"), 2);
	ck_assert_uint_eq(ft_cell(&t, "/device@9000", "disk", 0),
			  ft_phandle(&t, "/vdevs/virtio_mmio@1c0d0000"));
	ck_assert_uint_eq(ft_cell(&t, "/device@9000", "one", 0), 1);
	ck_assert_uint_eq(ft_cell(&t, UART, "current-speed", 0), 9600);
}
END_TEST

/* ---- what is wrong ---- */

static void wrong_cells(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_u32(w, "#address-cells", 1);
}

static void wrong_gic(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_node(w, "intc@8000000");
	ftw_str(w, "compatible", "arm,gic-v3");
	ftw_end(w);
}

static void holder(struct ftw *w, const char *node, const char *name, uint32_t phandle)
{
	ftw_node(w, node);
	ftw_str(w, "qvm,vdev", name);
	if (phandle)
		ftw_u32(w, "phandle", phandle);
	ftw_end(w);
}

static void wrong_name(struct ftw *w)
{
	ftw_begin(w, 0);
	holder(w, "x", "cons", 0);
}

static void wrong_pci(struct ftw *w)
{
	ftw_begin(w, 0);
	holder(w, "x", "on-pci", 0);
}

static void wrong_twice(struct ftw *w)
{
	ftw_begin(w, 0);
	holder(w, "x", "con", 1);
	holder(w, "y", "con", 2);
}

static void wrong_twice_place(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_node(w, "interrupt-controller@2f000000");
	ftw_u32(w, "phandle", 1);
	ftw_end(w);
	holder(w, "y", "gic", 2);
}

static void wrong_root(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_str(w, "qvm,vdev", "gic");
}

static void wrong_bus(struct ftw *w)
{
	ftw_begin(w, 0);
	holder(w, "vdevs", "con", 0);
}

static void wrong_nested(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_node(w, "x");
	ftw_str(w, "qvm,vdev", "gic");
	holder(w, "y", "con", 0);
	ftw_end(w);
}

static void wrong_string(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_node(w, "x");
	ftw_u32(w, "qvm,vdev", 0x61616161);
	ftw_end(w);
}

static void wrong_phandles(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_node(w, "x");
	ftw_u32(w, "phandle", 0xfffffff0);
	ftw_end(w);
}

static void wrong_depth(struct ftw *w)
{
	ftw_begin(w, 0);
	for (unsigned i = 0; i < FDT_DEPTH_MAX + 1; i++)
		ftw_node(w, "n");
	for (unsigned i = 0; i < FDT_DEPTH_MAX + 1; i++)
		ftw_end(w);
}

static void over_target(struct ftw *w)
{
	ftw_begin(w, 0);
	fragment(w, 0, "/nowhere");
	fragment_end(w);
}

static void over_no_target(struct ftw *w)
{
	ftw_begin(w, 0);
	ftw_node(w, "fragment@0");
	ftw_node(w, "__overlay__");
	fragment_end(w);
}

static void over_fixup(struct ftw *w, const char *label, const char *where)
{
	ftw_begin(w, 0);
	fragment(w, 0, "/");
	ftw_u32(w, "ref", UINT32_MAX);
	fragment_end(w);
	ftw_node(w, "__fixups__");
	ftw_str(w, label, where);
	ftw_end(w);
}

static void over_label(struct ftw *w)
{
	over_fixup(w, "uart7", "/fragment@0/__overlay__:ref:0");
}

static void over_outside(struct ftw *w)
{
	over_fixup(w, "gic", "/fragment@0/__overlay__:ref:1");
}

static void over_wraps(struct ftw *w)
{
	over_fixup(w, "gic", "/fragment@0/__overlay__:ref:4294967294");
}

static void over_form(struct ftw *w)
{
	over_fixup(w, "gic", "/fragment@0/__overlay__:ref");
}

static void over_local(struct ftw *w)
{
	ftw_begin(w, 0);
	fragment(w, 0, "/");
	ftw_u32(w, "ref", 1);
	fragment_end(w);
	ftw_node(w, "__local_fixups__");
	ftw_node(w, "fragment@0");
	ftw_node(w, "__overlay__");
	ftw_u32(w, "ref", 0x7ffffff0);
	ftw_end(w);
	ftw_end(w);
	ftw_end(w);
}

static void over_holder_outside(struct ftw *w)
{
	ftw_begin(w, 0);
	fragment(w, 0, "/");
	fragment_end(w);
	holder(w, "x", "con", 0);
}

static const struct {
	void (*make)(struct ftw *w);
	const char *say;
} wrong_rows[] = {
	{ wrong_cells, "#address-cells" },
	{ wrong_gic, "/intc@8000000 is an interrupt controller" },
	{ wrong_name, "no vdev 'cons': did you mean 'con'?" },
	{ wrong_pci, "has no node" },
	{ wrong_twice, "both stand for" },
	{ wrong_twice_place, "another node stands for it" },
	{ wrong_root, "cannot hold" },
	{ wrong_bus, "cannot hold" },
	{ wrong_nested, "both stand for a vdev" },
	{ wrong_string, "not the name of a vdev" },
	{ wrong_phandles, "phandles" },
	{ wrong_depth, "deep" },
	{ over_target, "'/nowhere'" },
	{ over_no_target, "neither target" },
	{ over_label, "refers to 'uart7'" },
	{ over_outside, "__fixups__" },
	{ over_wraps, "__fixups__" },
	{ over_form, "__fixups__" },
	{ over_local, "__local_fixups__" },
	{ over_holder_outside, "below __overlay__" },
};

START_TEST(wrong_row)
{
	struct ftw w;

	wrong_rows[_i].make(&w);
	ft_refused(&t, w.buf, ftw_finish(&w), wrong_rows[_i].say);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	const char *say;
} file_rows[] = {
	{ "", 0, "no device tree" },
	{ "\xd0\x0d\xfe\xed", 4, "no device tree" },
	{ "/dts-v1/;\n/ { };\n", 17, "compile it first" },
	{ "\x7f" "ELF and so on, and on and on and on and on and on", 50, "no device tree" },
};

START_TEST(file_row)
{
	ft_refused(&t, file_rows[_i].bytes, file_rows[_i].len, file_rows[_i].say);
}
END_TEST

/*
 * A good file cut anywhere, and with any byte changed: refused, or joined into a tree that is one.
 */
static void all_damages(struct ftw *w)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xff };
	uint8_t copy[FTW_BYTES];
	size_t len = ftw_finish(w);

	for (size_t i = 0; i < len; i++)
		ft_refused(&t, w->buf, i, "");
	for (size_t i = 0; i < len * Q_ARRAY_LEN(flips); i++) {
		memcpy(copy, w->buf, len);
		copy[i / Q_ARRAY_LEN(flips)] ^= flips[i % Q_ARRAY_LEN(flips)];
		ft_try(&t, copy, len);
	}
}

START_TEST(damaged_tree)
{
	struct ftw w;

	user_board(&w);
	user_soc(&w);
	user_gic(&w);
	all_damages(&w);
}
END_TEST

START_TEST(damaged_overlay)
{
	struct ftw w;

	user_overlay(&w);
	all_damages(&w);
}
END_TEST

START_TEST(too_large)
{
	struct ftw w;
	uint8_t *big = calloc(1, FDTUSER_BYTES_MAX + 1);

	ftw_begin(&w, 0);
	size_t len = ftw_finish(&w);
	memcpy(big, w.buf, len);
	ft_refused(&t, big, FDTUSER_BYTES_MAX + 1, "at most");
	free(big);
}
END_TEST

/* Trees of before 2005, whose nodes have whole paths as names. */
START_TEST(old_version)
{
	struct ftw w;

	ftw_begin(&w, 0);
	ftw_node(&w, "of-a-tree-without-a-root");
	ftw_end(&w);
	size_t len = ftw_finish(&w);
	for (uint32_t version = 0; version < 16; version++) {
		fdt_set_version(w.buf, version);
		fdt_set_last_comp_version(w.buf, Q_MIN(version, 2u));
		/* Not the empty name that the root of a newer one has. */
		w.buf[fdt_off_dt_struct(w.buf) + 4] = 'x';
		ft_refused(&t, w.buf, len, "version");
	}
}
END_TEST

START_TEST(two_of_a_name)
{
	struct ftw w;

	ftw_begin(&w, 0);
	for (unsigned i = 0; i < 2; i++) {
		ftw_node(&w, "soc");
		ftw_str(&w, "qvm,vdev", "gic");
		ftw_end(&w);
	}
	ft_refused(&t, w.buf, ftw_finish(&w), "two nodes /soc");
}
END_TEST

START_TEST(too_many_nodes)
{
	const size_t room = 256 << 10;
	void *tree = malloc(room);
	char name[16];

	ck_assert_int_eq(fdt_create(tree, (int)room), 0);
	ck_assert_int_eq(fdt_finish_reservemap(tree), 0);
	ck_assert_int_eq(fdt_begin_node(tree, ""), 0);
	for (unsigned i = 0; i < 2048; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ck_assert_int_eq(fdt_begin_node(tree, name), 0);
		ck_assert_int_eq(fdt_end_node(tree), 0);
	}
	ck_assert_int_eq(fdt_end_node(tree), 0);
	ck_assert_int_eq(fdt_finish(tree), 0);
	ft_refused(&t, tree, fdt_totalsize(tree), "more than 2048 nodes");
	free(tree);
}
END_TEST

START_TEST(read_file)
{
	char folder[256], path[300], text[256];
	void *file = NULL;
	size_t bytes = 0;

	fixture_mkdir(folder, sizeof(folder));
	snprintf(path, sizeof(path), "%s/tree", folder);
	ck_assert_int_eq(fdtuser_read(path, &file, &bytes, text, sizeof(text)), -ENOENT);
	ck_assert_int_eq(fdtuser_read(folder, &file, &bytes, text, sizeof(text)), -EINVAL);
	ck_assert_str_eq(text, "is not a regular file");
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs("twelve bytes", f);
	fclose(f);
	ck_assert_int_eq(fdtuser_read(path, &file, &bytes, text, sizeof(text)), 0);
	ck_assert_uint_eq(bytes, 12);
	ck_assert_mem_eq(file, "twelve bytes", 12);
	free(file);
	ck_assert_int_eq(truncate(path, FDTUSER_BYTES_MAX + 1), 0);
	ck_assert_int_eq(fdtuser_read(path, &file, &bytes, text, sizeof(text)), -EINVAL);
	fixture_rmdir(folder);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fdt");
	TCase *tc = fixture_case(s, "trees");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, own_tree);
	tcase_add_test(tc, gic_v2_with_frame);
	tcase_add_test(tc, initrd);
	tcase_add_loop_test(tc, mpidr_row, 0, Q_ARRAY_LEN(mpidr_rows));
	tcase_add_loop_test(tc, path_row, 0, Q_ARRAY_LEN(path_rows));
	tcase_add_test(tc, user_tree);
	tcase_add_test(tc, user_tree_same_places);
	tcase_add_test(tc, overlay);
	tcase_add_loop_test(tc, wrong_row, 0, Q_ARRAY_LEN(wrong_rows));
	tcase_add_loop_test(tc, file_row, 0, Q_ARRAY_LEN(file_rows));
	tcase_add_test(tc, damaged_tree);
	tcase_add_test(tc, damaged_overlay);
	tcase_add_test(tc, too_large);
	tcase_add_test(tc, old_version);
	tcase_add_test(tc, two_of_a_name);
	tcase_add_test(tc, too_many_nodes);
	tcase_add_test(tc, read_file);
	return fixture_main(s);
}
