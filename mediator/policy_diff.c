/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two policies side by side, and one as text: what an operator sees before and after a change of a
 * mediator that runs. No state. A kind of section is a row of a table: where its sections stand in
 * a policy, and where each has its name and place.
 */
#include <string.h>

#include "mediator/policy_keys.h"

#define VALUE_BYTES 4096u

struct kind {
	const char *word;	/* "share" */
	const struct policy_key *keys;
	size_t v, n;		/* offsets in a policy: of the array, of how many there are */
	size_t size;		/* of a section, and offsets in it */
	size_t name, file, line;
	bool comes;		/* it may come and go */
	const void *none;	/* it may, and its keys are told: a section that says nothing */
};

#define KIND(word, keys, array, type)                                                              \
	word, keys, offsetof(struct med_policy, array), offsetof(struct med_policy, n_##array),    \
		sizeof(struct type), offsetof(struct type, name), offsetof(struct type, file),     \
		offsetof(struct type, line)
#define SOUND_KIND(word, keys, array, type)                                                        \
	word, keys, offsetof(struct med_policy, sound.array),                                      \
		offsetof(struct med_policy, sound.n_##array), sizeof(struct type),                 \
		offsetof(struct type, name), offsetof(struct type, file),                          \
		offsetof(struct type, line)

static const struct med_group_policy no_group;

/* In the order in which they are printed. Nobody is connected to a group. */
static const struct kind kinds[] = {
	{ KIND("device", policy_device_keys, devices, med_device_policy), .comes = true },
	{ KIND("group", policy_group_keys, groups, med_group_policy), .none = &no_group },
	{ KIND("share", policy_share_keys, shares, med_share_policy), .comes = true },
	{ SOUND_KIND("sound", policy_sound_keys, devices, snd_device_policy) },
	{ SOUND_KIND("voice", policy_voice_keys, voices, snd_voice_policy) },
};

#define FIELD(type, of, offset) (*(type const *)((const char *)(of) + (offset)))

static size_t n_of(const struct kind *k, const struct med_policy *p)
{
	return FIELD(size_t, p, k->n);
}

static const void *at(const struct kind *k, const struct med_policy *p, size_t i)
{
	return FIELD(char *, p, k->v) + i * k->size;
}

static const char *name_of(const struct kind *k, const void *section)
{
	return FIELD(char *, section, k->name);
}

/* NULL: there is none of that name. */
static const void *find(const struct kind *k, const struct med_policy *p, const char *name)
{
	for (size_t i = 0; i < n_of(k, p); i++)
		if (strcmp(name_of(k, at(k, p, i)), name) == 0)
			return at(k, p, i);
	return NULL;
}

static void print_keys(const struct policy_key *keys, const void *object, FILE *to)
{
	char value[VALUE_BYTES];

	for (const struct policy_key *k = keys; k->name; k++) {
		policy_key_format(k, object, value, sizeof(value));
		/* What is nought by its own words needs none: no path, no promised depth. */
		if (strcmp(value, "none") != 0 && !(strcmp(value, "0") == 0 && k->min > 0))
			fprintf(to, "%s = %s\n", k->name, value);
	}
}

void med_policy_print(const struct med_policy *p, FILE *to)
{
	for (const struct kind *k = kinds; k < kinds + Q_ARRAY_LEN(kinds); k++)
		for (size_t i = 0; i < n_of(k, p); i++) {
			fprintf(to, "[%s %s]\n", k->word, name_of(k, at(k, p, i)));
			print_keys(k->keys, at(k, p, i), to);
		}
}

struct diff {
	FILE *to;
	struct cf_errors *errs;
};

/* The number of keys that differ. */
static unsigned diff_keys(const struct diff *d, const struct kind *kind, const void *now,
			  const void *next)
{
	const char *name = name_of(kind, next);
	char was[VALUE_BYTES], is[VALUE_BYTES];
	unsigned n = 0;

	for (const struct policy_key *k = kind->keys; k->name; k++) {
		policy_key_format(k, now, was, sizeof(was));
		policy_key_format(k, next, is, sizeof(is));
		if (strcmp(was, is) == 0)
			continue;
		n++;
		if (k->flags & KEY_FIXED)
			cf_error_add(d->errs, CF_ERROR, FIELD(char *, next, kind->file),
				     FIELD(unsigned, next, kind->line), 0,
				     "%s '%s': %s = %s, but it is %s while the mediator runs; to "
				     "change it, restart the mediator",
				     kind->word, name, k->name, is, was);
		else
			fprintf(d->to, "%s %s: %s = %s (was %s)\n", kind->word, name, k->name, is,
				was);
	}
	return n;
}

static unsigned told(const struct diff *d, const struct kind *k, const void *section,
		     const char *how)
{
	fprintf(d->to, "%s %s: %s\n", k->word, name_of(k, section), how);
	return 1;
}

static void refuse(const struct diff *d, const struct kind *k, const void *section, unsigned line,
		   const char *how)
{
	cf_error_add(d->errs, CF_ERROR, FIELD(char *, section, k->file), line, 0,
		     "%s '%s' %s; for that, restart the mediator", k->word, name_of(k, section),
		     how);
}

static unsigned diff_kind(const struct diff *d, const struct kind *k,
			  const struct med_policy *now, const struct med_policy *next)
{
	unsigned n = 0;

	for (size_t i = 0; i < n_of(k, next); i++) {
		const void *s = at(k, next, i), *was = find(k, now, name_of(k, s));

		if (was || k->none)
			n += diff_keys(d, k, was ? was : k->none, s);
		else if (k->comes)
			n += told(d, k, s, "is new");
		else
			refuse(d, k, s, FIELD(unsigned, s, k->line), "is new");
	}
	for (size_t i = 0; i < n_of(k, now); i++) {
		const void *s = at(k, now, i);

		if (find(k, next, name_of(k, s)))
			continue;
		if (k->none || k->comes)
			n += told(d, k, s, "is there no more");
		else
			refuse(d, k, s, 0, "is there no more");
	}
	return n;
}

unsigned med_policy_diff(const struct med_policy *now, const struct med_policy *next, FILE *to,
			 struct cf_errors *errs)
{
	const struct diff d = { to, errs };
	unsigned n = 0;

	for (const struct kind *k = kinds; k < kinds + Q_ARRAY_LEN(kinds); k++)
		n += diff_kind(&d, k, now, next);
	return n;
}
