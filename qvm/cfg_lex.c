/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From files and arguments to tokens, each with where it stands. Line breaks mean nothing, "#" ends
 * a line, double quotes make one token of several words and lines, $env{NAME} and $asinfo_…{NAME}
 * are replaced anywhere, and an unquoted @path puts that file's tokens in its place. An argument of
 * the command line is one token as it is. Everything is bounded (bytes, tokens, files, depth): a
 * file is hostile until parsed. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/qfd.h"
#include "qvm/cfg_host.h"
#include "qvm/cfg_int.h"

struct lexer {
	struct cfg_store *store;
	struct cf_errors *errs;
	struct cfg_toks *toks;
	unsigned depth, n_srcs;
	bool full;		/* a limit was reached and told */
	bool oom;
};

/* One text being read; positions are those of the next byte. */
struct input {
	const char *text;
	size_t len, at;
	struct cf_pos pos;
	unsigned src;
};

/* The token being made. */
struct word {
	char *text;
	size_t len, cap;
};

static void read_include(struct lexer *lx, const struct cf_pos *pos, const char *path);

static void word_clean(struct word *w)
{
	free(w->text);
}

static bool word_add(struct lexer *lx, struct word *w, const char *text, size_t len,
		     const struct cf_pos *pos)
{
	if (lx->full || lx->oom)
		return false;
	if (!qspan_inside(w->len, len, CFG_TOK_BYTES_MAX)) {
		cfg_err(lx->errs, pos, "a word is longer than %u bytes", CFG_TOK_BYTES_MAX);
		lx->full = true;
		return false;
	}
	while (w->cap - w->len < len) {
		size_t cap = w->cap ? w->cap * 2 : 64;
		char *text_new = realloc(w->text, cap);
		if (!text_new) {
			lx->oom = true;
			return false;
		}
		w->text = text_new;
		w->cap = cap;
	}
	if (len)
		memcpy(w->text + w->len, text, len);
	w->len += len;
	return true;
}

static void tok_add(struct lexer *lx, const struct word *w, const struct cf_pos *pos, unsigned src,
		    bool bad)
{
	if (lx->full || lx->oom)
		return;
	if (lx->toks->n >= CFG_TOKS_MAX) {
		cfg_err(lx->errs, pos, "more than %u words: this is no configuration",
			CFG_TOKS_MAX);
		lx->full = true;
		return;
	}
	const char *text = cfg_store_copy(lx->store, w->text, w->len);
	if (!text || !cfg_grow(&lx->toks->v, lx->toks->n, sizeof(*lx->toks->v))) {
		lx->oom = true;
		return;
	}
	lx->toks->v[lx->toks->n++] = (struct cfg_tok){
		.text = text, .pos = *pos, .src = src, .bad = bad
	};
}

static char peek(const struct input *in)
{
	return in->at < in->len ? in->text[in->at] : '\0';
}

static void step(struct input *in)
{
	if (in->text[in->at++] == '\n') {
		in->pos.line++;
		in->pos.col = 1;
	} else {
		in->pos.col++;
	}
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static void skip_blank(struct input *in)
{
	bool comment = false;
	for (; in->at < in->len; step(in)) {
		char c = peek(in);
		if (c == '\n')
			comment = false;
		else if (c == '#')
			comment = true;
		else if (!comment && !is_space(c))
			return;
	}
}

/* "$env{NAME}" at the start of @text, @len bytes up to and with the brace. */
static void subst_env(struct lexer *lx, struct word *w, const struct cf_pos *pos, const char *text,
		      size_t len)
{
	char name[128];
	size_t name_len = len - strlen("$env{}");
	if (name_len == 0 || name_len >= sizeof(name)) {
		cfg_err(lx->errs, pos, "$env{}: expected the name of an environment variable");
		return;
	}
	memcpy(name, text + strlen("$env{"), name_len);
	name[name_len] = '\0';
	const char *value = strnlen(name, sizeof(name)) == name_len ? getenv(name) : NULL;
	if (!value) {
		cfg_err(lx->errs, pos, "$env{%s}: the environment has no variable of that name",
			CFG_SHOW(name));
		return;
	}
	word_add(lx, w, value, strlen(value), pos);
}

/* Why there is no region @name, as a sentence. */
static void tell_region(struct lexer *lx, const struct cf_pos *pos, const char *form,
			const char *name, enum cfg_region_is why)
{
	static const char *const words[] = {
		[CFG_REGION_NONE] = "neither /proc/device-tree/reserved-memory nor /proc/iomem has "
				    "a region of that name",
		[CFG_REGION_SEVERAL] = "several regions have that name: write NAME@ADDRESS, the "
				       "address in hexadecimal",
		[CFG_REGION_UNPLACED] = "the host's device tree gives this region no address",
		[CFG_REGION_HIDDEN] = "/proc/iomem shows its addresses to root only",
	};
	cfg_err(lx->errs, pos, "%s%s}: %s", form, CFG_SHOW(name), words[why]);
}

/* @len bytes at @text are "$asinfo_…{NAME}", of which @form is the start. */
static void subst_asinfo(struct lexer *lx, struct word *w, const struct cf_pos *pos,
			 const char *form, const char *text, size_t len)
{
	char name[128], value[32];
	struct cfg_region r;
	size_t name_len = len - strlen(form) - 1;
	if (name_len == 0 || name_len >= sizeof(name) || memchr(text, '\0', len)) {
		cfg_err(lx->errs, pos, "%s}: expected the name of a region of the host's reserved "
			"memory", form);
		return;
	}
	memcpy(name, text + strlen(form), name_len);
	name[name_len] = '\0';
	enum cfg_region_is is = cfg_host_region(name, &r);
	if (is != CFG_REGION_OK) {
		tell_region(lx, pos, form, name, is);
		return;
	}
	snprintf(value, sizeof(value), "0x%" PRIx64,
		 strcmp(form, "$asinfo_start{") ? r.len_bytes : r.start);
	word_add(lx, w, value, strlen(value), pos);
}

/* At a '$': replaces a substitution, or takes the '$' as it is. */
static void subst(struct lexer *lx, struct word *w, struct input *in)
{
	static const char *const forms[] = { "$env{", "$asinfo_start{", "$asinfo_length{" };
	const char *text = in->text + in->at;
	size_t left = in->len - in->at, form = 0;
	for (; form < Q_ARRAY_LEN(forms); form++)
		if (left >= strlen(forms[form]) && !strncmp(text, forms[form], strlen(forms[form])))
			break;
	if (form == Q_ARRAY_LEN(forms)) {
		word_add(lx, w, text, 1, &in->pos);
		step(in);
		return;
	}
	const struct cf_pos pos = in->pos;
	size_t len = strlen(forms[form]);
	while (len < left && text[len] != '}' && text[len] != '\n')
		len++;
	if (len == left || text[len] == '\n')
		cfg_err(lx->errs, &pos, "%s: the closing brace is missing on this line",
			forms[form]);
	else if (form == 0)
		subst_env(lx, w, &pos, text, ++len);
	else
		subst_asinfo(lx, w, &pos, forms[form], text, ++len);
	for (size_t i = 0; i < len; i++)
		step(in);
}

/* One byte of a token that is no quote and no substitution. */
static void take_byte(struct lexer *lx, struct word *w, struct input *in, bool in_quotes)
{
	char c = peek(in);
	bool continues = in_quotes && c == '\\' && in->len - in->at > 1 &&
			 in->text[in->at + 1] == '\n';
	if (continues)
		;	/* "\" at the end of a line inside quotes joins the lines */
	else if ((unsigned char)c < 0x20 && !is_space(c))
		cfg_err(lx->errs, &in->pos, "byte 0x%02x: this is not a text file",
			(unsigned char)c);
	else
		word_add(lx, w, &c, 1, &in->pos);
	step(in);
}

static void lex_word(struct lexer *lx, struct input *in)
{
	struct word w QCLEAN(word_clean) = { 0 };
	const struct cf_pos start = in->pos;
	struct cf_pos quote = start;
	const bool include = peek(in) == '@';
	bool in_quotes = false;
	size_t n_errors = lx->errs->n_errors;

	while (in->at < in->len && !lx->full && !lx->oom) {
		char c = peek(in);
		if (!in_quotes && (is_space(c) || c == '#'))
			break;
		if (c == '"') {
			quote = in->pos;
			in_quotes = !in_quotes;
			step(in);
		} else if (c == '$') {
			subst(lx, &w, in);
		} else {
			take_byte(lx, &w, in, in_quotes);
		}
		/* A binary file has an error a byte: one says it. */
		if (lx->errs->n_errors > n_errors + 8)
			lx->full = true;
	}
	if (in_quotes && !lx->full)
		cfg_err(lx->errs, &quote, "this quote is never closed");
	if (include && w.len > 1) {
		if (word_add(lx, &w, "", 1, &start))
			read_include(lx, &start, w.text + 1);
		return;
	}
	tok_add(lx, &w, &start, in->src, lx->errs->n_errors > n_errors);
}

static void lex_input(struct lexer *lx, struct input *in)
{
	if (in->len >= 3 && !memcmp(in->text, "\xef\xbb\xbf", 3))
		in->at = 3;
	for (skip_blank(in); in->at < in->len && !lx->full && !lx->oom; skip_blank(in))
		lex_word(lx, in);
}

/* The bytes of @fd, at most CFG_FILE_BYTES_MAX. *ret is owned by the caller. 0 or -errno. */
static int read_all(int fd, char **ret, size_t *ret_len)
{
	char *text = malloc(CFG_FILE_BYTES_MAX + 1);
	size_t len = 0;
	if (!text)
		return -ENOMEM;
	while (len <= CFG_FILE_BYTES_MAX) {
		ssize_t got = read(fd, text + len, CFG_FILE_BYTES_MAX + 1 - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int err = errno;
			free(text);
			return -err;
		}
		if (got == 0)
			break;
		len += (size_t)got;
	}
	if (len > CFG_FILE_BYTES_MAX) {
		free(text);
		return -EFBIG;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}

static void read_file(struct lexer *lx, const struct cf_pos *pos, const char *path, int fd)
{
	char *text = NULL;
	struct input in = { .pos = { .line = 1, .col = 1 }, .src = ++lx->n_srcs };
	int r = read_all(fd, &text, &in.len);
	if (r == -ENOMEM) {
		lx->oom = true;
		return;
	}
	if (r < 0) {
		cfg_file_err(lx->errs, pos, "@", path, -r);
		return;
	}
	in.text = text;
	in.pos.file = cfg_store_copy(lx->store, path, strlen(path));
	if (in.pos.file)
		lex_input(lx, &in);
	else
		lx->oom = true;
	free(text);
}

static void read_include(struct lexer *lx, const struct cf_pos *pos, const char *path)
{
	if (lx->depth >= CFG_DEPTH_MAX || lx->n_srcs >= CFG_FILES_MAX) {
		cfg_err(lx->errs, pos, "@%s: files name one another too deeply (more than %u) or "
			"too often (more than %u)", CFG_SHOW(path), CFG_DEPTH_MAX, CFG_FILES_MAX);
		lx->full = true;
		return;
	}
	int fd QCLEAN(qfd_close) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		cfg_file_err(lx->errs, pos, "@", path, errno);
		return;
	}
	lx->depth++;
	read_file(lx, pos, path, fd);
	lx->depth--;
}

/* An argument is one token: its words were split by the shell. */
static void lex_arg(struct lexer *lx, const char *arg, const struct cf_pos *pos)
{
	struct word w QCLEAN(word_clean) = { 0 };
	struct input in = { .text = arg, .len = strlen(arg), .pos = *pos };
	size_t n_errors = lx->errs->n_errors;
	if (in.len > 1 && arg[0] == '@') {
		read_include(lx, pos, arg + 1);
		return;
	}
	while (in.at < in.len && !lx->full && !lx->oom) {
		in.pos = *pos;
		if (peek(&in) == '$')
			subst(lx, &w, &in);
		else if (word_add(lx, &w, in.text + in.at, 1, pos))
			step(&in);
	}
	tok_add(lx, &w, pos, 0, lx->errs->n_errors > n_errors);
}

int cfg_lex_args(struct cfg_store *s, struct cf_errors *errs, int argc, char *const *argv,
		 struct cfg_toks *ret)
{
	struct lexer lx = { .store = s, .errs = errs, .toks = ret };
	struct cf_pos pos = { .file = "command line", .line = 1 };
	for (int i = 0; i < argc && !lx.full && !lx.oom; i++) {
		pos.col = (unsigned)i + 1;
		lex_arg(&lx, argv[i], &pos);
	}
	return lx.oom ? -ENOMEM : 0;
}

int cfg_lex_text(struct cfg_store *s, struct cf_errors *errs, const char *file, const char *text,
		 size_t len, struct cfg_toks *toks)
{
	struct lexer lx = { .store = s, .errs = errs, .toks = toks, .n_srcs = 1 };
	struct input in = { .text = text, .len = len, .pos = { file, 1, 1 }, .src = 1 };
	lex_input(&lx, &in);
	return lx.oom ? -ENOMEM : 0;
}
