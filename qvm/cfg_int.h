/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the configuration front share among themselves: storage, tokens, the parser's
 * state, the option tables. Nothing outside qvm/cfg*.c and its tests includes it. Main thread.
 */
#pragma once

#include <inttypes.h>
#include <string.h>

#include "lib/qlog.h"
#include "qvm/cfg.h"
#include "qvm/cfg_arch.h"

/* ---- storage (cfg.c): strings that live as long as the vm_cfg ---- */

struct cfg_store;
struct cfg_store *cfg_store_new(void);
struct cfg_store *cfg_store_free(struct cfg_store *s);
/* A NUL-terminated copy of @len bytes, or NULL when out of memory. */
char *cfg_store_copy(struct cfg_store *s, const char *text, size_t len);
/* Room for element @n of @size in the array that *@v points to. False when out of memory. */
bool cfg_grow(void *v, size_t n, size_t size);

/* ---- messages (cfg.c) ---- */

void cfg_err(struct cf_errors *errs, const struct cf_pos *pos, const char *fmt, ...)
	Q_PRINTF(3, 4);
void cfg_warn(struct cf_errors *errs, const struct cf_pos *pos, const char *fmt, ...)
	Q_PRINTF(3, 4);
/* "@what @path: no such file (relative to …)" and the like, for a positive errno. */
void cfg_file_err(struct cf_errors *errs, const struct cf_pos *pos, const char *what,
		  const char *path, int err);
/* What somebody wrote, safe to print. Lives as long as the enclosing block. */
#define CFG_SHOW(s) qlog_escape((char[264]){ 0 }, 264, (s), strlen(s))

/* ---- tokens (cfg_lex.c) ---- */

struct cfg_tok {
	const char *text;	/* in the store; what quotes and $env{} stood for is in it */
	struct cf_pos pos;
	unsigned src;		/* which file, or 0: an argument stands in its option's */
	bool bad;		/* something in it was told: what takes it is not told again */
};
struct cfg_toks {
	struct cfg_tok *v;	/* owned */
	size_t n;
};
#define CFG_FILE_BYTES_MAX (1u << 20)
#define CFG_TOK_BYTES_MAX (1u << 16)
#define CFG_TOKS_MAX 65536u
#define CFG_FILES_MAX 64u
#define CFG_DEPTH_MAX 8u

/* Tokens of the arguments and of the files that they name. 0 (errors are in @errs) or -ENOMEM. */
int cfg_lex_args(struct cfg_store *s, struct cf_errors *errs, int argc, char *const *argv,
		 struct cfg_toks *ret);
/* Tokens of @len bytes that @file is said to hold; an "@file" among them is read. Adds to @toks. */
int cfg_lex_text(struct cfg_store *s, struct cf_errors *errs, const char *file, const char *text,
		 size_t len, struct cfg_toks *toks);

/* ---- numbers (cfg_num.c) ---- */

enum cfg_num_kind { CFG_ADDRESS, CFG_SIZE, CFG_NUMBER };
enum cfg_num { CFG_NUM_OK, CFG_NUM_EMPTY, CFG_NUM_BAD, CFG_NUM_RANGE };
/* @len bytes: ADDRESS is hexadecimal, the others decimal, unless 0x or 0d stand first; ADDRESS and
 * SIZE take one of k m g (1024-based) at the end. *ret is written on CFG_NUM_OK only. */
enum cfg_num cfg_num_parse(const char *text, size_t len, enum cfg_num_kind kind, uint64_t *ret);
/* An address that reads as decimal and is not: all digits, two or more, no prefix. */
bool cfg_num_misleads(const char *text, size_t len);
/* 1/0, yes/no, on/off, true/false. */
bool cfg_bool_parse(const char *text, bool *ret);

/* ---- the parser (cfg.c, cfg_opts.c, cfg_cpu.c, cfg_load.c, cfg_vdev.c) ---- */

/* Contexts as bits. An option of type (c) does not change the context. */
enum cfg_ctx {
	CTX_TOP = 1 << 0,
	CTX_CPU = 1 << 1,
	CTX_VDEV = 1 << 2,
	CTX_RESERVE = 1 << 3,
	CTX_PASS = 1 << 4,
	CTX_ANY = (1 << 5) - 1,
};

struct cfg_parser {
	const struct cfg_arch *arch;
	struct cfg_store *store;
	struct cf_errors *errs;
	struct vm_cfg *cfg;
	const struct cfg_tok *toks;
	size_t n_toks, at;	/* at: the next token */
	enum cfg_ctx ctx;
	bool skipping;		/* after an error: words that are no option are not told again */
	bool ctx_refused;	/* the context's vdev is refused: its words are skipped */
	int reserve_loc, reserve_irq;	/* of the reserve context: index in cfg->reserves, or -1 */
	const struct cfg_tok *safety;	/* the last one, or NULL */
	bool ram_seen;		/* a ram or rom was written, right or wrong */
	bool ram_lost, load_lost;	/* one was wrong: "there is no ram" is not told as well */
	bool full;		/* a limit was reached and told: the rest is not read */
	bool oom;
};

#define CFG_NAME_MAX 32
#define CFG_ITEMS_MAX 256	/* of each kind: vdevs, loads, … */
#define CFG_LOGGERS_MAX 8	/* destinations that lib/qlog has */
#define CFG_BLOCK_MS_MIN 5u
#define CFG_BLOCK_MS_MAX 10000u
#define CFG_BLOCK_MS 2000u	/* unless set: a dead back end is noticed soon */
#define CFG_SLOG_BYTES 4096u
/* One option. @arg are its arguments; what it finds wrong it says in p->errs. */
struct cfg_opt {
	const char *name;
	unsigned ctx;		/* where it may stand; options for CTX_ANY are global */
	unsigned n_args;
	const char *want;	/* the arguments, for "needs …" */
	void (*fn)(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg);
	const char *refused;	/* why this version does not take it, and what to do; or NULL */
};
extern const struct cfg_opt cfg_opts[];	/* ends with name NULL */

/* cfg_grow() with a limit of CFG_ITEMS_MAX; false when it is told or out of memory. */
bool cfg_room(struct cfg_parser *p, const struct cf_pos *pos, void *v, size_t n, size_t size);
/* Reads all tokens. */
void cfg_run(struct cfg_parser *p);
/* @n arguments of @opt at p->at, taken; NULL (told, skipping) when they are not there. */
const struct cfg_tok *cfg_take_args(struct cfg_parser *p, const struct cfg_tok *opt, unsigned n,
				    const char *want);
/* A number of @len bytes inside @tok; what is wrong is told as "@what 'text': …". */
bool cfg_number(struct cfg_parser *p, const struct cfg_tok *tok, const char *text, size_t len,
		enum cfg_num_kind kind, const char *what, uint64_t *ret);
/* "name" may be a name of a VM or vdev; told with @what when not. */
bool cfg_name_ok(struct cf_errors *errs, const struct cf_pos *pos, const char *what,
		 const char *name);

struct cfg_loc {
	enum vd_space space;
	uint64_t base, len_bytes;	/* PCI: bus << 8 | dev << 3 | func; len 0 when not given */
};
/* "mem:", "io:" or "pci:" at the start of @text: how long it is; *ret is written when it is. */
size_t cfg_space_prefix(const char *text, enum vd_space *ret);
/* [space:]spec. @space is the default; VD_PCI as a default still lets a plain address be memory. */
bool cfg_loc_parse(struct cfg_parser *p, const struct cfg_tok *tok, enum vd_space space,
		   struct cfg_loc *ret);
bool cfg_logger_parse(struct cfg_parser *p, const struct cfg_tok *arg, struct cfg_logger *ret);

typedef void cfg_opt_fn(struct cfg_parser *p, const struct cfg_tok *opt, const struct cfg_tok *arg);
cfg_opt_fn cfg_opt_system, cfg_opt_ram, cfg_opt_rom, cfg_opt_cmdline, cfg_opt_load, cfg_opt_typed;
cfg_opt_fn cfg_opt_cpu, cfg_opt_sched, cfg_opt_runmask, cfg_opt_cluster;
cfg_opt_fn cfg_opt_reserve, cfg_opt_reserve_loc, cfg_opt_reserve_intr;
cfg_opt_fn cfg_opt_pass, cfg_opt_pass_loc, cfg_opt_pass_intr;
cfg_opt_fn cfg_opt_logger, cfg_opt_set, cfg_opt_dryrun;
cfg_opt_fn cfg_opt_unsupported, cfg_opt_dump, cfg_opt_safety, cfg_opt_debug;
cfg_opt_fn cfg_opt_vdev, cfg_opt_vdev_name, cfg_opt_vdev_loc, cfg_opt_vdev_intr;
cfg_opt_fn cfg_opt_vdev_log, cfg_opt_vdev_sched, cfg_opt_vdev_hostvector;
/* After the walk: the last `safety` decides. */
void cfg_tell_safety(const struct cfg_parser *p);
/* By the enum: what the configuration says and the plan shows. */
extern const char *const cfg_unsup_kind_words[CFG_UNSUP_KINDS];
extern const char *const cfg_unsup_words[3], *const cfg_safety_words[3];
/* Opens a vdev context whose words are skipped. */
void cfg_vdev_refused(struct cfg_parser *p, const struct cfg_tok *opt);
/* The current vdev's own option of that name, or NULL. */
const struct vd_option *cfg_vdev_own(const struct cfg_parser *p, const char *name);
/* Takes the argument of @own (NONE: nothing) and stores it. */
void cfg_vdev_own_take(struct cfg_parser *p, const struct cfg_tok *opt,
		       const struct vd_option *own);

/* As cfg_parse_arch(), of @len bytes that @file is said to hold. */
int cfg_parse_text(const struct cfg_arch *arch, const char *file, const char *text, size_t len,
		   struct cf_errors *errs, struct vm_cfg **ret);

/* ---- the checker (cfg_check.c, cfg_place.c) ---- */

/* What the parser saw but could not keep, so that one mistake is told once. */
struct cfg_seen {
	bool ram, load;
};
int cfg_check_run(struct vm_cfg *cfg, struct cf_errors *errs, const struct cfg_seen *seen);
/* Names, given and made. 0 or -ENOMEM. Then what the vdevs refer to by name. */
int cfg_check_names(struct vm_cfg *cfg, struct cf_errors *errs);
void cfg_check_refs(const struct vm_cfg *cfg, struct cf_errors *errs);
/* Slots, windows and interrupts of the vdevs. */
void cfg_check_places(struct vm_cfg *cfg, struct cf_errors *errs);
/* The windows of vdevs that nobody gives a place (cfg_window.c). */
void cfg_check_windows(struct vm_cfg *cfg, struct cf_errors *errs);
void cfg_check_irqs(struct vm_cfg *cfg, struct cf_errors *errs);
