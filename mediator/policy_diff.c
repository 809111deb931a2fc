/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two policies side by side, and one as text: what an operator sees before and after a change of a
 * mediator that runs. No state.
 */
#include <string.h>

#include "mediator/policy_keys.h"

#define VALUE_BYTES 4096u

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
	for (size_t i = 0; i < p->n_devices; i++) {
		fprintf(to, "[device %s]\n", p->devices[i].name);
		print_keys(policy_device_keys, &p->devices[i], to);
	}
	for (size_t i = 0; i < p->n_groups; i++) {
		fprintf(to, "[group %s]\n", p->groups[i].name);
		print_keys(policy_group_keys, &p->groups[i], to);
	}
	for (size_t i = 0; i < p->n_shares; i++) {
		fprintf(to, "[share %s]\n", p->shares[i].name);
		print_keys(policy_share_keys, &p->shares[i], to);
	}
	for (size_t i = 0; i < p->sound.n_devices; i++) {
		fprintf(to, "[sound %s]\n", p->sound.devices[i].name);
		print_keys(policy_sound_keys, &p->sound.devices[i], to);
	}
	for (size_t i = 0; i < p->sound.n_voices; i++) {
		fprintf(to, "[voice %s]\n", p->sound.voices[i].name);
		print_keys(policy_voice_keys, &p->sound.voices[i], to);
	}
}

struct diff {
	const char *what;	/* "share" */
	const struct policy_key *keys;
	const char *name;
	const char *file;
	unsigned line;
	FILE *to;
	struct cf_errors *errs;
};

static unsigned diff_keys(const struct diff *d, const void *now, const void *next)
{
	char was[VALUE_BYTES], is[VALUE_BYTES];
	unsigned n = 0;

	for (const struct policy_key *k = d->keys; k->name; k++) {
		policy_key_format(k, now, was, sizeof(was));
		policy_key_format(k, next, is, sizeof(is));
		if (strcmp(was, is) == 0)
			continue;
		n++;
		if (k->flags & KEY_FIXED)
			cf_error_add(d->errs, CF_ERROR, d->file, d->line, 0,
				     "%s '%s': %s = %s, but it is %s while the mediator runs; to "
				     "change it, restart the mediator",
				     d->what, d->name, k->name, is, was);
		else
			fprintf(d->to, "%s %s: %s = %s (was %s)\n", d->what, d->name, k->name, is,
				was);
	}
	return n;
}

static void tell_set(struct cf_errors *errs, const char *file, unsigned line, const char *what,
		     const char *name, const char *how)
{
	cf_error_add(errs, CF_ERROR, file, line, 0,
		     "%s '%s' %s; for that, restart the mediator", what, name, how);
}

static unsigned diff_devices(const struct med_policy *now, const struct med_policy *next, FILE *to,
			     struct cf_errors *errs)
{
	unsigned n = 0;

	for (size_t i = 0; i < next->n_devices; i++) {
		const struct med_device_policy *d = &next->devices[i];
		int k = med_policy_device(now, d->name);

		if (k < 0)
			tell_set(errs, d->file, d->line, "device", d->name, "is new");
		else
			n += diff_keys(&(struct diff){ "device", policy_device_keys, d->name,
						       d->file, d->line, to, errs },
				       &now->devices[k], d);
	}
	for (size_t i = 0; i < now->n_devices; i++)
		if (med_policy_device(next, now->devices[i].name) < 0)
			tell_set(errs, now->devices[i].file, 0, "device", now->devices[i].name,
				 "is there no more");
	return n;
}

static unsigned diff_shares(const struct med_policy *now, const struct med_policy *next, FILE *to,
			    struct cf_errors *errs)
{
	unsigned n = 0;

	for (size_t i = 0; i < next->n_shares; i++) {
		const struct med_share_policy *s = &next->shares[i];
		int k = med_policy_share(now, s->name);

		if (k < 0)
			tell_set(errs, s->file, s->line, "share", s->name, "is new");
		else
			n += diff_keys(&(struct diff){ "share", policy_share_keys, s->name,
						       s->file, s->line, to, errs },
				       &now->shares[k], s);
	}
	for (size_t i = 0; i < now->n_shares; i++)
		if (med_policy_share(next, now->shares[i].name) < 0)
			tell_set(errs, now->shares[i].file, 0, "share", now->shares[i].name,
				 "is there no more");
	return n;
}

/* Groups come and go: nobody is connected to one. */
static unsigned diff_groups(const struct med_policy *now, const struct med_policy *next, FILE *to,
			    struct cf_errors *errs)
{
	static const struct med_group_policy none;
	unsigned n = 0;

	for (size_t i = 0; i < next->n_groups; i++) {
		const struct med_group_policy *g = &next->groups[i];
		int k = med_policy_group(now, g->name);

		n += diff_keys(&(struct diff){ "group", policy_group_keys, g->name, g->file,
					       g->line, to, errs },
			       k < 0 ? &none : &now->groups[k], g);
	}
	for (size_t i = 0; i < now->n_groups; i++) {
		const struct med_group_policy *g = &now->groups[i];

		if (med_policy_group(next, g->name) < 0) {
			fprintf(to, "group %s: is there no more\n", g->name);
			n++;
		}
	}
	return n;
}

static unsigned diff_sounds(const struct snd_policy *now, const struct snd_policy *next, FILE *to,
			    struct cf_errors *errs)
{
	unsigned n = 0;

	for (size_t i = 0; i < next->n_devices; i++) {
		const struct snd_device_policy *d = &next->devices[i];
		int k = snd_policy_device(now, d->name);

		if (k < 0)
			tell_set(errs, d->file, d->line, "sound", d->name, "is new");
		else
			n += diff_keys(&(struct diff){ "sound", policy_sound_keys, d->name,
						       d->file, d->line, to, errs },
				       &now->devices[k], d);
	}
	for (size_t i = 0; i < now->n_devices; i++)
		if (snd_policy_device(next, now->devices[i].name) < 0)
			tell_set(errs, now->devices[i].file, 0, "sound", now->devices[i].name,
				 "is there no more");
	return n;
}

static unsigned diff_voices(const struct snd_policy *now, const struct snd_policy *next, FILE *to,
			    struct cf_errors *errs)
{
	unsigned n = 0;

	for (size_t i = 0; i < next->n_voices; i++) {
		const struct snd_voice_policy *v = &next->voices[i];
		int k = snd_policy_voice(now, v->name);

		if (k < 0)
			tell_set(errs, v->file, v->line, "voice", v->name, "is new");
		else
			n += diff_keys(&(struct diff){ "voice", policy_voice_keys, v->name,
						       v->file, v->line, to, errs },
				       &now->voices[k], v);
	}
	for (size_t i = 0; i < now->n_voices; i++)
		if (snd_policy_voice(next, now->voices[i].name) < 0)
			tell_set(errs, now->voices[i].file, 0, "voice", now->voices[i].name,
				 "is there no more");
	return n;
}

unsigned med_policy_diff(const struct med_policy *now, const struct med_policy *next, FILE *to,
			 struct cf_errors *errs)
{
	return diff_sounds(&now->sound, &next->sound, to, errs) +
	       diff_voices(&now->sound, &next->sound, to, errs) +
	       diff_devices(now, next, to, errs) + diff_groups(now, next, to, errs) +
	       diff_shares(now, next, to, errs);
}
