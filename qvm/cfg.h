/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one VM: what the *.qvmconf and the command line say, parsed and checked, before anything exists. The
 * grammar is qnx's token stream (contexts, last wins, hex addresses). Main thread, before the guest runs; read-only afterwards.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qdef.h"
#include "vdevs/vdev.h"

struct cf_pos {
	const char *file;	/* owned by the vm_cfg */
	unsigned line, col;
};

struct cfg_ram {
	uint64_t gpa, len_bytes;
	bool rom;
	struct cf_pos pos;
};

enum cfg_sched_policy { CFG_SCHED_INHERIT, CFG_SCHED_RR, CFG_SCHED_FIFO, CFG_SCHED_OTHER, CFG_SCHED_SPORADIC };
struct cfg_cpu {
	enum cfg_sched_policy policy;
	unsigned prio, low_prio, max_repl;
	uint64_t repl_period_ns, budget_ns;
	uint64_t runmask[4];	/* 256 CPUs; all 0 = floating */
	struct cf_pos pos;
};

enum cfg_load_type { CFG_LOAD_SNIFF, CFG_LOAD_GUEST, CFG_LOAD_INITRD, CFG_LOAD_FDT, CFG_LOAD_ACPI, CFG_LOAD_DATA };
struct cfg_load {
	enum cfg_load_type type;
	bool has_addr;
	uint64_t gpa;
	const char *path;
	struct cf_pos pos;
};

struct cfg_reserve {
	enum vd_space space;
	uint64_t base, len_bytes;	/* PCI: base = bus << 8 | dev << 3 | func, len 1 */
	bool is_irq;
	unsigned irq;
	struct cf_pos pos;
};

struct cfg_irq {
	const char *pic;	/* name of a PIC vdev; "gic" and "apic" are implicit */
	unsigned line;
	bool none;		/* "intr apic": this PIC feeds the LAPIC */
	bool automatic;		/* line chosen by the checker */
	struct cf_pos pos;
};

#define CFG_IRQS_MAX 16
struct cfg_vdev {
	const struct vd_type *type;
	struct vd_config cfg;	/* what the vdev sees; strings and args are owned by the vm_cfg */
	struct cfg_irq irqs[CFG_IRQS_MAX];
	unsigned n_irqs;
	bool on_pci;		/* will be a PCI function */
	int pci_dev;		/* slot (0..31) on bus 0: given, or chosen by the checker */
	struct cf_pos pos;
};

struct cfg_logger {
	unsigned mask;		/* QLOG_BIT(…) */
	enum { CFG_LOG_STDERR, CFG_LOG_STDOUT, CFG_LOG_SLOG, CFG_LOG_NONE } dest;
	struct cf_pos pos;
};

struct vm_cfg {
	const char *system;	/* never NULL: "qvm-guest" when not given */
	bool system_given;
	struct cfg_ram *ram;	/* sorted by gpa after cfg_check() */
	size_t n_ram;
	struct cfg_cpu *cpus;	/* at least one after cfg_check() */
	size_t n_cpus;
	struct cfg_load *loads;
	size_t n_loads;
	const char *cmdline;	/* or NULL */
	struct cfg_vdev *vdevs;	/* in order of the file; implicit ones that were not named are not here */
	size_t n_vdevs;
	struct cfg_reserve *reserves;
	size_t n_reserves;
	struct cfg_logger *loggers;
	size_t n_loggers;
	bool dryrun;
	bool dryrun_json;
	const char *fdt_dump_file;	/* set fdt-dump-file, or NULL */
	bool exit_on_halt;		/* set exit-on-halt; default on */
	void *strings;		/* the parser's own storage */
};

/*
 * Parses @argv (after the program's own long options): "@file" and literal options may be mixed. Everything is said in @errs; *ret is written
 * only when there is no error. 0, -EINVAL (see errs) or -ENOMEM.
 */
int cfg_parse(int argc, char *const *argv, struct cf_errors *errs, struct vm_cfg **ret);
/* Rules that need the whole: overlaps, interrupts used twice, names, guest memory present, automatic slots and lines chosen.
 * 0 or -EINVAL. cfg_parse() has called it. */
int cfg_check(struct vm_cfg *cfg, struct cf_errors *errs);
struct vm_cfg *cfg_free(struct vm_cfg *cfg);

/* The plan that would run, as text or as JSON (schema version in the first member). 0 or -errno. */
int cfg_plan_print(const struct vm_cfg *cfg, FILE *to, bool json);
