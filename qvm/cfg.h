/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of one VM: what the *.qvmconf and the command line say, parsed and checked,
 * before anything exists. The grammar is QNX's token stream: line breaks mean nothing, contexts,
 * the last one wins, addresses are hexadecimal. Main thread, before the guest runs; read-only
 * afterwards.
 *
 * The command line, for main.c:  qvm [--long-option[=value]]... { @file | option [argument...] }...
 *   Long options stand first; the first argument that does not begin with "--" ends them, and
 *   everything from there on goes to cfg_parse() as it is. No long option configures
 *   the guest. main sets dryrun_json from its own option (--json).
 *   cfg_parse() < 0: cf_errors_print() to stderr, exit 65 (-EINVAL) or 64 (-ENOMEM). Warnings are
 *   printed as well.
 *   dryrun: print the plan, write fdt_dump_file, "Exiting: dryrun completed", exit 0.
 */
#pragma once

#include "lib/cferr.h"
#include "lib/qdef.h"
#include "vdevs/vdev.h"

struct cfg_arch; /* qvm/cfg_arch.h */

struct cf_pos {
	const char *file;	/* owned by the vm_cfg; "command line" for arguments */
	/* Of arguments: line 1, col = number of the argument after the long options. */
	unsigned line, col;
};

struct cfg_ram {
	uint64_t gpa, len_bytes;	/* multiples of 4 KiB */
	bool rom;
	bool automatic;	/* a rom that the checker added for the guest's tables */
	struct cf_pos pos;
};

/* OTHER: an ordinary thread, prio means nothing. INHERIT: as qvm itself. */
enum cfg_sched_policy {
	CFG_SCHED_INHERIT,
	CFG_SCHED_RR,
	CFG_SCHED_FIFO,
	CFG_SCHED_OTHER,
	CFG_SCHED_SPORADIC
};
struct cfg_cpu {
	enum cfg_sched_policy policy;
	unsigned prio, low_prio, max_repl;	/* prio 1..99; the others of SPORADIC */
	uint64_t repl_period_ns, budget_ns;	/* of SPORADIC: budget ≤ period */
	uint64_t runmask[4];	/* 256 host CPUs; all 0 = floating. Never with SPORADIC */
	const char *cluster;	/* whose CPUs runmask has, or NULL */
	struct cf_pos pos;
};

enum cfg_load_type {
	CFG_LOAD_SNIFF,
	CFG_LOAD_GUEST,
	CFG_LOAD_INITRD,
	CFG_LOAD_FDT,
	CFG_LOAD_ACPI,
	CFG_LOAD_DATA
};
/* At most one each of guest, initrd and fdt; at least one of guest or sniff. The files were there
 * when checked. */
struct cfg_load {
	enum cfg_load_type type;
	bool has_addr;
	uint64_t gpa;		/* inside RAM or ROM */
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
	const char *pic;	/* name of a PIC vdev, or of the implicit "gic" */
	unsigned line;		/* ioapic: pin. gic: INTID, 32 and up. PCI: INTx, shared */
	bool none;		/* "intr apic": this PIC feeds the LAPIC */
	bool automatic;		/* line chosen by the checker */
	struct cf_pos pos;
};

struct cfg_logger {
	unsigned mask;		/* QLOG_BIT(…) */
	enum { CFG_LOG_STDERR, CFG_LOG_STDOUT, CFG_LOG_SLOG, CFG_LOG_NONE } dest;
	struct cf_pos pos;
};

/* What becomes of what nobody serves. ABORT: the state is logged, qvm ends with 5. FAIL: an
 * exception in the guest. IGNORE: nothing happens; a read gives all ones. */
enum cfg_unsup { CFG_UNSUP_ABORT, CFG_UNSUP_FAIL, CFG_UNSUP_IGNORE };
enum cfg_unsup_kind {
	CFG_UNSUP_INSTRUCTION,	/* that KVM cannot carry out; default FAIL */
	CFG_UNSUP_REFERENCE,	/* to an address or port without an owner; default IGNORE */
	CFG_UNSUP_REGISTER,	/* of the processor (x86: an MSR); default FAIL */
	CFG_UNSUP_KINDS
};

/* About parts that nobody certified, which Parley's are: REQUIRED never gets past cfg_check(). */
enum cfg_safety { CFG_SAFETY_NONE, CFG_SAFETY_WARN, CFG_SAFETY_REQUIRED };

#define CFG_IRQS_MAX 16
struct cfg_vdev {
	const struct vd_type *type;
	struct vd_config cfg;	/* what the vdev sees; owned by the vm_cfg */
	struct cfg_irq irqs[CFG_IRQS_MAX];
	unsigned n_irqs;	/* cfg.n_irqs says the same; automatic ones are counted */
	bool on_pci;		/* will be a PCI function: bus 0, function 0 */
	int pci_dev;		/* its slot (1..31), given, or chosen by the checker; else -1 */
	bool loc_given;
	bool loc_bad, irqs_bad;	/* of the parser: told already */
	uint64_t host_vector;	/* of a PIC: its line 0 on the host; UINT64_MAX: not given */
	bool has_log;
	struct cfg_logger log;	/* with has_log: where its lines go instead */
	/* For the thread that serves it; INHERIT when not given, never SPORADIC. */
	enum cfg_sched_policy sched_policy;
	unsigned sched_prio;	/* 1..99 of RR and FIFO */
	bool debug;		/* set debug: speaks when the status is asked for; default on */
	struct cf_pos pos;
};

#define CFG_COUNTER_FROM_0 UINT64_MAX

struct vm_cfg {
	const struct cfg_arch *arch;
	const char *system;	/* never NULL: "qvm-guest" when not given */
	bool system_given;
	struct cfg_ram *ram;	/* sorted by gpa, no two overlap */
	size_t n_ram;
	struct cfg_cpu *cpus;	/* at least one */
	size_t n_cpus;
	struct cfg_load *loads;	/* in order of the file */
	size_t n_loads;
	const char *cmdline;	/* or NULL */
	struct cfg_vdev *vdevs;	/* in order of the file; implicit ones only when named */
	size_t n_vdevs;
	struct cfg_reserve *reserves;
	size_t n_reserves;
	struct cfg_logger *loggers;	/* none: QLOG_DEFAULT_MASK to stderr */
	size_t n_loggers;
	bool dryrun;
	bool dryrun_json;
	bool lock_memory;	/* main sets it: --class safety */
	const char *fdt_dump_file;	/* set fdt-dump-file, or NULL */
	bool exit_on_halt;		/* set exit-on-halt; default on */
	const char *dump_to;		/* a directory, or "|shell command"; NULL: none */
	enum cfg_unsup unsupported[CFG_UNSUP_KINDS];
	enum cfg_safety safety;
	/* The host's counter less the guest's; CFG_COUNTER_FROM_0: the guest's starts at 0. */
	uint64_t counter_offset;
	uint32_t slog_bytes;		/* set slog-buffer: what may wait in slog */
	unsigned block_timeout_ms;	/* set message-block-timeout; see struct vd_config */
	void *strings;		/* the parser's own storage */
};

/*
 * Parses @argv (after the program's own long options): "@file" and literal options may be mixed,
 * and a file may contain "@file". Everything is said in @errs, all errors in one run; *ret is
 * written only when there is none. The first form is for the architecture that this program is
 * built for. 0, -EINVAL (see errs) or -ENOMEM.
 */
int cfg_parse(int argc, char *const *argv, struct cf_errors *errs, struct vm_cfg **ret);
int cfg_parse_arch(const struct cfg_arch *arch, int argc, char *const *argv,
		   struct cf_errors *errs, struct vm_cfg **ret);
/*
 * Rules that need the whole: overlaps, interrupts used twice, names, guest memory present, files
 * there, automatic slots and lines chosen. cfg_parse() has called it; calling it again changes
 * nothing. 0, -EINVAL or -ENOMEM.
 */
int cfg_check(struct vm_cfg *cfg, struct cf_errors *errs);
struct vm_cfg *cfg_free(struct vm_cfg *cfg);

/* The plan that would run, as text or as JSON (schema version in the first member). 0 or -errno. */
int cfg_plan_print(const struct vm_cfg *cfg, FILE *to, bool json);

/* Types of vdevs/registry.c and those that qvm makes itself (qvm/hosttypes.c). "vdev-pl011" and
 * "vdev-pl011.so" name pl011 too. NULL when there is none. */
const struct vd_type *cfg_type_find(const char *name);
/* The first vdev of that type, or NULL: how the machine finds its ioapic, or a gic with options. */
const struct cfg_vdev *cfg_vdev_of_type(const struct vm_cfg *cfg, const char *type);
/* "guest", "initrd", …; "" for SNIFF. */
const char *cfg_load_type_str(enum cfg_load_type type);
