/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator has set on top of the files of a policy: which section and key a word means. No
 * state.
 */
#include <errno.h>
#include <string.h>

#include "mediator/policy_ini.h"
#include "mediator/policy_keys.h"

#define OVERRIDE "policy set"	/* where errors of such stand */

/* The keys of the voice or sound device @name, which is *@ret_object. NULL: it is none. */
static const struct policy_key *find_sound(const struct snd_policy *p, const char *name,
					   void **ret_object)
{
	int v = snd_policy_voice(p, name), d = snd_policy_device(p, name);

	if (v >= 0)
		*ret_object = &p->voices[v];
	else if (d >= 0)
		*ret_object = &p->devices[d];
	return v >= 0 ? policy_voice_keys : d >= 0 ? policy_sound_keys : NULL;
}

/* The field's section that @o means: its keys and the object; NULL with an error. */
static const struct policy_key *find_object(struct med_policy *p, const struct med_override *o,
					    struct cf_errors *errs, void **ret)
{
	static const char dev[] = "device:", grp[] = "group:";
	bool only_dev = strncmp(o->object, dev, sizeof(dev) - 1) == 0;
	bool only_grp = strncmp(o->object, grp, sizeof(grp) - 1) == 0;
	size_t prefix = only_dev ? sizeof(dev) - 1 : only_grp ? sizeof(grp) - 1 : 0;
	const char *name = o->object + prefix;
	int share = med_policy_share(p, name);
	int d = only_grp ? -1 : med_policy_device(p, name);
	int g = only_dev ? -1 : med_policy_group(p, name);

	if (d >= 0 && g >= 0) {
		cf_error_add(errs, CF_ERROR, OVERRIDE, 0, 0,
			     "'%s' is a device and a group: expected device:%s or group:%s", name,
			     name, name);
		return NULL;
	}
	*ret = share >= 0 ? (void *)&p->shares[share] :
	       d >= 0	  ? (void *)&p->devices[d] :
	       g >= 0	  ? (void *)&p->groups[g] : NULL;
	const struct policy_key *sound = *ret ? NULL : find_sound(&p->sound, name, ret);
	if (sound)
		return sound;
	if (!*ret)
		cf_error_add(errs, CF_ERROR, OVERRIDE, 0, 0,
			     "there is no share, voice, device or group '%s'", name);
	return share >= 0 ? policy_share_keys : d >= 0 ? policy_device_keys : policy_group_keys;
}

int med_policy_override(struct med_policy *p, const struct med_override *o, struct cf_errors *errs)
{
	const char *names[32], *near;
	void *object = NULL;
	size_t n = 0;
	bool oom = false;
	const struct policy_key *k = find_object(p, o, errs, &object);

	if (!k || !object)
		return 0;
	for (; k->name && strcmp(k->name, o->key) != 0; k++)
		names[n++] = k->name;
	near = k->name ? NULL : cf_nearest(o->key, names, n);
	if (!k->name)
		cf_error_add(errs, CF_ERROR, OVERRIDE, 0, 0, "%s: unknown key '%s'%s%s%s",
			     o->object, o->key, near ? "; did you mean '" : "", near ? near : "",
			     near ? "'?" : "");
	else if (!policy_key_set(k, object, o->value, &oom) && !oom)
		cf_error_add(errs, CF_ERROR, OVERRIDE, 0, 0, "%s: %s = %s: expected %s", o->object,
			     o->key, o->value, k->expected);
	return oom ? -ENOMEM : 0;
}
