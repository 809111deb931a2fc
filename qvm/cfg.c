/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front door: arguments in, a checked struct vm_cfg out. Also what the other cfg files share:
 * the string store, growing arrays, messages. Main thread; a vm_cfg owns everything it points to.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "qvm/cfg_int.h"
#include "qvm/hosttypes.h"

/* Strings are freed all at once, so they stand in blocks, newest first. */
struct store_block {
	struct store_block *next;
	size_t used, size;
	char text[];
};
struct cfg_store {
	struct store_block *blocks;
};
#define STORE_BLOCK_BYTES 4096u

struct cfg_store *cfg_store_new(void)
{
	return calloc(1, sizeof(struct cfg_store));
}

struct cfg_store *cfg_store_free(struct cfg_store *s)
{
	if (!s)
		return NULL;
	for (struct store_block *b = s->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(s);
	return NULL;
}

char *cfg_store_copy(struct cfg_store *s, const char *text, size_t len)
{
	struct store_block *b = s->blocks;
	if (len == SIZE_MAX)
		return NULL;
	if (!b || !qspan_inside(b->used, len + 1, b->size)) {
		size_t size = Q_MAX(len + 1, (size_t)STORE_BLOCK_BYTES);
		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		*b = (struct store_block){ .next = s->blocks, .size = size };
		s->blocks = b;
	}
	char *copy = b->text + b->used;
	if (len)
		memcpy(copy, text, len);
	copy[len] = '\0';
	b->used += len + 1;
	return copy;
}

bool cfg_grow(void *v, size_t n, size_t size)
{
	void *old, *grown;
	/* Arrays have room for the next power of two, so only a full one moves. */
	if (n & (n - 1))
		return true;
	memcpy(&old, v, sizeof(old));
	size_t room = n ? 2 * n : 1;
	grown = reallocarray(old, room, size);
	if (!grown)
		return false;
	memcpy(v, &grown, sizeof(grown));
	return true;
}

static void Q_PRINTF(4, 0) say(struct cf_errors *errs, enum cf_level level,
			       const struct cf_pos *pos, const char *fmt, va_list ap)
{
	char text[1024];
	vsnprintf(text, sizeof(text), fmt, ap);
	cf_error_add(errs, level, pos->file, pos->line, pos->col, "%s", text);
}

void cfg_err(struct cf_errors *errs, const struct cf_pos *pos, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(errs, CF_ERROR, pos, fmt, ap);
	va_end(ap);
}

void cfg_warn(struct cf_errors *errs, const struct cf_pos *pos, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(errs, CF_WARNING, pos, fmt, ap);
	va_end(ap);
}

/* The trap of relative paths is named: they start where qvm was started, not where the file is. */
void cfg_file_err(struct cf_errors *errs, const struct cf_pos *pos, const char *what,
		  const char *path, int err)
{
	char cwd[256];
	bool relative = err == ENOENT && path[0] != '/' && getcwd(cwd, sizeof(cwd));
	cfg_err(errs, pos, "%s%s: %s%s%s%s", what, CFG_SHOW(path),
		err == ENOENT ? "no such file" : strerror(err), relative ? " (relative to " : "",
		relative ? cwd : "", relative ? ")" : "");
}

static struct vm_cfg *cfg_new(const struct cfg_arch *arch)
{
	struct vm_cfg *cfg = calloc(1, sizeof(*cfg));
	if (!cfg)
		return NULL;
	cfg->arch = arch;
	cfg->system = "qvm-guest";
	cfg->exit_on_halt = true;
	cfg->unsupported[CFG_UNSUP_INSTRUCTION] = CFG_UNSUP_FAIL;
	cfg->unsupported[CFG_UNSUP_REFERENCE] = CFG_UNSUP_IGNORE;
	cfg->unsupported[CFG_UNSUP_REGISTER] = CFG_UNSUP_FAIL;
	cfg->counter_offset = CFG_COUNTER_FROM_0;
	cfg->slog_bytes = CFG_SLOG_BYTES;
	cfg->block_timeout_ms = CFG_BLOCK_MS;
	cfg->strings = cfg_store_new();
	return cfg->strings ? cfg : cfg_free(cfg);
}

struct vm_cfg *cfg_free(struct vm_cfg *cfg)
{
	if (!cfg)
		return NULL;
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		free((void *)cfg->vdevs[i].cfg.args);
	free(cfg->vdevs);
	free(cfg->ram);
	free(cfg->cpus);
	free(cfg->loads);
	free(cfg->reserves);
	free(cfg->loggers);
	cfg_store_free(cfg->strings);
	free(cfg);
	return NULL;
}

static void toks_clean(struct cfg_toks *toks)
{
	free(toks->v);
}

/* 0, also when there are errors in @errs, or -ENOMEM. */
static int read_toks(struct vm_cfg *cfg, const struct cfg_toks *toks, struct cf_errors *errs)
{
	struct cfg_parser p = {
		.arch = cfg->arch, .store = cfg->strings, .errs = errs, .cfg = cfg,
		.toks = toks->v, .n_toks = toks->n, .ctx = CTX_TOP,
		.reserve_loc = -1, .reserve_irq = -1,
	};
	/* What a file that could not be read would have said, nobody knows. */
	bool unread = !cf_errors_ok(errs);
	cfg_run(&p);
	if (p.oom)
		return -ENOMEM;
	cfg_tell_safety(&p);
	if (p.full)
		return 0;
	const struct cfg_seen seen = { p.ram_lost || unread, p.load_lost || unread };
	return cfg_check_run(cfg, errs, &seen);
}

/* @r is what reading ended with; @take_cfg goes to *ret or away. */
static int finish(struct vm_cfg *take_cfg, int r, const struct cf_errors *errs,
		  struct vm_cfg **ret)
{
	if (r == 0 && errs->oom)
		r = -ENOMEM;
	if (r == 0 && !cf_errors_ok(errs))
		r = -EINVAL;
	if (r == 0)
		*ret = take_cfg;
	else
		cfg_free(take_cfg);
	return r;
}

int cfg_parse_arch(const struct cfg_arch *arch, int argc, char *const *argv,
		   struct cf_errors *errs, struct vm_cfg **ret)
{
	struct cfg_toks toks QCLEAN(toks_clean) = { 0 };
	struct vm_cfg *cfg = cfg_new(arch);
	if (!cfg)
		return -ENOMEM;
	if (argc == 0)
		cfg_err(errs, &(struct cf_pos){ "command line", 1, 1 },
			"nothing to configure: expected @FILE or options, such as @guest.qvmconf");
	int r = cfg_lex_args(cfg->strings, errs, argc, argv, &toks);
	if (r == 0 && argc > 0)
		r = read_toks(cfg, &toks, errs);
	return finish(cfg, r, errs, ret);
}

int cfg_parse_text(const struct cfg_arch *arch, const char *file, const char *text, size_t len,
		   struct cf_errors *errs, struct vm_cfg **ret)
{
	struct cfg_toks toks QCLEAN(toks_clean) = { 0 };
	struct vm_cfg *cfg = cfg_new(arch);
	if (!cfg)
		return -ENOMEM;
	int r = cfg_lex_text(cfg->strings, errs, file, text, len, &toks);
	if (r == 0)
		r = read_toks(cfg, &toks, errs);
	return finish(cfg, r, errs, ret);
}

int cfg_parse(int argc, char *const *argv, struct cf_errors *errs, struct vm_cfg **ret)
{
	return cfg_parse_arch(cfg_arch_native(), argc, argv, errs, ret);
}

int cfg_check(struct vm_cfg *cfg, struct cf_errors *errs)
{
	const struct cfg_seen seen = { false, false };
	size_t n_errors = errs->n_errors;
	int r = cfg_check_run(cfg, errs, &seen);
	if (r == 0 && errs->oom)
		return -ENOMEM;
	if (r == 0 && errs->n_errors > n_errors)
		return -EINVAL;
	return r;
}

/* "vdev-X" and "vdev-X.so" name X. True when @name, so read, is @type. */
static bool names_type(const char *name, const char *type)
{
	size_t len = strlen(name);
	if (!strncmp(name, "vdev-", 5)) {
		name += 5;
		len -= 5;
		if (len > 3 && !strcmp(name + len - 3, ".so"))
			len -= 3;
	}
	return strlen(type) == len && !memcmp(name, type, len);
}

const struct vd_type *cfg_type_find(const char *name)
{
	for (unsigned i = 0; qvm_host_types[i]; i++)
		if (names_type(name, qvm_host_types[i]->name))
			return qvm_host_types[i];
	return vdev_type_find(name);
}

const struct cfg_vdev *cfg_vdev_of_type(const struct vm_cfg *cfg, const char *type)
{
	for (size_t i = 0; i < cfg->n_vdevs; i++)
		if (cfg->vdevs[i].type && !strcmp(cfg->vdevs[i].type->name, type))
			return &cfg->vdevs[i];
	return NULL;
}
